"""The reader of access-log lines: what it finds in all that people paste, and what it refuses.

`_static/log-lines.js` and what it needs run here in V8 without a browser.
"""

from __future__ import annotations

import html
import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from decoding import LONGEST, RUN
from py_mini_racer import MiniRacer
from reference import access_log, decoder
from test_decoder import (
    BOOK,
    LINES,
    PIECES,
    SPLIT,
    TCP,
    TEXT,
    UC,
    as_json,
    cut,
    inbound,
    made,
    mutations,
)

Record = dict[str, Any]
Read = Callable[[str], list[Record]]
Data = dict[str, Any]
KEYS = [field["key"] for field in access_log.fields(BOOK)]
NONE = dict.fromkeys(KEYS, "-")


@pytest.fixture(scope="module")
def data() -> Data:
    return decoder.script_data(BOOK, lambda _page, _anchor: None)


@pytest.fixture(scope="module")
def read(data: Data) -> Iterator[Read]:
    with MiniRacer() as engine:
        engine.eval(RUN)
        engine.eval(f"const data = {json.dumps(data)};")
        engine.eval("const run = (t) => JSON.stringify([...logLines.records(t, data)]);")

        def run(text: str) -> list[Record]:
            found: list[Record] = json.loads(engine.call("run", text, timeout=LONGEST))
            return found

        yield run


def values(line: str) -> dict[str, str]:
    """The fields of a whole line of text, split by other means."""
    found = SPLIT.fullmatch(line)
    assert found
    return dict(zip(KEYS, found.groups(), strict=True))


def one(records: list[Record]) -> Record:
    [record] = records
    assert "message" not in record, record["message"]
    return record


def message(records: list[Record]) -> str:
    [record] = records
    text: str = record["message"]
    return text


# What stands behind a line


@pytest.mark.parametrize(
    ("behind", "route", "suffix"),
    [
        (" |", "default", "|"),
        ("   │", "default", "│"),
        ("  │      │", "default", "│      │"),
        ("|", "default", "|"),
        ("`", "default", "`"),
        ('",', "default", '",'),
        (" traceID=3149b9", "default", "traceID=3149b9"),
        (' "another" 12', "default", '"another" 12'),
        (" 4bf92f3577b34da6a3ce929d0e0e4736", "default", "4bf92f3577b34da6a3ce929d0e0e4736"),
        (" - 12 -", "default", "- 12 -"),
        ("\t7", "default", "7"),
        (" and more [words]", "default", "and more [words]"),
        (". Why?", "default", ". Why?"),
        (")", "default", ")"),
        ("</pre>", "default", "</pre>"),
        ("\\n", "default", "\\n"),
    ],
)
@pytest.mark.parametrize("name", ["default", "block_all", "-", "shop.front.2", "allow_any"])
def test_what_stands_behind_a_line_is_no_route(
    name: str, behind: str, route: str, suffix: str, read: Read
) -> None:
    record = one(read(made(route=name + behind)))
    assert (record["values"]["route_name"], record["suffix"]) == (
        route.replace("default", name),
        suffix,
    )
    assert "partly" not in record


@pytest.mark.parametrize(
    ("behind", "route", "suffix"),
    [
        ("checkout", "checkout", None),
        ("my own route", "my own route", None),
        ("my own route |", "my own route", "|"),
        ("route 2 traceID=1", "route 2", "traceID=1"),
        ("v2/api:canary@eu", "v2/api:canary@eu", None),
        ("über-route", "über-route", None),
    ],
)
def test_a_name_of_a_route_may_have_blanks(
    behind: str, route: str, suffix: str | None, read: Read
) -> None:
    record = one(read(made(route=behind)))
    assert (record["values"]["route_name"], record.get("suffix")) == (route, suffix)


@pytest.mark.parametrize("behind", ["checkout 3149b9", "my 10.0.0.1:80", "my route - 5", "a 1234"])
def test_a_route_that_may_be_more_is_refused(behind: str, read: Read) -> None:
    assert message(read(made(route=behind))).startswith(
        f"Field 24 (route), column 204: `{behind}` is a route and more, or a route whose name has "
        "blanks; understood before it are 23 fields, with the status 503 and the flags -."
    )


@pytest.mark.parametrize("behind", ["|", "traceID=1", "my[route", "a=b c", '"x"'])
def test_what_is_no_name_is_refused_as_a_route(behind: str, read: Read) -> None:
    said = message(read(made(route=behind)))
    assert said.startswith(
        f"Field 24 (route), column 204: expected the name of a route, found `{behind}"
    )


def test_a_frame_does_not_turn_the_verdict(read: Read) -> None:
    line = made(code="502", details="direct_response", route="block_all |")
    assert one(read(line))["values"]["route_name"] == "block_all"


def test_lines_that_lost_their_line_ends_are_all_read(read: Read) -> None:
    lines = [made(id=str(number)) for number in range(5)]
    for between in ("  ", " ", "", "\\n", "\r", "\u2028"):
        records = read(between.join(lines))
        assert [record["values"] for record in records] == [values(line) for line in lines]


CLIENTS = ["x_forwarded_for", "user_agent", "request_id", "authority"]


@pytest.mark.parametrize("end", ["", " and more"])
def test_a_client_cannot_forge_the_fields_behind_its_own(end: str, read: Read, data: Data) -> None:
    forged = 'x" "id" "auth" "10.9.9.9:1" cluster 10.9.9.8:1 10.9.9.7:1 10.9.9.6:1 - default'
    line = made(agent=forged + end)
    for text in (line, line.replace(" ", "  ")):
        record = one(read(text))
        assert record["note"] == data["messages"]["forged"]
        assert record["partly"] == KEYS[13:]
        assert record["values"] == values(made()) | dict.fromkeys(KEYS[13:], "-")


@pytest.mark.parametrize("agent", ['curl/8" "another', 'one" "two" "three'])
def test_quoted_texts_that_are_too_many_are_left_out(agent: str, read: Read, data: Data) -> None:
    record = one(read(made(agent=agent)))
    assert (record["note"], record["partly"]) == (data["messages"]["quoted"], CLIENTS)
    assert record["values"] == values(made()) | dict.fromkeys(CLIENTS, "-")


