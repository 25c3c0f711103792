"""Tabs of the browser in which the pages are tried, where the pages are, and a server for them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lab.paths import ROOT
from playwright.sync_api import ConsoleMessage, Dialog, Page

HTML = ROOT / "build" / "html"
OTHER_HOST = "guide.test"  # a name for 127.0.0.1 that browsers do not take for this machine
PAGES = sorted(HTML.rglob("*.html"))


class Watched:
    """A tab, and all that its pages asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self.hear)
        page.on("dialog", self.dismiss)

    def hear(self, message: ConsoleMessage) -> None:
        """Keep what the page complains of; the theme tells more than that."""
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} ({message.location['url']})")

    def dismiss(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: Path, query: str = "") -> None:
        """Show a page of the book, from its file, and wait until it is drawn and measured."""
        self.page.goto(path.as_uri() + query)
        self.page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")


class Server(SimpleHTTPRequestHandler):
    """Serves the site from /guide/ alone, compressed, with its own page for what is not there."""

    def translate_path(self, path: str) -> str:
        """The file for an address."""
        return super().translate_path(path.removeprefix("/guide"))

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Send the head of an answer, and give its body."""
        file = Path(self.translate_path(self.path))
        status = 200 if self.path.startswith("/guide/") and file.is_file() else 404
        if status == 404:
            file = HTML / "404.html"
        body = gzip.compress(file.read_bytes())
        self.send_response(status)
        self.send_header("Content-Type", f"{self.guess_type(file)}; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=31536000")
        self.end_headers()
        return BytesIO(body)


@contextmanager
def served() -> Iterator[str]:
    """The address of the site while it is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(HTML))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/guide/"
        server.shutdown()
