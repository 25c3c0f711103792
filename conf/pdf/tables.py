"""Lays out tables: how wide columns are, and which rows may go on overleaf.

Words of code stay whole as far as the page allows it: a reader searches for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import NamedTuple

from docutils import nodes

from pdf.listings import pieces

# In points, as the template sets tables: the page between its margins, what is beside a cell's
# text, and a letter of code and, on average, of prose.
PAGE = 445.0
INDENT = 30.0  # of a table in a list or a box
INSET = 12.5
CODE = 4.9
PROSE = 4.7
NARROW = 3.6  # of prose with narrow letters
PAGE_MARK = 45.0  # what the writer adds to a link: (page 123)

CUT = 0.75  # of the page is for words that are broken; the rest for text beside them
TWO = 2  # columns, which can stand below each other without names
ONE_PAGE = 12  # lines of a table, or of a row, that are not worth a break


class Cell(NamedTuple):
    """The widths in points that a cell takes: of its longest word, and of each paragraph."""

    word: float
    paragraphs: Sequence[float]


@dataclass(frozen=True)
class Layout:
    """The widths of columns in points, none if each is as wide as its text, and lines of rows.

    In a stacked table the two cells of a row stand below each other: beside each other, words would
    be broken.
    """

    widths: Sequence[float] | None
    lines: Sequence[int]
    is_stacked: bool = False

    @property
    def is_short(self) -> bool:
        """Whether the table is to be on one page."""
        return sum(self.lines) <= ONE_PAGE

    def longest(self, column: int) -> int:
        """How many letters a word of code may have in a column."""
        width = PAGE if self.widths is None or self.is_stacked else self.widths[column]
        return int((width - INSET) / CODE)

    def too_wide(self, group: nodes.tgroup) -> str:
        """A word that is broken nowhere and runs into the next column, if there is one."""
        if self.widths is None or self.is_stacked:
            return ""
        cells = (cell for row in placed(group) for cell in row if "morecols" not in cell[1])
        return next((word for place, cell in cells if (word := self.overlong(place, cell))), "")

    def overlong(self, column: int, entry: nodes.Element) -> str:
        """A word of a cell, or a part of one, that is wider than its column."""
        assert self.widths is not None
        longest = self.longest(column)
        for text in entry.findall(nodes.Text):
            letter = CODE if isinstance(text.parent, nodes.literal) else NARROW
            for word in text.split():
                for piece in pieces(word, longest) if len(word) > longest else ():
                    if len(piece) * letter > self.widths[column] - INSET / 2:
                        return piece
        return ""


def placed(group: nodes.tgroup) -> list[list[tuple[int, nodes.Element]]]:
    """The cells of each row, each with the number of its column: above it a cell may span rows."""
    taken: dict[int, int] = {}  # rows that a cell above still spans, by columns
    rows = []
    for row in rows_of(group):
        column = 0
        cells: list[tuple[int, nodes.Element]] = []
        spanned, taken = taken, {place: left - 1 for place, left in taken.items() if left > 1}
        for entry in row.children:
            assert isinstance(entry, nodes.entry)
            while column in spanned:
                column += 1
            cells.append((column, entry))
            for _ in range(entry.get("morecols", 0) + 1):
                if "morerows" in entry:
                    taken[column] = entry["morerows"]
                column += 1
        rows.append(cells)
    return rows


def rows_of(group: nodes.tgroup) -> Iterator[nodes.row]:
    """The rows of a table, but not those of tables in its cells."""
    for part in group.children:
        if isinstance(part, (nodes.thead, nodes.tbody)):
            yield from (row for row in part.children if isinstance(row, nodes.row))


def layout(group: nodes.tgroup, given: Sequence[float] | None, *, is_narrow: bool) -> Layout:
    """The layout of a table; `given` are the widths that its author wants, in any unit."""
    page = PAGE - INDENT if is_narrow else PAGE
    rows = [{at: measured(entry) for at, entry in cells} for cells in placed(group)]
    count = 1 + max((place for row in rows for place in row), default=0)
    cells = [[row[place] for row in rows if place in row] for place in range(count)]
    most = [max(max(cell.paragraphs) for cell in column) for column in cells]
    least = [max(cell.word for cell in column) for column in cells]
    widths: Sequence[float] | None = None
    if given is not None:
        widths = [page * width / sum(given) for width in given]
    elif sum(least) > page and count == TWO:
        lengths = [sum(ceil(sum(cell.paragraphs) / page) for cell in row.values()) for row in rows]
        return Layout([page], lengths, is_stacked=True)
    elif sum(most) > page:
        widths = shared(least, most, page)
    return Layout(widths, [lines(row, widths) for row in rows])


def measured(entry: nodes.Element) -> Cell:
    """What a cell takes; nothing if it spans columns, which then have more than they need."""
    if "morecols" in entry:
        return Cell(0, [0])
    word, paragraphs = 0.0, []
    for _block, texts in groupby(entry.findall(nodes.Text), key=block_of):
        width = 0.0
        for text in texts:
            letter = CODE if isinstance(text.parent, nodes.literal) else PROSE
            width += len(text) * letter
            word = max([word, *(len(part) * letter for part in text.split())])
        paragraphs.append(width)
    marks = PAGE_MARK * sum(1 for _link in entry.findall(nodes.reference))
    return Cell(word + INSET, [width + marks + INSET for width in paragraphs] or [0])


def block_of(text: nodes.Node) -> int:
    """What tells the paragraph of a text from others."""
    node: nodes.Node = text
    while isinstance(node, (nodes.Text, nodes.Inline)) and node.parent is not None:
        node = node.parent
    return id(node)


def shared(least: list[float], most: list[float], page: float) -> list[float]:
    """The widths of columns that need `most` for their text, and `least` for their longest word.

    As browsers do it: each has the width of its longest word, and a share of what is left by how
    much it needs for its text. If the words do not fit, those of the widest columns are broken.
    """
    if sum(least) > page:
        while sum(least) > page * CUT:
            least = [min(width, max(least) - 1) for width in least]
    wanted = [max(a - b, 0.1) for a, b in zip(most, least, strict=True)]
    free = (page - sum(least)) / sum(wanted)
    return [a + free * b for a, b in zip(least, wanted, strict=True)]


def lines(row: dict[int, Cell], widths: Sequence[float] | None) -> int:
    """How many lines a row takes, about."""
    heights = [
        sum(ceil(width / (PAGE if widths is None else widths[column])) for width in cell.paragraphs)
        for column, cell in row.items()
    ]
    return max(heights, default=1)