# Older formats


HEAD = '[2020-05-23T08:07:48.824Z] "GET /a HTTP/1.1" 404 NR '
TAIL = '0 19 3 2 "10.0.0.1" "curl/8" "id-1" "shop" "10.0.0.5:80" '
ENDS = "outbound|80||shop 10.0.0.4:4 10.0.0.4:5 10.0.0.4:6"
OLDER = [
    (HEAD + '"TLS error: 1:a b" ' + TAIL + ENDS + " sni default", "Istio 1.8", 2),
    (HEAD + '"-" "TLS error: 1:a b" ' + TAIL + ENDS + " sni default", "Istio 1.3 to 1.7", 2),
    (HEAD + '"-" "TLS error: 1:a b" ' + TAIL + ENDS + " sni", "Istio before 1.3", 3),
    (HEAD + '"-" ' + TAIL + ENDS + " sni", "Istio before 1.3", 4),
    (HEAD + TAIL + ENDS, "Istio before 1.3", 5),
    (HEAD + TAIL.rstrip(), "Envoy's own default", 9),
    (HEAD + "route_not_found " + TAIL.rstrip(), "Envoy's own default", 8),
]


@pytest.mark.parametrize(("line", "name", "count"), OLDER)
def test_older_formats_are_named_and_read_in_part(
    line: str, name: str, count: int, read: Read
) -> None:
    record = one(read(line))
    assert name in record["format"]
    assert len(record["partly"]) == count
    assert [record["values"][key] for key in record["partly"]] == ["-"] * count
    known = {key: record["values"][key] for key in ("response_flags", "duration", "authority")}
    assert known == {"response_flags": "NR", "duration": "3", "authority": "shop"}
    assert record["values"]["upstream_host"] == "10.0.0.5:80"


# Lines that end too early


@pytest.mark.parametrize("line", [made(), inbound(**TCP), UC, *TEXT[::25]])
def test_a_cut_line_says_what_is_whole_and_nothing_else(line: str, read: Read) -> None:
    whole = values(line)
    for end in range(30, len(line) - 1):
        if re.fullmatch(r"\S+", line[end:]):
            continue  # only a part of the route is missing: nobody can see that
        [record] = read(line[:end])
        if "message" not in record:
            assert record["note"].startswith("The line ends in field")
            known = {key: record["values"][key] for key in KEYS if key not in record["partly"]}
            assert known == {key: whole[key] for key in known}
            assert "response_flags" in known


def test_what_stands_before_the_cut_is_named_with_its_place(read: Read) -> None:
    [record] = read(cut(made(flags="UF"), " 10.96.0.1"))
    assert record["note"] == (
        "The line ends in field 20 of 24 (upstream local address), column 160; understood before "
        "it are 19 fields, with the status 503 and the flags UF. Paste the rest too."
    )
    assert record["partly"] == KEYS[19:]


def test_a_line_may_lack_its_time(read: Read) -> None:
    bare = made()[27:]
    for start in ("", "[2026-11-23 03:00:00] ", "[23/Nov/2026:03:00:00 +0000] ", "pod-1 "):
        record = one(read(start + bare))
        assert record["values"] == values(made()) | {"start_time": "-"}
        assert (record["partly"], record["prefix"]) == (["start_time"], start.strip())
    record = one(read(made()[1:]))
    assert record["values"] == values(made())
    assert "partly" not in record


# Pieces


def broken(line: str, width: int) -> list[str]:
    return [line[at : at + width] for at in range(0, len(line), width)]


def wrapped(line: str, width: int) -> list[str]:
    pieces = [""]
    for word in line.split(" "):
        fits = len(pieces[-1]) + 1 + len(word) <= width
        pieces[-1:] = [f"{pieces[-1]} {word}".lstrip()] if fits else [pieces[-1], word]
    return [part for piece in pieces if piece for part in broken(piece, width)]


WAYS: dict[str, Callable[[str, int], str]] = {
    "broken": lambda line, width: "\n".join(broken(line, width)),
    "no blanks at ends": lambda line, width: "\n".join(p.rstrip() for p in broken(line, width)),
    "no blanks at all": lambda line, width: "\n".join(p.strip() for p in broken(line, width)),
    "wrapped": lambda line, width: "\n".join(wrapped(line, width)),
    "indented": lambda line, width: "\n    ".join(broken(line, width)),
    "framed": lambda line, width: "\n".join(f"│ {p:{width}} │" for p in broken(line, width)),
    "in bars": lambda line, width: "\n".join(f"| {p:{width}} |" for p in broken(line, width)),
    "quoted": lambda line, width: "\n".join(f"> {p}" for p in broken(line, width)),
    "Windows": lambda line, width: "\r\n".join(broken(line, width)),
    "coloured": lambda line, width: "\n".join(f"\x1b[32m{p}\x1b[0m" for p in broken(line, width)),
}


@pytest.mark.parametrize("way", WAYS)
def test_pieces_of_a_line_are_joined_or_it_says_what_is_unsure(way: str, read: Read) -> None:
    whole = 0
    for number, line in enumerate(TEXT):
        width = 50 + number * 7 % 170
        known = values(line)
        for record in read(WAYS[way](line, width)):
            if "message" in record:
                continue
            unsure = record.get("partly", [])
            assert not unsure or record["note"]
            assert {k: v for k, v in record["values"].items() if k not in unsure} == {
                k: v for k, v in known.items() if k not in unsure
            }, (line, width)
            whole += not unsure
    assert whole > len(TEXT) * 0.95


def test_pieces_of_several_requests_are_not_mixed(read: Read) -> None:
    lines = [made(id="1", flags="UF"), inbound(id="2"), made(id="3", code="404")]
    records = read("\n".join("\n".join(broken(line, 80)) for line in lines))
    assert [record["values"] for record in records] == [values(line) for line in lines]
    assert [record["number"] for record in records] == [1, 4, 7]


@pytest.mark.parametrize("width", range(40, 260, 11))
def test_pieces_of_json_are_joined(width: int, read: Read, data: Data) -> None:
    text = as_json(UC, data)
    record = one(read("\n".join(broken(text, width))))
    assert record["values"] == values(UC)


