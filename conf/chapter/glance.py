"""Puts at the top of a chapter, side by side, what somebody with an incident needs first.

The left has the table of what the chapter applies to and the short answer, which are its first two
parts; the right shows the file that the front matter names as the fix, with a link to where the
chapter shows it: `fix: virtual-service.yaml`. Of a file that does not fit, book.js shows the number
of lines, which is hidden until then, so that nothing moves.

For the website: the other editions have all of it in reading order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

from chapter.examples import is_captioned

logger = logging.getLogger(__name__)
_ = get_translation("extensions")


class Glance(SphinxPostTransform):
    """Builds that top of a page whose front matter names a fix."""

    default_priority = 300  # before the buttons, which the fix has too
    builders = ("html",)

    def run(self, **_kwargs: Any) -> None:
        """Change the page; warn, with its name, of a fix that it does not show."""
        docname = self.env.docname
        if not (name := self.env.metadata[docname].get("fix")):
            return
        block = next(filter(lambda block: shows(block, name), self.blocks()), None)
        if block is None:
            text = "the front matter names the fix %s, which this chapter does not show"
            logger.warning(text, name, type="glance", location=docname)
            return
        top = next(self.document.findall(nodes.section))
        answer = next(child for child in top if isinstance(child, nodes.section))
        head = [child for child in top if isinstance(child, nodes.table)]
        left = nodes.container("", classes=["glance-answer"])
        label = _("Fix") if docname.startswith("problems/") else _("Apply this")
        top.replace(answer, nodes.container("", left, fix(block, label), classes=["glance"]))
        for table in head:
            top.remove(table)
            span_title(table)
        left += [*head, answer]

    def blocks(self) -> list[nodes.literal_block]:
        """All blocks of the page."""
        return list(self.document.findall(nodes.literal_block))


class Titles(SphinxPostTransform):
    """Lets titles of tables span them where nothing else does: else they are in two lines."""

    default_priority = 300
    builders = ("epub", "typst")

    def run(self, **_kwargs: Any) -> None:
        """Change the page."""
        for table in self.document.findall(nodes.table):
            span_title(table)


def span_title(table: nodes.table) -> None:
    """Let the title in a table's head span the empty cell beside it."""
    cells = [cell for head in table.findall(nodes.thead) for cell in head.findall(nodes.entry)]
    if len(cells) > 1 and not any(cell.astext() for cell in cells[1:]):
        cells[0]["morecols"] = len(cells) - 1
        for cell in cells[1:]:
            cell.parent.remove(cell)


def shows(block: nodes.literal_block, name: str) -> bool:
    """Whether a block shows the file of a name, under that name."""
    return Path(block.get("source", "")).name == name and is_captioned(block)


def fix(block: nodes.literal_block, label: str) -> nodes.container:
    """A copy of a block under a label, with a link to the section that the block stands in."""
    section: nodes.Node = block.parent
    while not isinstance(section, nodes.section):
        section = section.parent
    copy = block.parent.deepcopy()
    for node in copy.findall(nodes.Element):
        node["ids"] = [f"fix-{name}" for name in node["ids"]]  # the others are the original's
    lines = _("{count} lines in all").format(count=len(block.astext().splitlines()))
    parts = [
        nodes.strong("", label),
        nodes.inline("", lines, classes=["glance-lines"]),
        nodes.reference("", _("Where and why"), refid=section["ids"][0], internal=True),
    ]
    head = nodes.paragraph("", "", *parts)
    return nodes.container("", head, copy, classes=["glance-fix"])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_post_transform(Glance)
    app.add_post_transform(Titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
