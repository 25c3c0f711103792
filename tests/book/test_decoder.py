"""The decoder of access-log lines: what it makes of recorded lines, and of broken ones.

`_static/log-lines.js` and `log-answers.js` run here in V8 without a browser; tests/browser has the
page.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import decoding
import pytest
import yaml
from data_files import Fault
from lab.paths import EXAMPLES, ROOT
from py_mini_racer import MiniRacer
from reference import access_log, decoder

BOOK = ROOT / "book"

Decode = Callable[[str], dict[str, Any]]
Summarise = Callable[[list[str]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """What the page gives to the script, with the names of pages for links."""
    return decoding.Decoder().data


CALLS = """
function decode(text) { return JSON.stringify(accessLog.decode(text, data)); }

function summarise(text) {
  const { requests } = accessLog.finish(accessLog.read(text, data));
  const rows = accessLog.finish(accessLog.summary(requests, data));
  const inNumbers = (request) => request.lines.map((line) => line.number);
  return JSON.stringify(rows.map((row) => ({ ...row, requests: row.requests.map(inNumbers) })));
}
"""


@pytest.fixture(scope="module")
def engine(data: dict[str, Any]) -> Iterator[MiniRacer]:
    with MiniRacer() as engine:
        engine.eval(decoding.RUN)
        engine.eval(f"const data = {json.dumps(data)};")
        engine.eval(CALLS)
        yield engine


@pytest.fixture(scope="module")
def decode(engine: MiniRacer) -> Decode:
    def run(text: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(engine.call("decode", text, timeout=decoding.LONGEST))
        return answer

    return run


@pytest.fixture(scope="module")
def summarise(engine: MiniRacer) -> Summarise:
    """The rows of the table, with the numbers of lines for the requests that they count."""

    def run(lines: list[str]) -> list[dict[str, Any]]:
        text = "\n".join(lines)
        rows: list[dict[str, Any]] = json.loads(
            engine.call("summarise", text, timeout=decoding.LONGEST)
        )
        return rows

    return run


def only_line(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["faults"] == []
    [request] = answer["requests"]
    [line] = request["lines"]
    found: dict[str, Any] = line
    return found


def message(answer: dict[str, Any]) -> str:
    assert answer["requests"] == []
    [fault] = answer["faults"]
    text: str = fault["message"]
    return text


# The recorded lines

SPLIT = re.compile(
    r"""\[(\S+)\] "(\S+) (\S+) (\S+)" (\d+) (\S+) (\S*) (.+?) "([^"]*)" """
    r"""(\S+) (\S+) (\S+) (\S+) "([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)" """
    r"""(\S+) (\S*) (\S*) (\S*) (\S+) (.+)"""
)


def recorded_lines() -> list[str]:
    transcripts = [*EXAMPLES.glob("*/*/*.console"), *ROOT.glob("tests/examples/*/*/*.console")]
    return [line for path in sorted(transcripts) for line in decoder.lines(path)]


# But for those that a command has cut off.
LINES = [line for line in recorded_lines() if not line.endswith(" ")]
TEXT = [line for line in LINES if line.startswith("[")]
UC = next(
    line
    for line in decoder.lines(
        EXAMPLES / "problems/upstream-connection-termination/2-diagnose.console"
    )
    if " 503 UC upstream_reset" in line and "outbound|80" in line
)


def as_json(line: str, data: dict[str, Any]) -> str:
    """A line in Istio's JSON, from one in text: keys sorted, numbers as numbers, null for none."""
    found = SPLIT.fullmatch(line)
    assert found
    values = zip((field["key"] for field in data["fields"]), found.groups(), strict=True)
    typed = {key: int(v) if v.isdigit() else None if v == "-" else v for key, v in values}
    return json.dumps(typed, sort_keys=True)


@pytest.mark.parametrize("line", TEXT)
def test_recorded_line_is_decoded_completely(line: str, decode: Decode) -> None:
    found = SPLIT.fullmatch(line)
    assert found, "an independent split"
    fields = only_line(decode(line))["fields"]
    assert [field["value"] for field in fields] == list(found.groups())
    assert all(field["means"] for field in fields)


@pytest.mark.parametrize("line", [line for line in LINES if line not in TEXT])
def test_recorded_json_is_decoded_completely(line: str, decode: Decode) -> None:
    values = {key: "-" if v is None else str(v) for key, v in json.loads(line).items()}
    found = only_line(decode(line))
    assert {field["key"]: field["value"] for field in found["fields"]} == values
    assert found["more"] == []


def test_text_and_json_of_a_line_are_decoded_alike(decode: Decode, data: dict[str, Any]) -> None:
    for line in TEXT:
        one, two = decode(line)["requests"], decode(as_json(line, data))["requests"]
        assert one == two, line


def test_every_recorded_answer_has_a_verdict_without_marks(decode: Decode) -> None:
    verdicts = {decode(line)["requests"][0]["verdict"] for line in LINES}
    assert len(verdicts) > 10
    assert [text for text in verdicts if not re.fullmatch(r"[A-Z\d][^{}]+\.", text)] == []