def test_the_rest_of_a_name_on_the_next_line_belongs_to_it(read: Read) -> None:
    line = made(route="def")
    assert one(read(f"{line}\nault"))["values"]["route_name"] == "default"
    record = one(read(f"{line}\ninition"))
    assert (record["values"]["route_name"], record["partly"]) == ("-", ["route_name"])
    assert "`inition`, may be the rest of the route's name" in record["note"]


def test_a_line_that_is_cut_does_not_take_words_that_follow(read: Read) -> None:
    first, second = read(f"{cut(made(), ' default')}\nhello")
    assert first["partly"] == KEYS[22:]
    assert second["message"]


def test_a_good_line_behind_a_broken_one_is_read(read: Read, data: Data) -> None:
    for start in (cut(made(), ' "10.0.0.5'), as_json(UC, data)[:200], '{"a": {"b": [', '{"a": "b'):
        *_, last = read(f"{start}\n{made()}\n")
        assert last["values"] == values(made())
        *_, last = read(f"{start}\n{as_json(UC, data)}\n")
        assert last["values"] == values(UC)


# Copies

COPIES: dict[str, Callable[[str], str]] = {
    "typographic quotes": lambda line: re.sub(r'"([^"]*)"', "“\\1”", line),
    "low quotes": lambda line: re.sub(r'"([^"]*)"', "„\\1“", line),
    "dashes": lambda line: line.replace(" - ", " – ").replace('"-"', "“–”"),
    "no-break spaces": lambda line: line.replace(" ", "\u00a0"),
    "narrow spaces": lambda line: line.replace(" ", "\u202f"),
    "a mark of byte order": lambda line: "\ufeff" + line.replace(" ", "\u200b "),
    "two blanks": lambda line: line.replace(" ", "  "),
    "tabs": lambda line: line.replace(" ", "\t"),
    "CSV": lambda line: '"' + line.replace('"', '""') + '"',
    "CSV with more columns": lambda line: 'pod-1,"' + line.replace('"', '""') + '",x',
    "a string": lambda line: json.dumps(line),
    "a list of strings": lambda line: f"  {json.dumps(line)},",
    "HTML": lambda line: html.escape(line),
    "HTML with numbers": lambda line: line.replace('"', "&#34;"),
    "Markdown": lambda line: "| " + line.replace("|", "\\|") + " |",
    "code": lambda line: f"`{line}`",
    "bold": lambda line: f"**{line}**",
    "a quotation": lambda line: f"> {line}",
    "a frame": lambda line: f"┃ {line}      ┃",
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_read_like_the_line(copy: str, read: Read) -> None:
    for line in (
        made(),
        inbound(flags="UF"),
        UC,
        made(**TCP),
        made(start="2026-11-23T03:00:00.1Z"),
    ):
        record = one(read(COPIES[copy](line)))
        assert record["values"] == values(line)
        assert "partly" not in record


def test_one_blank_too_many_shifts_no_field(read: Read) -> None:
    for line in (made(), inbound(), made(**TCP), made(details=""), UC):
        blanks = [at for at, character in enumerate(line) if character == " "]
        for at in blanks:
            [record] = read(line[:at] + " " + line[at:])
            if "message" not in record:
                unsure = record.get("partly", [])
                assert set(unsure) <= {"start_time"}
                assert record["values"] == values(line) | dict.fromkeys(unsure, "-")


def test_an_empty_field_is_read_as_it_is(read: Read) -> None:
    record = one(read(made(code="200", flags="RFCF", details="")))
    assert record["values"]["response_code_details"] == ""
    said = message(read(made(details="", end="transport socket timeout was reached")))
    assert said.startswith("A field between two blanks is empty, or one of the blanks is too many")


# Wrappers

WRAPPERS: dict[str, Callable[[str], str]] = {
    "Docker": lambda line: json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026"}),
    "CRI": lambda line: f"2026-11-23T03:00:00.123456789Z stdout F {line}",
    "kubectl --prefix --timestamps": lambda line: (
        f"[pod/shop-1/istio-proxy] 2026-11-23T03:00:00Z {line}"
    ),
    "stern": lambda line: f"shop-1 istio-proxy {line}",
    "journald": lambda line: f"Nov 23 03:00:00 node-1 envoy[123]: {line}",
    "journald in JSON": lambda line: json.dumps({"MESSAGE": line, "_PID": "1", "PRIORITY": "6"}),
    "Loki": lambda line: json.dumps(
        {
            "status": "success",
            "data": {"result": [{"stream": {"app": "shop"}, "values": [["1700000000", line]]}]},
        }
    ),
    "Grafana": lambda line: json.dumps([{"line": line, "timestamp": "1700", "fields": {"a": "b"}}]),
    "logcli": lambda line: f'2026-11-23T03:00:00Z {{app="shop", pod="shop-1"}} {line}',
    "Elasticsearch": lambda line: json.dumps(
        {"hits": {"hits": [{"_id": "1", "_source": {"message": line, "@timestamp": "2026"}}]}},
        indent=2,
    ),
    "Filebeat": lambda line: json.dumps({"message": line, "event": {"original": line}}),
    "Google Cloud": lambda line: json.dumps(
        [{"textPayload": line, "resource": {"labels": {"pod_name": "a"}}}], indent=2
    ),
    "fluentd": lambda line: json.dumps(
        {"log": line, "stream": "stdout", "kubernetes": {"pod_name": "shop-1"}}
    ),
    "fluentd with its tag": lambda line: (
        "2026-11-23 03:00:00 +0000 kube.shop: " + json.dumps({"log": line})
    ),
    "OpenTelemetry": lambda line: json.dumps(
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": line}}]}]}]}
    ),
    "Splunk": lambda line: json.dumps({"result": {"_raw": line, "source": "x"}}),
    "a string in a string": lambda line: json.dumps({"log": json.dumps({"message": line})}),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("form", ["text", "JSON"])
def test_a_wrapped_line_is_unwrapped(wrapper: str, form: str, read: Read, data: Data) -> None:
    for line in (UC, inbound(), made(**TCP)):
        inner = line if form == "text" else as_json(line, data)
        record = one(read(WRAPPERS[wrapper](inner)))
        assert record["values"] == values(line)
        assert "partly" not in record


def test_wrapped_lines_are_all_found(read: Read) -> None:
    lines = [made(id=str(number)) for number in range(3)]
    hits = json.dumps({"hits": [{"_source": {"message": line}} for line in lines]})
    for text in (hits, "\n".join(json.dumps({"log": f"{line}\n"}) for line in lines)):
        assert [record["values"]["request_id"] for record in read(text)] == ["0", "1", "2"]


# Objects


@pytest.mark.parametrize(
    "joined",
    [
        lambda texts: "[" + ", ".join(texts) + "]",
        lambda texts: "[\n" + ",\n".join(texts) + "\n]",
        lambda texts: json.dumps([json.loads(text) for text in texts], indent=4),
        lambda texts: "\n".join(json.dumps(json.loads(text), indent=2) for text in texts),
        lambda texts: "\n".join(json.dumps(json.loads(text), indent="\t") for text in texts),
        lambda texts: "\n,\n".join(json.dumps(json.loads(text), indent=0) for text in texts),
        lambda texts: "".join(texts),
        lambda texts: "\n".join(f"Here: {json.dumps(json.loads(t), indent=2)}" for t in texts),
        lambda texts: "{code:json}\n" + "\n".join(texts) + "\n{code}",
        lambda texts: "\n".join(f"pod-{i} {text}" for i, text in enumerate(texts)),
        lambda texts: "\n".join(f"│ {text} │" for text in texts),
    ],
)
def test_objects_are_read_in_all_their_layouts(
    joined: Callable[[list[str]], str], read: Read, data: Data
) -> None:
    lines = [UC, inbound(), made(**TCP)]
    records = read(joined([as_json(line, data) for line in lines]))
    assert [record["values"] for record in records] == [values(line) for line in lines]


CUSTOM = {
    "response_code": "503",
    "response_flags": "UF,URX",
    "response_code_details": "via_upstream",
    "duration": "12",
    "upstream_cluster": "outbound|80||shop",
}


@pytest.mark.parametrize(
    "text",
    [
        '{"status": 503, "flags": "UF,URX", "details": "via_upstream", "latency": 12, '
        '"upstreamCluster": "outbound|80||shop"}',
        '{"http": {"status": "503"}, "response_flag": "UF,URX", "duration_ms": 12, '
        '"responseCodeDetails": "via_upstream", "upstream_cluster_raw": "outbound|80||shop"}',
        '{"responseCode": 503, "responseFlags": ["UF", "URX"], "response": {"details": '
        '"via_upstream"}, "duration": "12ms", "upstream": {"cluster": "outbound|80||shop"}}',
        '{"httpRequest": {"status": 503, "latency": "0.012s"}, "labels": {"response_flag": '
        '"UF,URX", "response_details": "via_upstream", "upstream_cluster": "outbound|80||shop"}}',
        '{"code": 503, "response_flags": "UpstreamConnectionFailure,UpstreamRetryLimitExceeded", '
        '"Response-Code-Details": "via_upstream", "latency_ms": 12, "attributes": {'
        '"upstream_cluster": "outbound|80||shop"}}',
        'time="2026" status=503 response_flag=UF,URX details=via_upstream duration=12ms '
        'upstream_cluster="outbound|80||shop"',
        'status="503"  flags="UF,URX" response_code_details="via_upstream" latency="12" '
        "upstream.cluster=outbound|80||shop other=a=b",
        "status | 503\n flags | UF,URX\ndetails| via_upstream\nlatency | 12\n"
        "upstream_cluster | outbound|80||shop",
        '{"body": {}, "attributes": [{"key": "response_code", "value": {"intValue": "503"}}, '
        '{"key": "response_flags", "value": {"stringValue": "UF,URX"}}, {"key": "duration", '
        '"value": {"doubleValue": 12}}, {"key": "response_code_details", "value": {"stringValue": '
        '"via_upstream"}}, {"key": "upstream_cluster", "value": {"stringValue": '
        '"outbound|80||shop"}}]}',
        '"upstream_cluster": "outbound|80||shop",\n"status": 503,\n  "flags": "UF,URX",\n'
        '"details": "via_upstream",\n"duration": 12,',
        "response_code: 503\nresponse_flags: UF,URX\nresponse_code_details: via_upstream\n"
        "duration: 12\nupstream_cluster: outbound|80||shop",
        "status\t503\nflags\tUF,URX\ndetails\tvia_upstream\nlatency\t12\n"
        "upstream_cluster\toutbound|80||shop",
        'status":503,"flags":"UF,URX","response_code":503,"duration":12,'
        '"response_code_details":"via_upstream","upstream_cluster":"outbound|80||shop"}',
    ],
)
def test_keys_by_other_names_are_known(text: str, read: Read) -> None:
    record = one(read(text))
    assert {key: record["values"][key] for key in CUSTOM} == CUSTOM
    assert {"method", "route_name"} <= set(record["partly"])
    assert not set(record["partly"]) & set(CUSTOM)


SAMPLES = {"time": "2026-11-23T03:00:00Z", "number": "7", "status": "503", "flags": "UF"}


def test_names_in_other_objects_are_not_taken_for_keys(read: Read) -> None:
    text = {
        "start_time": "23/Nov/2026:03:00:00 +0000",
        "response_code": 503,
        "response_flags": "UF",
    }
    others = {"kubernetes": {"route": "a", "host": "b"}, "resource": {"labels": {"route": "c"}}}
    record = one(read(json.dumps(text | others | {"x-envoy-origin-path": "/x"})))
    known = {key: str(value) for key, value in text.items()} | {"path": "/x"}
    assert record["values"] == NONE | known
    assert record["more"] == ["kubernetes", "resource"]


def test_every_name_of_a_key_is_read_and_none_has_two_meanings(read: Read, data: Data) -> None:
    forms = {field["key"]: field["form"] for field in data["fields"]}
    names = [(key, name) for key, others in data["aliases"].items() for name in [key, *others]]
    assert set(data["aliases"]) <= set(KEYS)
    plain = [re.sub(r"[^a-z\d]", "", name.lower()) for _, name in names]
    assert sorted(plain) == sorted(set(plain))
    for key, name in names:
        sample = SAMPLES.get(forms[key], "some")
        known = {"response_code": "503", "response_flags": "UF"}
        known.pop(key, None)
        for text in (known | {name: sample}, {"_source": {"http": known | {name.upper(): sample}}}):
            assert one(read(json.dumps(text)))["values"][key] == sample, name


def test_the_nearest_name_counts_and_what_does_not_fit_is_none(read: Read) -> None:
    text = '{"status": "failed", "response_code": 503, "flags": "UF", "duration": 1.5, "code": 9}'
    record = one(read(text))
    assert record["values"] == NONE | {"response_code": "503", "response_flags": "UF"}
    assert record["more"] == ["status", "duration", "code"]


@pytest.mark.parametrize(
    "text",
    [
        '{"status": 503, "message": "hello"}',
        '{"status": "ok", "flags": "UF"}',
        '{"flags": "UF", "details": "a"}',
        "status=503 duration=1",
        "a = b and c = d",
    ],
)
def test_what_has_no_status_with_flags_or_details_is_no_line(text: str, read: Read) -> None:
    assert message(read(text))


def test_json_that_is_cut_gives_the_keys_that_are_whole(read: Read, data: Data) -> None:
    text = as_json(UC, data)
    whole = values(UC)
    known = 0
    for end in range(2, len(text) - 1):
        for record in read(text[:end]):
            if "message" not in record:
                assert record["note"] == data["messages"]["json"]
                kept = {k: v for k, v in record["values"].items() if k not in record["partly"]}
                assert kept == {key: whole[key] for key in kept}
                known += 1
    assert known > 20


# Bodies

BODY = "upstream connect error or disconnect/reset before headers. "


@pytest.mark.parametrize(
    ("text", "flag", "details", "failure"),
    [
        (BODY + "reset reason: connection termination", "UC", "connection_termination", "-"),
        (BODY + "retried and the latest reset reason: overflow", "UO", "overflow", "-"),
        (
            BODY + "reset reason: remote connection failure, transport failure reason: delayed "
            "connect error: 111",
            "UF",
            "remote_connection_failure",
            "delayed connect error: 111",
        ),
        (
            'rpc error: code = Unavailable desc = "' + BODY + "reset reason: connection failure, "
            "transport failure reason: TLS error: 268435581:SSL routines:OPENSSL_internal:"
            'CERTIFICATE_VERIFY_FAILED"',
            "UF",
            "connection_failure",
            "TLS error: 268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
        ),
        (
            "feign.FeignException: [503] during [GET] to [http://a/b] [C#d()]: ["
            + BODY
            + "reset reason: connection termination]",
            "UC",
            "connection_termination",
            "-",
        ),
        (
            json.dumps({"level": "error", "msg": f"call: {BODY}reset reason: protocol error"}),
            "UPE",
            "protocol_error",
            "-",
        ),
        ("no healthy upstream", "UH", None, "-"),
        ("503: no healthy upstream.", "UH", None, "-"),
        ('"upstream request timeout"', "UT", None, "-"),
        ("fault filter abort", "FI", None, "-"),
    ],
)
def test_a_body_proves_a_flag_and_keeps_its_text(
    text: str, flag: str, details: str | None, failure: str, read: Read
) -> None:
    record = one(read(text))
    reason = f"upstream_reset_before_response_started{{{details}}}" if details else "-"
    assert record["kind"] == "body"
    known = {
        "response_flags": flag,
        "response_code_details": reason,
        "upstream_transport_failure_reason": failure,
    }
    assert record["values"] == NONE | known
    assert set(record["partly"]) == {key for key, value in record["values"].items() if value == "-"}
    assert record["text"] in text or json.loads(text)["msg"] == record["text"]


def test_every_body_of_the_flags_page_is_known(read: Read, data: Data) -> None:
    for flag in data["flags"]:
        for body in flag["bodies"]:
            full = BODY + body if body.startswith("reset reason") else body
            assert one(read(full))["values"]["response_flags"] == flag["flag"], body


@pytest.mark.parametrize("body", ["RBAC: access denied", "Jwt is missing", "Jwt is expired"])
def test_a_body_without_a_flag_proves_its_details(body: str, read: Read) -> None:
    found = one(read(body))["values"]
    assert (found["response_code"], found["response_flags"]) in {("403", "-"), ("401", "-")}
    assert "denied" in found["response_code_details"]


def test_a_body_is_read_in_pieces_and_out_of_a_stack_trace(read: Read) -> None:
    text = f"{BODY}reset\nreason: connection termination"
    assert one(read(text))["values"]["response_flags"] == "UC"
    trace = [
        f"java.lang.Error: {BODY}reset reason: overflow",
        "\tat a.B.c(B.java:1)",
        "Caused by: x",
    ]
    assert one(read("\n".join(trace)))["values"]["response_flags"] == "UO"
    twice = f'details = "{BODY}reset reason: overflow"\ndebug = "{BODY}reset reason: overflow"'
    assert one(read(twice))["number"] == 1


def test_a_body_without_its_reason_is_named(read: Read) -> None:
    assert "its reason is cut off" in message(read(BODY))
    assert read("a stream timeout happened")[0]["message"]


# ztunnel

ZTUNNEL = (
    "2026-11-23T03:00:00.000Z\t{level}\taccess\tconnection complete\t"
    'src.addr=10.244.0.5:40000 src.workload="shop-1" src.namespace="shop" '
    'src.identity="spiffe://cluster.local/ns/shop/sa/shop" dst.addr=10.244.0.6:15008 '
    'dst.hbone_addr=10.244.0.6:8080 dst.service="stock.shop.svc.cluster.local" '
    'dst.workload="stock-1" dst.namespace="shop" '
    'dst.identity="spiffe://cluster.local/ns/shop/sa/stock" direction="outbound" '
    'bytes_sent=84 bytes_recv=175 duration="3ms"'
)


def test_a_line_of_ztunnel_has_its_fields(read: Read) -> None:
    record = one(read("[pod/ztunnel-1/istio-proxy] " + ZTUNNEL.format(level="info")))
    assert record["kind"] == "ztunnel"
    assert record["source"] == {
        "addr": "10.244.0.5:40000",
        "workload": "shop-1",
        "namespace": "shop",
        "identity": "spiffe://cluster.local/ns/shop/sa/shop",
    }
    assert record["destination"]["service"] == "stock.shop.svc.cluster.local"
    assert record["destination"]["hbone_addr"] == "10.244.0.6:8080"
    assert (record["identity"], record["direction"]) == (record["source"]["identity"], "outbound")
    assert (record["error"], record["means"], record["remedies"]) == ("", "", [])
    assert record["values"] == NONE | {
        "start_time": "2026-11-23T03:00:00.000Z",
        "duration": "3",
        "upstream_host": "10.244.0.6:15008",
        "downstream_remote_address": "10.244.0.5:40000",
    }
    assert record["prefix"] == "[pod/ztunnel-1/istio-proxy]"


def test_every_error_of_ztunnel_has_a_meaning(read: Read, data: Data) -> None:
    for item in data["ztunnel"]["errors"]:
        line = ZTUNNEL.format(level="error") + f' error="a \\"b\\": {item["contains"]}: c"'
        if item.get("identity") is False:
            line = re.sub(r' src\.identity="[^"]*"', "", line)
        record = one(read(line))
        assert item["contains"] in record["error"]
        assert (record["means"], record["remedies"]) == (item["means"], item.get("remedies", []))


def test_ztunnel_writes_json_too_and_other_lines(read: Read) -> None:
    keys = {
        "src.addr": "10.0.0.4:1",
        "dst.addr": "10.0.0.5:2",
        "error": "http status: 401 Unauthorized",
    }
    record = one(read(json.dumps({"level": "error", "scope": "access", **keys})))
    assert (record["kind"], record["error"]) == ("ztunnel", keys["error"])
    assert "policy" in record["means"]
    opened = ZTUNNEL.format(level="debug").replace("complete", "opened")
    assert one(read(opened))["isRunning"]
    old = "2023-09-08T22:53:07Z  WARN a{b=c}: ztunnel::proxy::outbound: failed dur=8ms err="
    assert one(read(old + "http status: 401"))["error"] == "http status: 401"
    [record] = read("2026-11-23T03:00:00Z\tinfo\taccess\tconnection complete\tsrc.addr=10.0.0.4:1")
    assert record["product"] == "ztunnel"


# Tables in Markdown


ROWS = {
    "bars": "| {} | {} | {} |".format,
    "bars between": "{} | {} | {}".format,
    "code": "| `{}` | `{}` | `{}` |".format,
    "width": "|  {:<8} |{:>8} | {:<60}|".format,
}
CELLS = ("response_code", "response_flags", "response_code_details")


@pytest.mark.parametrize("way", ROWS)
@pytest.mark.parametrize("rule", ["|---|:-:|--:|", "-- | -- | --"])
def test_each_row_of_a_table_is_a_line(way: str, rule: str, read: Read) -> None:
    details = "upstream_reset_before_response_started{overflow}"
    rows = [CELLS, ("503", "UO", details), ("404", "NR", "route_not_found")]
    head, *lines = [ROWS[way](*row) for row in rows]
    records = read("\n".join(["Look:", head.replace("`", ""), rule, *lines, "", "503 UH"]))
    assert [record["number"] for record in records] == [1, 4, 5, 7]
    assert [
        [record["values"][key] for key in CELLS] for record in records if "values" in record
    ] == [["503", "UO", details], ["404", "NR", "route_not_found"], ["503", "UH", "-"]]


def test_a_cell_of_a_table_may_hold_a_line(read: Read) -> None:
    line = made(cluster="outbound\\|80\\|v1\\|shop")
    records = read(f"| log |\n|--|\n| {line} |\n| and more |")
    assert [record["number"] for record in records] == [3, 4]
    assert records[0]["values"] == values(made(cluster="outbound|80|v1|shop"))
    assert records[1]["message"].startswith("No access log line starts here")


@pytest.mark.parametrize("head", ["| Field | Value |\n|---|---|\n", ""])
def test_a_table_may_have_a_field_in_each_row(head: str, read: Read) -> None:
    known = {"response_code": "503", "response_flags": "UF", "upstream_host": "10.0.0.5:80"}
    rows = "\n".join(f"| {key} | {value} |" for key, value in known.items())
    assert one(read(head + rows))["values"] == NONE | known


# Lines whose beginning is missing


@pytest.mark.parametrize("line", [made(flags="UF,URX", details="no"), made(route="a b"), inbound()])
def test_the_rest_of_a_line_is_read_from_its_status_on(line: str, read: Read) -> None:
    rest = line[line.index('" 503') + 2 :]
    record = one(read(rest))
    missing = ["start_time", "method", "path", "protocol"]
    assert record["partly"] == missing
    assert record["values"] == values(line) | dict.fromkeys(missing, "-")


@pytest.mark.parametrize("cut", [3, 5, 8, 11])
def test_the_beginning_of_the_request_may_be_missing(cut: int, read: Read) -> None:
    line = made(request="POST /v1/a HTTP/1.1")
    record = one(read(line[line.index("POST") + cut :]))
    missing = ["start_time", "method", "path", "protocol"]
    assert record["values"] == values(line) | dict.fromkeys(missing, "-")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("503 UC", {"response_code": "503", "response_flags": "UC"}),
        ("0 UF,URX", {"response_code": "0", "response_flags": "UF,URX"}),
        (
            "404 NR route_not_found",
            {
                "response_code": "404",
                "response_flags": "NR",
                "response_code_details": "route_not_found",
            },
        ),
        (
            "NR filter_chain_not_found",
            {"response_flags": "NR", "response_code_details": "filter_chain_not_found"},
        ),
        (
            "| 503 | UC | upstream_reset_before_response_started{connection_termination} |",
            {
                "response_code": "503",
                "response_flags": "UC",
                "response_code_details": "upstream_reset_before_response_started"
                "{connection_termination}",
            },
        ),
        (
            "0 DC downstream_local_disconnect(filter_chain_is_being_removed)",
            {
                "response_code": "0",
                "response_flags": "DC",
                "response_code_details": "downstream_local_disconnect"
                "(filter_chain_is_being_removed)",
            },
        ),
        (
            "200 - via_upstream",
            {
                "response_code": "200",
                "response_flags": "-",
                "response_code_details": "via_upstream",
            },
        ),
    ],
)
def test_a_status_with_known_flags_or_details_is_the_rest_of_a_line(
    text: str, known: dict[str, str], read: Read
) -> None:
    record = one(read(text))
    assert record["values"] == NONE | known
    assert set(record["partly"]) == set(KEYS) - set(known)
    assert record["note"].startswith("The line ends in field")


