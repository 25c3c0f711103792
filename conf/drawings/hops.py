"""Draws the way of one request through two proxies, with the addresses that their logs gave.

    ```{hops} 2-five-addresses.console
    The way of one request.
    ```

In that transcript of the page's own example, the last line of `kubectl logs deploy/NAME` is taken
from the first two such commands: first the proxy beside the client, then the one beside the server.
Both must be whole, in Istio's default format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from html import escape

from docutils import nodes
from lab.files.transcript import Transcript
from reference.access_log import parse
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

from drawings.figure import Drawing

_ = get_translation("extensions")

LOGS = re.compile(r"kubectl (?:-n \S+ )?logs deploy/(\S+) .*")

# In pixels of the drawing, which is scaled to the page: boxes, the arrows between them, and rows.
BOX, ARROW, LINE, HEAD = 76, 150, 16, 92
WIDTH = 4 * BOX + 3 * ARROW
ROOM = 12  # beside words, which are wider where a browser has other fonts
SANS = "font-family=\"'Source Sans 3', sans-serif\""
MONO = "font-family=\"'Source Code Pro', monospace\""
PROXY, APPLICATION, SAME = "#b9d7ea", "#eeeeee", "#fff3c4"


@dataclass(frozen=True)
class Hop:
    """What the access log line of the proxy in pod `name` says of its two connections."""

    name: str
    downstream_remote_address: str
    downstream_local_address: str
    upstream_local_address: str
    upstream_host: str
    upstream_cluster: str


class Hops(Drawing):
    """`{hops}`, as the head of this module describes it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A figure; an error with the place of the directive if there are no two such lines."""
        (name,) = self.arguments
        hops = list(read(self.transcript(name)))
        if len(hops) < 2:
            raise self.error(f"{name} shows no access log lines of two proxies")
        client, server = hops[:2]
        words = in_words(client, server)
        return self.figure(drawing(client, server), words, "\n".join(self.content))


def read(transcript: Transcript) -> Iterator[Hop]:
    """What each `kubectl logs` in a transcript printed last, if it is an access log line."""
    keys = [field.name for field in fields(Hop)][1:]
    for step in transcript.steps:
        logs, line = LOGS.fullmatch(step.command), parse(step.output[-1]) if step.output else None
        if logs and line and line.values.keys() >= {*keys}:
            yield Hop(logs[1], *(line.values[key] for key in keys))


def in_words(client: Hop, server: Hop) -> str:
    """The drawing as a text."""
    return " ".join(
        _(
            "The proxy of {name}: "
            "downstream from {downstream_remote_address} to {downstream_local_address}, "
            "upstream from {upstream_local_address} to {upstream_host}, cluster {upstream_cluster}."
        ).format(**vars(hop))
        for hop in (client, server)
    )


def drawing(client: Hop, server: Hop) -> str:
    """Four boxes with three connections between them; below, what each line says, as SVG."""
    boxes = [
        (client.name, _("application"), APPLICATION),
        (client.name, "istio-proxy", PROXY),
        (server.name, "istio-proxy", PROXY),
        (server.name, _("application"), APPLICATION),
    ]
    body = [drawn for place, box in enumerate(boxes) for drawn in drawn_box(place, *box)]
    body += (drawn_arrow(place) for place in range(3))
    height = HEAD
    for place, hop in enumerate((client, server)):
        body += drawn_line(hop, place, height)
        height += 7 * LINE
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12" {SANS}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>\n"])


def drawn_box(place: int, pod: str, what: str, fill: str) -> Iterator[str]:
    """A box with the name of its pod above it."""
    x = place * (BOX + ARROW)
    yield f'<rect x="{x + 1}" y="22" width="{BOX - 2}" height="40" fill="{fill}" stroke="#555"/>'
    yield text(x + BOX / 2, 14, pod, weight="bold")
    yield text(x + BOX / 2, 46, what)


def drawn_arrow(place: int) -> str:
    """The connection from a box to the next."""
    x = place * (BOX + ARROW) + BOX
    path = f"M{x + 4} 42H{x + ARROW - 6}m-8 -5l8 5l-8 5"
    return f'<path d="{path}" fill="none" stroke="#000" stroke-width="1.5"/>'


def drawn_line(hop: Hop, place: int, y: int) -> Iterator[str]:
    """What one line says, below the two connections that it is about."""
    title = _("The line of the proxy of {name}").format(name=hop.name)
    yield text(0, y, title, anchor="start", weight="bold")
    yield text(0, y + LINE, f"upstream_cluster {hop.upstream_cluster}", anchor="start", font=MONO)
    sides = [field.name for field in fields(Hop)][1:5]
    for number, name in enumerate(sides):
        connection, below = place + number // 2, number % 2
        x = connection * (BOX + ARROW) + BOX + ARROW / 2
        top = y + (2.2 + 2 * below) * LINE
        if connection == 1:  # both lines tell of the connection between the proxies
            width = ARROW + 2 * ROOM
            box = f'x="{x - width / 2}" y="{top - 12}" width="{width}" height="{2 * LINE}"'
            # Yellow alone would be white in print.
            yield f'<rect {box} fill="{SAME}" stroke="#555" stroke-dasharray="3 2"/>'
        yield text(x, top, name)
        yield text(x, top + LINE - 1, getattr(hop, name), font=MONO)


def text(
    x: float, y: float, words: str, *, anchor: str = "middle", weight: str = "", font: str = SANS
) -> str:
    """A line of text."""
    bold = f' font-weight="{weight}"' if weight else ""
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f"<text {place}{bold} {font}>{escape(words)}</text>"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("hops", Hops)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
