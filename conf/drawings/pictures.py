"""Fits the book's drawings into the pages of the HTML edition.

An SVG is made for paper. Here its size goes into the page, so that nothing moves when it arrives,
and its colours get a dark side, which dark pages show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_files import Fault
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata

SIZE = re.compile(r'<svg [^>]*?width="(\d+)" height="(\d+)"', re.S)
COLOUR = re.compile(r'\b(fill|stroke)="(#[0-9a-f]+)"')

# From paper to screen: grounds turn dark, and ink turns light.
DARK = {
    "#fff": "#121212",
    "#ffffff": "#121212",
    "#f2f5f9": "#1f2731",
    "#eeeeee": "#2a323c",
    "#eee": "#2a323c",
    "#ddd": "#333c47",
    "#c9d3df": "#333c47",
    "#b9d7ea": "#27506b",
    "#b9d8c2": "#2c5539",
    "#e6d3a3": "#5c4a1e",
    "#c9e0b8": "#3a5527",
    "#d9c7e8": "#4b3664",
    "#f0c9b4": "#6b4027",
    "#cfd4d8": "#444b53",
    "#bfe3e0": "#24544f",
    "#f2b8a2": "#7a3b2b",
    "#fbf0ef": "#3a2220",
    "#fff3c4": "#4a3f1d",
    "#000": "#d5dbe2",
    "#16202b": "#d5dbe2",
    "#4b5a6b": "#a1acb8",
    "#555": "#a1acb8",
    "#8c1d18": "#ffa198",
    "#1d5c2e": "#7ee2a0",
}


class Sizes(SphinxPostTransform):
    """Writes into the page the size of each drawing, and when and how it is shown.

    A browser fetches it when a reader comes near, and the theme need not darken it.
    """

    default_priority = 400
    builders = ("html",)

    def run(self, **_kwargs: Any) -> None:
        """Change the page."""
        for image in self.document.findall(nodes.image):
            path = Path(self.env.srcdir) / image["uri"]
            if path.suffix == ".svg" and (size := SIZE.search(path.read_text("utf-8"))):
                image["width"], image["height"] = size.groups()
                image["classes"].append("dark-light")
                image["loading"] = "lazy"


def add_dark_sides(app: Sphinx, exception: Exception | None) -> None:
    """Write the drawings again, each with its dark side."""
    if exception or app.builder.name != "html":
        return
    for source, (_pages, name) in app.env.images.items():
        if name.endswith(".svg"):
            text = (Path(app.srcdir) / source).read_text("utf-8")
            target = Path(app.outdir) / app.builder.imagedir / name
            target.write_text(with_dark_side(text, source), encoding="utf-8")


def with_dark_side(text: str, source: str) -> str:
    """A drawing with a style sheet for dark screens; raises Fault for unknown colours."""
    rules = "".join(sorted(set(dark_rules(text, source))))
    ink = f"svg{{fill:{DARK['#000']}}}"
    style = f"<style>@media (prefers-color-scheme: dark){{{ink}{rules}}}</style>"
    head, end, body = text.partition(">")
    return f"{head}{end}{style}{body}"


def dark_rules(text: str, source: str) -> Iterator[str]:
    """A rule for each colour in a drawing: rules win over attributes."""
    for name, colour in COLOUR.findall(text):
        if colour not in DARK:
            raise Fault(f"{source}: conf/pictures.py has no dark side for {colour}")
        yield f'[{name}="{colour}"]{{{name}:{DARK[colour]}}}'


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_post_transform(Sizes)
    app.connect("build-finished", add_dark_sides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