@pytest.mark.parametrize(
    "text",
    [
        *["200 OK", "503 - why", "500 ERROR UC", "x 503 UC", "503", "5033 UC"],
        *["NR", "NR found nothing", "- via_upstream", "NO route_not_found", "| UC | 503 |"],
    ],
)
def test_other_numbers_with_words_are_no_line(text: str, read: Read) -> None:
    assert message(read(text)).startswith("No access log line starts here")


def test_a_time_that_somebody_made_unreadable_hides_nothing_else(read: Read) -> None:
    text = {"start_time": "HH:MM:SS", "response_code": 503, "response_flags": "UC"}
    known = {key: str(value) for key, value in text.items()}
    assert one(read(json.dumps(text)))["values"] == NONE | known


# Lines that are not understood


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("what happened?", "No access log line starts here"),
        (
            cut(made(), " 503"),
            "The line ends in field 4 of 24 (protocol), column 35; understood before it are 3 "
            "fields. Paste the rest too.",
        ),
        (made(start="2026-11-23T03:00:00"), "Field 1 (start), column 2: expected a time such as"),
        (
            made(code="5o3"),
            "Field 5 (status), column 45: expected a status of three digits, 0 or `-`, found `5o3 "
            '- via_upstream - "-"`; understood before it are 4 fields.',
        ),
        (made(flags="uf"), "Field 6 (flags), column 49: expected flags"),
        (made(details="503"), "Field 7 (details of the status), column 51: expected a word"),
        (
            made(host="shop"),
            "Field 18 (upstream host), column 103: expected an address with a port, a path, or "
            '`-`, found `shop" outbound|80||shop.`; understood before it are 17 fields, with the '
            "status 503 and the flags -.",
        ),
        (made(name="10.0.0.4:80"), "Field 23 (server name), column 202: expected the name of a"),
        (
            made().replace('- "-" 0', "- - 0"),
            'Field 9 (transport failure), column 66: expected `"` before it, found `- 0 9 3 2',
        ),
        ('{"start_time": "2026-11-23T03:00:00.000Z", ', "This begins like JSON, but it is not"),
        ('{"message": "hello"}', "This is JSON, but no line of an access log: it has no status"),
        (
            '{"start_time": [[1]], "response_code": 503}',
            "Key `start_time`: expected a time such as",
        ),
        (
            '{"start_time": "2026-11-23T03:00:00.000Z", "response_code": "5o3"}',
            "Key `response_code`: expected a status of three digits, 0 or `-`, found `5o3`.",
        ),
        ("x" * 200_001, "The line has 200001 characters. The decoder takes 200000 at most."),
        ("[" + '{"a": 1}, ' * 200_000 + "]", "The line has 2000002 characters. The decoder takes"),
        (
            made(details="upstream_reset_before_response_started{connection_failure,TLS error}"),
            "The details of the status end with an open bracket.",
        ),
    ],
)
def test_a_message_says_what_was_understood_and_what_not(line: str, said: str, read: Read) -> None:
    assert message(read(line)).startswith(said)


