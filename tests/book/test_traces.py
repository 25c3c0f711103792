"""The figures that are drawn from the spans in transcripts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import unsaid
from drawings.traces import COLORS, Shown, Span, drawing, read
from lab.files.masks import mask
from lab.paths import EXAMPLES

OUTPUT = """\
trace 1: 2 spans
     0.0 ms     40.0 ms  gateway: GET /buy (server)
     5.0 ms     30.0 ms    shop: GET /buy <x> (server, error)
trace 2: 1 span
     0.0 ms     10.0 ms  prices: GET /price (server, its parent is missing)
done""".splitlines()


def test_each_trace_has_its_spans_with_their_depths() -> None:
    first, second = read(tuple(OUTPUT))
    assert [(span.service, span.depth) for span in first] == [("gateway", 0), ("shop", 1)]
    assert second == [Span(0, 10, 0, "prices", "GET /price", "server, its parent is missing")]
    assert Shown("One", [first, second]).text() == (
        "One. trace 1: gateway: GET /buy (40.0 ms); below it shop: GET /buy <x> (30.0 ms). "
        "trace 2: prices: GET /price (10.0 ms)."
    )


def test_bars_stand_at_their_scale_and_one_with_an_error_is_hatched() -> None:
    svg = ElementTree.fromstring(drawing([Shown("A & b", read(tuple(OUTPUT)))]))  # noqa: S314
    rects = [item for item in svg if item.tag.endswith("rect")][1:]
    widths = [float(rect.attrib["width"]) for rect in rects]
    assert widths[0] / widths[1] == pytest.approx(40 / 30, rel=0.01)
    assert [rect.attrib["fill"] for rect in rects] == [COLORS[0], "url(#failed)", COLORS[2]]
    texts = {item.text for item in svg if item.tag.endswith("text")}
    assert {"A & b", "trace 2", "shop: GET /buy <x>", "10.0 ms"} <= texts


def test_a_name_that_is_too_long_ends_before_the_bars() -> None:
    long = read(("trace 1: 1 span", f"  0.0 ms  1.0 ms  shop: {'x' * 90} (server)"))
    svg = ElementTree.fromstring(drawing([Shown("One", long)]))  # noqa: S314 (our own)
    (label,) = (item.text for item in svg if (item.text or "").startswith("shop: "))
    assert label is not None
    assert label.endswith("x…")


def test_the_script_prints_what_a_collector_wrote_as_trees() -> None:
    def span(name: str, own: str, parent: str, start: int, trace: str = "t", **more: object) -> str:
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 2_000_000)}
        whole = {"traceId": trace, "spanId": own, "parentSpanId": parent, "name": name, "kind": 2}
        service = {"key": "service.name", "value": {"stringValue": "shop"}}
        scope = {"spans": [whole | times | more]}
        found = {"resource": {"attributes": [service]}, "scopeSpans": [scope]}
        return json.dumps({"resourceSpans": [found]}, separators=(",", ":"))

    lines = [
        "Starting otelcol...",
        span("b", "2", "1", 6_000_000, status={"code": 2}),
        span("a", "1", "", 5_000_000),
        span("c", "3", "gone", 9_000_000, trace="u"),
        span("d", "4", "", 9_000_000, trace="v", links=[{"traceId": "t"}, {"traceId": "away"}]),
    ]
    links = "links to trace 1, links to a trace that is not here"
    script = EXAMPLES / "practices" / "message-tracing" / "spans.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "trace 1: 2 spans",
        "     0.0 ms      2.0 ms  shop: a (server)",
        "     1.0 ms      2.0 ms    shop: b (server, error)",
        "trace 2: 1 span",
        "     0.0 ms      2.0 ms  shop: c (server, its parent is missing)",
        "trace 3: 1 span",
        f"     0.0 ms      2.0 ms  shop: d (server, {links})",
    ]


def test_only_times_and_ids_of_spans_may_change() -> None:
    assert mask(OUTPUT[1]) == "<start and length>  gateway: GET /buy (server)"
    header = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert mask(header) == "traceparent: <traceparent>-01"
    assert not re.search("00f067", mask(header))
    assert mask(header.replace("-01", "-03")) == "traceparent: <traceparent>-03"
    assert mask(f"b3: {header[16:-3]}-1") == "b3: <b3>-1"


FAULTY = {
    "\nA caption.": "after a caption and an empty line come lines: FILE.console: TITLE",
    "\nA caption.\n\n1-a.console": "not a line such as 1-first.console: a title: 1-a.console",
    "\nA caption.\n\n2-b.console: x": "there is no transcript 2-b.console",
    "\nA caption.\n\n1-a.console 2: x": "1-a.console has no output 2 with spans",
}


def test_a_figure_without_spans_is_refused_with_its_place(tmp_path: Path) -> None:
    lines = "\n".join(OUTPUT)
    assert unsaid(tmp_path, "trace", FAULTY, f"$ bash stop.sh\n{lines}\n") == []
