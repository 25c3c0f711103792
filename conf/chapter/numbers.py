"""Numbers the listings of each page from one, in both editions; Sphinx counts through the book.

Its own way, `numfig_secnum_depth`, needs numbered sections.
"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.util.typing import ExtensionMetadata


def restart(_app: Sphinx, builder: Builder) -> None:
    """Begin anew on each page, once the environment is kept: the next build compares that."""
    for kinds in builder.env.toc_fignumbers.values():
        listings = kinds.get("code-block", {})
        ordered = sorted(listings, key=listings.__getitem__)
        kinds["code-block"] = {name: (place,) for place, name in enumerate(ordered, start=1)}


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("write-started", restart)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
