"""Ties each chapter to the executable example of the same name.

Chapter `part/name` has its example in `examples/part/name/`, a folder beside the source folder.
This extension names the file above every block that shows one, lists the example's files for
download, and warns wherever chapters and examples are not each other's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from lab.files import transcript
from lab.files.transcript import PROMPT
from pygments.lexer import Lexer
from pygments.lexers.shell import BashLexer
from pygments.token import Generic, _TokenType
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from chapter.stamp import is_held, recordings_of

logger = logging.getLogger(__name__)
_ = get_translation("extensions")


COLUMNS = re.compile(r"\S {2,}\S")
LONGEST_ROW = 160  # characters: lines of an access log are longer
ROW = Generic.Output.Row


class TranscriptLexer(Lexer):
    """Colours a transcript: commands start with `$ `, all else is their output.

    Pygments' own lexer takes more prompts for granted (`#`, `%`), which outputs begin with too,
    and takes a here-document for output. Lines of a table have a kind of their own: they must not
    wrap, and those of a log must.
    """

    name = "Transcript"
    aliases = ("console",)

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Each token as its place in the text, its kind, and its own text."""
        at = 0
        for command in commands(text):
            start = text.index(PROMPT + command, at) + len(PROMPT)
            yield from output(text[at : start - len(PROMPT)], at)
            yield start - len(PROMPT), Generic.Prompt, PROMPT
            at = start + len(command) + 1  # with its newline, for the last word to get its colour
            for place, kind, value in BashLexer().get_tokens_unprocessed(text[start:at]):
                yield start + place, kind, value
        yield from output(text[at:], at)


def output(text: str, at: int) -> Iterator[tuple[int, _TokenType, str]]:
    """The lines of an output that begins somewhere in a text."""
    for line in text.splitlines(keepends=True):
        yield at, ROW if is_row(line.rstrip()) else Generic.Output, line
        at += len(line)


def is_row(line: str) -> bool:
    """Whether a line of an output is one of a table: with columns, and no line of a log."""
    return bool(COLUMNS.search(line)) and len(line) <= LONGEST_ROW


def commands(text: str) -> list[str]:
    """The commands in a text that shows a transcript or a part of one, without their prompts."""
    first = re.search(r"^\$ ", text, re.M)
    if first is None:
        return []
    shown = transcript.parse(text[first.start() :], Path())
    return [step.command for step in shown.steps]


class Example(SphinxDirective):
    """`{example}` shows how to run the page's own example, its files, and all of them as a zip.

    An error, with the place of the directive, if the page has no example.
    """

    def run(self) -> list[nodes.Node]:
        """The nodes to put in the directive's place."""
        name = self.env.docname
        files = example_files(examples_folder(self.env) / name)
        if not files:
            raise self.error(f"there is no example in examples/{name}")
        held = is_held(recordings_of(self.env, name))
        command = "$ make cluster" if held else f"$ make try EXAMPLE={name}"
        block = nodes.literal_block(command, command, language="console")
        self.set_source_info(block)
        intro = _(
            "In the book's repository, this starts the mesh, plays the commands of this chapter, "
            "and leaves you a shell in it:"
        )
        if held:
            intro = _(
                "Only a cluster plays this example. In the book's repository, this starts one on "
                "Linux, as root, and says how to get into it:"
            )
        classes = ["example-files", "references"]
        # What _() translates is not for the catalogue of each chapter.
        return [
            nodes.paragraph("", intro, translatable=False),
            block,
            nodes.paragraph("", _("The example's files:"), translatable=False),
            nodes.bullet_list("", *map(file_item, files), bullet="-", classes=classes),
            *self.zip_link(name),
        ]

    def zip_link(self, name: str) -> list[nodes.Node]:
        """A line with the link to the zip; where there is no such file, one that says where."""
        zip_name = zip_file_name(name)
        uri = f"{'../' * name.count('/')}_downloads/examples/{zip_name}"
        link = nodes.reference("", "", nodes.literal(zip_name, zip_name), refuri=uri, internal=True)
        line = nodes.paragraph("", _("All of them in one file:") + " ", link)
        where = _("All of them are attached to this PDF in one file:")
        named = nodes.literal(zip_name, zip_name)
        elsewhere = nodes.paragraph("", where + " ", named, nodes.Text("."))
        folder = nodes.literal("", f"examples/{name}")
        inside = _("This EPUB is a zip, and has all of them in the folder:") + " "
        packed = nodes.paragraph("", inside, folder, nodes.Text("."))
        return [
            addnodes.only("", line, expr="builder_html"),
            addnodes.only("", packed, expr="epub"),
            addnodes.only("", elsewhere, expr="not html"),
        ]


class FileCaptions(SphinxTransform):
    """Puts the file's name above each block that shows a file of an example."""

    default_priority = 200  # before captions get their anchors, at 210

    def apply(self, **_kwargs: Any) -> None:
        """Change the blocks; mark those that hold no command."""
        examples = examples_folder(self.env)
        for block in list(self.document.findall(nodes.literal_block)):
            if block.get("language") in ("console", "text") and not commands(block.astext()):
                block["classes"].append("output")
            if is_shown(block, examples):
                # A file that two examples share is a link in one of them, and Sphinx follows it.
                own = examples / self.env.docname / Path(block["source"]).name
                if own.is_symlink() and own.samefile(block["source"]):
                    block["source"] = str(own)
                if not is_captioned(block):
                    add_caption(block)