# Lines of others

OTHERS = {
    "nginx": '10.0.0.1 - - [23/Nov/2026:03:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"',
    "ingress-nginx": '10.0.0.1 - - [23/Nov/2026:03:00:00 +0000] "GET / HTTP/1.1" 502 150 "-" "a" '
    "98 0.008 [shop-cart-80] [] 10.0.0.9:8080 0 0.007 502 0011",
    "Traefik": '10.0.0.1 - - [23/Nov/2026:03:00:00 +0000] "GET / HTTP/1.1" 502 11 "-" "-" 4711 '
    '"shop@kubernetescrd" "http://10.0.0.4:8080" 3ms',
    "ALB": "https 2026-11-23T03:00:00.1Z app/my/50dc6c 10.0.0.1:2817 10.0.0.5:80 0.0 0.0 0.0 502 "
    '502 34 366 "GET https://a:443/ HTTP/1.1" "curl/8" ECDHE TLSv1.2',
    "HAProxy": "Nov 23 03:00:00 lb haproxy[14389]: 10.0.1.2:33317 [23/Nov/2026:03:00:00.655] in "
    'static/srv1 10/0/30/69/109 503 2750 - - SC-- 1/1/1/1/0 0/0 "GET / HTTP/1.1"',
    "CoreDNS": '[INFO] 10.244.0.5:40000 - 12345 "A IN shop.default.svc.cluster.local. udp 50 '
    'false 512" NOERROR qr,aa,rd 98 0.0001s',
    "Istio": "2026-11-23T03:00:00.1Z\tinfo\tads\tXDS: Pushing Services:10",
    "Envoy": "[2026-11-23 03:00:00.123][7][warning][config] gRPC config stream closed",
    "Istio before 1.9": '[2020-11-23T03:00:00.1Z] "GET / HTTP/1.1" 200 - "-" "-" 0 9 3 2 "-" "a"',
    "curl": "curl: (56) Recv failure",
}


