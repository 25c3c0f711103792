"""A finished PDF as its readers have it: text, links, fonts, and pages as pictures.

pypdf reads its structure; pypdfium2, which is Chrome's reader, says where each character is, and
draws the pages. Neither has to do with the compiler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ctypes import c_double
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pypdfium2
from PIL import Image, ImageChops
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject
from pypdfium2 import raw as pdfium

# The template's margins in points: left, bottom, right and top on A4.
TEXT_BLOCK = (79.4, 68.0, 595.3 - 70.9, 841.9 - 73.7)


PATCH = 8  # pixels

LETTER_WIDTH = 0.6  # of a letter of code, in its size


class Entry(NamedTuple):
    """An entry of the outline, with the index of the page that it leads to."""

    depth: int
    title: str
    page: int


class Letter(NamedTuple):
    """A printed character or a run of them: the index of its page, and its edges in points."""

    page: int
    text: str
    left: float
    bottom: float
    right: float
    top: float

    @property
    def is_inside(self) -> bool:
        """Whether it is in the text block; curves may reach out of it a little."""
        left, bottom, right, top = TEXT_BLOCK
        inside = left - 1 <= self.left and self.right <= right + 1
        return inside and bottom - 3 <= self.bottom and self.top <= top + 3

    @property
    def is_in_head_or_foot(self) -> bool:
        """Whether it is between the text block's sides, above or below it, and on the page."""
        left, bottom, right, top = TEXT_BLOCK
        inside = left - 1 <= self.left and self.right <= right + 1
        return inside and (top < self.bottom < 810 or 30 < self.bottom < bottom)

    @property
    def is_outside(self) -> bool:
        """Whether it is neither in the text block nor in head or foot."""
        return not self.is_inside and not self.is_in_head_or_foot