def mark_faults(app: Sphinx, document: nodes.document) -> None:
    """Mark each file that the front matter of its page lists under `faults`.

    They show a fault, or have values that only a run has: nobody should take them for a fix. Warns
    of a name that the page does not show.
    """
    names, shown = faults(app.env, app.env.docname), set()
    for block in document.findall(nodes.literal_block):
        if (name := Path(block.get("source", "")).name) in names and is_captioned(block):
            shown.add(name)
            caption = next(block.parent.findall(nodes.caption))
            caption[:] = [nodes.inline("", "", *caption.children)]  # one part of the bar
            caption += [nodes.Text(" "), nodes.inline("", _("not a fix"), classes=["fault"])]
    for name in sorted(names - shown):
        text = "the front matter lists %s under faults, which this page does not show"
        warn(text, name, subtype="faults", location=app.env.docname)


def faults(env: BuildEnvironment, page: str) -> set[str]:
    """The names of the files that a page shows for what is wrong with them."""
    return set(json.loads(env.metadata[page].get("faults", "[]")))


def examples_folder(env: BuildEnvironment) -> Path:
    """The folder that holds the examples of all chapters."""
    return Path(env.srcdir).parent / "examples"


def example_files(folder: Path) -> list[Path]:
    """The files of the example in a folder, sorted by name; none if there is no such folder.

    `lab.yaml` is none of them: it speaks to the lab, and a cluster would refuse it.
    """
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if path.name != "lab.yaml")


def zip_file_name(name: str) -> str:
    """The name of the zip of example `part/name`."""
    return f"{name.replace('/', '-')}.zip"


def is_shown(block: nodes.literal_block, examples: Path) -> bool:
    """Whether a block shows a file of an example, or a part of one."""
    return "source" in block and Path(block["source"]).is_relative_to(examples)


def is_captioned(block: nodes.literal_block) -> bool:
    """Whether the chapter gave a block its own caption."""
    return isinstance(block.parent, nodes.container) and "literal_block" in block.parent


def add_caption(block: nodes.literal_block) -> None:
    """Name a block's file above it: a download if it is one that readers take for themselves."""
    path = Path(block["source"])
    name = nodes.literal(path.name, path.name) if path.suffix == ".console" else download(path)
    wrapper = nodes.container("", literal_block=True, classes=["literal-block-wrapper"])
    block.parent.replace(block, wrapper)
    wrapper += [nodes.caption("", "", name), block]


def download(path: Path) -> addnodes.download_reference:
    """A link that downloads a file of an example."""
    part, name = path.parts[-3:-1]
    link = addnodes.download_reference(reftarget=f"/../examples/{part}/{name}/{path.name}")
    link += nodes.literal(path.name, path.name)
    return link


def file_item(path: Path) -> nodes.list_item:
    """An item of a list of files: the download, and what the file's first line says of it."""
    text = nodes.paragraph("", "", download(path))
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    if first.startswith(("# ", "// ")):
        text += nodes.Text(f": {first.lstrip('#/ ')}")
    return nodes.list_item("", text)


def check(_app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each block that is from no example, and of each file that its chapter leaves out."""
    examples = examples_folder(env)
    shown = {docname: check_blocks(env, docname, examples) for docname in sorted(env.found_docs)}
    for folder in sorted(examples.glob("*/*/")):
        docname = folder.relative_to(examples).as_posix()
        for path in example_files(folder):
            if path not in shown.get(docname, ()):
                text = "this file is not shown in the chapter of the same name, %s"
                warn(text, docname, subtype="unused", location=f"{path}:1")


def check_blocks(env: BuildEnvironment, docname: str, examples: Path) -> set[Path]:
    """The files that a page shows; warns of each block that could have been one and is not."""
    page = env.get_doctree(docname)
    blocks = list(page.findall(nodes.literal_block))
    for block in blocks:
        if not is_shown(block, examples) and not is_one_command(block):
            text = "this block is neither from a file in examples/ nor a command of one line"
            warn(text, subtype="typed", location=block)
    drawn = {Path(figure["data"]) for figure in page.findall(nodes.figure) if "data" in figure}
    return drawn | {Path(block["source"]) for block in blocks if is_shown(block, examples)}


def is_one_command(block: nodes.literal_block) -> bool:
    """Whether a block is a single command, which may be typed since there is nothing to prove."""
    text, language = block.astext().strip(), block.get("language")
    is_command = text.startswith("$ ") if language == "console" else language in ("bash", "none")
    return is_command and "\n" not in text


def warn(text: str, *args: str, subtype: str, location: str | nodes.Node) -> None:
    """Log a warning of this extension."""
    logger.warning(text, *args, type="examples", subtype=subtype, location=location)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_lexer("console", TranscriptLexer)
    app.add_directive("example", Example)
    app.add_transform(FileCaptions)
    app.connect("doctree-read", mark_faults, priority=600)  # after the page's metadata
    # Not env-check-consistency: it is skipped when no chapter changed, but an example may have.
    app.connect("env-updated", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