# What is said of a line


def test_the_first_advice_is_right_for_nineteen_of_twenty_that_people_paste() -> None:
    engine, cases = decoding.Decoder(), decoding.cases()
    wrong = [case.name for case in cases if any(case.faults(engine.decode(case.text)))]
    assert len(cases) >= 80
    assert len(wrong) <= len(cases) / 20, wrong


def made(**values: str) -> str:
    """A line of a sidecar that called a server, with some fields changed."""
    fields = {
        "start": "2026-11-23T03:00:00.000Z",
        "request": "GET / HTTP/1.1",
        "code": "503",
        "flags": "-",
        "details": "via_upstream",
        "end": "-",
        "reason": "-",
        "sent": "9",
        "agent": "curl/8",
        "id": "1",
        "host": "10.0.0.5:8080",
        "cluster": "outbound|80||shop.shop.svc.cluster.local",
        "leaves": "10.0.0.4:40000",
        "arrives": "10.96.0.1:80",
        "client": "10.0.0.4:50000",
        "name": "-",
        "route": "default",
    } | values
    return (
        '[{start}] "{request}" {code} {flags} {details} {end} "{reason}" 0 {sent} 3 2 "-" '
        '"{agent}" "{id}" "shop" "{host}" {cluster} {leaves} {arrives} {client} {name} {route}'
    ).format(**fields)


def inbound(**values: str) -> str:
    """The line of the server's sidecar for the same request."""
    own = {"cluster": "inbound|8080||", "leaves": "127.0.0.6:41000", "arrives": "10.0.0.5:8080"}
    return made(**{"start": "2026-11-23T03:00:00.001Z", "client": "10.0.0.4:40000"} | own | values)


TCP = {"request": "- - -", "code": "0", "details": "-", "agent": "-", "id": "-", "route": "-"}
REFUSED = "upstream_reset_before_response_started{remote_connection_failure|Connection_refused}"
UNTRUSTED = (
    "upstream_reset_before_response_started{{remote_connection_failure|TLS_error:|268435581:"
    "SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_{}:TLS_error_end}}"
)
LATE = "upstream_reset_after_response_started{connection_termination}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (inbound(), "The application answered 503 itself."),
        (made(), "10.0.0.5:8080 answered 503, and this proxy passed it on. If 10.0.0.5:8080 has"),
        (made(code="200"), "10.0.0.5:8080 answered 200, and this proxy passed it on."),
        (
            made(flags="UF", details=REFUSED),
            "This proxy made the 503 itself. 10.0.0.5:8080 accepts no connections",
        ),
        (
            made(code="200", flags="URX"),
            "10.0.0.5:8080 answered 200 in each try, and this proxy passed the last answer on. "
            "With gRPC that is an error all the same",
        ),
        (
            made(flags="UF", details=REFUSED.lower(), host="envoy://connect_originate/10.0.0.5:80"),
            "This proxy made the 503 itself. envoy://connect_originate/10.0.0.5:80 accepts no",
        ),
        (
            inbound(flags="UF", details=REFUSED),
            "This proxy made the 503 itself. The application at 10.0.0.5:8080 accepts no",
        ),
        (
            made(flags="UF", details=REFUSED, reason="TLS_error:|268435703:WRONG_VERSION_NUMBER"),
            "This proxy made the 503 itself. The proxy spoke TLS, and 10.0.0.5:8080 answered",
        ),
        (
            made(flags="URX,UF", details=UNTRUSTED.format("verify_SAN_list,_expected_SANs:_[a]")),
            "This proxy made the 503 itself. The certificate of 10.0.0.5:8080 does not carry",
        ),
        (
            made(flags="UF", details=UNTRUSTED.format("unable_to_get_local_issuer_certificate")),
            "This proxy made the 503 itself. The proxy does not know the authority that has",
        ),
        (made(flags="URX"), "10.0.0.5:8080 answered 503, and"),
        (made(code="200", flags="UC", details=LATE), "10.0.0.5:8080 began to answer 200"),
        (made(code="200", flags="UPE"), "10.0.0.5:8080 began to answer 200, and then"),
        (made(code="0", flags="DC", details="downstream_remote_disconnect"), "The client left"),
        (
            made(code="0", flags="DC", details="downstream_local_disconnect"),
            "No status was sent. This proxy closed the client's connection.",
        ),
        (
            made(flags="DC", details="downstream_local_disconnect(filter_chain_is_being_removed)"),
            "10.0.0.5:8080 began to answer 503, and then the exchange broke off. This proxy closed",
        ),
        (
            made(code="101", flags="SI", details="stream_idle_timeout"),
            "10.0.0.5:8080 began to answer 101, and then the exchange broke off. Nothing moved",
        ),
        ("UC upstream_reset_before_response_started", "The connection or stream to the upstream"),
        (made(code="200", details="direct_response"), "This proxy made the 200 itself. A route"),
        (made(code="302", flags="UAEX", details="ext_authz_denied"), "This proxy sent the 302, "),
        (made(code="200", flags="RFCF", details=""), "This proxy sent the 200 from its cache."),
        (made(code="500", flags="NFCF", details=""), "This proxy made the 500 itself. The"),
        (made(code="418", details="-"), "The line does not say who made the 418"),
        (
            made(flags="NC", details="cluster_not_found", cluster="-", host="-", leaves="-"),
            "This proxy made the 503 itself. The route leads to a cluster that this proxy does not",
        ),
        (made(code="0", details="max_duration_timeout"), "No status was sent. The stream"),
        (made(**TCP), "The TCP connection to 10.0.0.5:8080 ended without a fault."),
        (
            made(**TCP, sent="0"),
            "The TCP connection to 10.0.0.5:8080 ended, and not a byte went either way: client and",
        ),
        (
            made(**TCP | {"flags": "UF", "host": "-"}),
            "The TCP connection was refused, or ended with a fault. The proxy could",
        ),
        (
            made(**TCP, end="transport socket timeout was reached"),
            "The TCP connection was refused, or ended with a fault. The downstream did not",
        ),
    ],
)
def test_verdict_says_who_made_the_answer_and_why(line: str, said: str, decode: Decode) -> None:
    assert decode(line)["requests"][0]["verdict"].startswith(said)


