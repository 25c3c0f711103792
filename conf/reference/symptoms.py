"""Lists by symptom which chapter is about it: the index that an incident starts from.

A chapter declares in its front matter what somebody sees, by kind, in the exact words:

    ---
    symptoms:
      client: ["curl: (35) Recv failure: Connection reset by peer"]
      istiod: ["skipping server on gateway"]
    ---

Each must occur in an output of the chapter's own example. Flags of access logs and codes of
istioctl's analyzers are taken from these outputs as well, without being declared; `not` names
those that are no symptom of the chapter's subject.

Each is also in the book's index, with the place of the first block that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from data_files import parse_yaml, read_transcript
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

from reference import access_log, response_flags
from reference.response_flags import EXAMPLE as FLAGS
from reference.response_flags import anchor

logger = logging.getLogger(__name__)
_ = get_translation("extensions")

PARTS = ("debugging", "problems", "practices", "tricks")
# book.js filters by it; without scripts it is hidden.
FILTER = """\
<p class="filter"><label>{label} <input type="search"></label></p>
<p role="status">
<span class="filter-none" hidden>{none} <a href="../search.html">{search}</a></span>
</p>
"""
SECTIONS = "symptoms in sections"  # in what Sphinx knows of a page, ids by the symptoms
FRONT_MATTER = re.compile(r"---\n(.*?\n)---\n", re.S)
CODE = re.compile(r"\[(IST\d{4})\]")


@dataclass(frozen=True)
class Chapter:
    """A page, what its front matter says of symptoms by kind, and what its transcripts print.

    `entries` are places in it that explain a part of them, each with what that part prints.
    """

    docname: str
    declared: dict[str, list[str]]
    outputs: str
    entries: tuple[tuple[str, str], ...] = ()

    def symptoms(self) -> Iterator[tuple[str, str]]:
        """Each symptom once, as its kind and its text."""
        found = [(kind, text) for kind, texts in self.declared.items() for text in texts]
        for line in access_log.lines(self.outputs.splitlines()):
            if line.flags != ["-"]:
                text = f"{line.status} {','.join(line.flags)} {line.details}"
                found.append(("log", text.rstrip()))
        found += (("analyzer", code) for code in CODE.findall(self.outputs))
        left_out = {("not", text) for text in self.declared.get("not", ())}
        yield from (
            (kind, text)
            for kind, text in dict.fromkeys(found)
            if kind != "not" and ("not", text) not in left_out
        )

    def faults(self) -> Iterator[str]:
        """What is wrong with what it declares."""
        for kind, texts in self.declared.items():
            if kind not in kinds():
                yield f"unknown kind of symptom {kind!r}; known: {', '.join(kinds())}"
            for text in texts:
                if text not in self.outputs:
                    yield f"no output of this chapter's example has the symptom {text!r}"
        if self.docname.startswith(PARTS) and not list(self.symptoms()):
            yield "no symptom leads to this chapter: declare one in its front matter"


class Symptoms(SphinxDirective):
    """`{symptoms}` shows a section with a table for each kind."""

    def run(self) -> list[nodes.Node]:
        """The sections; a warning, with the chapter's name, for each that declares wrongly."""
        self.env.note_reread()  # any chapter and any transcript may have changed
        chapters = list(read(Path(self.env.srcdir)))
        for chapter in chapters:
            for fault in chapter.faults():
                warn(fault, Path(self.env.srcdir) / f"{chapter.docname}.md")
        return self.parse_text_to_nodes(markdown(chapters), allow_section_headings=True)


class Filter(SphinxDirective):
    """`{filter}` shows the field that leaves the rows which have some words; in HTML only."""

    def run(self) -> list[nodes.Node]:
        """The field: sections cannot come behind it in one directive."""
        words = {
            "label": _("Words of what you see:"),
            "none": _("No row has all of these words."),
            "search": _("Search the guide"),
        }
        quoted = {name: escape(str(text)) for name, text in words.items()}
        field = nodes.raw("", FILTER.format(**quoted), format="html")
        return [addnodes.only("", field, expr="builder_html")]


class IndexOfSymptoms(SphinxTransform):
    """Puts an entry for each symptom before the first block of its chapter that shows it."""

    default_priority = 205  # when blocks have their captions, at 200, and before the index is made

    def apply(self, **_kwargs: Any) -> None:
        """Add the entries, and places to link to."""
        path = Path(self.env.doc2path(self.env.docname))
        if path.parents[1] != Path(self.env.srcdir):
            return
        blocks = list(self.document.findall(nodes.literal_block))
        sections = self.env.metadata[self.env.docname].setdefault(SECTIONS, {})
        for _kind, text in read_chapter(Path(self.env.srcdir), path).symptoms():
            shown = next((block for block in blocks if text in block.astext()), None)
            if shown is not None:
                sections[text] = section_id(shown)
                add_entry(self.document, shown, text, f"index-{self.env.new_serialno('index')}")


