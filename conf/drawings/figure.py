"""What the directives that draw share: reading a file of the example, and making a figure."""

from __future__ import annotations

import os
from pathlib import Path

from chapter.examples import examples_folder
from data_files import read_transcript
from docutils import nodes
from lab.files.transcript import Transcript
from sphinx.util.docutils import SphinxDirective


class Drawing(SphinxDirective):
    """A directive that draws from files of the page's own example."""

    has_content = True

    def file(self, name: str) -> Path:
        """The file of that name; an error with the place of the directive without one."""
        path = examples_folder(self.env) / self.env.docname / name
        if not path.is_file():
            what = "transcript" if path.suffix == ".console" else "file"
            raise self.error(f"there is no {what} {name}")
        self.env.note_dependency(path)
        return path

    def transcript(self, name: str) -> Transcript:
        """The transcript of that name, with the same error."""
        return read_transcript(self.file(name))

    def captioned(self) -> tuple[str, list[str]]:
        """The caption, and the lines after the empty line that follows it."""
        caption, _, lines = "\n".join(self.content).partition("\n\n")
        return caption, [line.strip() for line in lines.splitlines() if line.strip()]

    def figure(self, drawn: str, alt: str, caption: str) -> list[nodes.Node]:
        """A figure of an SVG, with what it shows in words."""
        path = Path(self.env.doctreedir) / self.name / f"{self.env.docname}-{self.lineno}.svg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(drawn, "utf-8")
        image = nodes.image(uri="/" + os.path.relpath(path, self.env.srcdir), alt=alt)
        figure = nodes.figure("", image)
        inline, messages = self.parse_inline(caption)
        figure += nodes.caption(caption, "", *inline)
        return [figure, *messages]