@pytest.mark.parametrize(
    ("line", "direction"),
    [
        (inbound(), "inbound"),
        (made(), "sidecar"),
        (made(arrives="10.0.0.4:8080", client="192.0.2.1:5"), "gateway"),
        (made(leaves="-"), "outbound"),
        (made(client="192.0.2.1:5"), "outbound"),
        (made(cluster="PassthroughCluster"), "sidecar"),
        (made(cluster="inbound-vip|80|http|shop.shop.svc.cluster.local"), "waypoint"),
        (made(cluster="-"), "unknown"),
    ],
)
def test_direction_follows_from_cluster_and_addresses(
    line: str, direction: str, decode: Decode
) -> None:
    assert only_line(decode(line))["direction"] == direction


def value(answer: dict[str, Any], key: str) -> str:
    text: str = only_line(answer)["values"][key]
    return text


@pytest.mark.parametrize(
    ("key", "field", "text"),
    [
        ("upstream_host", "host", "[2001:db8::5]:8080"),
        ("upstream_host", "host", "/var/run/shop.sock"),
        ("upstream_host", "host", "envoy://connect_originate/10.0.0.5:8080"),
        ("downstream_remote_address", "client", "[::1]:50000"),
        ("downstream_remote_address", "client", ":0"),
        ("user_agent", "agent", 'a "quoted" name'),
        ("user_agent", "agent", "🦊 [2026-11-23T03:00:00.000Z] <script>"),
        ("route_name", "route", "my own route"),
        ("connection_termination_details", "end", "transport socket timeout was reached"),
    ],
)
def test_unusual_value_is_read_whole(key: str, field: str, text: str, decode: Decode) -> None:
    assert value(decode(made(**{field: text})), key) == text


def test_older_cluster_names_are_decoded(decode: Decode) -> None:
    line = only_line(decode(inbound(cluster="inbound|8080|http|shop.shop.svc.cluster.local")))
    assert line["direction"] == "inbound"


@pytest.mark.parametrize(
    "prefix", ["[pod/shop-1/istio-proxy] ", "shop-1 istio-proxy ", "2026-11-23T03:00:00.1Z ", "  "]
)
def test_prefix_is_kept_apart(prefix: str, decode: Decode, data: dict[str, Any]) -> None:
    for line in (UC, as_json(UC, data)):
        found = only_line(decode(prefix + line))
        assert (found["prefix"], found["values"]["response_flags"]) == (prefix.strip(), "UC")


OPEN = "The TCP connection to 10.0.0.5:8080 was not over when this line was written."


@pytest.mark.parametrize(
    ("type_", "said"),
    [
        ("TcpUpstreamConnected", OPEN),
        ("TcpPeriodic", OPEN),
        ("TcpConnectionEnd", "The TCP connection to 10.0.0.5:8080 ended without a fault."),
        ("DownstreamStart", "The request was not over when this line was written."),
        ("DownstreamPeriodic", "The request was not over when this line was written."),
        ("DownstreamEnd", "10.0.0.5:8080 answered 101, and this proxy passed it on."),
    ],
)
def test_a_line_is_known_by_its_type_as_one_before_the_end(
    type_: str, said: str, decode: Decode, data: dict[str, Any]
) -> None:
    line = made(**TCP) if type_.startswith("Tcp") else made(code="101")
    as_object = as_json(line, data).replace("{", f'{{"access_log_type": "{type_}", ', 1)
    for typed in (f"{type_} 11111111-2222-3333-4444-555555555555 {line}", as_object):
        [request] = decode(typed)["requests"]
        assert request["verdict"] == said


