"""A page for each part of the book, which says in short what each of its chapters is for.

A part is a list of pages of one folder, with a caption, on the first page of the book. That page
has these lists below its search, as cards which lead to the parts. Templates get `parents`, the way
up from a chapter, which the theme shows on top of the page. For the website: other editions have
their contents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

SHOWN = 200  # characters that search engines and cards show, about


@dataclass(frozen=True)
class Part:
    """A folder of the book: its title, and the names of its pages in their order."""

    title: str
    pages: list[str]

    @property
    def name(self) -> str:
        """The name of the page of the part."""
        return f"{self.pages[0].partition('/')[0]}/index"


class FrontPage(SphinxPostTransform):
    """Puts the lists of chapters right below the search, which comes first in an incident."""

    default_priority = 300
    builders = ("html",)

    def run(self, **_kwargs: Any) -> None:
        """Change the first page of the book."""
        if self.env.docname != self.config.root_doc:
            return
        toctrees = list(self.document.findall(addnodes.toctree))
        top = next(self.document.findall(nodes.section))
        first = next((child for child in top if isinstance(child, nodes.section)), None)
        if first is not None:
            for toctree in toctrees:
                toctree.parent.parent.remove(toctree.parent)
            cards = nodes.container("", *map(self.card, toctrees), classes=["parts"])
            top.insert(top.index(first), cards)

    def card(self, toctree: addnodes.toctree) -> nodes.Node:
        """A list of chapters, under a title that leads to the page of the part."""
        if part := part_of(toctree):
            toctree["caption"] = None
            address = self.app.builder.get_target_uri(part.name)
            link = nodes.reference("", part.title, refuri=address, internal=True)
            toctree.parent.insert(0, nodes.rubric("", "", link, **{"heading-level": 2}))
        return toctree.parent


def part_of(toctree: addnodes.toctree) -> Part | None:
    """The part that a list of pages is, if it is one."""
    if toctree["caption"] and toctree["includefiles"]:
        return Part(toctree["caption"], toctree["includefiles"])
    return None


def parts(app: Sphinx) -> Iterator[Part]:
    """The parts of the book, in its order."""
    toctrees = app.env.tocs[app.config.root_doc].findall(addnodes.toctree)
    yield from filter(None, map(part_of, toctrees))


def keep_about(app: Sphinx, document: nodes.document) -> None:
    """Keep what a page that was just read is about."""
    app.env.metadata[app.env.docname]["about"] = first_paragraph(document)


def about(app: Sphinx, page: str) -> str:
    """What a page is about; nothing for one that no source has."""
    return str(app.env.metadata.get(page, {}).get("about", ""))


def first_paragraph(document: nodes.document) -> str:
    """The first paragraph of a page, without its stamp and the table under its title."""
    for paragraph in document.findall(nodes.paragraph):
        inside = paragraph.parent
        if isinstance(inside, nodes.section) and "stamp" not in paragraph["classes"]:
            return " ".join(paragraph.astext().split())
    return ""


def shortened(text: str) -> str:
    """The sentences of a text that fit, or as much of the first as fits."""
    if len(text) <= SHOWN:
        return text
    sentences, _stop, _rest = text[:SHOWN].rpartition(". ")
    return f"{sentences}." if sentences else f"{text[: SHOWN - 1].rpartition(' ')[0]}…"


def part_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page of each part."""
    for part in parts(app):
        chapters = [
            (page, app.env.titles[page].astext(), shortened(about(app, page)))
            for page in part.pages
        ]
        titles = "; ".join(title for _page, title, _about in chapters)
        described = _("{part} in this guide: {titles}.").format(part=part.title, titles=titles)
        context = {"title": part.title, "about": described, "chapters": chapters}
        yield part.name, context, "part.html"


def add_parents(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: nodes.document | None
) -> None:
    """Give the templates the way up: the part that a page is in."""
    context["parents"] = [
        {"link": context["pathto"](part.name), "title": part.title}
        for part in parts(app)
        if page in part.pages
    ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_post_transform(FrontPage)
    app.connect("doctree-read", keep_about)
    app.connect("html-collect-pages", part_pages)
    app.connect("html-page-context", add_parents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
