"""The figure of the two connections of two proxies, drawn from their access logs."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import unsaid
from drawings.hops import SAME, Hop, drawing, in_words, read
from lab.files.transcript import parse
from lab.paths import EXAMPLES

LINE = (
    '[2026-01-31T12:00:00.500Z] "GET /a b HTTP/1.1" 200 - via_upstream - "-" 0 8 1 1 "-" '
    '"agent \\"1\\"" "id" "shop" "10.0.0.2:8080" {} 10.0.0.1:100 10.9.0.1:80 10.0.0.1:200 - default'
)
CLIENT = Hop(
    "client", "10.0.0.1:200", "10.9.0.1:80", "10.0.0.1:100", "10.0.0.2:8080", "outbound|80||shop"
)
TRANSCRIPT = f"""\
$ kubectl get pods
{LINE.format("none")}

$ kubectl logs deploy/client -c istio-proxy
2026-01-31T12:00:00.500000Z\twarning\tenvoy main\tanything
{LINE.format("outbound|80||shop")}

$ kubectl -n shop logs deploy/shop -c istio-proxy --tail=1
{LINE.format("inbound|8080||")}
"""


def test_the_last_line_of_each_proxy_is_taken_apart() -> None:
    hops = list(read(parse(TRANSCRIPT, Path())))
    assert hops[0] == CLIENT
    assert [(hop.name, hop.upstream_cluster) for hop in hops[1:]] == [("shop", "inbound|8080||")]


@pytest.mark.parametrize("output", ["", "{}", LINE.format("a b")])
def test_what_is_no_line_of_the_default_format_is_left_out(output: str) -> None:
    assert list(read(parse(f"$ kubectl logs deploy/client\n{output}\n", Path()))) == []


def test_the_drawing_and_its_words_hold_every_address_and_escape_names() -> None:
    client, server = read(parse(TRANSCRIPT.replace("deploy/shop", "deploy/<shop>"), Path()))
    svg = ElementTree.fromstring(drawing(client, server))  # noqa: S314 (our own)
    texts = [item.text for item in svg if item.tag.endswith("text")]
    addresses = {"10.0.0.1:200", "10.9.0.1:80", "10.0.0.1:100", "10.0.0.2:8080"}
    assert {"<shop>", "upstream_cluster inbound|8080||"} | addresses <= {*texts}
    assert all(address in in_words(client, server) for address in addresses)


def test_what_both_lines_tell_is_marked_without_colour_too() -> None:
    client, server = read(parse(TRANSCRIPT, Path()))
    svg = ElementTree.fromstring(drawing(client, server))  # noqa: S314 (our own)
    boxes = [item for item in svg if item.tag.endswith("rect") and item.get("fill") == SAME]
    dashed = [item for item in svg if item.get("stroke-dasharray")]
    assert boxes == dashed
    assert len(boxes) == 4


def test_the_recorded_lines_are_those_of_one_connection() -> None:
    path = EXAMPLES / "debugging" / "access-logs" / "2-five-addresses.console"
    client, server = read(parse(path.read_text(), path))
    assert client.upstream_local_address == server.downstream_remote_address
    assert client.upstream_host == server.downstream_local_address == server.upstream_host
    assert server.upstream_local_address.startswith("127.0.0.6:")


FAULTY = {
    " 2-none.console\nA caption.": "there is no transcript 2-none.console",
    " 1-a.console\nA caption.": "1-a.console shows no access log lines of two proxies",
}


def test_a_figure_without_its_lines_names_the_place(tmp_path: Path) -> None:
    assert unsaid(tmp_path, "hops", FAULTY, "$ kubectl get pods\n") == []