def test_colours_and_line_ends_of_windows_are_ignored(decode: Decode) -> None:
    assert value(decode(f"\x1b[32m{UC}\x1b[0m\r\n"), "route_name") == "default"


def test_json_may_be_spread_and_lack_empty_keys(decode: Decode, data: dict[str, Any]) -> None:
    values = {k: v for k, v in json.loads(as_json(UC, data)).items() if v is not None}
    answer = decode(json.dumps(values | {"pod": "shop-1"}, indent=2))
    assert value(answer, "requested_server_name") == "-"
    assert only_line(answer)["more"] == ["pod"]


# Several lines


def test_lines_of_one_request_are_in_the_order_of_its_way(decode: Decode) -> None:
    client, server = made(), inbound(flags="UC", details=REFUSED)
    for pasted in (f"{client}\n{server}", f"{server}\n{client}"):
        [request] = decode(pasted)["requests"]
        assert [line["direction"] for line in request["lines"]] == ["sidecar", "inbound"]
        assert "(inbound sidecar): This proxy made the 503 itself." in request["verdict"]


def test_clocks_that_differ_do_not_change_the_order(decode: Decode) -> None:
    early = inbound(start="2026-11-23T02:59:59.900Z")
    [request] = decode(f"{early}\n{made()}")["requests"]
    assert [line["direction"] for line in request["lines"]] == ["sidecar", "inbound"]


def test_another_call_of_the_same_request_does_not_take_the_blame(decode: Decode) -> None:
    other = inbound(
        start="2026-11-23T03:00:00.002Z", client="10.0.0.9:1", arrives="10.0.0.8:80", code="404"
    )
    [request] = decode("\n".join([made(), inbound(), other]))["requests"]
    assert (len(request["lines"]), request["decisive"]) == (3, 2)


def test_different_requests_stay_apart(decode: Decode) -> None:
    assert len(decode(f"{made()}\n{made(id='2')}\n{made(id='-')}")["requests"]) == 3


def test_lines_of_a_tcp_connection_are_paired_by_its_addresses(decode: Decode) -> None:
    lines = [made(**TCP), inbound(**TCP | {"flags": "UF"}), made(**TCP | {"leaves": "10.0.0.4:7"})]
    answer = decode("\n".join(lines))
    assert [len(request["lines"]) for request in answer["requests"]] == [2, 1]
    assert answer["requests"][0]["decisive"] == 2


def order(answer: dict[str, Any]) -> list[list[int]]:
    """The numbers of the lines of each request, from client to server."""
    return [[line["number"] for line in request["lines"]] for request in answer["requests"]]


RESET = "upstream_reset_before_response_started{connection_termination}"
BROKEN = made(flags="UC", details=RESET, id="7", start="2026-11-23T03:00:00.002Z")
NOBODY = made(
    **TCP
    | {"flags": "NR", "details": "filter_chain_not_found", "cluster": "-", "host": "-"}
    | {"leaves": "-", "arrives": "10.0.0.5:8080", "client": "10.0.0.4:40000"}
)


def test_listener_that_refused_the_connection_is_the_reason_of_the_reset(decode: Decode) -> None:
    for lines in ([BROKEN, NOBODY], [NOBODY, BROKEN]):
        answer = decode("\n".join(lines))
        [request] = answer["requests"]
        server = lines.index(NOBODY) + 1
        assert order(answer) == [[3 - server, server]]
        assert request["decisive"] == server
        assert request["verdict"].startswith(f"Line {server} (a proxy): The TCP connection was ref")


def test_reason_is_followed_from_the_request_through_connections(decode: Decode) -> None:
    passing = made(
        **TCP
        | {"flags": "UF", "start": "2026-11-23T03:00:00.003Z"}
        | {"client": "10.0.0.4:40000", "leaves": "10.0.0.6:1"}
    )
    last = NOBODY.replace("10.0.0.4:40000", "10.0.0.6:1")
    answer = decode("\n".join([last, passing, BROKEN]))
    assert (order(answer), answer["requests"][0]["decisive"]) == ([[3, 2, 1]], 1)


def test_connection_belongs_to_the_last_request_on_it(decode: Decode) -> None:
    fine = {"code": "200", "start": "2026-11-23T03:00:00.000Z"}
    passing = made(**TCP | {"client": "10.0.0.4:40000", "leaves": "10.0.0.6:1"}).replace(
        " 3 2 ", " 9000 - "
    )
    last = {"code": "503", "flags": "UC", "details": RESET, "start": "2026-11-23T03:00:08.900Z"}
    answer = decode("\n".join([passing, made(**fine, id="2"), made(**last, id="3")]))
    assert order(answer) == [[3, 1], [2]]
    # It ended without a fault, so it is not the reason.
    assert [request["decisive"] for request in answer["requests"]] == [3, 2]


