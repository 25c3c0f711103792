"""Numbers chapters through the book, and figures, tables and listings on each page from one.

Sphinx does it the other way round: each part's chapters begin at one, and figures go on through
the book. All editions have the same numbers.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata


def renumber(_app: Sphinx, builder: Builder) -> None:
    """Change the numbers, once the environment is kept: the next build compares that."""
    for kinds in builder.env.toc_fignumbers.values():
        for numbers in kinds.values():
            for place, name in enumerate(sorted(numbers, key=numbers.__getitem__), start=1):
                numbers[name] = (place,)
    count_chapters(builder.env)


def count_chapters(env: BuildEnvironment) -> None:
    """Number the chapters of all parts in the order of the book."""
    numbered = (page for page in env.collect_relations() if page in env.toc_secnumbers)
    for place, page in enumerate(numbered, start=1):
        sections = env.toc_secnumbers[page]
        sections.update({name: (place, *number[1:]) for name, number in sections.items() if number})
        # Where a title stands alone, as in a tab of the browser, a number says nothing.
        env.titles[page].attributes.pop("secnumber", None)
        for link in env.tocs[page].findall(nodes.reference):
            if sections.get(link["anchorname"]):
                link["secnumber"] = sections[link["anchorname"]]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("write-started", renumber)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
