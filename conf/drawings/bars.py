"""Draws what each of some things takes, such as the functions of a profile, as bars.

    ```{bars} cpu.csv
    :x: function Function
    :y: seconds Seconds of CPU

    Where istiod computes.
    ```

File and options are those of `{plot}`, which draws what depends on something; here each row is a
bar, in the file's order. Its number stands behind it, and in the text for who cannot see it, so
there is no table.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from drawings.hops import MONO, SANS, text
from drawings.plots import FILLS, WIDTH, Plot, PlotOf, number

ROW, THICK = 24, 14  # pixels of the drawing, which is scaled to the page
LETTER = 7.3  # the width of one in this size of type
VALUE = 48  # room for a number behind the longest bar


class BarsOf(PlotOf):
    """`{bars}`, as the head of this module describes it."""

    def drawn(self, plot: Plot) -> str:
        """The bars as SVG."""
        return drawing(plot)

    def alt(self, plot: Plot) -> str:
        """All that is drawn, in words."""
        rows = (f"{point.x} {point.text()}" for point in plot.series[0].points)
        return f"{plot.y}: {', '.join(rows)}"

    def below(self, _plot: Plot) -> list[nodes.Node]:
        """Nothing."""
        return []


def drawing(plot: Plot) -> str:
    """A line for each name: the name, a bar, and the number."""
    values = [max(point.values) for series in plot.series for point in series.points]
    left = max(map(len, plot.places)) * LETTER + 10
    scale = (WIDTH - left - VALUE) / (max(values) or 1)
    body = [text(left, 12, plot.y, anchor="start")]
    for row, (name, value) in enumerate(zip(plot.places, values, strict=True), 1):
        y = row * ROW
        bar = f'x="{left:.1f}" y="{y}" width="{value * scale:.1f}" height="{THICK}"'
        body.append(text(left - 8, y + 11, name, anchor="end", font=MONO))
        body.append(f'<rect {bar} fill="{FILLS[0]}" stroke="#000"/>')
        body.append(text(round(left + value * scale + 6, 1), y + 11, number(value), anchor="start"))
    height = (len(values) + 1) * ROW
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="12" {SANS}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>\n"])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("bars", BarsOf)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