def test_proxy_that_closed_the_connection_is_the_reason_of_the_reset(decode: Decode) -> None:
    for why, decisive in (("local_disconnect", 2), ("remote_disconnect", 1)):
        server = inbound(code="0", flags="DC", details=f"downstream_{why}", id="7")
        [request] = decode(f"{BROKEN}\n{server}")["requests"]
        assert request["decisive"] == decisive


def test_address_that_is_used_again_is_another_connection(decode: Decode) -> None:
    lines = [made(**TCP), inbound(**TCP)]
    later = [line.replace("T03:", "T04:") for line in lines]
    assert order(decode("\n".join([*lines, *later]))) == [[1, 2], [3, 4]]
    untimed = [line.replace("2026-11-23", "0000-00-00") for line in lines]
    assert order(decode("\n".join(untimed))) == [[1, 2]]


def test_two_calls_to_one_endpoint_are_each_followed_by_their_answer(decode: Decode) -> None:
    again = [
        made(start="2026-11-23T03:00:00.004Z", leaves="10.0.0.4:40001"),
        inbound(start="2026-11-23T03:00:00.005Z", client="10.0.0.4:40001"),
    ]
    assert order(decode("\n".join([again[1], inbound(), again[0], made()]))) == [[4, 2, 3, 1]]


def test_lines_that_call_each_other_in_a_circle_are_all_kept(decode: Decode) -> None:
    circle = [
        made(**TCP | {"leaves": f"10.0.0.4:{n}", "client": f"10.0.0.4:{(n + 1) % 5}"})
        for n in range(5)
    ]
    [numbers] = order(decode("\n".join(circle)))
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    ring = [
        made(id="1", leaves="10.0.0.4:1", client="10.0.0.4:2"),
        made(id="1", leaves="10.0.0.4:2", client="10.0.0.4:1"),
    ]
    assert len(order(decode("\n".join(ring)))[0]) == 2


MANY = 50_000


@pytest.mark.parametrize(
    "lines",
    [
        [made()] * MANY,
        [inbound()] * MANY,
        [made(**TCP)] * MANY,
        [made(**TCP | {"leaves": "10.0.0.4:1", "client": "10.0.0.4:1"})] * MANY,
        [
            made(**TCP | {"leaves": f"10.0.0.4:{n}", "client": f"10.0.0.4:{n + 1}"})
            for n in range(MANY)
        ],
        [make(id=str(n)) for n in range(MANY // 2) for make in (made, inbound)],
    ],
    ids=["outbound", "inbound", "TCP", "own callers", "a chain", "pairs"],
)
def test_many_lines_are_joined_before_the_time_is_up(
    lines: list[str], summarise: Summarise
) -> None:
    found = [line for row in summarise(lines) for request in row["requests"] for line in request]
    assert sorted(found) == list(range(1, MANY + 1))


# Many lines in a table


def test_table_counts_what_differs_only_in_addresses(summarise: Summarise) -> None:
    lines = [
        made(
            id=str(n),
            flags="UF",
            start=f"2026-11-23T03:00:0{(n * 3) % 7}.000Z",
            details=f"upstream_reset{{remote|delayed_connect_error:_111_10.0.0.{n}:80_{n}268435}}",
        )
        for n in range(7)
    ]
    [row] = summarise([*lines, "what?"])
    assert row | {"requests": len(row["requests"])} == {
        "status": "503",
        "flags": "UF",
        "details": "upstream_reset{remote|delayed_connect_error:_111_…_…}",
        "cluster": "outbound|80||shop.shop.svc.cluster.local",
        "requests": 7,
        "first": "2026-11-23T03:00:00.000Z",
        "last": "2026-11-23T03:00:06.000Z",
        "badness": 0,
    }
    error = lines[0].replace("_111_", "_113_").replace('"0"', '"8"')
    assert len(summarise([*lines, error])) == 2


def test_table_has_the_status_that_was_answered_and_its_reason(summarise: Summarise) -> None:
    [row] = summarise([BROKEN, NOBODY])
    assert (row["status"], row["flags"], row["details"]) == ("503", "NR", "filter_chain_not_found")
    assert row["cluster"] == "outbound|80||shop.shop.svc.cluster.local"
    [row] = summarise([made(**TCP, end="transport socket timeout was reached", reason="why")])
    assert row["status"] == "TCP"
    assert row["details"] == "transport socket timeout was reached, why"


@pytest.mark.parametrize(
    ("line", "badness"),
    [
        (made(flags="UC", details=RESET), 0),
        (made(code="404", flags="NR", details="route_not_found"), 0),
        (made(code="500", details="direct_response"), 0),
        (made(code="0", details="max_duration_timeout"), 0),
        (made(flags="XX"), 0),
        (made(**TCP | {"flags": "UF"}), 0),
        (made(**TCP, end="rbac_access_denied_matched_policy[none]"), 0),
        (made(code="503"), 1),
        (made(code="403", details="rbac_access_denied_matched_policy[none]"), 1),
        (made(code="0", flags="DC", details="downstream_remote_disconnect"), 1),
        (made(code="200"), 2),
        (made(code="301", details="direct_response"), 2),
        (made(**TCP), 2),
    ],
)
def test_what_a_proxy_says_is_worse_than_an_error_and_that_worse_than_none(
    line: str, badness: int, summarise: Summarise
) -> None:
    [row] = summarise([line])
    assert row["badness"] == badness


def test_worst_row_comes_first_and_of_like_ones_the_longest(summarise: Summarise) -> None:
    kinds = [
        (5, {"code": "200"}),
        (1, {"flags": "UH"}),
        (4, {"code": "503"}),
        (2, {"flags": "UF"}),
        (3, {"code": "500"}),
    ]
    lines = [made(**kind, id=f"{count}-{n}") for count, kind in kinds for n in range(count)]
    rows = [(row["status"], row["flags"], len(row["requests"])) for row in summarise(lines)]
    assert rows == [
        ("503", "UF", 2),
        ("503", "UH", 1),
        ("503", "", 4),
        ("500", "", 3),
        ("200", "", 5),
    ]


def test_request_through_four_proxies_is_put_in_order(decode: Decode) -> None:
    path = EXAMPLES / "debugging/access-logs/4-request-id.console"
    [request] = decode("\n".join(decoder.lines(path)))["requests"]
    directions = [line["direction"] for line in request["lines"]]
    assert directions == ["gateway", "inbound", "sidecar", "inbound"]
    assert request["lines"][1]["number"] == request["decisive"]


def test_what_a_gateway_passed_on_is_explained_by_the_waypoint_behind_it(decode: Decode) -> None:
    tunnel = {"host": "envoy://connect_originate/10.0.0.5:8080", "leaves": "envoy://internal/"}
    gateway = made(**tunnel, arrives="10.0.0.4:8443")
    cluster = "inbound-vip|80|http|shop.shop.svc.cluster.local"
    failed = {
        "cluster": cluster,
        "flags": "UC",
        "details": "upstream_reset_before_response_started",
    }
    waypoint = made(**tunnel | failed, start="2026-11-23T03:00:00.001Z", client="10.0.0.9:41000")
    [request] = decode(f"{waypoint}\n{gateway}")["requests"]
    assert [line["number"] for line in request["lines"]] == [2, 1]
    assert request["verdict"].startswith("Line 1 (waypoint): This proxy made the 503 itself.")


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("0 DC downstream_remote_disconnect", "The client left before"),
        ("0 NR filter_chain_not_found", "The TCP connection was refused, or"),
        ("0 UF,URX", "The TCP connection was refused, or"),
    ],
)
def test_the_details_tell_of_what_a_line_without_a_protocol_is(
    rest: str, said: str, decode: Decode
) -> None:
    assert decode(rest)["requests"][0]["verdict"].startswith(said)


