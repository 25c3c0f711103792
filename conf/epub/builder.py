"""The EPUB edition, by Sphinx's own builder: what this book needs otherwise.

`sphinx-build -b epub` writes <epub_basename>.epub into a folder that should be empty: what is in
there becomes a part of it. Pages have `_static/epub.css`, the colours of code, and nothing of the
website: none of its templates, scripts and pages of parts and subjects.

The package has the files of all examples, as `examples/part/name/file`. Nothing links to them,
since links of an EPUB may lead to pages only: https://www.w3.org/TR/epub-33/#sec-foreign-resources
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chapter.examples import example_files, examples_folder, is_captioned, is_shown
from docutils import nodes
from drawings import cards
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders import _epub_base
from sphinx.builders.epub3 import Epub3Builder, NavPoint
from sphinx.environment.adapters.indexentries import IndexEntries
from sphinx.highlighting import PygmentsBridge
from sphinx.locale import _
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata
from typing_extensions import override
from web.frame import LeanFormatter
from web.parts import part_of
from zips import zipped

STYLE = "epub.css"
CODE = "pygments.css"
COVER = "_static/cover.png"
WIDE = 5  # columns
INDENT = re.compile(r"(?:<[^>]+>)*( *)")
DEEPEST = 24  # columns of indentation that a line's rest may keep, see epub.css
# Of files of examples, by the ends of their names; a Dockerfile has none.
MEDIA_TYPES = {
    "": "text/plain",
    ".console": "text/plain",
    ".csv": "text/csv",
    ".go": "text/plain",
    ".py": "text/x-python",
    ".sh": "application/x-sh",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}
# https://www.w3.org/TR/epub-a11y-11/#sec-disc-package
ACCESS = {
    "accessMode": ("textual", "visual"),
    "accessModeSufficient": ("textual",),
    "accessibilityFeature": (
        *("alternativeText", "index", "readingOrder"),
        *("structuralNavigation", "tableOfContents"),
    ),
    "accessibilityHazard": ("none",),
}


class LineFormatter(LeanFormatter):
    """Writes each line of code as an element, so that what does not fit hangs below it."""

    @override
    def wrap(self, source: Any) -> Any:
        """Give the lines of a block, and what stands around them."""
        lines = ((kind, whole_line(text) if kind else text) for kind, text in source)
        return super().wrap(lines)  # type: ignore[no-untyped-call]


def whole_line(text: str) -> str:
    """A line of code, which may have markup, as an element that knows its indentation."""
    blanks = INDENT.match(text)
    indent = min(len(blanks[1]) if blanks else 0, DEEPEST) // 2 * 2
    name = f"line in{indent}" if indent else "line"
    return f'<span class="{name}">{text}</span>'


class Epub(Epub3Builder):
    """Writes the whole book as one EPUB, the same bytes for the same sources."""

    media_types = _epub_base.MEDIA_TYPES | MEDIA_TYPES

    @override
    def init(self) -> None:
        """Begin, with templates of its own in place of the website's."""
        self.config.templates_path = ["../_templates/epub"]
        language = f'lang="{self.config.epub_language}" xml:lang="{self.config.epub_language}"'
        self.html_tag = f"{self.html_tag[:-1]} {language}>"
        super().init()

    @override
    def init_highlighter(self) -> None:
        """Colour code, line by line."""
        super().init_highlighter()
        self.highlighter.formatter = LineFormatter

    @override
    def create_pygments_style_file(self) -> None:
        """Write the colours of code, on light and on dark pages.

        In one style sheet, as there are readers that load the second one of Sphinx in any case.
        """
        light = self.highlighter.get_stylesheet()
        dark = PygmentsBridge("html", self.config.epub_pygments_dark_style).get_stylesheet()
        path = Path(self.outdir) / "_static" / CODE
        path.write_text(f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n", "utf-8")

    @override
    def add_css_file(self, filename: str, **kwargs: Any) -> None:
        """Let pages load a style sheet, unless it is the website's."""
        if filename in (CODE, STYLE):
            super().add_css_file(filename, **kwargs)

    @override
    def gen_pages_from_extensions(self) -> None:
        """Write none."""

    @override
    def gen_additional_pages(self) -> None:
        """Write none."""

    @override
    def write_genindex(self) -> None:
        """Write the index, without taking brackets in an error for the arguments of a function."""
        entries = IndexEntries(self.env).create_index(self, group_entries=False)
        self.handle_page("genindex", {"genindexentries": entries}, "genindex.html")

    @override
    def copy_static_files(self) -> None:
        """Write the style sheets and the cover."""
        static = Path(self.outdir) / "_static"
        static.mkdir(exist_ok=True)
        self.create_pygments_style_file()
        shutil.copyfile(Path(self.confdir).parent / "_static" / STYLE, static / STYLE)
        subtitle = self.config.typst_subtitle
        (cover,) = cards.draw([cards.cover(self.config.epub_title, book=subtitle)])
        (Path(self.outdir) / COVER).write_bytes(cover)

    @override
    def copy_download_files(self) -> None:
        """Write the files of all examples."""
        for name in sorted(self.env.found_docs):
            for path in example_files(examples_folder(self.env) / name):
                target = Path(self.outdir) / path_of(name, path.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)

    @override
    def build_content(self) -> None:
        """Write the package document, with what newer readers want to know of it."""
        super().build_content()
        path = Path(self.outdir) / "content.opf"
        access = "".join(
            f'  <meta property="schema:{name}">{value}</meta>\n  '
            for name, values in ACCESS.items()
            for value in values
        )
        cover = f'href="{COVER}"'
        text = path.read_text("utf-8")
        text = text.replace("</metadata>", f"{access}</metadata>")
        path.write_text(text.replace(cover, f'{cover} properties="cover-image"'), "utf-8")

    @override
    def build_navlist(self, navnodes: list[dict[str, Any]]) -> list[NavPoint]:
        """Give the contents that readers show."""
        return super().build_navlist(list(self.contents()))

    @override
    def toc_metadata(self, level: int, navpoints: list[Any]) -> dict[str, Any]:
        """Give what older readers are told, whose contents are the chapters alone."""
        found = super().toc_metadata(level, navpoints)
        return found | {"uid": self.config.epub_identifier}

    def contents(self) -> Iterator[dict[str, Any]]:
        """The first page, the parts, their chapters and the sections of those, and the index."""
        root = self.config.root_doc
        yield self.entry(1, root, self.env.titles[root].astext())
        for part in map(part_of, self.env.tocs[root].findall(addnodes.toctree)):
            if part:
                yield self.entry(1, part.pages[0], part.title)
                for page in part.pages:
                    (number,) = self.env.toc_secnumbers[page][""] or ("",)
                    yield self.entry(2, page, f"{number}. {self.env.titles[page].astext()}")
                    for anchor, title in sections(self.env.tocs[page]):
                        yield self.entry(3, page, title, self.fix_fragment("", anchor))
        if self.use_index:
            yield self.entry(1, "genindex", _("Index"))

    def entry(self, level: int, page: str, title: str, anchor: str = "") -> dict[str, Any]:
        """An entry of the contents, as Sphinx's builder takes it."""
        uri = html.escape(f"{self.get_target_uri(page)}{anchor}")
        return {"level": level, "refuri": uri, "text": html.escape(title)}

    @override
    def build_epub(self) -> None:
        """Write the package."""
        out = Path(self.outdir)
        first = ("mimetype", "META-INF/container.xml", "content.opf", "toc.ncx")
        entries = ((name, (out / name).read_bytes()) for name in (*first, *self.files))
        package = out / f"{self.config.epub_basename}.epub"
        package.write_bytes(zipped(entries, stored="mimetype"))


def sections(toc: nodes.Element) -> Iterator[tuple[str, str]]:
    """The sections of a page, each as its anchor with "#" and its title."""
    for inner in toc[0].children[1:]:
        for item in inner.children:
            if isinstance(item, nodes.list_item):
                link = next(item.findall(nodes.reference))
                yield link["anchorname"], link.astext()


def path_of(docname: str, name: str) -> str:
    """Where the package has a file of the example of a page."""
    return f"examples/{docname}/{name}"


class Pages(SphinxPostTransform):
    """Names above each listing where the package has its file, and gives lists heads."""

    default_priority = 300
    builders = ("epub",)

    def run(self, **_kwargs: Any) -> None:
        """Change the page; mark the tables that a narrow one has no room for."""
        examples = examples_folder(self.env)
        for block in self.document.findall(nodes.literal_block):
            file = Path(block.get("source", ""))
            if is_shown(block, examples) and file in example_files(file.parent):
                docname = file.parent.relative_to(examples).as_posix()
                for name in block.parent.findall(nodes.literal) if is_captioned(block) else ():
                    name[:] = [nodes.Text(path_of(docname, file.name))]
        for toctree in list(self.document.findall(addnodes.toctree)):
            title = toctree["caption"] or ""
            toctree.parent.insert(0, nodes.rubric("", title, **{"heading-level": 2}))
            toctree["caption"] = None
        for table in self.document.findall(nodes.table):
            if len(list(table.findall(nodes.colspec))) > WIDE:
                table["classes"].append("wide")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    _epub_base.FOOTNOTE_LABEL_TEMPLATE = "%d"
    app.add_builder(Epub, override=True)
    app.add_post_transform(Pages)
    app.add_config_value("epub_pygments_dark_style", "default", "epub", types=str)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
