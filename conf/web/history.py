"""Tells from git when each page changed, and links to its source in the repository.

A page changes with its source, and with its example. Without git, as in an unpacked archive, no
page says when it changed, and there is no feed. Settings: `history_links`, labels with addresses
of the repository's site, in which {path} is a page's source, {title} its title and {page} its own
address; and `html_baseurl` for that address. Both are empty as long as there are no such sites.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)
_ = get_translation("extensions")

FEED = "changes.xml"
ENTRIES = 50
ATOM = "http://www.w3.org/2005/Atom"
START = "\x01"  # of a commit in what git prints; no subject and no path has it


@dataclass(frozen=True)
class Change:
    """A commit: its full name, its time as git writes it, its subject, and the files it touched."""

    commit: str
    time: str
    subject: str
    paths: list[str]

    @property
    def pages(self) -> set[str]:
        """The names of the pages that it changed, `part/name` or `name`; not all of them exist."""
        return {name for path in self.paths if (name := page_of(path))}


def page_of(path: str) -> str:
    """The page that a file belongs to, or ''."""
    folder, _slash, rest = path.partition("/")
    if folder == "book" and rest.endswith(".md"):
        return rest.removesuffix(".md")
    return "/".join(rest.split("/")[:2]) if folder == "examples" else ""


@cache
def changes(root: Path) -> tuple[Change, ...]:
    """The changes of pages, newest first; none where there is no git or no history."""
    form = [f"--format={START}%H%x00%cd%x00%s", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"]
    command = ["git", "-C", str(root), "log", *form, "--name-only", "--no-renames"]
    zone = {**os.environ, "TZ": "UTC"}
    try:
        done = subprocess.run(
            [*command, "--", "book", "examples"], capture_output=True, check=True, env=zone
        )
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(map(change, done.stdout.decode().split(START)[1:]))


def change(text: str) -> Change:
    """What git prints of one commit."""
    head, *paths = text.splitlines()
    commit, time, subject = head.split("\0")
    return Change(commit, time, subject, [path for path in paths if path])


@cache
def last_changed(root: Path) -> dict[str, str]:
    """The day of each page's last change, as YYYY-MM-DD in UTC."""
    return {page: one.time[:10] for one in reversed(changes(root)) for page in one.pages}


def root_of(app: Sphinx) -> Path:
    """The folder of the whole project."""
    return Path(app.srcdir).parent


def check_links(app: Sphinx) -> None:
    """Warn of links that would tell another site where a page is, and cannot."""
    if app.config.html_baseurl or app.builder.name != "html":
        return
    for label, address in app.config.history_links.items():
        if "{page}" in address:
            text = "history_links: %s has {page}, which needs the site's address: set html_baseurl"
            logger.warning(text, label, type="history")


def find_changed(
    app: Sphinx, env: BuildEnvironment, _added: set[str], _changed: set[str], _removed: set[str]
) -> Iterable[str]:
    """Name the pages for which git says another day than when they were read."""
    days = last_changed(root_of(app))
    return [page for page, known in env.metadata.items() if known.get("day") != days.get(page)]


def keep_day(app: Sphinx, _document: nodes.document) -> None:
    """Keep the day of a page that was just read."""
    page = app.env.docname
    app.env.metadata[page]["day"] = last_changed(root_of(app)).get(page)


def add_context(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the templates the feed, and the links of a page as pairs of label and address."""
    context["feed"] = FEED if changes(root_of(app)) else ""
    if doctree is not None:
        context["doc_links"] = list(links(app, page))


def links(app: Sphinx, page: str) -> Iterator[tuple[str, str]]:
    """When the page changed, without an address, and where to read and to change its source."""
    if day := last_changed(root_of(app)).get(page):
        yield _("Last changed {day}").format(day=day), ""
    values = {
        "path": f"{Path(app.srcdir).name}/{page}.md",
        "title": app.env.titles[page].astext(),
        "page": f"{app.config.html_baseurl}{app.builder.get_target_uri(page)}",
    }
    quoted = {name: quote(value, safe="/") for name, value in values.items()}
    for label, address in app.config.history_links.items():
        yield label, address.format(**quoted)


def write_feed(app: Sphinx, exception: Exception | None) -> None:
    """Write the feed of changes beside the pages."""
    found = [one for one in changes(root_of(app)) if one.pages & app.env.found_docs]
    if found and not exception and app.builder.name == "html":
        (Path(app.outdir) / FEED).write_bytes(feed(app, found[:ENTRIES]))


def feed(app: Sphinx, found: list[Change]) -> bytes:
    """Changes in the format of RFC 4287; without `html_baseurl`, links are relative to the feed."""
    base, title = app.config.html_baseurl, app.config.html_title
    add = ElementTree.SubElement
    root = ElementTree.Element("feed", xmlns=ATOM)
    add(root, "title").text = title
    add(root, "id").text = uuid.uuid5(uuid.NAMESPACE_URL, title).urn
    add(root, "updated").text = found[0].time
    add(root, "link", rel="self", href=f"{base}{FEED}")
    add(root, "link", href=f"{base}{app.builder.get_target_uri(app.config.root_doc)}")
    add(add(root, "author"), "name").text = app.config.author
    for one in found:
        pages = sorted(one.pages & app.env.found_docs)
        entry = add(root, "entry")
        add(entry, "title").text = one.subject
        add(entry, "id").text = uuid.uuid5(uuid.NAMESPACE_OID, one.commit).urn
        add(entry, "updated").text = one.time
        add(entry, "link", href=f"{base}{app.builder.get_target_uri(pages[0])}")
        add(entry, "summary").text = "; ".join(app.env.titles[page].astext() for page in pages)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_config_value("history_links", {}, "html", types=dict)
    app.connect("builder-inited", check_links)
    app.connect("env-get-outdated", find_changed)
    app.connect("doctree-read", keep_day)
    app.connect("html-page-context", add_context)
    app.connect("build-finished", write_feed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
