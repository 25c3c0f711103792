"""Makes what the search page searches: the words of the book by section, and its lines by page.

`_static/finder.js` ranks by the words, which are one file, and shows lines of the pages that it
found, each of which has a file of its own: the book may grow, and a search loads what it shows. All
are scripts, since a page that was opened as a file may load no data.

What the search knows beside the book stands in `book/reference/search.yaml`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from chapter.tags import tags_of
from data_files import read_yaml
from docutils import nodes
from reference import response_flags, symptoms
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.tags import Tags
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

INDEX = "finder-index.js"
LINES = "finder"  # the folder with the lines of each page
KNOWN = "reference/search.yaml"
NOTHING: dict[str, Any] = {"blanks": ["(?!)"], "synonyms": {}, "ignored": ""}  # of another book
SYMPTOMS = "reference/symptoms"  # it repeats what the pages have that it leads to
WEBSITE = Tags(("html", "builder_html"))  # what `only` shows there

NAME = re.compile(r"[^\W_]+(?:[-_][^\W_]+)*(?:\.(?:yaml|console)\b)?")
HUMPS = (re.compile(r"([a-z0-9])([A-Z])"), re.compile(r"([A-Z])([A-Z][a-z])"))
ENDING = re.compile(r"(?<=...)(?:ings?|ions?|ed|es|e|(?<![sui])s)$")

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
        return [addnodes.only("", nodes.raw("", form, format="html"), expr="builder_html")]


@dataclass(frozen=True)
class Section:
    """A part of a page with the lines that are in no smaller one."""

    id: str
    title: str
    lines: list[str]


@dataclass(frozen=True)
class Page:
    """A page of the book; `symptoms` are texts, each with the number of the section that has it."""

    name: str
    title: str
    tags: list[str]
    sections: list[Section]
    symptoms: list[tuple[str, int]]


def write_index(app: Sphinx, exception: Exception | None) -> None:
    """Write the words, and the lines of each page, beside the pages."""
    if exception or app.builder.name != "html":
        return
    source, out = Path(app.srcdir), Path(app.outdir)
    known = read_yaml(source / KNOWN) if (source / KNOWN).exists() else NOTHING
    blanks, ignored = "|".join(known["blanks"]), known["ignored"].split()
    pages = list(read(app.env, source))
    places = index(pages, re.compile(blanks), {stem(word) for word in ignored})
    value = {
        "blanks": blanks,
        "ignored": ignored,
        "synonyms": known["synonyms"],
        "pages": [summary(page, app.builder.get_target_uri(page.name)) for page in pages],
        "words": " ".join(places),
        "places": " ".join(",".join(steps(numbers)) for numbers in places.values()),
    }
    write_script(out / INDEX, "finder.begin", value)
    for page in pages:
        lines = [section.lines for section in page.sections]
        write_script(out / LINES / f"{page.name}.js", "finder.keep", page.name, lines)


def write_script(path: Path, function: str, *values: Any) -> None:
    """Write a script that calls a function."""
    texts = [json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in values]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{function}({','.join(texts)});\n", encoding="utf-8")


def read(env: BuildEnvironment, source: Path) -> Iterator[Page]:
    """The pages of the book in their order."""
    chapters = {chapter.docname: chapter for chapter in symptoms.read(source)}
    for name in env.collect_relations():
        if name == SYMPTOMS:
            continue
        found = list(sections(env, env.get_doctree(name)))
        declared = chapters[name].declared if name in chapters else {}
        texts = [text for kind, texts in declared.items() if kind != "not" for text in texts]
        placed = [(text, place(text, found)) for text in texts]
        if name == response_flags.EXAMPLE:
            placed = list(flag_symptoms(source, [section.id for section in found]))
        yield Page(name, env.titles[name].astext(), tags_of(env, name), found, placed)


def flag_symptoms(source: Path, ids: list[str]) -> Iterator[tuple[str, int]]:
    """What leads to a flag's section: bodies of answers, and details that no chapter is about."""
    for flag in response_flags.read(source):
        number = ids.index(response_flags.anchor(flag.flag))
        details = [words for words in flag.details if words == "filter_chain_not_found"]
        yield from ((words, number) for words in (*flag.bodies, *details))


def place(text: str, found: list[Section]) -> int:
    """The number of the first section that shows a text; what none shows is the whole page's."""
    shown = (number for number, one in enumerate(found) if any(text in line for line in one.lines))
    return next(shown, 0)


def summary(page: Page, url: str) -> dict[str, Any]:
    """What the index has of a page, beside its words."""
    return {
        "name": page.name,
        "url": url,
        "title": page.title,
        "tags": page.tags,
        "isChapter": page.name.startswith(symptoms.PARTS),
        "sections": [[section.id, section.title] for section in page.sections],
        "symptoms": page.symptoms,
    }


def index(pages: list[Page], blank: re.Pattern[str], ignored: set[str]) -> dict[str, list[int]]:
    """All words in their order, each with the numbers of its sections, counted through the book."""
    places: dict[str, list[int]] = {}
    every = (section for page in pages for section in page.sections)
    for number, section in enumerate(every):
        text = "\n".join([section.title, *section.lines])
        for word in set(words(blank.sub(" ", text))) - ignored:
            places.setdefault(word, []).append(number)
    return dict(sorted(places.items()))


def steps(numbers: list[int]) -> Iterator[str]:
    """The first number, and by how much each is above the one before it."""
    yield from (str(after - before) for before, after in pairwise([0, *numbers]))


def words(text: str) -> Iterator[str]:
    """The words of a text in lower case and without endings; `finder.js` has the same function.

    Of a name such as directResponse or virtual-service they are its parts and the whole.
    """
    for name in NAME.findall(text):
        apart = HUMPS[1].sub(r"\1 \2", HUMPS[0].sub(r"\1 \2", name))
        parts = re.split(r"[-_. ]", apart.lower())
        yield from map(stem, parts)
        if len(parts) > 1:
            yield stem("".join(parts))


def stem(word: str) -> str:
    """A word without its ending, but for `https`."""
    return word if word == "https" else ENDING.sub("", word)


def sections(env: BuildEnvironment, document: nodes.document) -> Iterator[Section]:
    """The sections of a page in their order, each with the lines that are in no smaller one."""
    for section in document.findall(nodes.section):
        shown = [line for child in section[1:] for line in lines(env, child) if line]
        yield Section(section["ids"][0], section[0].astext(), shown)


def lines(env: BuildEnvironment, node: nodes.Node) -> Iterator[str]:
    """The lines of a part of a page, a row of a table being one."""
    if isinstance(node, nodes.row):
        yield " | ".join(" ".join(lines(env, entry)) for entry in node.children)
    elif isinstance(node, nodes.literal_block | nodes.paragraph | nodes.caption | nodes.term):
        yield from map(str.rstrip, text_of(env, node).splitlines())
    elif not is_left_out(node):
        for child in node.children:
            yield from lines(env, child)


def is_left_out(node: nodes.Node) -> bool:
    """Whether a node has nothing of the text around it."""
    other = isinstance(node, addnodes.only) and not WEBSITE.eval_condition(node["expr"])
    return other or isinstance(node, nodes.section | nodes.Invisible | nodes.raw)


def text_of(env: BuildEnvironment, node: nodes.Node) -> str:
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
