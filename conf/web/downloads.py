"""What readers of the HTML edition take with them: files and zips.

Each example's files stand below `_downloads/examples/part/name/`, so that their addresses last and
`kubectl apply -f` takes them. Beside them are a zip of each example and one of all.
"""

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path
from typing import Any

from chapter.archives import archives
from chapter.examples import examples_folder, faults, is_captioned
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

EXAMPLES = "/../examples/"  # how a chapter names what is in there


class Buttons(SphinxPostTransform):
    """Gives each file its lasting address, and buttons to those that readers apply or edit."""

    default_priority = 400
    builders = ("html",)

    def run(self, **_kwargs: Any) -> None:
        """Change the page."""
        for link in self.document.findall(addnodes.download_reference):
            if link["reftarget"].startswith(EXAMPLES):
                link["filename"] = link["reftarget"].removeprefix("/../")
        kept = faults(self.env, self.env.docname)
        for block in filter(is_captioned, self.document.findall(nodes.literal_block)):
            caption = next(block.parent.findall(nodes.caption))
            file = next(caption.findall(addnodes.download_reference), None)
            if (
                file is not None
                and is_applied(path := Path(file["filename"]))
                and path.name not in kept
            ):
                label = "<span>kubectl </span>apply"
                caption.append(button(_("Copy curl -O"), "curl -O", "curl -O"))
                caption.append(button(_("Copy kubectl apply"), "kubectl apply -f", label))


def is_applied(path: Path) -> bool:
    """Whether readers apply a file: not one that Istio rejects, for istioctl, or for the lab."""
    others = ("rejected-", "install-", "lab.yaml")
    return path.suffix == ".yaml" and not path.name.startswith(others)


def button(name: str, command: str, label: str) -> nodes.raw:
    """A button that copies a command for the file of its block, whose address book.js adds.

    Its label is HTML: what is in a span is left out where the bar is narrow.
    """
    html = (
        f'<button type="button" class="apply" aria-label="{escape(name)}"'
        f' data-command="{command}">{label}</button>'
    )
    return nodes.raw("", html, format="html")


def keep_own_addresses(_app: Sphinx, env: BuildEnvironment) -> None:
    """Leave out the copies that Sphinx makes of examples, at addresses of its own."""
    for name in [name for name in env.dlfiles if str(name).startswith(EXAMPLES[1:])]:
        del env.dlfiles[name]


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write the files of all examples, a zip of each, and one of all, below the pages."""
    if exception or app.builder.name != "html":
        return
    target = Path(app.outdir) / "_downloads" / "examples"
    shutil.rmtree(target, ignore_errors=True)  # for what is no longer in the book
    target.mkdir(parents=True)
    for folder in sorted(examples_folder(app.env).glob("*/*/")):
        name = f"{folder.parent.name}/{folder.name}"
        (target / name).mkdir(parents=True)
        for path in filter(Path.is_file, folder.iterdir()):
            shutil.copyfile(path, target / name / path.name)
    for archive in archives(app.env):
        (target / archive.name).write_bytes(archive.content)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_post_transform(Buttons)
    app.connect("env-updated", keep_own_addresses)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
