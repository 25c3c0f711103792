"""What a browser loads to show a page of the HTML edition, and what that weighs."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from bs4 import BeautifulSoup

# Without scripts, a page loads another style sheet in place of them, which is smaller.
LOADED = (
    "img[src]:not([loading=lazy]), script[src], link[rel=stylesheet]:not(noscript *), "
    "link[rel=icon]"
)
INDEX = "finder-index.js"  # of the search page alone: it is as long as the book, and comes last


def files(path: Path, page: BeautifulSoup) -> Iterator[Path]:
    """The files of the first view of a page: itself, and those that it loads."""
    yield path
    for tag in page.select(LOADED):
        address = urlsplit(urljoin(path.as_uri(), str(tag.get("src") or tag.get("href"))))
        if address.scheme == "file":
            yield Path(unquote(address.path))


def first_view(path: Path, page: BeautifulSoup) -> int:
    """The bytes of the first view of a page, as a server compresses them, without the index."""
    shown = {file for file in files(path, page) if file.name != INDEX}
    return sum(len(gzip.compress(file.read_bytes())) for file in shown)
