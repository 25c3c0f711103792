"""Draws what transcripts tell with times: who waited for what, and until when.

A chapter writes a caption, an empty line, and a line for each group of bars:

    ```{timelines}
    What happens to requests in flight.

    1-default.console: the defaults
    2-sidecars.console 2: a classic sidecar
    ```

The number counts the outputs with times in that transcript of the page's own example. In such an
output a line `START to END  WHO: WHAT` becomes a bar, and each line that begins with a single time
a tick; the first of those is second zero. If `WHO: ` follows, the tick stands in the row of that
name. Times are as Istio logs them: 2026-01-31T12:00:00.000Z.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import groupby
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from drawings.figure import Drawing

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
SPAN = re.compile(rf"^({TIME}) to ({TIME})  ([^:]+): (.*)$", re.M)
MOMENT = re.compile(rf"^({TIME})\t(?:([\w-]+): )?", re.M)
GROUP = re.compile(r"(\S+\.console)(?: (\d+))?: (.+)")

# In pixels of the drawing, which is scaled to the page.
WIDTH, RIGHT, ROW, BAR = 720, 14, 22, 14
LETTER = 6.2  # about as wide as a letter of this font
FONT = """font-family="'Source Sans 3', sans-serif" font-size="12\""""
ANSWERED, FAILED = "#b9d7ea", "url(#failed)"
# Red alone would be the same grey as blue in print.
HATCHED = """\
<defs><pattern id="failed" width="7" height="7" patternUnits="userSpaceOnUse">
<rect width="7" height="7" fill="#f2b8a2"/><path d="M0 7L7 0" stroke="#8c1d18" stroke-width="0.8"/>
</pattern></defs>"""
HALO = 'stroke="#f2b8a2" stroke-width="4" paint-order="stroke"'  # clears the hatch around letters


@dataclass(frozen=True)
class Bar:
    """Something that lasted, in seconds from zero."""

    who: str
    what: str
    start: float
    end: float

    @property
    def answered(self) -> bool:
        """Whether it ended with a status of HTTP that is no error, or is ready."""
        return re.match(r"[123]\d\d\b|ready\b", self.what) is not None


@dataclass(frozen=True)
class Group:
    """The bars of one output, and the moments between them, in seconds from the first moment.

    Each moment has the name of the row that it is about, or none.
    """

    title: str
    bars: list[Bar]
    moments: list[tuple[float, str]]

    def text(self) -> str:
        """The same in words."""
        bars = (f"{b.who} from {b.start:.1f} to {b.end:.1f}: {b.what}" for b in self.bars)
        return f"{self.title}: {'; '.join(bars)}."


class Timelines(Drawing):
    """`{timelines}`, as the head of this module describes it."""

    def run(self) -> list[nodes.Node]:
        """A figure; an error with the place of the directive if there is nothing to draw."""
        caption, lines = self.captioned()
        groups = [self.group(line) for line in lines]
        if not groups:
            raise self.error("after a caption and an empty line come lines: FILE.console: TITLE")
        alt = " ".join(
            [
                "In seconds after the first line of a log that is shown.",
                *(group.text() for group in groups),
            ]
        )
        return self.figure(drawing(groups), alt, caption)

    def group(self, line: str) -> Group:
        """What a line of the directive names."""
        if not (named := GROUP.fullmatch(line)):
            raise self.error(f"not a line such as 1-first.console: a title: {line}")
        texts = ("\n".join(step.output) for step in self.transcript(named[1]).steps)
        outputs = [text for text in texts if SPAN.search(text)]
        number = int(named[2] or 1)
        if number > len(outputs) or not MOMENT.search(outputs[number - 1]):
            raise self.error(f"{named[1]} has no output {number} with times")
        return read(named[3], outputs[number - 1])


def read(title: str, output: str) -> Group:
    """The bars and moments of an output."""
    moments = MOMENT.findall(output)
    zero = min(datetime.fromisoformat(time) for time, _who in moments)

    def seconds(time: str) -> float:
        return (datetime.fromisoformat(time) - zero).total_seconds()

    spans = SPAN.findall(output)
    bars = [Bar(who, what, seconds(start), seconds(end)) for start, end, who, what in spans]
    return Group(title, bars, [(seconds(time), who) for time, who in moments])


def drawing(groups: list[Group]) -> str:
    """All groups below each other on one scale, as SVG."""
    ends = [edge for group in groups for bar in group.bars for edge in (bar.start, bar.end)]
    ends += [moment for group in groups for moment, _who in group.moments]
    first, last = int(min(ends) // 1), int(-(-max(ends) // 1))
    left = 16 + LETTER * max(len(bar.who) for group in groups for bar in group.bars)
    scale = (WIDTH - left - RIGHT) / (last - first)

    def x(second: float) -> str:
        return f"{left + (second - first) * scale:.1f}"

    body: list[str] = []
    y = 0
    for group in groups:
        top = y = y + ROW
        body.append(f'<text x="0" y="{top - 8}" font-weight="bold">{escape(group.title)}</text>')
        rows = [[*bars] for _, bars in groupby(group.bars, key=lambda bar: bar.who)]
        for second in range(first, last + 1):
            ink = "#000" if second == 0 else "#ddd"
            line = f"M{x(second)} {top}v{len(rows) * ROW}"
            body.append(f'<path d="{line}" stroke="{ink}"/>')
        for row in rows:
            end = f'text-anchor="end">{escape(row[0].who)}'
            body.append(f'<text x="{left - 8:.1f}" y="{y + 15}" {end}</text>')
            body += bars_of(row, x, y + 4)
            y += ROW
        names = [row[0].who for row in rows]
        for moment, who in group.moments:
            at = top + ROW * names.index(who) + 4 if who in names else top - 3
            body.append(f'<path d="M{x(moment)} {at}v6" stroke="#000" stroke-width="1.5"/>')
    body += (
        f'<text x="{x(second)}" y="{y + 14}" text-anchor="middle">{second} s</text>'
        for second in range(first, last + 1)
    )
    size = f'viewBox="0 0 {WIDTH} {y + 20}" width="{WIDTH}" height="{y + 20}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>'
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, HATCHED, paper, *body, "</svg>\n"])


def bars_of(row: list[Bar], x: Any, y: int) -> Iterator[str]:
    """The bars of one row, and what they say: where it is too long, only beside the last."""
    for bar in row:
        fill = ANSWERED if bar.answered else FAILED
        width = f"{float(x(bar.end)) - float(x(bar.start)):.1f}"
        yield (
            f'<rect x="{x(bar.start)}" y="{y}" width="{width}" height="{BAR}" fill="{fill}" '
            f'stroke="#555" stroke-width="0.5"/>'
        )
        fits = float(width) >= LETTER * len(bar.what)
        if fits or bar is row[-1]:
            place = f'x="{float(x(bar.start if fits else bar.end)) + 4:.1f}" y="{y + 11}"'
            halo = "" if bar.answered or not fits else f" {HALO}"
            yield f"<text {place}{halo}>{escape(bar.what)}</text>"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("timelines", Timelines)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
