"""A Sphinx builder that prints the book: one PDF, set by the Typst compiler from PyPI.

`sphinx-build -b typst` writes <typst_filename>.typ and .pdf, and into .small.txt the rows of code
that had to be set smaller than 7 points. Configuration values:

- typst_filename: name of both files without extension; by default made from `project`
- typst_subtitle: a line of the title page; by default none
- typst_edition: facts about this edition, by name, for the title page; by default none
- typst_colophon: facts about how it was made, by name, for the page after it; by default none
- typst_paper: its size, "a4" or "us-letter"
- typst_two_sided: margins mirrored and chapters on right-hand pages, for a printer; by default not
- typst_author: on the title page and in the PDF's metadata; by default the `author`

An extension brings a node of its own as for other builders: `app.add_node(kind, typst=(visit,
None))`. `visit(writer, node)` returns Typst code; `writer.content(node)` is that of its content.

The event `typst-attachments` asks for files to put into the PDF: each handler gets the application,
and returns tuples of a file's name, words about it, and its bytes. The PDF lists them on a page.

Dates in the PDF are SOURCE_DATE_EPOCH's, so that the same sources give the same bytes.
"""

import atexit
import gc
import mimetypes
import os
import re
import shutil
from collections.abc import Sequence, Set
from importlib.metadata import entry_points
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import ClassVar, Final

import typst
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.config import ENUM
from sphinx.locale import _, __
from sphinx.util import logging
from sphinx.util.nodes import inline_all_toctrees
from sphinx.util.typing import ExtensionMetadata
from typing_extensions import override

from pdf.amend import UnknownShape, amended
from pdf.check import lost, texts
from pdf.listings import boolean, string
from pdf.writer import PLACE, Writer

logger = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("book.typ")
# The PDF is tagged for screen readers; the compiler refuses what would break that.
STANDARD: Final = "ua-1"

# Else Python looks at each node of the book once more as it ends, to see what it could free: a
# fifteenth of the time that a book takes.
atexit.register(gc.freeze)


class TypstError(Exception):
    """The Typst compiler refused the book: why, and at which place in its sources."""

    def __init__(self, cause: str, place: str) -> None:
        super().__init__(cause)
        self.place = place


