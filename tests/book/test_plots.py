"""The plots of numbers that were measured, and their tables."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median
from xml.etree import ElementTree

import pytest
from conftest import run_sphinx, unsaid
from docutils import nodes
from drawings import bars
from drawings.pictures import COLOUR, DARK
from drawings.plots import Plot, Point, Series, drawing, number, table, ticks
from lab.paths import EXAMPLES

NEAR = Series("near & dear", [Point("0", [1.0, 4.0, 2.0]), Point("100", [3.0])])
FAR = Series("far", [Point("100", [8.0, 6.0])])
PLOT = Plot("Services", "Seconds", ["0", "100"], [NEAR, FAR])
NAMES = Plot("Kind", "Seconds", ["classic", "native"], [Series("", [Point("native", [4.0])])])


def shapes(plot: Plot, fill: str) -> list[str]:
    """The marks of a colour, after those that only stand beside titles have gone."""
    svg = ElementTree.fromstring(drawing(plot))  # noqa: S314 (our own)
    found = [item.attrib["d"] for item in svg if item.get("fill") == fill and item.get("d")]
    return found[: len(plot.series[0].points)]


def texts(plot: Plot) -> dict[str, tuple[float, float]]:
    """Where each text stands."""
    svg = ElementTree.fromstring(drawing(plot))  # noqa: S314 (our own)
    found = [item for item in svg if item.tag.endswith("text")]
    return {str(t.text): (float(t.attrib["x"]), float(t.attrib["y"])) for t in found}


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (4.2, ["0", "1", "2", "3", "4", "5"]),
        (5.0, ["0", "1", "2", "3", "4", "5"]),
        (4000.0, ["0", "1000", "2000", "3000", "4000"]),
        (0.031, ["0", "0.01", "0.02", "0.03", "0.04"]),
    ],
)
def test_an_axis_goes_from_zero_by_round_steps_past_the_most(most: float, marks: list[str]) -> None:
    assert [number(value) for value in ticks(most)] == marks


def test_marks_stand_at_the_medians() -> None:
    places = texts(PLOT)
    two, three = (float(mark.split()[1].partition("a")[0]) for mark in shapes(PLOT, "#b9d7ea"))
    assert two == pytest.approx(places["2"][1] - 4, abs=0.1)  # a text stands 4 lower than its line
    assert two - three == pytest.approx((places["2"][1] - places["8"][1]) / 6, abs=0.1)


def test_the_table_has_medians_and_what_they_go_from_and_to() -> None:
    cells = [cell.astext() for cell in table(PLOT).findall(nodes.entry)]
    assert cells == [
        *("Services", "near & dear", "far"),
        *("0", "2 (1 to 4)", "–"),
        *("100", "3", "7 (6 to 8)"),
    ]


def test_a_table_of_one_line_is_headed_by_what_was_measured() -> None:
    cells = [cell.astext() for cell in table(NAMES).findall(nodes.entry)]
    assert cells[:2] == ["Kind", "Seconds"]


def test_names_stand_side_by_side_and_no_line_joins_them() -> None:
    places = texts(NAMES)
    assert 0 < places["classic"][0] < places["native"][0]
    assert "stroke-dasharray" not in drawing(NAMES)
    assert drawing(PLOT).count("stroke-dasharray") == 2


def test_titles_stand_at_the_ends_of_their_lines_and_none_covers_another() -> None:
    close = [Series(title, [Point("1", [value])]) for title, value in [("a", 1.0), ("b", 1.01)]]
    places = texts(Plot("x", "y", ["1"], close))
    assert places["a"][1] - places["b"][1] >= 14  # the greater value stands above
    assert "near & dear" in texts(PLOT)


def test_every_colour_has_a_dark_side() -> None:
    many = [Series(f"s{n}", [Point("1", [float(n)])]) for n in range(7)]
    colours = {colour for _name, colour in COLOUR.findall(drawing(Plot("x", "y", ["1"], many)))}
    assert len(colours) > 5
    assert colours <= DARK.keys()


BOTH = Series("", [Point("main", [8.0]), Point("a.b", [2.0])])
TAKEN = Plot("Function", "Seconds", ["main", "a.b"], [BOTH])


def test_bars_are_as_long_as_their_numbers_which_stand_behind_them() -> None:
    drawn = bars.drawing(TAKEN)
    svg = ElementTree.fromstring(drawn)  # noqa: S314 (our own)
    rows = [r for r in svg if r.tag.endswith("rect") and "x" in r.attrib]
    long, short = (float(row.attrib["width"]) for row in rows)
    assert long == pytest.approx(4 * short, abs=0.2)
    assert [text for text in svg.itertext() if text.strip()] == ["Seconds", "main", "8", "a.b", "2"]
    assert {colour for _name, colour in COLOUR.findall(drawn)} <= DARK.keys()


CSV = "# Measured.\nservices,proxy,seconds\n10,near,1.5\n10,near,2.5\n20,far,x\n"
OPTIONS = "\n:x: services Services\n:y: seconds Seconds\n"
FAULTY = {
    f" no.csv{OPTIONS}\nA caption.": "there is no file no.csv",
    " 1-a.console\n:x: services\n\nA caption.": "the option x is not a column and a title",
    f" 1-a.console{OPTIONS}\nA caption.\n\nnear": "not a line such as value: a title: near",
    f" 1-a.console{OPTIONS}:by: zone\n\nA caption.": "1-a.console has no column zone",
    f" 1-a.console{OPTIONS}:by: proxy\n\nA caption.\n\nnear: is near": (
        "1-a.console has these values of proxy: far, near"
    ),
    f" 1-a.console{OPTIONS}\nCaption.": "1-a.console: could not convert string to float: 'x'",
}


def test_faulty_data_is_refused_with_its_place(tmp_path: Path) -> None:
    assert unsaid(tmp_path, "plot", FAULTY, CSV) == []


def test_a_plot_shows_its_file_so_that_no_chapter_leaves_it_out(tmp_path: Path) -> None:
    book, example = tmp_path / "book" / "part", tmp_path / "examples" / "part" / "chapter"
    for folder in (book, example):
        folder.mkdir(parents=True)
    (example / "a.csv").write_text(CSV.replace("far,x", "far,3"))
    (example / "b.csv").write_text(CSV)
    (book.parent / "index.md").write_text("# Index\n\n```{toctree}\npart/chapter\n```\n")
    options = f"{OPTIONS}:by: proxy\n\nCaption.\n\nnear: is near\nfar: is far"
    (book / "chapter.md").write_text(f"# Title\n\n```{{plot}} a.csv{options}\n```\n")
    _code, output = run_sphinx(book.parent, tmp_path / "out")
    assert "b.csv:1: WARNING: this file is not shown" in output
    assert "a.csv" not in output


def test_the_measured_starts_are_as_the_chapter_tells() -> None:
    path = EXAMPLES / "problems" / "application-start-fails" / "starts.csv"
    lines = path.read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))

    def seconds(services: str, proxy: str) -> float:
        keys = (services, proxy)
        found = [float(r["seconds"]) for r in rows if (r["services"], r["proxy"]) == keys]
        assert len(found) >= 3
        return median(found)

    for services in ("1000", "2000", "4000"):
        order = [seconds(services, proxy) for proxy in ("scoped", "near", "far", "throttled")]
        assert order == sorted(order)
    assert seconds("4000", "scoped") < 2 * seconds("10", "scoped")
    assert seconds("4000", "throttled") > 30 * seconds("4000", "scoped")


def test_the_measured_storms_are_as_the_chapter_tells() -> None:
    path = EXAMPLES / "debugging" / "istiod-debug"

    def rows(name: str) -> list[dict[str, str]]:
        lines = (path / name).read_text().splitlines()
        return list(csv.DictReader(line for line in lines if line[0] != "#"))

    cost = {(row["services"], row["who"]): row for row in rows("cost.csv")}
    for services in ("50", "100", "200", "400"):
        told = [cost[services, who] for who in ("selectors", "sidecar", "all")]
        assert [row["responses"] for row in told] == ["0", "60", "780"]
        assert [float(row["cpu"]) for row in told] == sorted(float(row["cpu"]) for row in told)
    assert float(cost["400", "all"]["cpu"]) > 15 * float(cost["400", "sidecar"]["cpu"])
    storm = dict.fromkeys(("all", "sidecar", "selectors"), 0)
    for row in rows("storm.csv"):
        storm[row["who"]] += int(row["responses"])
    assert storm == {"all": 780, "sidecar": 60, "selectors": 0}
    for row in rows("debounce.csv"):
        merged = int(row["pushes"]) < int(row["changes"]) / 5
        late = float(row["seconds"]) > 0.5
        assert merged == late == (int(row["rate"]) > 10)


def test_the_measured_memory_of_metrics_is_as_the_chapter_tells() -> None:
    path = EXAMPLES / "problems" / "stats-memory"

    def rows(name: str) -> list[list[str]]:
        lines = (path / name).read_text().splitlines()
        return list(csv.reader(line for line in lines if line[0] != "#"))[1:]

    memory = {(kind, int(paths)): float(mib) for paths, kind, mib in rows("memory.csv")}
    most = max(paths for kind, paths in memory if kind == "by-path")
    assert most == 15000
    growth = {kind: memory[kind, most] - memory[kind, 0] for kind, _ in memory}
    assert 7 < growth["by-path"] * 1024 / most < 15  # KiB a path
    assert growth["limited"] < growth["by-path"] / 20
    assert growth["bounded"] < growth["by-path"] / 100
    assert {paths for kind, paths in memory if kind == "bounded"} > {most}
    stages = {(stage, number): float(mib) for stage, number, mib in rows("stages.csv")}
    assert stages["evicted", "allocated"] < 1.6 * stages["before", "allocated"]
    assert stages["evicted", "container"] > 0.95 * stages["5000 paths", "container"]
    assert stages["restart", "container"] < stages["evicted", "container"] / 2


def test_dead_connections_are_given_up_when_the_chapter_computes_it() -> None:
    path = EXAMPLES / "problems" / "tcp-keepalive" / "noticed.csv"
    lines = path.read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if line[0] != "#"))
    pairs = {(row["way"], row["computed"]) for row in rows}
    assert len(pairs) == 7 * 3
    assert len(rows) == 3 * len(pairs)
    for row in rows:
        assert 0.9 < float(row["seconds"]) / float(row["computed"]) < 1.25, row


def test_the_measured_workers_are_as_the_chapter_tells() -> None:
    path = EXAMPLES / "problems" / "unbalanced-workers"

    def middle(name: str, column: str, **wanted: str) -> float:
        lines = (path / name).read_text().splitlines()
        rows = csv.DictReader(line for line in lines if line[0] != "#")
        found = [row for row in rows if all(row[key] == wanted[key] for key in wanted)]
        assert len(found) >= 3
        return median(float(row[column]) for row in found)

    slow = {
        (balance, percentile): middle("latency.csv", "ms", balance=balance, percentile=percentile)
        for balance in ("exact", "default")
        for percentile in ("p50", "p99")
    }
    assert middle("latency.csv", "busiest", balance="exact") == 2
    assert middle("latency.csv", "busiest", balance="default") > 2
    assert slow["default", "p50"] > 1.5 * slow["exact", "p50"]
    assert slow["default", "p99"] > 2 * slow["exact", "p99"]
    for workers in ("2", "4", "8"):
        exact, default = (
            middle("short.csv", "microseconds", workers=workers, balance=balance)
            for balance in ("exact", "default")
        )
        assert exact < 1.25 * default