@dataclass
class Pdf:
    """The PDF in a file."""

    path: Path

    @cached_property
    def reader(self) -> PdfReader:
        return PdfReader(self.path)

    @cached_property
    def drawn(self) -> pypdfium2.PdfDocument:
        return pypdfium2.PdfDocument(self.path)

    @cached_property
    def read(self) -> list[pypdfium2.PdfTextPage]:
        """The characters of each page."""
        return [page.get_textpage() for page in self.drawn]

    @cached_property
    def texts(self) -> list[str]:
        """The text of each page as one line, without spaces in a row."""
        return [" ".join(self.text(page).split()) for page in range(len(self.drawn))]

    def text(self, page: int) -> str:
        """The text of a page, without its head and foot."""
        _left, bottom, _right, top = TEXT_BLOCK
        text: str = self.read[page].get_text_bounded(0, bottom - 6, 595, top + 6)
        # The reader joins a word that a line ends in, and puts \x02 for its hyphen.
        return text.replace("\r\n", "\n").replace("\x02", "-\n")

    def code_lines(self, page: int) -> list[str]:
        """The lines of a page with every space in them, if their letters are all of one width.

        A line begins where the PDF's first text of it does, be that a space. Head and foot are left
        out.
        """
        _left, bottom, _right, top = TEXT_BLOCK
        starts: dict[float, float] = {}
        for item in self.drawn[page].get_objects(filter=[pdfium.FPDF_PAGEOBJ_TEXT]):
            place = item.get_matrix()
            starts[row_of(place.f)] = min(place.e, starts.get(row_of(place.f), place.e))
        rows: dict[float, str] = {}
        widths: dict[float, float] = {}
        text = self.read[page]
        x, y = c_double(), c_double()
        # The letters of a word are in one row, and follow each other.
        for word in re.finditer(r"\S+", text.get_text_range()):
            pdfium.FPDFText_GetCharOrigin(text, word.start(), x, y)
            row = row_of(y.value)
            if bottom < row < top:
                if row not in rows:
                    size = pdfium.FPDFText_GetFontSize(text, word.start())
                    widths[row], rows[row] = LETTER_WIDTH * size, ""
                rows[row] = rows[row].ljust(round((x.value - starts[row]) / widths[row])) + word[0]
        return [*rows.values()]

    def words(self) -> Iterator[tuple[float, str]]:
        """Every word with the size in points of its first letter."""
        place = pdfium.FS_MATRIX()
        for text in self.read:
            for word in re.finditer(r"\S+", text.get_text_range()):
                pdfium.FPDFText_GetMatrix(text, word.start(), place)
                yield pdfium.FPDFText_GetFontSize(text, word.start()) * abs(place.d), word[0]

    def outside(self) -> Iterator[Letter]:
        """Every character, but spaces, that is neither in the text block nor in head or foot."""
        for number, text in enumerate(self.read):
            runs = (Letter(number, "", *text.get_rect(at)) for at in range(text.count_rects()))
            # The letters one by one only where some of a run may be: it can be spaces.
            if any(run.is_outside for run in runs):
                for index, character in enumerate(text.get_text_range()):
                    letter = Letter(number, character, *text.get_charbox(index))
                    if letter.is_outside and not character.isspace():
                        yield letter

    @cached_property
    def outline(self) -> list[Entry]:
        """Every entry of the outline, its depth from 1."""

        def entries(nodes: list[Any], depth: int) -> Iterator[Entry]:
            for node in nodes:
                if isinstance(node, list):
                    yield from entries(node, depth + 1)
                else:
                    page = self.reader.get_destination_page_number(node)
                    assert page is not None
                    yield Entry(depth, str(node.title), page)

        return list(entries(list(self.reader.outline), 1))

    # What pypdf finds in a PDF can be of any type.
    def links(self) -> Iterator[tuple[int, Any]]:
        """The links of all pages, each with the index of its page."""
        for number, page in enumerate(self.reader.pages):
            listed: Any = page.get("/Annots", ArrayObject()).get_object()
            yield from ((number, annotation.get_object()) for annotation in listed)

    @cached_property
    def page_indexes(self) -> dict[int, int]:
        """The index of each page by the number of its object."""
        references = [page.indirect_reference for page in self.reader.pages]
        return {r.idnum: index for index, r in enumerate(references) if r is not None}

    def target(self, link: Any) -> int | None:
        """The index of the page that a link leads to, or none if it leads out of the book."""
        place = link.get("/Dest") or link["/A"].get("/D")
        if place is None:
            return None
        return self.page_indexes[place.get_object()[0].indirect_reference.idnum]

    def number_of(self, page: int, link: Any) -> int | None:
        """The page number that a link on this page shows at its end, if there is one."""
        box = (float(edge) for edge in link["/Rect"])
        found = re.search(r"(\d+)\s*$", self.read[page].get_text_bounded(*box))
        return int(found[1]) if found else None

    def fonts(self) -> Iterator[Any]:
        """The fonts of all pages."""
        for page in self.reader.pages:
            resources: Any = page["/Resources"]
            for font in resources.get("/Font", DictionaryObject()).values():
                yield from (child.get_object() for child in font.get_object()["/DescendantFonts"])

    def structure(self, kind: str) -> Iterator[Any]:
        """The elements of this kind in the tags for screen readers, as the compiler writes them.

        To follow the tags from the first to all 23,000 would take a hundred times as long.
        """
        head = rb"^(\d+) 0 obj\s*<</Type/StructElem/S" + kind.encode() + rb"\b"
        for found in re.finditer(head, self.path.read_bytes(), re.MULTILINE):
            yield self.reader.get_object(int(found[1]))

    def pictures(self) -> list[Image.Image]:
        """The pages in fewer colours, small enough to keep and large enough to see each line."""
        pages = (page.render(scale=0.75).to_pil().convert("RGB") for page in self.drawn)
        return [page.point([shade // 8 * 8 for shade in range(256)] * 3) for page in pages]


def row_of(height: float) -> float:
    """What the letters of one line have in common, for each of their heights on the page."""
    return round(height, 1)


def difference(one: Image.Image, two: Image.Image) -> int:
    """How many pixels of two pictures differ visibly: much, or a little in a patch of them.

    A patch of eight by eight pixels differs if its average does, as where a shade or a thin line is
    gone. Single pixels may differ a little, by antialiasing.
    """
    if one.size != two.size:
        return one.width * one.height
    patches = changed(one.reduce(PATCH), two.reduce(PATCH), 3)
    return changed(one, two, 64) + patches * PATCH**2


def changed(one: Image.Image, two: Image.Image, least: int) -> int:
    """How many pixels differ by so much in one of their colours."""
    red, green, blue = ImageChops.difference(one.convert("RGB"), two.convert("RGB")).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return sum(most.histogram()[least:])