@pytest.mark.parametrize("product", OTHERS)
def test_lines_of_other_products_are_named(product: str, read: Read) -> None:
    for line in (OTHERS[product], f"{OTHERS[product]}\r\n"):
        [record] = read(line)
        assert record["product"] == product
        assert record["message"].startswith("This ")


@pytest.mark.parametrize("indent", [None, 2])
def test_logs_of_programs_in_json_are_named(indent: int | None, read: Read) -> None:
    said = {"level": "info", "time": "2026", "scope": "ztunnel::state", "message": "no"}
    [record] = read(json.dumps(said, indent=indent))
    assert record["message"].startswith("This is a line of a program's log in JSON")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", ""),
        (
            "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: verify "
            "cert failed: certificate has expired",
            " In it, a handshake of TLS failed. The certificate of the other side has expired, or "
            "one in its chain.",
        ),
        (
            "TLS error: 268436501:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_EXPIRED",
            " In it, a handshake of TLS failed. The other side says that the certificate of this "
            "proxy has expired.",
        ),
        (
            "TLS error: 1:SSL routines:OPENSSL_internal:SOMETHING",
            " In it, a handshake of TLS failed. The TLS handshake with the other side failed.",
        ),
        ("certificate has expired, says a filter", ""),
    ],
)
def test_envoys_own_log_tells_why_a_handshake_failed(words: str, said: str, read: Read) -> None:
    for begin in ("2026-11-23T03:00:00.1Z\tdebug\t", "debug\t"):
        [record] = read(f"{begin}envoy connection\t[C49] {words}")
        assert (
            record["message"] == f"This is a line of Envoy's own log, not of the access log.{said}"
        )


