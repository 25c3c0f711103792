"""What stands in files: transcripts, what may differ in them, manifests, and settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lab.errors import LabError
from lab.files import transcript
from lab.files.example import Example, find_all
from lab.files.manifests import read_manifest
from lab.files.masks import keep_recorded, mask
from lab.files.recording import digest_of
from lab.paths import EXAMPLES

# Transcripts

TRANSCRIPTS = [path for example in find_all() for path in example.transcripts]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_a_transcript_that_is_read_and_written_is_the_same_file(path: Path) -> None:
    assert transcript.read(path).text() == path.read_text()


def test_a_transcript_is_a_header_and_commands_with_their_lines_and_outputs(tmp_path: Path) -> None:
    path = tmp_path / "1-test.console"
    path.write_text(
        "# A title.\n"
        "\n"
        "$ echo one \\\n"
        "    two\n"
        "one two\n"
        "\n"
        "$ cat <<'END' | wc -l\n"
        "$ not a command\n"
        "END\n"
        "1\n"
        "\n"
        "  an indented line, and an empty one before it\n"
        "\n"
        "$ cat <<< END\n"
        "$ true\n"
    )
    script = transcript.read(path)
    assert script.header == ("# A title.",)
    assert [(step.line, step.command, step.output) for step in script.steps] == [
        (3, "echo one \\\n    two", ("one two",)),
        (
            7,
            "cat <<'END' | wc -l\n$ not a command\nEND",
            ("1", "", "  an indented line, and an empty one before it"),
        ),
        (14, "cat <<< END", ()),
        (15, "true", ()),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A title.\nhello\n", ":2: output before the first command (a transcript starts with "),
        ("$ true\n\n$ cat << EOF\nhello\n", ":3: the here-document EOF has no end"),
        ("# A title.\n", ":1: no command in this transcript (commands start with $ )"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "1-test.console"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        transcript.read(path)
    assert str(caught.value).startswith(f"{path}{said}")


# Masks


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("[2026-11-22T23:28:36.837Z] x", "[<time>] x"),
        ("2026-11-22T23:28:35.481170Z\twarn\tx", "<time>\twarn\tx"),
        ("date: Sun, 22 Nov 2026 23:28:37 GMT", "date: <http-date>"),
        ('- - [22/Nov/2026 23:45:19] "GET', '- - [<date>] "GET'),
        ('"8bdb9f96-2520-4ba5-87b6-0f889a05a098"', '"<request-id>"'),
        ("127.0.0.1:32768 127.0.0.1:60999", "127.0.0.1:<port> 127.0.0.1:<port>"),
        ("- 10.96.0.7:80 10.244.0.5:2537 - default", "- 10.96.0.7:80 10.244.0.5:<port> - default"),
        ('"-" 0 23 17 4 "x"', '"-" 0 23 <duration>  "x"'),
        ('"-" 0 23 17 - "x"', '"-" 0 23 <duration> - "x"'),
        (
            "0 137 10.244.0.3:8080 10.244.0.6:8000 timer:(on,2.108ms,4)",
            "0 137 10.244.0.3:8080 10.244.0.6:8000 timer:(on,<time>,<count>)",
        ),
        (
            "0 0 10.244.0.3:8080 10.244.0.6:8000 timer:(keepalive,16sec,0)",
            "0 0 10.244.0.3:8080 10.244.0.6:8000 timer:(keepalive,<time>,<count>)",
        ),
        ("timer:(keepalive,,0)", "timer:(keepalive,<time>,<count>)"),  # in the moment it runs out
        ("x-envoy-upstream-service-time: 3", "x-envoy-upstream-service-time: <duration>"),
        (
            "after 12 ms: Couldn't connect to server",
            "after <duration>: Could not connect to server",
        ),
        ('"curl/8.16.0"', '"curl/<version>"'),
        ("curl: (35) Recv failure: Connection reset by peer", "curl: (35) <reset>"),
        (
            "curl: (35) OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to a.example.com:443 ",
            "curl: (35) <reset>",
        ),
        *(
            (
                f"curl: (60) SSL: {words} 'mail.example.com'",
                "curl: (60) SSL: <certificate of another host than> 'mail.example.com'",
            )
            for words in (
                "no alternative certificate subject name matches target host name",
                "no alternative certificate subject name matches target hostname",
                "certificate subject name (pay.example.com) does not match target host name",
            )
        ),
        (
            "curl: (35) OpenSSL/3.0.19: error:0A00010B:SSL routines::wrong version number",
            "curl: (35) <no TLS>",
        ),
        (
            "curl: (35) TLS connect error: error:0A00010B:SSL routines::wrong version number",
            "curl: (35) <no TLS>",
        ),
        (
            "curl: (35) GnuTLS, handshake failed: An unexpected TLS packet was received.",
            "curl: (35) <no TLS>",
        ),
        (
            "tls   CA   true   9b04138b472464ac62482078fb3b6be359687   2026-11-24T02:17:04Z",
            "tls   CA   true   <serial> <time>",
        ),
        ("shop   1/1   Running   5m10s", "shop   1/1   Running   <age>"),
        ("trailing blanks   ", "trailing blanks"),
    ],
)
def test_what_differs_from_run_to_run_is_masked(line: str, masked: str) -> None:
    assert mask(line) == masked


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1 503 Service Unavailable",
        "content-length: 57",
        "retry-after: 900",
        "503 UF,URX upstream_reset_before_response_started{connection_termination}",
        '404 NR route_not_found - "-" 0 0',
        "outbound|9000||ledger.ledger.svc.cluster.local",
        "outbound|32768|v1|ledger.ledger.svc.cluster.local",
        "127.111.200.11:8080 127.111.200.12:9000",
        "10.96.0.12:32767",
        "ISTIO_META_PORT=40000 port 40000",
        "Warning [IST0162] (Gateway ledger/audit) The gateway is listening on port 9001",
        "curl: (7) Failed to connect to 127.111.200.3 port 9000",
        "istio-ingressgateway-ltjdh2vkr-4wxvs",
        "curl: (35) OpenSSL/3.0.17: error:0A000458:SSL routines::tlsv1 unrecognized name",
        "curl: (56) Recv failure: Connection reset by peer",
        "digest 9b04138b472464ac62482078fb3b6be359687 of it",
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    ],
)
def test_statuses_flags_clusters_addresses_and_messages_are_never_masked(line: str) -> None:
    assert mask(line) == line


def test_a_request_id_does_not_hide_a_status_beside_it() -> None:
    line = '[2026-11-22T23:28:37.405Z] "GET / HTTP/1.1" {} {} route_not_found - "-" 0 0 0 - "-"'
    assert mask(line.format(404, "NR")) != mask(line.format(503, "NR"))
    assert mask(line.format(404, "NR")) != mask(line.format(404, "UH"))


def test_recording_again_keeps_the_lines_that_differ_in_what_is_masked_only() -> None:
    old = ["at 2026-01-01T00:00:00Z", "200", "at 2026-01-02T00:00:00Z"]
    new = ["at 2026-06-01T00:00:00Z", "503", "at 2026-06-02T00:00:00Z", "more"]
    assert keep_recorded(old, new) == (old[0], "503", old[2], "more")


# Manifests and settings


def test_objects_are_read_in_order_and_lists_are_taken_apart() -> None:
    text = (
        "# A comment, and an empty document.\n---\n"
        "{apiVersion: v1, kind: Service, metadata: {name: a}}\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n"
        "  - {apiVersion: v1, kind: Service, metadata: {name: b}}\n"
        "  - {apiVersion: v1, kind: Service, metadata: {name: c}}\n"
    )
    names = [item["metadata"]["name"] for item in read_manifest(text, Path("test.yaml"))]
    assert names == ["a", "b", "c"]


def test_a_date_in_a_manifest_is_text_as_it_is_to_kubernetes() -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {until: 2026-11-23}}"
    (item,) = read_manifest(text, Path("test.yaml"))
    assert item["data"] == {"until": "2026-11-23"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Service\n\tmetadata: {}\n", "test.yaml:2: not valid YAML: "),
        ("kind: !!python/name:os.system\n", "test.yaml:1: not valid YAML: "),
        ("---\n- kind: Service\n", "test.yaml:2: not a Kubernetes object"),
        ("# nothing set\n\nkind: Gateway\n", "test.yaml:3: apiVersion not set"),
        ("apiVersion: v1\nkind: [a]\n", "test.yaml:1: kind not set"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}\n", "test.yaml:1: metadata.name not set"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(LabError) as caught:
        read_manifest(text, Path("test.yaml"))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# why\n- network\n", ":2: not a mapping of settings"),
        (
            "frogs: 1\n",
            ":1: unknown setting 'frogs' (known: meshConfig, outside, differs, held, lacks)",
        ),
    ],
)
def test_wrong_settings_of_the_lab_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lab.yaml").write_text(text)
    with pytest.raises(LabError) as caught:
        assert Example("problems/new", tmp_path, tmp_path).settings
    assert str(caught.value) == f"{tmp_path}/lab.yaml{said}"


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("lab.yaml", "lacks: a filter\n", True),
        ("rejected-gateway.yaml", "kind: Gateway\n", True),
        ("gateway.yaml", "kind: Gateway\n", False),
    ],
)
def test_a_proxy_may_reject_where_that_is_shown_or_its_envoy_lacks_something(
    tmp_path: Path, name: str, text: str, *, shown: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert Example("problems/new", tmp_path, tmp_path).shows_rejections == shown


def test_a_digest_is_of_values_and_not_of_layout() -> None:
    text = "# Why.\nkind: Service\nmetadata:\n  name: a  # what\n"
    same_values = "{metadata: {name: 'a'}, kind: Service}"
    other = "{metadata: {name: 'b'}, kind: Service}"
    assert digest_of(yaml.safe_load(text)) == digest_of(yaml.safe_load(same_values))
    assert digest_of(yaml.safe_load(text)) != digest_of(yaml.safe_load(other))