def test_the_body_of_an_answer_is_none_of_a_tcp_connection(decode: Decode) -> None:
    body = "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
    causes = decode(body)["requests"][0]["causes"]
    assert causes
    assert not any("TCP connection" in cause["cause"] for cause in causes)


def test_recorded_pair_tells_that_the_server_closed_the_connection(decode: Decode) -> None:
    path = EXAMPLES / "problems/upstream-connection-termination/2-diagnose.console"
    [request] = decode("\n".join([*decoder.lines(path)][:2]))["requests"]
    assert len(request["lines"]) == 2
    assert "made the 503 itself. The application at 10.244." in request["verdict"]


def test_a_cluster_that_is_not_there_leads_to_the_route_and_to_aliases(decode: Decode) -> None:
    path = EXAMPLES / "problems/external-name/2-diagnose.console"
    [request] = decode(next(iter(decoder.lines(path))))["requests"]
    assert "ROUTE_NAME" in " ".join(cause["decide"] for cause in request["causes"])
    links = {cause["link"]["href"] for cause in request["causes"] if cause["link"]}
    assert {"problems/external-name", "debugging/access-logs"} <= links


# Lines that are not understood


def cut(line: str, before: str) -> str:
    return line[: line.index(before)]


def test_other_lines_are_decoded_beside_one_that_is_not(decode: Decode) -> None:
    answer = decode(f"hello\n\n{made()}")
    assert [fault["number"] for fault in answer["faults"]] == [1]
    assert answer["requests"][0]["lines"][0]["number"] == 3


def test_nothing_is_said_and_no_line_is_left_out(decode: Decode) -> None:
    assert decode(" \n")["notes"] == ["Paste a line first."]
    assert len(decode("x\n" * 1500)["faults"]) == 1500


# Mutated lines

PIECES = ['"', "' ", "<script>alert(1)</script>", "{", "}", "[", "\\", '\\"', "🦊", "\0", '" "']