def test_each_pattern_for_other_products_has_a_line(data: Data) -> None:
    more = [
        '{"RouterName":"a@b","DownstreamStatus":502}',
        '{"level":"info","time":"2026","scope":"ads","msg":"hello"}',
        "2026/11/23 03:00:00 [error] 7#7: *1 connect() failed",
        "2026-11-23T03:00:00.1Z\twarning\tenvoy config external/envoy/x.cc:1\tgRPC closed",
        '{"level":"debug","time":"2026","scope":"envoy client","msg":"hello"}',
        '[2020-11-23T03:00:00.1Z] "GET / HTTP/1.1" 200 - 0 9 3',
        f"{HEAD}{TAIL}outbound",
        "2026-11-23T03:00:00Z\tinfo\taccess\tsrc.addr=10.0.0.4:1",
        BODY,
    ]
    lines = [*OTHERS.values(), *more]
    first = [
        next((n for n, o in enumerate(data["others"]) if re.search(o["pattern"], line)), None)
        for line in lines
    ]
    assert set(first) >= set(range(len(data["others"])))


# Many lines, and broken ones


def test_mutated_lines_have_no_wrong_field(read: Read, data: Data) -> None:
    """Where a line is read whole, its fields are those that a split by other means gives."""
    whole = 0
    for line in mutations(10_000, data):
        for record in read(line):
            if "message" in record:
                continue
            assert set(record["values"]) == set(KEYS)
            assert set(record.get("partly", [])) <= set(KEYS)
            if "partly" not in record and "\n" not in line and (found := independent(line, record)):
                assert list(record["values"].values()) == found, line
                whole += 1
    assert whole > 500


