"""Makes what the search page searches: every line of the book, as it stands, with its section.

`_static/finder.js` looks in it for exact strings, which an index of words would not find: flags
with their status, codes, log lines, file names. It comes as a script, since a page that was opened
as a file may load no data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from reference import symptoms
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

INDEX = "finder-index.js"


FORM = """\
<form class="search" role="search" action="{page}">
<input type="search" name="q" aria-label="{label}" placeholder="{hint}" autocomplete="off"
 autocapitalize="off" spellcheck="false">
<button type="submit">{search}</button>
</form>
"""


class Finder(SphinxDirective):
    """`{finder}` shows the field of the search, which leads to the search page; in HTML only."""

    def run(self) -> list[nodes.Node]:
        """The form, for a page in the folder of the sources itself."""
        words = {
            "label": _("Search"),
            "hint": _("Paste an error, a flag with its status, an analyzer code"),
            "search": _("Search"),
        }
        quoted = {name: escape(str(text)) for name, text in words.items()}
        form = FORM.format(page="search.html", **quoted)
        return [addnodes.only("", nodes.raw("", form, format="html"), expr="html")]


def write_index(app: Sphinx, exception: Exception | None) -> None:
    """Write the index beside the pages."""
    if exception or app.builder.name != "html":
        return
    chapters = {chapter.docname: chapter for chapter in symptoms.read(Path(app.srcdir))}
    pages = [
        {
            "url": app.builder.get_target_uri(name),
            "title": app.env.titles[name].astext(),
            "chapter": name.startswith(symptoms.PARTS),
            "symptoms": [text for _kind, text in chapters[name].symptoms()]
            if name in chapters
            else [],
            "sections": list(sections(app.env, app.env.get_doctree(name))),
        }
        for name in app.env.collect_relations()
    ]
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / INDEX).write_text(f"const finderIndex = {text};\n", encoding="utf-8")


def sections(env: BuildEnvironment, document: nodes.document) -> Iterator[dict[str, Any]]:
    """The sections of a page in their order, each with the lines that are in no smaller one."""
    for section in document.findall(nodes.section):
        yield {
            "id": section["ids"][0],
            "title": section[0].astext(),
            "lines": [line for child in section[1:] for line in lines(env, child) if line],
        }


def lines(env: BuildEnvironment, node: nodes.Node) -> Iterator[str]:
    """The lines of a part of a page, a row of a table being one."""
    if isinstance(node, nodes.row):
        yield " | ".join(" ".join(lines(env, entry)) for entry in node.children)
    elif isinstance(node, nodes.literal_block | nodes.paragraph | nodes.caption | nodes.term):
        yield from map(str.rstrip, words(env, node).splitlines())
    elif not is_left_out(node):
        for child in node.children:
            yield from lines(env, child)


def is_left_out(node: nodes.Node) -> bool:
    """Whether a node has nothing of the text around it."""
    other = isinstance(node, addnodes.only) and node["expr"] != "html"
    return other or isinstance(node, nodes.section | nodes.Invisible | nodes.raw)


def words(env: BuildEnvironment, node: nodes.Node) -> str:
    """The text of a node; links that show a page's title have none yet."""
    found = []
    for part in node.findall():
        if isinstance(part, nodes.Text):
            found.append(part.astext())
        elif isinstance(part, addnodes.pending_xref) and not part.astext():
            title = env.titles.get(part["reftarget"])
            found.append(title.astext() if title else "")
    return "".join(found)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("finder", Finder)
    app.connect("build-finished", write_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