def mutated(line: str, chance: random.Random) -> str:
    """The line after a few changes of the kinds that pasting, or an attacker, makes."""
    for _ in range(chance.randint(1, 3)):
        at, to = sorted((chance.randrange(len(line) + 1), chance.randrange(len(line) + 1)))
        line = chance.choice(
            [
                line[:at] + line[at + 1 :],
                line[:at] + line[to:],
                line[:at] + chance.choice(PIECES) + line[at:],
                line[:at] + line[at:to][::-1] + line[to:],
                line[:at],
                line[at:],
                line[:to] + line[at:],
                line.replace(" ", chance.choice(["  ", "\t", "\n"]), 1),
                line.replace('"', chance.choice(["", "'", '""']), chance.randint(1, 6)),
            ]
        )
    return line


def mutations(count: int, data: dict[str, Any]) -> list[str]:
    """The same mutated lines in each run."""
    chance = random.Random(5)  # noqa: S311 (no secret)
    sources = [*TEXT, *(as_json(line, data) for line in TEXT)]
    return [mutated(chance.choice(sources), chance) for _ in range(count)]


def test_mutated_lines_get_an_answer_or_a_message(decode: Decode, data: dict[str, Any]) -> None:
    decoded = failed = 0
    for line in mutations(2000, data):
        answer = decode(line)
        assert answer["requests"] or answer["faults"] or answer["notes"], line
        assert all(fault["message"] for fault in answer["faults"]), line
        decoded += bool(answer["requests"])
        failed += bool(answer["faults"])
    assert decoded > 100
    assert failed > 500


HUGE = 1_000_000
LONG = 199_000


