"""Tabs of the browser in which the pages are tried, and where the pages are."""

from __future__ import annotations

from pathlib import Path

from lab.paths import ROOT
from playwright.sync_api import Dialog, Page

HTML = ROOT / "build" / "html"
PAGES = sorted(HTML.rglob("*.html"))


class Watched:
    """A tab, and all that its pages asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda message: self.faults.append(f"console: {message.text}"))
        page.on("dialog", self.dismiss)

    def dismiss(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: Path, query: str = "") -> None:
        """Show a page of the book, from its file."""
        self.page.goto(path.as_uri() + query)