class TypstBuilder(Builder):
    """Writes the whole book as one PDF."""

    name = "typst"
    format = "typst"
    epilog = __("The PDF is in %(outdir)s.")
    has_failed = False
    supported_image_types: ClassVar = ["image/svg+xml", "image/png", "image/jpeg"]

    @override
    def get_outdated_docs(self) -> str:
        """Give words for what has to be written: the documents share one PDF."""
        return "all documents"

    @override
    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Give the mark by which the writer knows a link into the book."""
        return f"%{docname}"

    @override
    def get_relative_uri(self, from_: str, to: str, typ: str | None = None) -> str:
        """Give the same from everywhere: the book is one file."""
        return self.get_target_uri(to, typ)

    @override
    def write_documents(self, docnames: Set[str]) -> None:
        """Write the .typ file, the pictures and the PDF; none and an error if that fails."""
        tree = self.assemble()
        fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=font_folders()
        )
        shutil.copyfile(TEMPLATE, self.outdir / TEMPLATE.name)
        faults = self.copy_pictures(tree, fonts)
        source = Path(self.outdir) / f"{self.config.typst_filename}.typ"
        visitors = self._registry.translation_handlers.get(self.name, {})
        writer = Writer(self, tree, faults, visitors)
        code = f"{writer.write(tree)}\n{self.attachments()}\n{writer.index()}"
        source.write_text(f"{self.preamble()}#{{\n{code}\n}}\n", "utf-8")
        try:
            pdf = finish(source, fonts, writer.stubs)
            self.check(pdf, tree)
            write_whole(source.with_suffix(".pdf"), pdf)
            source.with_suffix(".small.txt").write_text("".join(f"{row}\n" for row in writer.small))
        except TypstError as error:
            # Not raised: Sphinx would bury it under a traceback and its own versions.
            logger.error("%s", error, location=error.place)
            self.has_failed = True

    def check(self, pdf: bytes, tree: nodes.document) -> None:
        """Report each text of `tree` that is not in `pdf`."""
        for text in lost(pdf, texts(tree, self.config.root_doc)):
            place = (text.docname, text.line)
            logger.error("this text is not in the PDF: %r", text.letters, location=place)
            self.has_failed = True

    def assemble(self) -> nodes.document:
        """Give one doctree: the root document's own text, then what its toctrees name."""
        root = self.config.root_doc
        tree = self.env.get_doctree(root)
        for toctree in list(tree.findall(addnodes.toctree)):
            wrapper = toctree.parent
            wrapper.parent.remove(wrapper)
            wrapper["caption"] = toctree["caption"]
            tree += wrapper
        tree = inline_all_toctrees(self, set(), root, tree, str, [root])
        for file in tree.findall(addnodes.start_of_file):
            for child in file.children:
                child.parent = file  # which Sphinx leaves as it was
        self.env.resolve_references(tree, root, self)
        return tree

    def copy_pictures(self, tree: nodes.document, fonts: typst.Fonts) -> dict[str, str]:
        """Copy the pictures in `tree` and give what is wrong with those that cannot be drawn."""
        self.post_process_images(tree)
        folder = self.outdir / "images"
        folder.mkdir(parents=True, exist_ok=True)
        compiler = typst.Compiler(root=str(self.outdir), font_paths=fonts, ignore_system_fonts=True)
        faults = {}
        for uri, name in self.images.items():
            content = (self.srcdir / uri).read_bytes()
            (folder / name).write_bytes(with_axes(content) if name.endswith(".svg") else content)
            faults[uri] = drawing_fault(compiler, f"images/{name}")
        return faults

    def attachments(self) -> str:
        """Write the files that the PDF is to have inside, and give the page that lists them."""
        folder = self.outdir / "attachments"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lines = []
        for name, about, content in chain(*self.events.emit("typst-attachments")):
            (folder / name).write_bytes(content)
            kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
            lines.append(f"  ({string(name)}, {string(kind)}, {string(about)}),\n")
        if not lines:
            return ""
        words = (
            _("Attached files"),
            _("This PDF has these files inside:"),
            _(
                "Viewers list them under attachments. Where yours does not, pdfdetach of "
                "poppler-utils takes them out: "
            ),
            f"pdfdetach -saveall {self.config.typst_filename}.pdf",
        )
        return f"attached-files({', '.join(map(string, words))}, (\n{''.join(lines)}))"

    def preamble(self) -> str:
        """Give the beginning of the .typ file: what the template needs to know."""
        language, _underscore, region = self.config.language.partition("_")
        options = {
            "title": self.config.project,
            "subtitle": self.config.typst_subtitle,
            "author": self.config.typst_author,
            "contents": _("Contents"),
            "continued": _("continued from previous page"),
            "goes-on": _("continued on next page"),
            "lang": language,
            "paper": self.config.typst_paper,
        } | ({"region": region} if region else {})
        arguments = "".join(f"  {name}: {string(text)},\n" for name, text in options.items())
        arguments += f"  two-sided: {boolean(self.config.typst_two_sided)},\n"
        for option in ("edition", "colophon"):
            facts = self.config[f"typst_{option}"].items()
            pairs = "".join(f"({string(name)}, {string(fact)}), " for name, fact in facts)
            arguments += f"  {option}: ({pairs}),\n"
        return f'#import "{TEMPLATE.name}": *\n#show: book.with(\n{arguments})\n'


def font_folders() -> list[Path]:
    """Give the folders of the fonts that are installed as fontpkg-... packages."""
    packages = sorted(entry_points(group="fontpkg.family"), key=lambda package: package.value)
    return [Path(str(files(package.value))) for package in packages]


def with_axes(svg: bytes) -> bytes:
    """Give `svg` with its font weights said again as `font-variation-settings`.

    Else the compiler draws text of weight 400 with the thinnest of a variable font
    (https://github.com/linebender/resvg/pull/1099).
    """
    if b"font-variation-settings" in svg:
        return svg
    for name, weight in ((b"normal", b"400"), (b"bold", b"700")):
        svg = re.sub(rb'(font-weight\s*[:=]\s*"?)' + name + rb"\b", rb"\g<1>" + weight, svg)
    svg = re.sub(rb"font-weight\s*:\s*(\d+)", rb"\g<0>; font-variation-settings: 'wght' \1", svg)
    axis = b"font-variation-settings=\"'wght' %s\""
    svg = re.sub(rb'font-weight="(\d+)"', rb"\g<0> " + axis % rb"\1", svg)
    return svg.replace(b"<svg ", b"<svg " + axis % b"400" + b" ", 1)


