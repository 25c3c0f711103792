"""Draws numbers that were measured, from a file of data, with the same numbers in a table below.

    ```{plot} starts.csv
    :x: services Services in the mesh
    :y: seconds Seconds until the first answer
    :by: proxy

    How long an application waits.

    near: istiod is near
    far: istiod is 200 ms away
    ```

The file is CSV and stands in the page's own example: first comments after `#`, which say on what
machine it was measured and when, then the names of columns, then a row for each measurement. An
option names a column, and then its title. Rows with the same `x` make one point: their median, with
a line from the least to the most. After the caption stand the values of the column `by`, each a
line of the plot, with their titles; without `by` there is one line.

Both axes begin at zero; where `x` is no number, its values stand side by side in the file's order.
Lines differ by mark and dash, so that they can be told apart in print.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

from drawings.figure import Drawing
from drawings.hops import SANS, text

_ = get_translation("extensions")

# In pixels of the drawing, which is scaled to the page.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 320, 56, 190, 26, 44
LINE, MARK = 15, 5
FILLS = ("#b9d7ea", "#f2b8a2", "#fff3c4", "#b9d8c2", "#fff")
DASHES = ("none", "7 4", "2 3", "9 3 2 3", "14 4")


@dataclass(frozen=True)
class Point:
    """All that was measured at one place of a line."""

    x: str
    values: list[float]

    def text(self) -> str:
        """The median, and from where to where the values go if there are several."""
        least, most = number(min(self.values)), number(max(self.values))
        middle = number(median(self.values))
        if least == most:
            return middle
        return _("{middle} ({least} to {most})").format(middle=middle, least=least, most=most)


@dataclass(frozen=True)
class Series:
    """A line of a plot."""

    title: str
    points: list[Point]


@dataclass(frozen=True)
class Plot:
    """What is drawn: `places` are the values of `x` in their order."""

    x: str
    y: str
    places: list[str]
    series: list[Series]

    def numbers(self) -> list[float] | None:
        """The values of `x` if all are numbers."""
        try:
            return [float(place) for place in self.places]
        except ValueError:
            return None


class PlotOf(Drawing):
    """`{plot}`, as the head of this module describes it."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = dict.fromkeys("xy", directives.unchanged_required) | {
        "by": directives.unchanged_required
    }

    def run(self) -> list[nodes.Node]:
        """A figure and its table; an error with the place of the directive for faulty data."""
        caption, titles = self.captioned()
        plot = self.read(dict(self.title(line) for line in titles))
        drawn = self.figure(self.drawn(plot), self.alt(plot), caption)
        for figure in drawn:
            if isinstance(figure, nodes.figure):
                figure["data"] = str(self.file(self.arguments[0]))  # for chapter.examples
        return [*drawn, *self.below(plot)]

    def drawn(self, plot: Plot) -> str:
        """The plot as SVG."""
        return drawing(plot)

    def alt(self, plot: Plot) -> str:
        """What stands for the plot where it cannot be seen."""
        return _("{y}, by: {x}. The table below has the numbers.").format(y=plot.y, x=plot.x)

    def below(self, plot: Plot) -> list[nodes.Node]:
        """What stands below the figure."""
        return [table(plot)]

    def title(self, line: str) -> tuple[str, str]:
        """The value of `by` and its title, from a line such as `near: istiod is near`."""
        value, colon, title = line.partition(": ")
        if not colon:
            raise self.error(f"not a line such as value: a title: {line}")
        return value, title

    def column(self, option: str) -> tuple[str, str]:
        """The name of a column and its title, from an option such as `:x: services Services`."""
        name, _blank, title = self.options.get(option, "").partition(" ")
        if not title:
            raise self.error(f"the option {option} is not a column and a title")
        return name, title

    def read(self, titles: dict[str, str]) -> Plot:
        """What the file has in the columns that the options name."""
        (name,) = self.arguments
        (x, x_title), (y, y_title) = self.column("x"), self.column("y")
        by = self.options.get("by", "")
        lines = self.file(name).read_text("utf-8").splitlines()
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
        if not rows:
            raise self.error(f"{name} has no rows")
        for column in filter(None, (x, y, by)):
            if column not in rows[0]:
                raise self.error(f"{name} has no column {column}")
        wanted = titles or {"": y_title}
        found = {row[by] for row in rows} if by else {""}
        if found != wanted.keys():
            raise self.error(f"{name} has these values of {by}: {', '.join(sorted(found))}")
        places = list(dict.fromkeys(row[x] for row in rows))
        series = []
        for value, title in wanted.items():
            own = [row for row in rows if not by or row[by] == value]
            try:
                values = {p: [float(row[y]) for row in own if row[x] == p] for p in places}
            except ValueError as error:
                raise self.error(f"{name}: {error}") from None
            series.append(Series(title, [Point(p, found) for p, found in values.items() if found]))
        return Plot(x_title, y_title, places, series)


