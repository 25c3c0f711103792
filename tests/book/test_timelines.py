"""The figures that are drawn from the times in transcripts."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import unsaid
from drawings.timelines import ANSWERED, SPAN, Bar, Group, drawing, read
from lab.files.transcript import parse
from lab.paths import EXAMPLES

OUTPUT = """\
pod "edge" deleted from shop namespace
2026-01-31T12:00:00.500Z to 2026-01-31T12:00:06.000Z  slow: no answer
2026-01-31T12:00:00.500Z to 2026-01-31T12:00:04.250Z  new: 200
2026-01-31T12:00:01.000000Z\tinfo\tAgent draining Proxy for termination
[2026-01-31T12:00:00.600Z] "GET / HTTP/1.1" 200
2026-01-31T12:00:06.000000Z\tinfo\tGraceful termination period complete
"""


def test_times_count_from_the_first_moment() -> None:
    group = read("The defaults", OUTPUT)
    assert group.bars == [Bar("slow", "no answer", -0.5, 5.0), Bar("new", "200", -0.5, 3.25)]
    assert group.moments == [(0.0, ""), (5.0, "")]
    assert group.text() == (
        "The defaults: slow from -0.5 to 5.0: no answer; new from -0.5 to 3.2: 200."
    )


@pytest.mark.parametrize(
    ("what", "answered"),
    [("200", True), ("302, close", True), ("503", False), ("ready", True), ("no answer", False)],
)
def test_what_is_neither_a_good_status_nor_ready_counts_as_lost(what: str, answered: bool) -> None:
    assert Bar("new", what, 0, 1).answered == answered


def test_the_drawing_holds_every_bar_at_its_scale_and_escapes_what_it_says() -> None:
    groups = [read("One & two", OUTPUT), read("Two", OUTPUT.replace("new: 200", "new: <503>"))]
    svg = ElementTree.fromstring(drawing(groups))  # noqa: S314 (our own)
    rects = [item for item in svg if item.tag.endswith("rect")][1:]
    texts = [item.text for item in svg if item.tag.endswith("text")]
    assert len(rects) == 4
    widths = [float(rect.attrib["width"]) for rect in rects]
    fills = [rect.attrib["fill"] for rect in rects]
    assert fills == ["url(#failed)", ANSWERED, "url(#failed)", "url(#failed)"]  # hatched, for print
    assert svg.find(".//*[@id='failed']") is not None
    assert widths[0] / widths[1] == pytest.approx(5.5 / 3.75, rel=0.01)
    assert {"One & two", "<503>", "-1 s", "5 s"} <= {*texts}


def test_what_is_too_long_for_the_last_bar_of_a_row_stands_beside_it() -> None:
    short = OUTPUT.replace(
        "Z to 2026-01-31T12:00:06.000Z  slow", "Z to 2026-01-31T12:00:01.000Z  slow"
    )
    svg = ElementTree.fromstring(drawing([read("One", short)]))  # noqa: S314 (our own)
    texts = {item.text: item for item in svg if item.tag.endswith("text")}
    rects = [item for item in svg if item.tag.endswith("rect")][1:]
    ends = [float(rect.attrib["x"]) + float(rect.attrib["width"]) for rect in rects]
    assert float(texts["no answer"].attrib["x"]) > ends[0]
    assert float(rects[1].attrib["x"]) < float(texts["200"].attrib["x"]) < ends[1]


def test_what_is_too_long_for_another_bar_is_left_out_and_no_name_is_cut_off() -> None:
    row = [Bar("istio-proxy", "starts slowly", 0.0, 0.1), Bar("istio-proxy", "ready", 0.1, 9.0)]
    svg = ElementTree.fromstring(drawing([Group("One", row, [])]))  # noqa: S314 (our own)
    texts = {item.text: item for item in svg if item.tag.endswith("text")}
    assert "ready" in texts
    assert "starts slowly" not in texts
    assert float(texts["istio-proxy"].attrib["x"]) > 6 * len("istio-proxy")  # where it ends


def test_a_moment_stands_in_the_row_that_it_is_about() -> None:
    told = OUTPUT.replace("Z\tinfo\tGraceful", "Z\tnew: Graceful").replace("01.000000Z", "07.0Z")
    group = read("One", told)
    assert group.moments == [(1.0, ""), (0.0, "new")]  # the earliest is zero, wherever it stands
    svg = ElementTree.fromstring(drawing([group]))  # noqa: S314 (our own)
    ticks = [item.attrib["d"] for item in svg if item.get("stroke-width") == "1.5"]
    heights = [float(tick.split()[1].partition("v")[0]) for tick in ticks]
    bars = [float(item.attrib["y"]) for item in svg if item.get("stroke-width") == "0.5"]
    assert heights[0] < bars[0] < bars[1] == heights[1]


FAULTY = {
    "\nA caption.": "after a caption and an empty line come lines: FILE.console: TITLE",
    "\nA caption.\n\n1-a.console": "not a line such as 1-first.console: a title: 1-a.console",
    "\nA caption.\n\n2-b.console: x": "there is no transcript 2-b.console",
    "\nA caption.\n\n1-a.console 2: x": "1-a.console has no output 2 with times",
}


def test_a_figure_without_data_is_refused_with_its_place(tmp_path: Path) -> None:
    assert unsaid(tmp_path, "timelines", FAULTY, f"$ bash stop.sh\n{OUTPUT}") == []


@pytest.mark.parametrize(
    ("transcript", "shown"),
    [
        ("1-default", r"slow from -[012]\.\d to 5\.\d: no answer"),
        ("2-zero-connections", r"slow from -[012]\.\d to [789]\.\d: 200"),
        ("3-short-grace", r"slow from -[012]\.\d to 2\.\d: no answer"),
    ],
)
def test_the_recorded_times_are_those_that_the_chapter_tells(transcript: str, shown: str) -> None:
    folder = EXAMPLES / "practices" / "graceful-termination"
    assert re.search(shown, read("x", (folder / f"{transcript}.console").read_text()).text())


@pytest.mark.parametrize(
    ("name", "number", "waits"),
    [
        ("1-reproduce", 0, False),
        ("3-native", 0, True),
        ("4-others", 0, True),
        ("4-others", 1, False),
    ],
)
def test_the_recorded_applications_start_after_their_proxy_where_the_chapter_says_so(
    name: str, number: int, waits: bool
) -> None:
    path = EXAMPLES / "problems" / "application-start-fails" / f"{name}.console"
    texts = ("\n".join(step.output) for step in parse(path.read_text(), path).steps)
    group = read("x", [text for text in texts if SPAN.search(text)][number])
    first = {bar.who: bar for bar in reversed(group.bars)}
    [ready] = [bar.start for bar in group.bars if bar.what == "ready"]
    assert (first["orders"].start >= ready) == waits
    assert first["orders"].what.startswith("fails") == (name == "1-reproduce")
