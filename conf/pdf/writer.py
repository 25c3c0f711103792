"""From an assembled doctree to Typst code.

All is written in Typst's code mode, and all text as string literals, so that nothing a chapter
says can be taken for markup. This module says what a thing is; book.typ says how it looks.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.builders import Builder
from sphinx.environment.adapters.indexentries import IndexEntries
from sphinx.highlighting import PygmentsBridge
from sphinx.locale import _, admonitionlabels
from sphinx.util import logging

from pdf import tables
from pdf.listings import (
    CODE_COLUMNS,
    NARROW_COLUMNS,
    NUMBER_COLUMNS,
    SMALLEST,
    CodeFormatter,
    boolean,
    break_points,
    join,
    rows,
    size_of,
    split_at,
    string,
)

logger = logging.getLogger(__name__)

# Begins a comment that says which line of which chapter the code after it comes from.
PLACE = "//@ "

# Nodes that are one call of a Typst function on what they contain.
CALLS = {
    "classifier": "emph",
    "emphasis": "emph",
    "manpage": "emph",
    "title_reference": "emph",
    "strong": "strong",
    "literal_strong": "strong",
    "subscript": "sub",
    "superscript": "super",
    "desc_annotation": "emph",
    "desc_name": "strong",
    "rubric": "rubric",
    "centered": "centered",
    "block_quote": "quotation",
    "attribution": "attribution",
    "legend": "legend",
    "versionmodified": "version-note",
}
# Nodes that add nothing to what they contain.
TRANSPARENT = {
    "caption",
    "definition",
    "desc_content",
    "desc_addname",
    "desc_parameter",
    "desc_sig_element",
    "desc_signature_line",
    "desc_type",
    "desc_type_parameter",
    "document",
    "download_reference",
    "field_body",
    "field_name",
    "glossary",
    "hlist",
    "hlistcol",
    "line",
    "problematic",
    "target",
    "term",
    "title",
}
# Nodes that print nothing, or that another node prints: a footnote, where it is referred to.
SILENT = {
    "comment",
    "footnote",
    "highlightlang",
    "index",
    "meta",
    "pending",
    "substitution_definition",
    "system_message",
    "tabular_col_spec",
    "toctree",
}
# HTML that is printed: a break in a line, and a box of a list of tasks; comments say nothing.
LINE_BREAK = re.compile(r"\s*<br\s*/?>\s*", re.I)
TASK = re.compile(r"\s*<input\b[^>]*\btype=[\"']?checkbox\b", re.I)
COMMENT = re.compile(r"\s*<!--.*?-->\s*", re.S)
PARENTHESES = {"desc_type_parameter_list": ("[", "]")}
ENUMERATORS = {
    "arabic": "1",
    "loweralpha": "a",
    "upperalpha": "A",
    "lowerroman": "i",
    "upperroman": "I",
}

# Words longer than this many characters may be broken, in prose, and in the index and in notes.
LONG_WORD = 32
LONG_NARROW_WORD = 12
LONG_CODE_WORD = 60  # of code in prose
# Code in which Typst breaks no word; it breaks addresses, which it knows by these beginnings.
UNBROKEN = re.compile(r"(?!.*www\.)[\w\"#&')*,.:;<=>@\]^`~ ]+", re.A)
# What stays on one page: code of so many rows, and lists of so many characters and items.
SHORT_CODE = 14
SHORT_LIST = 600
FEW_ITEMS = 20
SHORT_LEAD = 200  # characters of a paragraph that stays with what is below it
# Points of a caption that is one row with what is beside it, and of its letters, about.
CAPTION_ROW = 270
CODE, ASIDE, PROSE = 4.8, 3.9, 4.5
# Nodes in which a listing has less than the width of the page.
NARROWING = (
    nodes.Admonition,
    nodes.block_quote,
    nodes.definition,
    nodes.entry,
    nodes.field_body,
    nodes.list_item,
    nodes.sidebar,
    nodes.topic,
)


def length(value: str) -> str | None:
    """Give a docutils length as a Typst length, `None` if it has no counterpart in print."""
    match = re.fullmatch(r"([\d.]+)\s*(px|pt|cm|mm|in|em|%|)", value.strip())
    if not match:
        return None
    number, unit = match.groups()
    return number + unit if unit not in ("px", "") else f"{float(number) * 0.75:g}pt"


def printed_before(node: nodes.Element) -> nodes.Node | None:
    """Give what is printed right before `node` in the same element, if there is something."""
    siblings = node.parent.children[: node.parent.index(node)]
    printed = (one for one in siblings if not isinstance(one, (addnodes.index, nodes.target)))
    return next(reversed(list(printed)), None)


def split(
    node: nodes.Element, *kinds: type[nodes.Element]
) -> tuple[list[nodes.Element], list[nodes.Node]]:
    """Give the children of `node` that are of these `kinds`, and the others."""
    chosen = [child for child in node.children if isinstance(child, kinds)]
    return chosen, [child for child in node.children if not isinstance(child, kinds)]


def is_repeatable(table: nodes.tgroup) -> bool:
    """Tell whether the head of `table` can stand on each page: no link leads from or to it."""
    parts = (part for head in split(table, nodes.thead)[0] for part in head.findall(nodes.Element))
    return not any(part["ids"] or isinstance(part, nodes.Referential) for part in parts)


def linkable(node: nodes.Element, docname: str) -> Iterator[tuple[str, nodes.Element]]:
    """Yield the elements below `node`, each with the name of the document it comes from."""
    for child in node.children:
        if isinstance(child, nodes.Element):
            inner = child["docname"] if isinstance(child, addnodes.start_of_file) else docname
            yield inner, child
            yield from linkable(child, inner)


def is_short(block: nodes.Element) -> bool:
    """Tell whether a block of code stays on one page."""
    return sum(map(rows, block.astext().split("\n"))) <= SHORT_CODE


def width(caption: nodes.Element) -> float:
    """Give about how many points the template takes for a caption in one row."""
    points = 0.0
    for text in caption.findall(nodes.Text):
        assert isinstance(text.parent, nodes.Element)
        prose = ASIDE if "aside" in text.parent["classes"] else PROSE
        points += len(text) * (CODE if isinstance(text.parent, nodes.literal) else prose)
    return points


def is_high(node: nodes.Element) -> bool:
    """Tell whether something in `node` can take more of a page than its text says."""
    kinds = (nodes.image, nodes.literal_block, nodes.table)
    return any(isinstance(inner, kinds) for inner in node.findall(nodes.Element))


def is_inside(node: nodes.Node, kinds: tuple[type, ...], end: nodes.Node | None = None) -> bool:
    """Tell whether a node of these `kinds` is around `node`, below `end`."""
    around = node.parent
    while around is not None and around is not end:
        if isinstance(around, kinds):
            return True
        around = around.parent
    return False


def labels_of(node: nodes.Element, docname: str) -> list[str]:
    """Give the labels of `node`, which stands in the document `docname`."""
    return [f"{docname}#{identifier}" for identifier in node["ids"]]


class Writer:
    """Writes one doctree that holds the whole book.

    Warns, with the place in the source, of what it cannot print: an unknown node, a link to
    nothing, a picture without a description.
    """

    def __init__(
        self,
        builder: Builder,
        tree: nodes.document,
        faults: Mapping[str, str],
        visitors: Mapping[str, tuple[Callable[..., Any], object]] = MappingProxyType({}),
    ) -> None:
        self.builder = builder
        self.faults = faults  # of pictures, by their place in the source folder
        self.visitors = visitors  # of nodes that extensions bring, by the names of their classes
        self.config = builder.config
        self.docname: str = builder.config.root_doc
        self.line = 0
        self.place = ""
        self.level = 0  # of the heading around; that of a document in another one is deeper
        self.rank = 0  # of the document around: 0 part, 1 chapter, 2 section of a chapter, ...
        self.next_rank = 1  # of a heading that comes now
        self.longest = LONG_WORD
        self.in_title = False
        self.in_table = False
        self.stubs: list[bool] = []  # of each cell below a head of a table, if its column is one
        self.small: list[str] = []  # rows of code below the smallest size, with their places
        self.part = ""  # the title of the part around
        self.explained: set[str] = set()
        self.anchored: set[str] = set()
        self.labels: dict[str, str] = {}
        self.footnotes: dict[str, nodes.Element] = {}
        for docname, node in linkable(tree, self.docname):
            self.note_labels(docname, node)
        self.highlighter = PygmentsBridge("html", self.config.pygments_style or "sphinx")
        self.highlighter.formatter = CodeFormatter

    def note_labels(self, docname: str, node: nodes.Element) -> None:
        """Remember what `node` can be linked by; the first label of a document is its own."""
        for label in labels_of(node, docname):
            if isinstance(node, nodes.footnote):
                self.footnotes[label] = node
            elif node.tagname not in SILENT:
                self.labels[label] = label
                self.labels.setdefault(docname, label)

    # The walk

    def write(self, node: nodes.Node) -> str:
        """Give `node` as one Typst expression, or nothing if it prints nothing."""
        if not isinstance(node, nodes.Element):
            text = node.astext().replace("\n", " ")
            return split_at(text, break_points(text, self.longest))
        if node.tagname in SILENT:
            return ""
        place = self.new_place(node)
        code = self.handler(node)(node)
        anchors = self.anchors(node)
        return place + join([anchors, code]) if anchors or code else ""

    def handler(self, node: nodes.Element) -> Callable[[Any], str]:
        """Give what writes nodes of this class, or of the nearest one it derives from."""
        for kind in type(node).__mro__:
            name = kind.__name__
            if name in self.visitors:
                return partial(self.visitors[name][0], self)
            if hasattr(self, f"visit_{name}"):
                handler: Callable[[Any], str] = getattr(self, f"visit_{name}")
                return handler
            if name in CALLS:
                return partial(self.call, CALLS[name])
            if name in TRANSPARENT:
                return self.content
        self.warn("not printable in the PDF: node %r", node.tagname)
        return self.content

    def new_place(self, node: nodes.Element) -> str:
        """Give a comment with the file and line of `node`, if they are others than before."""
        self.line = node.line or self.line
        before = self.place
        self.place = f"{self.builder.env.doc2path(self.docname, base=False)}:{self.line}"
        return f"\n{PLACE}{self.place}\n" if self.place != before else ""

    def warn(self, message: str, *arguments: object) -> None:
        """Log a warning about the node that is being written."""
        logger.warning(message, *arguments, location=(self.docname, self.line))

    def anchors(self, *elements: nodes.Element) -> str:
        """Give the places to link to for `elements`, unless they are in the book already."""
        labels = [label for node in elements for label in labels_of(node, self.docname)]
        new = [label for label in labels if label not in self.anchored]
        self.anchored.update(new)
        return join(f"anchor({string(label)})" for label in new) if new else ""

    def content(self, node: nodes.Element) -> str:
        """Give what `node` contains as one Typst expression."""
        return join(map(self.write, node.children))

    def call(self, function: str, node: nodes.Element) -> str:
        """Give a call of a Typst function on what `node` contains."""
        return f"{function}({self.content(node)})"

    def flow(self, node: nodes.Element) -> str:
        """Give what `node` contains, its first paragraph inline: beside a bullet or a number."""
        _label, children = split(node, nodes.label)
        parts = [self.anchors(node)]
        if children and isinstance(first := children[0], nodes.paragraph):
            parts += [self.anchors(first), self.content(first)]
            del children[0]
        return join([*parts, *map(self.write, children)])

    # The frame

    def visit_start_of_file(self, node: addnodes.start_of_file) -> str:
        before = self.docname, self.rank, self.next_rank
        self.docname, self.line = node["docname"], 0
        opens_part = self.level == 0 and any(
            inner is not node for inner in node.findall(addnodes.start_of_file)
        )
        self.rank = 0 if opens_part else self.rank + 1
        self.next_rank = self.rank
        code = self.content(node)
        self.docname, self.rank, self.next_rank = before
        return code

    def visit_compound(self, node: nodes.compound) -> str:
        if not node.get("caption"):
            return self.content(node)
        self.level, before = self.level + 1, self.level
        self.part = string(node["caption"])
        part = self.heading(0, self.anchors(node), self.part, chapters=self.chapters(node))
        code = join([part, self.content(node)])
        self.level, self.part = before, ""
        return code

    def chapters(self, node: nodes.Element) -> str:
        """Give the documents of the next rank below `node`, for the page that opens a part."""
        found = []
        for docname, document in linkable(node, self.docname):
            is_file = isinstance(document, addnodes.start_of_file)
            if not is_file or is_inside(document, (addnodes.start_of_file,), node):
                continue
            title = next(document.findall(nodes.title), None)
            if title is not None:
                found.append(f"(label({string(self.labels[docname])}), {self.title(title)}),\n")
        return f"({''.join(found)})"

    def visit_section(self, node: nodes.section) -> str:
        if self.level == 0 and self.docname == self.config.root_doc and len(node.children) == 1:
            return self.anchors(node)  # the root document has no text: it needs no preface
        before = self.level, self.next_rank
        self.level, rank = self.level + 1, self.next_rank
        self.next_rank = max(rank, 1) + 1
        title, *body = node.children
        assert isinstance(title, nodes.title)
        # A title is printed again in the contents and above pages, where nothing can be a link,
        # and a place to link to can be in the book only once: it stands before the title.
        anchors = self.anchors(node, title, *title.findall(nodes.Element))
        words = self.title(title)
        chapters = ""
        if rank == 0:
            assert node.parent is not None
            self.part, chapters = words, self.chapters(node.parent)
        number, entry = string(self.section_number(node)), string(node.get("entry", ""))
        heading = self.heading(rank, anchors, words, number=number, chapters=chapters, entry=entry)
        code = join([heading, *map(self.write, body)])
        self.level, self.next_rank = before
        return code

    def title(self, title: nodes.Element) -> str:
        """Give a title as it can stand anywhere in the book, and more than once."""
        before, self.in_title = self.in_title, True
        words = self.content(title)
        self.in_title = before
        return words

    def heading(self, rank: int, anchors: str, title: str, **options: str) -> str:
        """Give a heading on the present level; `options` are more of its parts as Typst code."""
        if rank == 1:
            options["part"] = self.part
        if rank <= 1 and self.config.typst_two_sided:
            options["starts"] = string("odd")
        more = "".join(f"{name}: {value}, " for name, value in options.items() if value)
        place = f"level: {self.level}, rank: {rank}, anchors: {anchors or '[]'}"
        return f"section({place}, {more}{title})"

    def section_number(self, node: nodes.section) -> str:
        """Give the number Sphinx gave to a section, empty without one."""
        numbers = self.builder.env.toc_secnumbers.get(self.docname, {})
        opens = not isinstance(node.parent, nodes.section)
        return ".".join(map(str, numbers.get("" if opens else f"#{node['ids'][0]}") or ()))

    def figure_number(self, node: nodes.Element) -> str:
        """Give the words and number Sphinx puts before a caption, empty without numbers."""
        env = self.builder.env
        kind = env.domains.standard_domain.get_enumerable_node_type(node) or ""
        numbers = env.toc_fignumbers.get(self.docname, {}).get(kind, {})
        number = numbers.get(node["ids"][0]) if node["ids"] else None
        return self.config.numfig_format[kind] % ".".join(map(str, number)) if number else ""

    # Paragraphs

    def visit_paragraph(self, node: nodes.paragraph) -> str:
        """A paragraph that leads to what comes next stays on its page."""
        following = node.next_node(descend=False, siblings=True)
        printed = [child for child in node.children if child.astext()]
        is_title = len(printed) == 1 and isinstance(printed[0], nodes.strong)
        leads = node.astext().endswith((":", "：")) or (
            # Else a heading with a line or two could stand below, and the rest overleaf.
            isinstance(printed_before(node), nodes.title) and len(node.astext()) <= SHORT_LEAD
        )
        return self.call("lead" if following and (is_title or leads) else "par", node)

    # Links and notes

    def visit_reference(self, node: nodes.reference) -> str:
        content = self.content(node)
        if self.in_title:
            return content
        uri = f"%{self.docname}#{node['refid']}" if "refid" in node else node.get("refuri", "")
        if re.match(r"[a-z][a-z0-9+.-]*:", uri):
            return self.outward_link(node, uri, content)
        label = self.labels.get(uri.removeprefix("%"))
        if label is None:
            self.warn("link to nothing in the PDF: %r", uri)
            return content
        return f"inward-link({string(label)}, page: {string(_('page'))}, {content})"

    def outward_link(self, node: nodes.reference, uri: str, content: str) -> str:
        """Give a link out of the book, with its address where the words do not say it.

        It is a note, or in lists, which are of links often, and in notes, after the words.
        """
        scheme, _colon, rest = uri.partition(":")
        address = uri if scheme not in ("http", "https") else rest.removeprefix("//").rstrip("/")
        link = f"link({string(uri)}, {content})"
        if address in node.astext() or scheme == "mailto":
            return link
        words = split_at(address, break_points(address, LONG_NARROW_WORD))
        beside = is_inside(node, (nodes.list_item, nodes.footnote))
        return f"{'address' if beside else 'address-note'}({string(uri)}, {words}, {link})"

    def visit_footnote_reference(self, node: nodes.footnote_reference) -> str:
        if self.in_title:
            self.warn("not printable in the PDF: footnote %s of a title", node.astext())
            return ""
        label = f"{self.docname}#{node.get('refid')}"
        if label not in self.footnotes:
            self.warn("not printable in the PDF: a reference to no footnote %s", node.astext())
            return self.content(node)
        if label in self.anchored:
            return f"footnote(label({string(label)}))"
        self.anchored.add(label)
        return f"note({string(label)}, {self.flow(self.footnotes[label])})"

    def visit_inline(self, node: nodes.inline) -> str:
        return self.call("aside-text", node) if "aside" in node["classes"] else self.content(node)

    def visit_abbreviation(self, node: nodes.abbreviation) -> str:
        meaning = node.get("explanation", "")
        if not meaning or node.astext() in self.explained:
            return self.content(node)
        self.explained.add(node.astext())
        return join([self.content(node), string(f" ({meaning})")])

    def visit_raw(self, node: nodes.raw) -> str:
        formats, text = node["format"].split(), node.astext()
        if "typst" in formats:
            return f"[\n{text}\n]"
        if "html" in formats and LINE_BREAK.fullmatch(text):
            return "linebreak()"  # MyST writes one for a line that ends in a backslash, too
        if "html" in formats and TASK.match(text):
            return f"task({boolean('checked' in text)})"
        if "html" in formats and text.strip() and not COMMENT.fullmatch(text):
            self.warn("not printable in the PDF: raw HTML %r", text)
        return ""

    # Code

    def visit_literal(self, node: nodes.literal) -> str:
        text = node.astext()
        # Outside of tables, those that readers search for fit in a row, but not as a heading.
        longest = self.longest if self.in_title or self.in_table else LONG_CODE_WORD
        if UNBROKEN.fullmatch(text) and max(map(len, text.split(" "))) <= longest:
            return f"code(words: {string(text)}, {string(text)})"
        # Typst would break --flag after its dashes.
        words = [
            string(word)
            if word.isspace()
            else f"box({string(word)})"
            if len(word) <= longest
            else split_at(word, break_points(word, longest))
            for word in re.findall(r"\s+|\S+", text)
        ]
        if self.in_table and any(len(word) > longest for word in text.split()):
            # Readers search a table for what they have, and no viewer finds a word in two rows.
            words.insert(0, f"searchable({string(text)})")
        return f"code(words: {string(text)}, {join(words)})"

    def visit_literal_block(self, node: nodes.literal_block) -> str:
        language = node.get("language", "default")
        arguments: dict[str, Any] = node.get("highlight_args", {})
        fitting = CODE_COLUMNS // 3 if is_inside(node, NARROWING) else CODE_COLUMNS
        lines = self.highlighter.highlight_block(
            node.astext().expandtabs(8),  # PDF has no tabs
            # Text with markup of its own is not in the language of the block.
            language if node.rawsource == node.astext() else "none",
            opts=self.config.highlight_options.get(language, {}),
            force=node.get("force", False),
            location=node,
            hl_lines=arguments.get("hl_lines", ()),
            fitting=fitting - (NUMBER_COLUMNS if node.get("linenos") else 0),
            linenos=node.get("linenos", False),
            linenostart=arguments.get("linenostart", 1),
        )
        self.note_small(lines, node)
        options = f"breakable: {boolean(not is_short(node))}"
        options += ", numbered: true" if node.get("linenos") else ""
        return f"code-block({options}, {{\n{lines}}})"

    visit_doctest_block = visit_literal_block

    def note_small(self, code: str, node: nodes.literal_block) -> None:
        """Note the rows of a block that are set smaller than is good to read."""
        place = NARROW_COLUMNS if is_inside(node, NARROWING) else CODE_COLUMNS
        calls = re.findall(r"^(par|\w+-line)\(", code, re.M)
        for call, text in zip(calls, node.astext().split("\n"), strict=False):
            if call == "small-line" and (size := size_of(text, place)) < SMALLEST:
                self.small.append(f"{size:.1f} pt: {self.place}: {text.strip()}")

    def visit_container(self, node: nodes.container) -> str:
        if node.get("literal_block") and not any(node.findall(nodes.literal_block)):
            return self.captioned("file-bar", node)
        if node.get("literal_block"):
            is_long = not any(map(is_short, node.findall(nodes.literal_block)))
            is_row = all(width(one) <= CAPTION_ROW for one in split(node, nodes.caption)[0])
            options = f"is-long: {boolean(is_long)}, is-row: {boolean(is_row)}"
            return self.captioned(f"listing.with({options})", node)
        return self.content(node)

    # Pictures and tables

    def visit_image(self, node: nodes.image) -> str:
        alt = node.get("alt", "").strip()
        if not alt:
            self.warn("picture without a description (alt)")
            alt = posixpath.basename(node["uri"])
        if fault := self.faults.get(node["uri"]):
            self.warn("picture %s: %s", node["uri"], fault)
            return string(alt)
        path = self.builder.images.get(node["uri"])
        if path is None:  # of which Sphinx has warned
            return string(alt)
        width = length(node.get("width", ""))
        size = f", width: {width}" if width else ""
        return f"picture({string(f'images/{path}')}, alt: {string(alt)}{size})"

    def visit_figure(self, node: nodes.figure) -> str:
        return self.captioned("picture-block", node)

    def captioned(self, function: str, node: nodes.Element) -> str:
        """Give a call of `function` with the caption of `node` and with what else it contains."""
        captions, others = split(node, nodes.caption, nodes.title, nodes.legend)
        number = self.figure_number(node)
        words = join(map(self.write, captions)) if captions else "none"
        arguments = f"{string(number)}, {words}, {join(map(self.write, others))}"
        return f"{function}({arguments})"

    def visit_table(self, node: nodes.table) -> str:
        return self.captioned("table-block", node)

    def visit_tgroup(self, node: nodes.tgroup) -> str:
        specs, _others = split(node, nodes.colspec)
        given = "colwidths-given" in node.parent["classes"]
        wanted = [float(spec["colwidth"]) for spec in specs] if given else None
        plan = tables.layout(node, wanted, is_narrow=is_inside(node.parent, NARROWING))
        if word := plan.too_wide(node):
            self.warn("a table of %s columns is too wide for the PDF's page: %r", len(specs), word)
        widths = ["auto"] * len(specs)
        if plan.widths is not None:
            widths = [f"{width:.1f}fr" for width in plan.widths]
        if plan.is_stacked:
            widths = ["1fr"]
        stubs = sum(spec.get("stub", 0) for spec in specs)
        head, body = (self.rows(node, part, plan, stubs) for part in (nodes.thead, nodes.tbody))
        options = [
            f"columns: ({', '.join(widths)},)",
            f"breakable: {boolean(is_high(node) or not plan.is_short)}",
            f"repeat: {boolean(is_repeatable(node))}",
            f"header: ({''.join(head)})",
        ]
        return f"data-table({', '.join(options)}, {''.join(body)})"

    def rows(
        self, group: nodes.tgroup, part: type[nodes.Element], plan: tables.Layout, stubs: int
    ) -> list[str]:
        """Give the cells in a `part` of a table, each with a comma after it."""
        cells, before = [], (self.longest, self.in_table)
        self.in_table = True
        for row, height in zip(tables.placed(group), plan.lines, strict=True):
            if not row or not is_inside(row[0][1], (part,), group):
                continue
            can_break = height > tables.ONE_PAGE or any(is_high(entry) for _column, entry in row)
            breakable = f"breakable: {boolean(can_break)}"
            if plan.is_stacked:
                self.longest = plan.longest(0)
                texts = ", ".join(self.flow(entry) for _column, entry in row)
                call = f"stacked(is-head: {boolean(part is nodes.thead)}, {texts})"
                cells.append(f"table.cell({breakable}, {call}),\n")
                self.note_stub(part, is_stub=False)
                continue
            for column, entry in row:
                self.longest = plan.longest(column)
                is_head = part is nodes.thead or column < stubs
                cells.append(self.cell(entry, breakable, is_head=is_head) + ",\n")
                self.note_stub(part, is_stub=is_head)  # after those of tables in it, as in the PDF
        self.longest, self.in_table = before
        return cells

    def note_stub(self, part: type[nodes.Element], *, is_stub: bool) -> None:
        """Note whether the next cell is the header of its row, unless it is in a table's head."""
        if part is nodes.tbody:
            self.stubs.append(is_stub)

    def cell(self, entry: nodes.Element, breakable: str, *, is_head: bool) -> str:
        """Give a cell of a table."""
        spans = f"colspan: {entry.get('morecols', 0) + 1}, rowspan: {entry.get('morerows', 0) + 1}"
        sides = [name for name in ("left", "center", "right") if f"text-{name}" in entry["classes"]]
        align = f", align: {sides[0]}" if sides else ""
        content = self.flow(entry)
        call = f"head({content})" if is_head else content
        return f"table.cell({spans}, {breakable}{align}, {call})"

    # Descriptions of objects, such as options and functions

    def visit_desc(self, node: addnodes.desc) -> str:
        signatures, others = split(node, addnodes.desc_signature)
        return f"described({join(map(self.write, signatures))}, {join(map(self.write, others))})"

    def visit_desc_signature(self, node: addnodes.desc_signature) -> str:
        return self.call("signature", node)

    def visit_desc_returns(self, node: addnodes.desc_returns) -> str:
        return join([string(" → "), self.content(node)])

    def visit_desc_parameterlist(self, node: addnodes.desc_parameterlist) -> str:
        parameters: list[str] = []
        for child in node.children:
            parameters += [string(node.child_text_separator)] * bool(parameters)
            parameters.append(self.write(child))
        left, right = PARENTHESES.get(node.tagname, ("(", ")"))
        return join([string(left), *parameters, string(right)])

    visit_desc_type_parameter_list = visit_desc_parameterlist

    def visit_desc_optional(self, node: addnodes.desc_optional) -> str:
        return join([string("["), self.content(node), string("]")])

    # Lists

    def visit_bullet_list(self, node: nodes.bullet_list) -> str:
        return self.item_list("list", node)

    def visit_enumerated_list(self, node: nodes.enumerated_list) -> str:
        pattern = ENUMERATORS[node.get("enumtype", "arabic")]
        numbering = string(node.get("prefix", "") + pattern + node.get("suffix", "."))
        start = node.get("start", 1)
        return self.item_list("enum", node, f"start: {start}, numbering: {numbering}, ")

    def item_list(self, function: str, node: nodes.Element, options: str = "") -> str:
        """Give a list; one of single paragraphs is set tight, one of the class references small."""
        items, _others = split(node, nodes.list_item)
        tight = all(len(split(item, nodes.paragraph)[0]) <= 1 for item in items)
        code = ",\n".join(map(self.flow, items))
        call = f"{function}({options}tight: {boolean(tight)}, {code})"
        is_few = sum(1 for _item in node.findall(nodes.list_item)) <= FEW_ITEMS
        is_short = is_few and len(node.astext()) <= SHORT_LIST and not is_high(node)
        if "references" in node["classes"]:
            call = f"references(breakable: {boolean(not is_short)}, {call})"
        elif is_short and not is_inside(node, (nodes.list_item,)):
            leads = len(items) == 1 and node.astext().endswith((":", "："))
            call = f"block(breakable: false, sticky: {boolean(leads)}, {call})"
        # Without an end, the paragraph before would draw the list up to it.
        end = "" if isinstance(node.parent, nodes.list_item) else "parbreak()"
        return join([end, call])

    def visit_definition_list(self, node: nodes.definition_list) -> str:
        items, _others = split(node, nodes.definition_list_item)
        return f"terms({', '.join(map(self.definition, items))})"

    def definition(self, item: nodes.Element) -> str:
        """Give an item of a definition list; it can have several terms."""
        texts, terms = split(item, nodes.definition)
        words = "\n".join(
            self.write(term)
            if number == 0
            else f'": "\n{self.write(term)}'
            if isinstance(term, nodes.classifier)
            else f"next-term\n{self.write(term)}"
            for number, term in enumerate(terms)
        )
        return f"terms.item({{{words}}}, {join(map(self.flow, texts))})"

    def visit_field_list(self, node: nodes.field_list) -> str:
        fields, _others = split(node, nodes.field)
        items = ", ".join(map(self.field, fields))
        return f"terms(separator: {string(': ')}, {items})"

    def field(self, field: nodes.Element) -> str:
        """Give an item of a field list."""
        bodies, names = split(field, nodes.field_body)
        return f"terms.item({join(map(self.write, names))}, {join(map(self.flow, bodies))})"

    def visit_line_block(self, node: nodes.line_block) -> str:
        nested = boolean(isinstance(node.parent, nodes.line_block))
        return f"lines(nested: {nested}, {', '.join(map(self.write, node.children))})"

    # Boxes and rules

    def visit_Admonition(self, node: nodes.Element) -> str:
        titles, others = split(node, nodes.title)
        if not titles and node.tagname not in admonitionlabels:
            self.warn("not printable in the PDF: node %r", node.tagname)
            return self.content(node)
        kind = next((name for name in node["classes"] if name in admonitionlabels), node.tagname)
        words = self.content(titles[0]) if titles else string(str(admonitionlabels[node.tagname]))
        return f"admonition({string(kind)}, {words}, {join(map(self.write, others))})"

    def visit_topic(self, node: nodes.Element) -> str:
        if "contents" in node["classes"]:
            return ""  # the book has one table of contents
        titles, others = split(node, nodes.title)
        words = self.content(titles[0]) if titles else "none"
        return f"aside({words}, {join(map(self.write, others))})"

    visit_sidebar = visit_topic

    def visit_transition(self, node: nodes.transition) -> str:
        # MyST puts one before its footnotes, which are elsewhere in print.
        return "" if "footnotes" in node["classes"] else "transition()"

    # The index

    def index(self) -> str:
        """Give the index of what `index` directives, glossaries and extensions name, if any do."""
        groups = []
        for letter, entries in IndexEntries(self.builder.env).create_index(
            self.builder, group_entries=False
        ):
            lines = []
            for words, (targets, under, _key) in entries:
                lines.append(self.index_line(words, targets, depth=0))
                lines += (self.index_line(word, places, depth=1) for word, places in under)
            groups.append(f"({string(letter)}, ({''.join(lines)})),\n")
        return f"book-index({string(_('Index'))}, {''.join(groups)})" if groups else ""

    def index_line(self, words: str, targets: list[tuple[Any, Any]], depth: int) -> str:
        """Give an entry with what it leads to, the main places first."""
        places = [
            f"(label({string(label)}), {boolean(main == 'main')}),"
            for main, uri in targets
            if uri and (label := self.labels.get(uri.removeprefix("%")))
        ]
        text = split_at(words, break_points(words, LONG_NARROW_WORD))
        return f"({depth}, {text}, ({' '.join(places)})),\n"
