"""Changes some objects of a finished PDF, for which the compiler has no words.

A viewer shows the outline at the start, with the chapters of each part, and cells of stub columns
are the headers of their rows. The change is an incremental update: it stands behind the file, with
its own table of places (PDF 32000-1:2008, 7.5.6).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

TRAILER = re.compile(rb"trailer\s*<<(.*?/Root (\d+) 0 R.*?)>>\s*startxref\s*(\d+)", re.S)
OUTLINES = re.compile(rb"/Outlines (\d+) 0 R")
COUNT = re.compile(rb"/Count (-?)(\d+)")
CELL = re.compile(rb"\n(\d+) 0 obj\n(<</Type/StructElem/S/TD\b.*?)\nendobj", re.S)


class UnknownShape(ValueError):
    """The PDF is not as Typst 0.15 writes it."""


def amended(pdf: bytes, stubs: Sequence[bool]) -> bytes:
    """Give `pdf` with these changes; `stubs` tell of each cell, but those of heads, if it is one.

    Raises UnknownShape.
    """
    trailer = TRAILER.search(pdf)
    if trailer is None:
        raise UnknownShape("no trailer")
    changed = dict(row_headers(pdf, stubs) if any(stubs) else [])
    root = int(trailer[2])
    catalog = content(pdf, root)
    if outlines := OUTLINES.search(catalog):
        changed[root] = catalog.replace(b"/Type/Catalog", b"/Type/Catalog/PageMode/UseOutlines", 1)
        changed |= opened(pdf, int(outlines[1]))
    return updated(pdf, changed, trailer)


def content(pdf: bytes, number: int) -> bytes:
    """Give an object of `pdf`."""
    found = re.search(rb"\n%d 0 obj\n(.*?)\nendobj" % number, pdf, re.S)
    if found is None:
        raise UnknownShape(f"no object {number}")
    return found[1]


def opened(pdf: bytes, outlines: int) -> dict[int, bytes]:
    """Give the outline with the entries below those of its first level shown.

    A count is positive if they are, and that of the outline has them too.
    """
    entry = re.compile(rb"\n(\d+) 0 obj\n(<</Parent %d 0 R[^\n]*/Count -[^\n]*)\nendobj" % outlines)
    found = {int(number): text for number, text in entry.findall(pdf)}
    shown = sum(int(COUNT.findall(text)[0][1]) for text in found.values())
    changed = {number: COUNT.sub(rb"/Count \2", text) for number, text in found.items()}
    top = content(pdf, outlines)
    changed[outlines] = COUNT.sub(lambda count: b"/Count %d" % (int(count[2]) + shown), top)
    return changed


def row_headers(pdf: bytes, stubs: Sequence[bool]) -> Iterator[tuple[int, bytes]]:
    """Yield the tags of cells that are the headers of their rows."""
    cells = CELL.findall(pdf)
    if len(cells) != len(stubs):
        raise UnknownShape(f"{len(cells)} cells of tables where {len(stubs)} were written")
    for (number, tag), is_stub in zip(cells, stubs, strict=True):
        if is_stub:
            head = tag.replace(b"/S/TD", b"/S/TH", 1)
            yield int(number), head.replace(b"/O/Table", b"/O/Table/Scope/Row", 1)


def updated(pdf: bytes, objects: dict[int, bytes], trailer: re.Match[bytes]) -> bytes:
    """Give `pdf` with the objects of these numbers replaced."""
    body, table = pdf + b"\n", b"xref\n"
    for number, text in sorted(objects.items()):
        table += b"%d 1\n%010d 00000 n\r\n" % (number, len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, text)
    end = b"trailer\n<<%s/Prev %s>>\nstartxref\n%d\n%%%%EOF\n"
    return body + table + end % (trailer[1], trailer[3], len(body))
