"""Draws traces from the trees of spans that a transcript shows.

A chapter writes a caption, an empty line, and a line for each output:

    ```{trace}
    What a service that drops the headers does to a trace.

    1-broken.console: two traces
    2-fixed.console 2: one trace
    ```

The number counts the outputs with spans in that transcript of the page's own example. In such an
output a trace begins with `trace ID:`, and each of its spans is a line

    START ms  LENGTH ms  SERVICE: NAME (KIND)

with two more blanks before the service for each span above it. `error` among the words in
parentheses hatches its bar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from drawings.figure import Drawing
from drawings.timelines import FONT, GROUP, HATCHED, LETTER, ROW, WIDTH

SPAN = re.compile(
    r"^ *(?P<start>[\d.]+) ms +(?P<length>[\d.]+) ms  (?P<indent>(?:  )*)"
    r"(?P<service>[^\s:][^:]*): (?P<name>.+?)(?: \((?P<notes>[^()]*)\))?$"
)
INDENT, LEFT, BAR = 12, 330, 12
# Services in the order of their first spans; their names stand in each row, too.
COLORS = ("#b9d7ea", "#e6d3a3", "#c9e0b8", "#d9c7e8", "#f0c9b4", "#cfd4d8", "#bfe3e0")


@dataclass(frozen=True)
class Span:
    """One line of a tree; times are in milliseconds after the trace began."""

    start: float
    length: float
    depth: int
    service: str
    name: str
    notes: str

    @property
    def label(self) -> str:
        """What its row says."""
        return f"{self.service}: {self.name}"


@dataclass(frozen=True)
class Shown:
    """The traces of one output, under the title that the chapter gives it."""

    title: str
    traces: list[list[Span]] = field(default_factory=list)

    def text(self) -> str:
        """The same in words."""
        traces = (
            "; ".join(f"{'below it ' * (s.depth > 0)}{s.label} ({s.length} ms)" for s in trace)
            for trace in self.traces
        )
        numbered = (f"trace {number}: {trace}" for number, trace in enumerate(traces, 1))
        return f"{self.title}. {'. '.join(numbered)}."


class Trace(Drawing):
    """`{trace}`, as the head of this module describes it."""

    def run(self) -> list[nodes.Node]:
        """A figure; an error with the place of the directive if there is nothing to draw."""
        caption, lines = self.captioned()
        shown = [self.shown(line) for line in lines]
        if not shown:
            raise self.error("after a caption and an empty line come lines: FILE.console: TITLE")
        alt = " ".join(each.text() for each in shown)
        return self.figure(drawing(shown), alt, caption)

    def shown(self, line: str) -> Shown:
        """What a line of the directive names."""
        if not (named := GROUP.fullmatch(line)):
            raise self.error(f"not a line such as 1-first.console: a title: {line}")
        found = [
            traces for step in self.transcript(named[1]).steps if (traces := read(step.output))
        ]
        number = int(named[2] or 1)
        if number > len(found):
            raise self.error(f"{named[1]} has no output {number} with spans")
        return Shown(named[3], found[number - 1])


def read(output: tuple[str, ...]) -> list[list[Span]]:
    """The traces of an output, each with its spans from the top down."""
    traces: list[list[Span]] = []
    for line in output:
        if line.startswith("trace "):
            traces.append([])
        elif traces and (span := SPAN.match(line)):
            traces[-1].append(
                Span(
                    float(span["start"]),
                    float(span["length"]),
                    len(span["indent"]) // 2,
                    span["service"],
                    span["name"],
                    span["notes"] or "",
                )
            )
    return [trace for trace in traces if trace]


def drawing(shown: list[Shown]) -> str:
    """All outputs below each other, each trace on a scale of its own width, as SVG."""
    spans = [span for each in shown for trace in each.traces for span in trace]
    last = max(span.start + span.length for span in spans)
    services = list(dict.fromkeys(span.service for span in spans))
    scale = (WIDTH - LEFT - 60) / last
    body: list[str] = []
    y = 0
    for each in shown:
        y += ROW + (ROW // 2 if y else 0)
        body.append(f'<text x="0" y="{y - 8}" font-weight="bold">{escape(each.title)}</text>')
        for number, trace in enumerate(each.traces, 1):
            if len(each.traces) > 1:
                y += ROW
                body.append(f'<text x="0" y="{y - 7}">trace {number}</text>')
            for span in trace:
                body += row(span, y, scale, COLORS[services.index(span.service) % len(COLORS)])
                y += ROW
    size = f'viewBox="0 0 {WIDTH} {y + 6}" width="{WIDTH}" height="{y + 6}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>'
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, HATCHED, paper, *body, "</svg>\n"])


def row(span: Span, y: int, scale: float, color: str) -> list[str]:
    """The name of a span at the depth of its tree, its bar, and how long it took."""
    x, width = LEFT + span.start * scale, max(span.length * scale, 1.5)
    indent = 4 + INDENT * span.depth
    letters = int((LEFT - indent - 8) / LETTER)
    label = span.label if len(span.label) <= letters else f"{span.label[: letters - 1]}…"
    fill = "url(#failed)" if "error" in span.notes.split(", ") else color
    return [
        f'<text x="{indent}" y="{y + 14}">{escape(label)}</text>',
        f'<path d="M{LEFT} {y + ROW - 0.5}H{WIDTH}" stroke="#eee"/>',
        f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="{BAR}" fill="{fill}" '
        'stroke="#555" stroke-width="0.5"/>',
        f'<text x="{x + width + 4:.1f}" y="{y + 14}">{span.length:.1f} ms</text>',
    ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("trace", Trace)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
