"""Draws when the lines of a connection are written, from the lines themselves.

A chapter writes a caption, an empty line, and a line for each connection:

    ```{loglines}
    When a connection writes its lines.

    1-reproduce.console 1: The default
    4-types.console 1: With an interval of a second
    ```

The number counts the outputs with lines of an access log in that transcript of the page's own
example; all lines of such an output are those of one connection. A line is in Istio's default
format, and its type may stand before it, as `%ACCESS_LOG_TYPE%` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from docutils import nodes
from reference.access_log import parse
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

from drawings.figure import Drawing
from drawings.hops import SANS, text

_ = get_translation("extensions")

NAMED = re.compile(r"(\S+\.console) (\d+): (.+)")

# In pixels of the drawing, which is scaled to the page.
WIDTH, SIDE, GROUP, BAR, LINE = 720, 14, 124, 12, 16
OPEN = "#b9d7ea"


@dataclass(frozen=True)
class Written:
    """A line of the log: seconds after the start of its connection, and the bytes until then."""

    type: str  # nothing if the line does not say it
    second: float
    received: int


@dataclass(frozen=True)
class Connection:
    """What a connection wrote, in order; it was open until the last line."""

    title: str
    lines: list[Written]

    def text(self) -> str:
        """The same in words."""
        said = (
            _("after {second:.1f} s {type} with {received} bytes").format(
                second=line.second, type=line.type or _("a line"), received=line.received
            )
            for line in self.lines
        )
        return f"{self.title}: {', '.join(said)}."


class LogLines(Drawing):
    """`{loglines}`, as the head of this module describes it."""

    def run(self) -> list[nodes.Node]:
        """A figure; an error with the place of the directive if there is nothing to draw."""
        caption, lines = self.captioned()
        connections = [self.connection(line) for line in lines]
        if not connections:
            raise self.error("after a caption and an empty line come: FILE.console NUMBER: TITLE")
        alt = " ".join(connection.text() for connection in connections)
        return self.figure(drawing(connections), alt, caption)

    def connection(self, line: str) -> Connection:
        """What a line of the directive names."""
        if not (named := NAMED.fullmatch(line)):
            raise self.error(f"not a line such as 1-first.console 1: a title: {line}")
        found = (list(read(step.output)) for step in self.transcript(named[1]).steps)
        outputs = [lines for lines in found if lines]
        if int(named[2]) > len(outputs):
            raise self.error(f"{named[1]} has no output {named[2]} with lines of an access log")
        return Connection(named[3], outputs[int(named[2]) - 1])


def read(output: tuple[str, ...]) -> Iterator[Written]:
    """The lines of an access log in an output."""
    for whole in output:
        before, bracket, rest = whole.partition("[")
        line = parse(bracket + rest)
        if line and line.values.get("duration", "").isdigit():
            kind = (before.split() or [""])[0]
            values = line.values
            yield Written(kind, int(values["duration"]) / 1000, int(values["bytes_received"]))


def drawing(connections: list[Connection]) -> str:
    """All connections below each other on one scale, as SVG."""
    longest = max(line.second for connection in connections for line in connection.lines)
    scale = (WIDTH - 2 * SIDE) / longest
    body = [
        drawn
        for row, connection in enumerate(connections)
        for drawn in drawn_connection(connection, row * GROUP, scale)
    ]
    bottom = len(connections) * GROUP
    body += (
        text(SIDE + second * scale, bottom + 4, f"{second} s") for second in range(int(longest) + 1)
    )
    size = f'viewBox="0 0 {WIDTH} {bottom + 12}" width="{WIDTH}" height="{bottom + 12}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12" {SANS}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>\n"])


def drawn_connection(connection: Connection, top: int, scale: float) -> Iterator[str]:
    """A bar for as long as the connection is open, with a mark and two texts for each line.

    Every other type stands below, so that none meets its neighbour.
    """
    y, end = top + 50, connection.lines[-1].second * scale
    yield text(0, top + 18, connection.title, anchor="start", weight="bold")
    yield f'<rect x="{SIDE}" y="{y}" width="{end:.1f}" height="{BAR}" fill="{OPEN}"/>'
    for number, line in enumerate(connection.lines):
        x = SIDE + line.second * scale
        anchor = "start" if x < 3 * SIDE else "end" if x > WIDTH - 5 * SIDE else "middle"
        beside = y + BAR + 2 * LINE if number % 2 else y - 10
        yield f'<path d="M{x:.1f} {y - 5}v{BAR + 10}" stroke="#000" stroke-width="2"/>'
        yield text(x, beside, line.type or _("a line"), anchor=anchor)
        yield text(x, y + BAR + LINE, _("{n} bytes").format(n=line.received), anchor=anchor)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("loglines", LogLines)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