def drawing_fault(compiler: typst.Compiler, path: str) -> str:
    """Give what keeps Typst from drawing the picture at `path`, nothing if it can."""
    # The font around it, else a text for which no font has letters is left out without an error.
    text = f'#import "/{TEMPLATE.name}": serif\n#set text(font: serif)\n#set document(title: "-")'
    page = f'{text}\n#image({string("/" + path)}, alt: "-")'
    try:
        compiler.compile(page.encode(), pdf_standards=STANDARD, timestamp=0)
    except typst.TypstError as error:
        return error.message
    return ""


def finish(source: Path, fonts: typst.Fonts, stubs: Sequence[bool]) -> bytes:
    """Compile the file `source`, and change what the compiler has no words for.

    Raises `TypstError`.
    """
    try:
        return amended(compile_pdf(source, fonts), stubs)
    except UnknownShape as error:
        raise TypstError(f"the PDF is not as it is expected: {error}", source.name) from None


def compile_pdf(source: Path, fonts: typst.Fonts) -> bytes:
    """Compile the file `source`, in whose folder all it needs is.

    Typst's warnings become Sphinx's; raises `TypstError`.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        pdf, warnings = typst.compile_with_warnings(
            str(source),
            root=str(source.parent),
            font_paths=fonts,
            ignore_system_fonts=True,
            pdf_standards=STANDARD,
            timestamp=int(epoch) if epoch else None,
        )
    except typst.TypstError as error:
        raise TypstError(summary(error, source), place_of(error, source)) from None
    for warning in warnings:
        if warning.message.startswith("unknown font family"):
            name = warning.message.rpartition(": ")[2]
            cause = f"the font {name} is not installed; pip has it as a package fontpkg-..."
            raise TypstError(cause, place_of(warning, source))
        logger.warning(summary(warning, source), location=place_of(warning, source))
    return pdf


def summary(fault: typst.TypstError | typst.TypstWarning, source: Path) -> str:
    """Give the compiler's words on one line, without the folder, which differs by machine."""
    words = "; ".join([fault.message, *fault.hints]).replace(f"{source.parent}{os.sep}", "")
    return " ".join(words.split())


def place_of(fault: typst.TypstError | typst.TypstWarning, source: Path) -> str:
    """Give the file and line of the chapter that `fault` is about, else those of `source`."""
    lines = source.read_text("utf-8").split("\n")
    if found := re.search(rf"{re.escape(source.name)}:(\d+)", fault.diagnostic):
        number = int(found[1])
    elif found := re.search(r'the text `"(.+?)"`', fault.message):
        # For a character without a glyph Typst names the character only.
        text = re.sub(r"\\u\{(\w+)\}", lambda code: chr(int(code[1], 16)), found[1])
        number = next((n for n, line in enumerate(lines, start=1) if text in line), 0)
    else:
        found = re.search(rf"{re.escape(TEMPLATE.name)}:\d+", fault.diagnostic)
        return found[0] if found else source.name
    marks = (line for line in reversed(lines[:number]) if line.startswith(PLACE))
    return next(marks, f"{source.name}:{number}").removeprefix(PLACE)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader of `path` never sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def fail(app: Sphinx, _exception: Exception | None) -> None:
    """Let Sphinx end with an error, also without -W, if there is no PDF."""
    if isinstance(app.builder, TypstBuilder) and app.builder.has_failed:
        app.statuscode = 1


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the builder and its configuration values with Sphinx."""
    app.add_builder(TypstBuilder)
    app.add_event("typst-attachments")
    app.connect("build-finished", fail)
    app.add_config_value("typst_filename", lambda config: nodes.make_id(config.project), "", str)
    app.add_config_value("typst_subtitle", "", "", str)
    app.add_config_value("typst_author", lambda config: config.author, "", str)
    app.add_config_value("typst_paper", "a4", "", ENUM("a4", "us-letter"))
    app.add_config_value("typst_two_sided", False, "", bool)
    app.add_config_value("typst_edition", {}, "", dict)
    app.add_config_value("typst_colophon", {}, "", dict)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
