"""Packs what readers take with them: a zip of each example, and one of all.

The HTML edition has them below its pages, and the PDF edition carries them inside. In print, each
listing says where its file is in them, and files that only make an example run are not printed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata
from zips import zipped

from chapter.examples import example_files, examples_folder, is_captioned, is_shown, zip_file_name

_ = get_translation("extensions")

ALL_EXAMPLES = "all-examples.zip"
ROOT = "examples"  # the folder in the zip of all examples


class Archive(NamedTuple):
    """A zip with its name, and what it has."""

    name: str
    about: str
    content: bytes


def archives(env: BuildEnvironment) -> Iterator[Archive]:
    """The zip of all examples, then one for each chapter that has an example."""
    folders = [
        (f"{folder.parent.name}/{folder.name}", example_files(folder))
        for folder in sorted(examples_folder(env).glob("*/*/"))
    ]
    chapters = [(name, files) for name, files in folders if name in env.titles and files]
    about = _("All examples of this guide")
    yield Archive(ALL_EXAMPLES, about, zipped(all_packed(env, chapters)))
    for name, files in chapters:
        content = zipped(packed(name.rpartition("/")[2], files))
        yield Archive(zip_file_name(name), env.titles[name].astext(), content)


def packed(folder: str, files: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Files as the names and contents that a zip has of them."""
    for path in files:
        yield f"{folder}/{path.name}", path.read_bytes()


def all_packed(
    env: BuildEnvironment, chapters: list[tuple[str, list[Path]]]
) -> Iterator[tuple[str, bytes]]:
    """The files of all examples, with a README and the checksums of everything."""
    titles = [f"{name}: {env.titles[name].astext()}" for name, _files in chapters]
    entries = [(f"{ROOT}/README", readme(env.config.project, titles).encode())]
    for name, files in chapters:
        entries += packed(f"{ROOT}/{name}", files)
    sums = [
        f"{hashlib.sha256(data).hexdigest()}  {name.removeprefix(f'{ROOT}/')}\n"
        for name, data in entries
    ]
    yield from entries
    yield f"{ROOT}/SHA256SUMS", "".join(sums).encode()


def readme(project: str, chapters: Iterable[str]) -> str:
    """What a reader of the zip of all examples has to know."""
    lines = [
        project,
        "",
        _("The manifests and transcripts of each chapter, in a folder of the same name:"),
        "",
        *chapters,
        "",
        _("Files *.yaml are for kubectl apply; rejected-*.yaml are ones that Istio refuses."),
        _("Files install-*.yaml are for istioctl install -f."),
        _("Files *.console are recorded: commands after a dollar sign, and what they printed."),
        _("To check that the files are whole: sha256sum -c SHA256SUMS"),
    ]
    return "\n".join(map(str, lines)) + "\n"


class Places(SphinxPostTransform):
    """In print: says of each file where it is in the attachments, and shows what is taught."""

    default_priority = 400
    formats = ("typst",)

    def run(self, **_kwargs: Any) -> None:
        """Change the page; in its section on how to run the example, only captions stay."""
        examples = examples_folder(self.env)
        files = cache(example_files)
        for block in list(self.document.findall(nodes.literal_block)):
            if is_attached(block, examples, files) and is_captioned(block):
                add_place(next(block.parent.findall(nodes.caption)), block, examples)
                if runs_the_example(block):
                    block.parent.remove(block)


def is_attached(
    block: nodes.literal_block, examples: Path, files: Callable[[Path], list[Path]]
) -> bool:
    """Whether a block shows a file that the archives have, which are some `files` of a folder."""
    path = Path(block.get("source", ""))
    return is_shown(block, examples) and path in files(path.parent)


def add_place(caption: nodes.Element, block: nodes.literal_block, examples: Path) -> None:
    """Say in a caption where the file is: before its name, or behind other words."""
    path = Path(block["source"]).relative_to(examples)
    if caption.astext().startswith(path.name):
        caption.insert(0, nodes.inline("", f"{path.parent.as_posix()}/", classes=["aside"]))
    else:
        caption += [nodes.Text(" "), nodes.inline("", path.as_posix(), classes=["aside"])]


def runs_the_example(block: nodes.Node) -> bool:
    """Whether a block stands in the section whose `{example}` lists all files."""
    while block.parent is not None and not isinstance(block, nodes.section):
        block = block.parent
    lists = block.findall(nodes.bullet_list)
    return any("example-files" in found["classes"] for found in lists)


def attach(app: Sphinx) -> list[Archive]:
    """What the PDF edition has inside."""
    return list(archives(app.env))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.setup_extension("pdf.builder")
    app.add_post_transform(Places)
    app.connect("typst-attachments", attach)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
