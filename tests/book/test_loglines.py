"""The figures that are drawn from the lines of one connection in an access log."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import unsaid
from drawings.loglines import Connection, Written, drawing, read

END = (
    '[2026-01-31T12:00:00.500Z] "- - -" 0 - - - "-" 200 4000 2500 - "-" "-" "-" "-" '
    '"10.244.0.5:9000" outbound|9000||feed.default.svc.cluster.local 10.244.0.6:40000 '
    "10.96.0.9:9000 10.244.0.6:40001 - -"
)
HALF = END.replace("200 4000 2500", "100 2000 1250")
LINES = [Written("TcpPeriodic", 1.25, 100), Written("", 2.5, 200)]


def test_lines_are_read_with_and_without_their_type() -> None:
    output = ("configured", f"TcpPeriodic 11111111-2222-3333-4444-555555555555 {HALF}", END)
    assert [*read(output)] == LINES
    assert [*read(("[2026] a line of another log", "200"))] == []


def test_a_connection_is_told_in_words() -> None:
    assert Connection("The default", LINES).text() == (
        "The default: after 1.2 s TcpPeriodic with 100 bytes, after 2.5 s a line with 200 bytes."
    )


def test_the_drawing_has_a_mark_for_each_line_at_its_scale_and_escapes_titles() -> None:
    svg = ElementTree.fromstring(drawing([Connection("One & two", LINES)]))  # noqa: S314 (our own)
    texts = {item.text: item for item in svg if item.tag.endswith("text")}
    assert {"One & two", "TcpPeriodic", "100 bytes", "a line", "200 bytes", "2 s"} <= {*texts}
    bar = [item for item in svg if item.tag.endswith("rect")][1]
    start, width = float(bar.attrib["x"]), float(bar.attrib["width"])
    marks = [item.attrib["d"] for item in svg if item.tag.endswith("path")]
    places = [(float(re.findall(r"M([\d.]+)", mark)[0]) - start) / width for mark in marks]
    assert places == pytest.approx([0.5, 1], abs=0.001)


FAULTY = {
    "\nA caption.": "after a caption and an empty line come: FILE.console NUMBER: TITLE",
    "\nA caption.\n\n1-a: x": "not a line such as 1-first.console 1: a title: 1-a: x",
    "\nA caption.\n\n2-b.console 1: x": "there is no transcript 2-b.console",
    "\nA caption.\n\n1-a.console 2: x": "1-a.console has no output 2 with lines of an access log",
}


def test_a_figure_without_data_is_refused_with_its_place(tmp_path: Path) -> None:
    assert unsaid(tmp_path, "loglines", FAULTY, f"$ log\n{HALF}\n{END}\n") == []
