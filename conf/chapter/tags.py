"""Lists chapters by subject, on pages of the HTML edition.

A chapter names its subjects in its front matter, in the words of the field: `tags: [gateway, TLS]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

INDEX = "tags/index"


def tags_of(env: BuildEnvironment, page: str) -> list[str]:
    """The subjects of a page, in its own order."""
    return list(json.loads(env.metadata[page].get("tags", "[]")))


def page_of(tag: str) -> str:
    """The name of the page of a subject."""
    name = re.sub(r"\W+", "-", tag.lower())
    return f"tags/{name}"


def tag_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page of each subject, and the one of all; chapters in the order of the book.

    `about` is what others show of it.
    """
    chapters: dict[str, list[tuple[str, str]]] = {}
    for page in app.env.collect_relations():
        for tag in tags_of(app.env, page):
            chapters.setdefault(tag, []).append((page, app.env.titles[page].astext()))
    subjects = sorted(chapters.items(), key=lambda item: item[0].lower())
    groups = [(tag, page_of(tag), pages) for tag, pages in subjects]
    tags = ", ".join(tag for tag, _page, _pages in groups)
    about = _("The chapters of this guide by subject: {tags}.").format(tags=tags)
    yield INDEX, {"title": _("Subjects"), "about": about, "groups": groups}, "tags.html"
    for tag, page, pages in groups:
        title = _("Subject: {tag}").format(tag=tag)
        titles = "; ".join(title for _page, title in pages)
        about = _("What this guide has about {tag}: {titles}.").format(tag=tag, titles=titles)
        yield page, {"title": title, "about": about, "groups": [("", page, pages)]}, "tags.html"


def add_context(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the templates the subjects of a page, each with the page that lists them."""
    if doctree is not None:
        context["doc_tags"] = [(tag, page_of(tag)) for tag in tags_of(app.env, page)]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("html-collect-pages", tag_pages)
    app.connect("html-page-context", add_context)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
