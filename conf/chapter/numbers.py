"""Numbers the figures, tables and listings of each page from one; Sphinx counts through the book.

Its own way, `numfig_secnum_depth`, needs numbered sections. Both editions have the same numbers.
"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util.typing import ExtensionMetadata


def restart(_app: Sphinx, builder: Builder) -> None:
    """Begin anew on each page, once the environment is kept: the next build compares that."""
    for kinds in builder.env.toc_fignumbers.values():
        for numbers in kinds.values():
            for place, name in enumerate(sorted(numbers, key=numbers.__getitem__), start=1):
                numbers[name] = (place,)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("write-started", restart)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