# What the split for whole lines does not need to say: only in the user agent there are quotes, and
# a server's name has no port.
ENDED = re.compile(
    SPLIT.pattern.replace(r"(.+?)", r'([^"]+?)')
    .replace(r"(\S+)", r'([^\s"]+)')
    .replace(r'([^\s"]+) (.+)', r'([^\s":]+) (.+)')
)


def independent(line: str, record: Record) -> list[str] | None:
    """The fields of a line by another split, without what stands around it, or of an object."""
    if line.startswith("{"):
        try:
            known = json.loads(line)
        except ValueError:
            return None
        named = ["-" if known.get(key) is None else str(known[key]) for key in KEYS]
        return named if set(known) == set(KEYS) else None  # others are read by other names too
    suffix = record.get("suffix", "")
    text = line.strip().replace("\\|", "|")
    text = text[text.index(record["prefix"]) + len(record["prefix"]) :].strip()
    text = text.removesuffix(suffix).strip()
    found = ENDED.fullmatch(text)
    return list(found.groups()) if found else None


def test_mutated_copies_and_wrappers_end_without_an_error(read: Read, data: Data) -> None:
    chance = random.Random(7)  # noqa: S311 (no secret)
    ways = [*COPIES.values(), *WRAPPERS.values(), *(lambda t, w=w: w(t, 90) for w in WAYS.values())]
    for line in mutations(1500, data):
        text = chance.choice(ways)(line)
        at = chance.randrange(len(text) + 1)
        for record in read(text[:at] + chance.choice([*PIECES, "", "\n"]) + text[at:]):
            assert record.get("message") or set(record["values"]) == set(KEYS)


def test_every_recorded_line_is_whole(read: Read) -> None:
    records = read("\n".join(LINES))
    assert [record["number"] for record in records] == list(range(1, len(LINES) + 1))
    assert [record for record in records if "message" in record or "note" in record] == []


@pytest.mark.parametrize(
    "text",
    [
        (made() + "\n") * 20_000,
        (made()[:150] + "\n" + made()[150:] + "\n") * 3_000,
        ("x y z = 1\n") * 50_000,
        ('{"a": {"b": [\n') * 30_000,
        ('{"status": 503, "flags": "UF"}\n') * 20_000,
        "[" + ('{"status": 503, "flags": "UF"},') * 5_000 + "]",
        (cut(made(), " default") + "\n" + "word\n" * 3) * 2_000,
        ("a=" * 90_000),
        ("a │ " * 40_000),
        ('"a":' * 45_000),
        ("src.addr=" * 20_000),
        (BODY * 3_000),
        ("&quot;" * 30_000),
        ('a\\"' * 60_000),
        ("default " * 20_000),
        made(route="a" * 190_000 + " |"),
        made(route="|" * 190_000),
    ],
    ids=lambda text: text[:12],
)
def test_floods_are_read_before_the_time_is_up(text: str, read: Read) -> None:
    assert read(text)


def test_records_come_one_by_one(data: Data) -> None:
    """The first ones are there while the rest of a text has not been looked at."""
    with MiniRacer() as engine:
        engine.eval(RUN)
        engine.eval(f"const data = {json.dumps(data)};")
        engine.eval("let looks = 0;")
        engine.eval("const count = { get: (all, key) => { looks += 1; return all[key]; } };")
        engine.eval(f"const text = {json.dumps(made())}.concat('\\n').repeat(50000);")
        engine.eval("const all = logLines.records(text, new Proxy(data, count));")
        assert engine.eval("all.next().value.number + all.next().value.number") == 3
        assert engine.eval("looks < 1000") is True