class LinksToSections(SphinxPostTransform):
    """Lets the rows lead to the first section of a chapter that shows the symptom."""

    default_priority = 8  # before MyST-Parser's, at 9, which leads to the page

    def run(self, **_kwargs: Any) -> None:
        """Change the tables, in every edition."""
        tables = (t for t in self.document.findall(nodes.table) if "symptoms" in t["classes"])
        for row in (row for table in tables for row in table.findall(nodes.row)):
            text = row[0].astext()
            for link in list(row.findall(addnodes.pending_xref)):
                place = self.env.metadata[link["reftarget"]].get(SECTIONS, {}).get(text)
                if place:
                    self.lead(link, place)

    def lead(self, link: addnodes.pending_xref, place: str) -> None:
        """Put a link to a place in its page instead of one to the page."""
        page = link["reftarget"]
        title = nodes.inline("", self.env.titles[page].astext())
        link.replace_self(make_refnode(self.app.builder, link["refdoc"], page, place, title))


def section_id(block: nodes.Node) -> str:
    """The id of the section around a block; none in that of the whole page."""
    while not isinstance(block, nodes.section):
        block = block.parent
    return str(block["ids"][0]) if isinstance(block.parent, nodes.section) else ""


def add_entry(document: nodes.document, block: nodes.Element, text: str, name: str) -> None:
    """Put an entry of the index, and the place called `name` that it leads to, before a block."""
    if isinstance(block.parent, nodes.container):
        block = block.parent  # with the caption
    target = nodes.target("", "", ids=[name])
    document.note_explicit_target(target)
    entry = addnodes.index(entries=[("single", text, name, "", None)])
    assert block.parent is not None
    block.parent.insert(block.parent.index(block), [entry, target])


def kinds() -> dict[str, str]:
    """The kinds of symptoms in the order of the page, with the titles of their sections."""
    return {
        "client": _("The client's error"),
        "log": _("The access log"),
        "analyzer": _("istioctl analyze"),
        "kubectl": _("kubectl"),
        "istiod": _("istiod's log"),
        "proxy": _("The proxy's own log"),
        "metric": _("A metric"),
        "not": "",
    }


def read(source: Path) -> Iterator[Chapter]:
    """The chapters below the source folder, each with the transcripts of its example.

    Other pages that declare symptoms count too, and those that have an example of their own.
    """
    paths = [*source.glob("*/*.md")]
    for path in sorted(paths, key=lambda path: (path.parent.name not in PARTS, path)):
        yield read_chapter(source, path)


def read_chapter(source: Path, path: Path) -> Chapter:
    """The chapter in the file `path`."""
    front = FRONT_MATTER.match(path.read_text("utf-8"))
    declared = (parse_yaml(front[1], path, line=2) if front else {}).get("symptoms", {})
    docname = f"{path.parent.name}/{path.stem}"
    texts = sorted((source.parent / "examples" / docname).glob("*.console"))
    steps = (step for text in texts for step in read_transcript(text).steps)
    outputs = "\n".join(line for step in steps for line in step.output)
    return Chapter(docname, declared, outputs, tuple(entries(source, docname)))


def entries(source: Path, docname: str) -> Iterator[tuple[str, str]]:
    """The places of the page of all flags, in order, each with what was recorded of its flag."""
    if docname == FLAGS:
        recorded = list(response_flags.recorded(source.parent / "examples" / FLAGS))
        for item in response_flags.read(source):
            shown = [one.text for one in recorded if item.flag in one.line.flags]
            yield anchor(item.flag), "\n".join(shown)


def markdown(chapters: list[Chapter]) -> str:
    """A heading and a table for each kind of symptom, in Markdown."""
    found: dict[tuple[str, str], list[str]] = {}
    for chapter in chapters:
        for symptom in chapter.symptoms():
            found.setdefault(symptom, []).extend(links(chapter, *symptom))
    lines: list[str] = []
    for kind, title in kinds().items():
        rows = sorted((text, links) for (of, text), links in found.items() if of == kind)
        if rows:
            lines += [f"## {title}", "", ":::{table}", ":class: symptoms", ""]
            lines += [f"| {_('What you see')} | {_('Chapter')} |", "|---|---|"]
            lines += (f"| {code(text)} | {'; '.join(links)} |" for text, links in rows)
            lines += [":::", ""]
    return "\n".join(lines)


def links(chapter: Chapter, kind: str, text: str) -> Iterator[str]:
    """Links to a chapter that has a symptom, or to what a page of many entries says of it."""
    if chapter.docname == FLAGS and kind == "log":
        places = [anchor(flag) for flag in text.split()[1].split(",")]
    else:
        places = [place for place, shown in chapter.entries if text in shown]
    yield from (f"[](#{place})" for place in places)
    if not places:
        yield f"[](/{chapter.docname}.md)"


def code(text: str) -> str:
    """A text as it is, in a cell of a table."""
    return f"`` {text} ``".replace("|", r"\|")


def warn(text: str, path: Path) -> None:
    """Log a warning of this extension."""
    logger.warning("%s", text, type="symptoms", location=f"{path}:1")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("symptoms", Symptoms)
    app.add_directive("filter", Filter)
    app.add_transform(IndexOfSymptoms)
    app.add_post_transform(LinksToSections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
