"""Tells when each page changed, by git, and what changed for readers, by a file of its own.

A page changes with its source, and with its example. Without git, as in an unpacked archive, no
page says when it changed. The feed is what `changes.yaml` of the source folder says, by page; a
book without that file has none.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data_files import Fault, read_yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

FEED = "changes.xml"
CHANGES = "changes.yaml"
ENTRIES = 50
ATOM = "http://www.w3.org/2005/Atom"
START = "\x01"  # of a commit in what git prints; no path has it


@dataclass(frozen=True)
class Change:
    """What changed for readers of a page, in a sentence, and on which day."""

    day: datetime.date
    page: str
    says: str

    @property
    def id(self) -> str:
        """A name that the entry keeps."""
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.day} {self.page} {self.says}").urn


def changes(app: Sphinx) -> list[Change]:
    """What changed, the newest first. Raises Fault for an entry that is not as agreed."""
    path = Path(app.srcdir) / CHANGES
    found = []
    for item in read_yaml(path) if path.exists() else []:
        try:
            one = Change(**item)
        except TypeError as error:  # an unknown or a missing key
            raise Fault(f"{path}: {item}: {error}") from None
        if one.page not in app.env.found_docs or not isinstance(one.day, datetime.date):
            raise Fault(f"{path}: {item}: needs a day, as 2026-01-31, and a page of the book")
        found.append(one)
    if found != sorted(found, key=lambda one: one.day, reverse=True):
        raise Fault(f"{path}: the newest entries come first")
    return found


def page_of(path: str) -> str:
    """The page that a file belongs to, or ''."""
    folder, _slash, rest = path.partition("/")
    if folder == "book" and rest.endswith(".md"):
        return rest.removesuffix(".md")
    return "/".join(rest.split("/")[:2]) if folder == "examples" else ""


@cache
def last_changed(root: Path) -> dict[str, str]:
    """The day of each page's last change, as YYYY-MM-DD in UTC; none without git or history."""
    form = [f"--format={START}%cd", "--date=format-local:%Y-%m-%d", "--name-only", "--no-renames"]
    command = ["git", "-C", str(root), "log", *form, "--", "book", "examples"]
    zone = {**os.environ, "TZ": "UTC"}
    try:
        done = subprocess.run(command, capture_output=True, check=True, env=zone)
    except (OSError, subprocess.CalledProcessError):
        return {}
    days: dict[str, str] = {}
    for commit in done.stdout.decode().split(START)[1:]:  # the newest first
        day, *paths = commit.splitlines()
        for page in filter(None, map(page_of, paths)):
            days.setdefault(page, day)
    return days


def root_of(app: Sphinx) -> Path:
    """The folder of the whole project."""
    return Path(app.srcdir).parent


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
    app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: nodes.document | None
) -> None:
    """Give the templates the feed, and when a page changed."""
    context["feed"] = FEED if (Path(app.srcdir) / CHANGES).exists() else ""
    if day := last_changed(root_of(app)).get(page):
        context["changed"] = _("Last changed {day}").format(day=day)


def write_feed(app: Sphinx, exception: Exception | None) -> None:
    """Write the feed of changes beside the pages."""
    if not exception and app.builder.name == "html" and (found := changes(app)):
        (Path(app.outdir) / FEED).write_bytes(feed(app, found[:ENTRIES]))


def feed(app: Sphinx, found: list[Change]) -> bytes:
    """Changes in the format of RFC 4287; without `html_baseurl`, links are relative to the feed."""
    base, title = app.config.html_baseurl, app.config.html_title
    add = ElementTree.SubElement
    root = ElementTree.Element("feed", xmlns=ATOM)
    add(root, "title").text = title
    add(root, "id").text = uuid.uuid5(uuid.NAMESPACE_URL, title).urn
    add(root, "updated").text = f"{found[0].day}T00:00:00Z"
    add(root, "link", rel="self", href=f"{base}{FEED}")
    add(root, "link", href=f"{base}{app.builder.get_target_uri(app.config.root_doc)}")
    add(add(root, "author"), "name").text = app.config.author
    for one in found:
        entry = add(root, "entry")
        add(entry, "title").text = app.env.titles[one.page].astext()
        add(entry, "id").text = one.id
        add(entry, "updated").text = f"{one.day}T00:00:00Z"
        add(entry, "link", href=f"{base}{app.builder.get_target_uri(one.page)}")
        add(entry, "summary").text = one.says
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("env-get-outdated", find_changed)
    app.connect("doctree-read", keep_day)
    app.connect("html-page-context", add_context)
    app.connect("build-finished", write_feed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
