"""Reads a finished PDF as a viewer does, and finds the texts of the doctree that it lacks.

The writer may have no words for a node, and the compiler cuts off what does not fit on a page: in
either case nobody would notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple
from unicodedata import normalize

import pypdfium2
from docutils import nodes
from sphinx import addnodes

# Text of these nodes is not for readers, or printed in other words: numbers of notes.
UNPRINTED = (
    nodes.comment,
    nodes.footnote_reference,
    nodes.label,
    nodes.meta,
    nodes.raw,
    nodes.substitution_definition,
    nodes.system_message,
    addnodes.highlightlang,
    addnodes.index,
)
# Letters of a piece: on few pages one of so many is split, by a caption or the head of a table.
PIECE = 60
SURE = 3  # letters of a part that are not there by chance
AHEAD = 30_000  # letters: a text is looked for so far behind the one before
HEAD, FOOT = 0.08, 0.06  # of a page's height
FAR = 1e6  # points: beyond anything


class Text(NamedTuple):
    """A text of the doctree, or a piece of it, without spaces; its document, and its line there."""

    letters: str
    docname: str
    line: int


def texts(node: nodes.Element, docname: str, line: int = 0) -> Iterator[Text]:
    """Yield what is to be printed of `node`, in pieces: code line by line."""
    for child in node.children:
        if isinstance(child, nodes.Text):
            for part in child.astext().split("\n"):
                letters = squeezed(part)
                for start in range(0, len(letters), PIECE):
                    yield Text(letters[start : start + PIECE], docname, line)
        elif isinstance(child, nodes.Element) and not is_unprinted(child):
            inner = child["docname"] if isinstance(child, addnodes.start_of_file) else docname
            yield from texts(child, inner, child.line or line)


def is_unprinted(node: nodes.Element) -> bool:
    """Tell whether nothing of `node` is printed, or other words."""
    if isinstance(node, nodes.topic):
        return "contents" in node["classes"]
    if isinstance(node, nodes.section):
        # Of a root document that only lists others: the title page has the title of the book.
        return len(node.children) == 1 and isinstance(node.parent, nodes.document)
    return isinstance(node, UNPRINTED)


def squeezed(text: str) -> str:
    """Give `text` without spaces, and with letters as the reader gives them.

    It has \\x02 for a hyphen that ends a line, and f and i for a ligature.
    """
    return normalize("NFKC", "".join(text.replace("\x02", "-").split()))


class Page(NamedTuple):
    """The letters of a page, without those of its head and foot, and those below its edge."""

    letters: str
    below: str


def lost(pdf: bytes, wanted: Iterator[Text]) -> Iterator[Text]:
    """Yield those of the `wanted` texts, in the order of the book, that are not in `pdf`.

    Of what is below the edge of a page, that is the first text.
    """
    printed = list(read(pdf))
    pages = [page.letters for page in printed]
    starts = accumulate(map(len, pages), initial=0)
    cut = [(start, page.below) for start, page in zip(starts, printed, strict=False) if page.below]
    whole, at = "".join(pages), 0
    text = Text("", "", 0)
    for text in wanted:
        found = whole.find(text.letters, at, at + AHEAD)
        if found >= 0:
            at = found + len(text.letters)
        is_below = cut and at >= cut[0][0] and text.letters in cut[0][1]
        if is_below:
            del cut[0]
        is_printed = found >= 0 or text.letters in whole or is_split(text.letters, pages)
        if is_below or not is_printed:
            yield text
    # What the writer has added, such as a number: the place is not known.
    yield from (Text(letters[:PIECE], text.docname, text.line) for _start, letters in cut)


def read(pdf: bytes) -> Iterator[Page]:
    """Yield the pages of `pdf`."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        for page in document:
            width, height = page.get_size()
            text = page.get_textpage()
            letters = text.get_text_bounded(0, FOOT * height, width, (1 - HEAD) * height)
            below = text.get_text_bounded(0, -FAR, width, 0)
            yield Page(squeezed(letters), squeezed(below))
    finally:
        document.close()


def is_split(letters: str, pages: list[str]) -> bool:
    """Tell whether a text is there in two parts, on a page or over its end.

    A note, a caption or another cell of the same row can stand between them.
    """
    cuts = [(letters[:at], letters[at:]) for at in range(SURE, len(letters) - SURE + 1)]
    return any(
        head in both and tail in both.partition(head)[2]
        for both in map("".join, pairwise([*pages, ""]))
        for head, tail in cuts
    )