@pytest.mark.parametrize(
    "text",
    [
        made(agent="x" * HUGE),
        made(agent="x" * LONG),
        made(agent='" "' * (LONG // 3)),
        made(agent='" "1" "shop" "-' * (LONG // 15))[:LONG],
        made(end="a b " * (LONG // 4)),
        made(route="a " * (LONG // 2)),
        "[2026-11-23T" * (LONG // 12),
        '{"start_time":' * (LONG // 14),
        '{"start_time":1,"response_code":' + "[" * (LONG // 2) + "]" * (LONG // 2) + "}",
        ("a" * 999 + "\n") * 1000,
        "\n".join(made(**TCP, leaves=f"10.0.0.4:{n}") for n in range(1000)),
        "\n".join([inbound()] * 1000),
    ],
    ids=lambda text: text[:12],
)
def test_long_text_is_answered_before_the_time_is_up(text: str, decode: Decode) -> None:
    answer = decode(text)
    assert answer["requests"] or answer["faults"]


# The script and its texts


def test_script_has_no_way_to_make_markup_to_send_or_to_keep() -> None:
    sinks = "innerHTML outerHTML insertAdjacentHTML document.write eval Function DOMParser srcdoc"
    senders = "fetch XMLHttpRequest WebSocket EventSource sendBeacon import Worker Image location"
    keepers = "localStorage sessionStorage indexedDB cookie caches history"
    parsers = "setAttribute createContextualFragment setHTMLUnsafe parseHTMLUnsafe setTimeout"
    names = f"{sinks} {senders} {keepers} {parsers}".split()
    assert [name for name in names if re.search(rf"\b{re.escape(name)}\b", decoding.SCRIPT)] == []


def used(name: str) -> set[str]:
    """The keys of a map of texts that the script names."""
    return set(re.findall(rf'\b{name}(?:\.|\[")([\w-]+)', decoding.SCRIPT))


def test_every_text_of_the_decoder_is_used_and_every_used_one_is_there(
    data: dict[str, Any],
) -> None:
    form = set(re.findall(r"\{(\w+)\}", decoder.FORM)) - {"buttons", "data"}
    assert used("words") | form == set(data["words"])
    for name in ("verdicts", "messages", "forms"):
        named = [key for key in data[name] if re.search(rf'["\s.]{key}\b', decoding.SCRIPT)]
        assert named == list(data[name]), name


def test_every_detail_can_be_reached(decode: Decode, data: dict[str, Any]) -> None:
    for detail in data["details"]:
        route = detail.get("where", {}).get("route_name", "default")
        means = detail["means"].replace("{host}", "10.0.0.5:8080")
        for words in access_log.wordings(detail):
            line = only_line(decode(made(reason=words, route=route)))
            assert line["explained"][0]["means"] == means, words


def first_cause(answer: dict[str, Any]) -> dict[str, Any]:
    cause: dict[str, Any] = answer["requests"][0]["causes"][0]
    return cause


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"flags": "URX,UF", "reason": "delayed_connect_error:_Connection_refused"}, "targetPort"),
        ({"flags": "UF", "reason": "TLS_error:WRONG_VERSION_NUMBER:TLS_error_end"}, "plain text"),
        ({"details": "direct_response", "route": "block_all"}, "ServiceEntry"),
        ({"flags": "UH", "details": "-", "cluster": "BlackHoleCluster"}, "ServiceEntry"),
        ({"details": "rbac_access_denied_matched_policy[none]"}, "authorizationpolicies"),
        ({"flags": "URX", "details": "via_upstream"}, "retries"),
    ],
)
def test_the_first_cause_is_the_one_that_the_reason_names(
    decode: Decode, values: dict[str, str], said: str
) -> None:
    cause = first_cause(decode(made(**values)))
    assert said in f"{cause['cause']} {cause['decide']} {cause['do']}"


def test_limits_on_the_page_are_those_of_the_scripts() -> None:
    said = (BOOK / "reference" / "decoder.md").read_text()
    names = ("characters: 50000000", "lines: 300000", "SHOWN = 200000", "LONGEST = 8000")
    for name in names:
        assert name in decoding.SCRIPT
        assert f"{int(name.split()[-1]):,} " in said
    assert "FEW = 10;" in decoding.SCRIPT
    assert "For more than ten requests" in said


@pytest.mark.parametrize(("identity", "said"), [(True, False), (False, True)])
def test_strict_refuses_only_clients_without_identity(
    identity: bool, said: bool, decode: Decode
) -> None:
    pair = 'src.identity="spiffe://cluster.local/ns/a/sa/b" ' if identity else ""
    line = (
        f"2026-11-23T03:00:00.1Z\terror\taccess\tconnection complete\tsrc.addr=10.0.0.4:1 {pair}"
        'dst.addr=10.0.0.5:15008 direction="inbound" '
        'error="connection closed due to policy rejection"'
    )
    [cause] = decode(line)["requests"][0]["causes"]
    assert ("STRICT" in f"{cause['cause']} {cause['do']}") == said


def test_line_without_a_route_leads_to_the_order_of_routes(decode: Decode) -> None:
    line = next(line for line in TEXT if " 404 NR route_not_found " in line)
    assert first_cause(decode(line))["link"]["href"] == "practices/route-order"


def test_line_of_a_redirect_that_was_followed_leads_to_its_chapter(decode: Decode) -> None:
    line = next(line for line in TEXT if " 302 - internal_redirect " in line)
    assert first_cause(decode(line))["link"]["href"] == "practices/internal-redirect"


# The table of fields


def project(folder: Path, change: Callable[[list[dict[str, str]]], object]) -> Path:
    """The sources of a book whose list of fields was changed."""
    source = folder / "book"
    (source / "reference").mkdir(parents=True)
    texts = yaml.safe_load((BOOK / access_log.TEXTS).read_text())
    change(texts["fields"])
    (source / access_log.TEXTS).write_text(yaml.safe_dump(texts))
    recordings = folder / access_log.RECORDINGS
    recordings.parent.mkdir(parents=True)
    recordings.symlink_to(ROOT / access_log.RECORDINGS)
    return source


def test_fields_are_those_of_the_format_string_in_its_order() -> None:
    found = access_log.fields(BOOK)
    joined = "".join(f"{field['before']}%{field['operator']}%" for field in found)
    assert joined == access_log.format_string(BOOK).rstrip("\n")
    assert len(found) == len({field["key"] for field in found}) == 24


def test_lines_are_read_by_the_keys_of_that_format() -> None:
    keys = [field["key"] for field in access_log.fields(BOOK)]
    assert keys[1:4] == ["method", "path", "protocol"]
    assert (keys[0], "request", *keys[4:]) == access_log.KEYS


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('[now] "GET / HTTP/1.1" 503 UF,URX  - "-"', ("503", ["UF", "URX"], "")),
        ('[now] "GET /a b HTTP/1.1" 200 - via_upstream', ("200", ["-"], "via_upstream")),
        (
            '{"a": 1, "start_time": "now", "response_code": 503, "response_flags": "UH", '
            '"response_code_details": "no"}',
            ("503", ["UH"], "no"),
        ),
        ('{"level": "info"}', None),
        ("[now] no request", None),
        ('[now] "GET / HTTP/1.1" 503', None),
        ("", None),
    ],
)
def test_what_is_a_line_is_taken_apart(text: str, read: tuple[str, list[str], str] | None) -> None:
    line = access_log.parse(text)
    assert (line and (line.status, line.flags, line.details)) == read


def test_field_that_istio_adds_stops_the_build(tmp_path: Path) -> None:
    source = project(tmp_path, lambda fields: fields.pop(5))
    with pytest.raises(Fault, match="no item explains the field RESPONSE_FLAGS"):
        access_log.fields(source)


def test_faulty_field_is_named(tmp_path: Path) -> None:
    source = project(tmp_path / "one", lambda fields: fields[0].pop("means"))
    with pytest.raises(Fault, match="the field START_TIME has no means"):
        access_log.fields(source)
    source = project(tmp_path / "two", lambda fields: fields[0].update(mean="a"))
    with pytest.raises(Fault, match="the field START_TIME has an unknown mean"):
        access_log.fields(source)


def test_table_has_a_row_for_each_field() -> None:
    rows = access_log.field_table(access_log.fields(BOOK)).splitlines()[2:]
    assert len(rows) == 24
    assert rows[5].startswith("| 6 | `RESPONSE_FLAGS`, `response_flags` | What this proxy found")