def number(value: float) -> str:
    """A number as people write it, to three digits or to ones."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ticks(most: float) -> list[float]:
    """About five round numbers, from zero to at least `most`."""
    rough = (most or 1) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * 0.999)
    return [step * n for n in range(math.ceil((most or 1) / step * 0.999) + 1)]


def drawing(plot: Plot) -> str:
    """The plot as SVG."""
    numbers = plot.numbers()
    at = numbers or [n + 0.5 for n in range(len(plot.places))]
    marks = (
        [(x, number(x)) for x in ticks(max(at))]
        if numbers
        else [*zip(at, plot.places, strict=True)]
    )
    right = marks[-1][0] if numbers else len(at)
    heights = ticks(max(max(p.values) for series in plot.series for p in series.points))

    def across(x: float) -> float:
        return LEFT + x / right * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - y / heights[-1] * (HEIGHT - TOP - BOTTOM)

    body = [text(0, 12, plot.y, anchor="start")]
    for y in heights:
        line = f"M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}"
        body.append(f'<path d="{line}" stroke="{"#ddd" if y else "#000"}"/>')
        body.append(text(LEFT - 8, up(y) + 4, number(y), anchor="end"))
    body += (text(across(x), HEIGHT - BOTTOM + 18, words) for x, words in marks)
    body.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, plot.x))
    ends = []
    for order, series in enumerate(plot.series):
        places = [(across(at[plot.places.index(p.x)]), p) for p in series.points]
        spots = [
            (x, [up(min(p.values)), up(median(p.values)), up(max(p.values))]) for x, p in places
        ]
        body += drawn_series(spots, order, joined=numbers is not None)
        ends.append((spots[-1][1][1], order))
    body += drawn_titles(sorted(ends), [series.title for series in plot.series])
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12" {SANS}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>\n"])


def drawn_series(
    spots: list[tuple[float, list[float]]], order: int, *, joined: bool
) -> Iterator[str]:
    """A mark at each median, a line from the least to the most, and one from mark to mark."""
    if joined:
        line = "L".join(f"{x:.1f} {middle:.1f}" for x, (_least, middle, _most) in spots)
        dash = f'stroke-dasharray="{DASHES[order % len(DASHES)]}"'
        yield f'<path d="M{line}" fill="none" stroke="#000" stroke-width="1.5" {dash}/>'
    for x, (least, middle, most) in spots:
        yield f'<path d="M{x:.1f} {least:.1f}V{most:.1f}" stroke="#555"/>'
        yield mark(x, middle, order)


def mark(x: float, y: float, order: int) -> str:
    """A mark of the shape and colour of a series."""
    r = MARK
    shapes = (
        f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0z",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z",
        f"M{x:.1f} {y - r - 1:.1f}l{r + 1} {2 * r}h{-2 * r - 2}z",
        f"M{x:.1f} {y - r - 1:.1f}l{r + 1} {r + 1}l{-r - 1} {r + 1}l{-r - 1} {-r - 1}z",
        f"M{x:.1f} {y + r + 1:.1f}l{r + 1} {-2 * r}h{-2 * r - 2}z",
    )
    shape, fill = shapes[order % len(shapes)], FILLS[order % len(FILLS)]
    return f'<path d="{shape}" fill="{fill}" stroke="#000"/>'


def drawn_titles(ends: list[tuple[float, int]], titles: list[str]) -> Iterator[str]:
    """The title of each series beside its end, with its mark; none covers another."""
    if len(titles) < 2:
        return
    y = 0.0
    for end, order in ends:
        y = max(y + LINE, end)
        yield mark(WIDTH - RIGHT + 14, y, order)
        yield text(WIDTH - RIGHT + 26, y + 4, titles[order], anchor="start")


def table(plot: Plot) -> nodes.table:
    """The numbers of a plot."""
    head = [plot.x, *(series.title for series in plot.series)]
    if len(plot.series) == 1:
        head[1] = plot.y
    body = [
        [place, *(next((p.text() for p in s.points if p.x == place), "–") for s in plot.series)]
        for place in plot.places
    ]
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _column in head), cols=len(head))
    group += [nodes.thead("", row(head)), nodes.tbody("", *map(row, body))]
    return nodes.table("", group, classes=["colwidths-auto"])


def row(cells: list[str]) -> nodes.row:
    """A row of a table."""
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("plot", PlotOf)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
