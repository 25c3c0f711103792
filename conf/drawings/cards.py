"""Draws a picture of each page's title, which other sites show beside a link to the page.

They ask for a whole address, so there are none without `html_baseurl`. All are drawn in one go, by
the compiler that sets the PDF.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typst
from docutils import nodes
from pdf.builder import font_folders
from pdf.listings import string
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

TEMPLATE = Path(__file__).with_name("card.typ")
FOLDER = "_images/cards"  # in the site


def add_card(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Tell the template the address of a page's picture."""
    if doctree is not None and (base := app.config.html_baseurl):
        context["card"] = f"{base}{FOLDER}/{page}.png"


def write_cards(app: Sphinx, exception: Exception | None) -> None:
    """Draw the pictures of all pages."""
    if exception or app.builder.name != "html" or not app.config.html_baseurl:
        return
    titles, parts = app.env.titles, part_titles(app)
    names = sorted(titles)
    around = {"book": app.config.project, "subtitle": app.config.typst_subtitle}
    cards = [card(titles[name].astext(), part=parts.get(name, ""), **around) for name in names]
    for name, picture in zip(names, draw(cards), strict=True):
        path = Path(app.outdir) / FOLDER / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)


def part_titles(app: Sphinx) -> dict[str, str]:
    """The part of the book that each page stands in, as the root page's lists call it."""
    root = app.env.get_doctree(app.config.root_doc)
    return {
        name: toctree["caption"] or ""
        for toctree in root.findall(addnodes.toctree)
        for name in toctree["includefiles"]
    }


def card(title: str, **around: str) -> str:
    """A call of the template's function, which says what the texts around a title are."""
    arguments = "".join(f"{name}: {string(text)}, " for name, text in around.items())
    return f"#card({arguments}{string(title)})"


def cover(title: str, **around: str) -> str:
    """A call of the template's function for the cover of a book; `around` as for `card`."""
    return card(title, **around).replace("#card(", "#cover(", 1)


def draw(cards: list[str]) -> list[bytes]:
    """A PNG picture for each card, in their order."""
    pages = typst.compile(
        "\n".join([TEMPLATE.read_text("utf-8"), *cards]).encode(),
        font_paths=typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=font_folders()
        ),
        format="png",
        ppi=72,
    )
    return [pages] if isinstance(pages, bytes) else pages  # one page comes without a list


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("html-page-context", add_card)
    app.connect("build-finished", write_cards)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
