"""Lighthouse on five pages of the built HTML edition, for phones: `make lighthouse`.

Prints a row of scores for each page, of 100, and fails if one is below 95. The pages are served
from a folder below the root, compressed, as a web server would. A busy machine lowers the scores of
performance: Lighthouse slows the processor down further, to that of a phone.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import BinaryIO

from browser.tabs import HTML

LIGHTHOUSE = HTML.parent / "lighthouse" / "node_modules" / ".bin" / "lighthouse"
FLAGS = "--headless=new --no-sandbox --disable-background-networking"
KINDS = ["performance", "accessibility", "best-practices", "seo"]
PAGES = [
    "index",
    "problems/gateway-tcp-port",
    "debugging/access-logs",
    "reference/response-flags",
    "reference/decoder",
]
AIM = 95


class Compressed(SimpleHTTPRequestHandler):
    """Serves the pages below /guide/."""

    def translate_path(self, path: str) -> str:
        """The file for an address."""
        return super().translate_path(path.removeprefix("/guide"))

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Send the head of an answer, and give its body."""
        file = self.translate_path(self.path.partition("?")[0])
        if not file.endswith((".html", ".css", ".js", ".svg")) or not os.path.isfile(file):  # noqa: PTH113
            return super().send_head()
        with open(file, "rb") as content:  # noqa: PTH123
            body = gzip.compress(content.read())
        self.send_response(200)
        self.send_header("Content-Type", f"{self.guess_type(file)}; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=31536000")
        self.end_headers()
        return BytesIO(body)


@contextmanager
def served() -> Iterator[str]:
    """The address of the site while it is served."""
    handler = partial(Compressed, directory=str(HTML))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/guide/"
        server.shutdown()


def scores(address: str) -> list[int]:
    """The scores of a page, in the order of KINDS."""
    report = HTML.parent / "lighthouse" / "report.json"
    command = [str(LIGHTHOUSE), address, "--quiet", "--output=json", f"--output-path={report}"]
    command += [f"--chrome-flags={FLAGS}", f"--only-categories={','.join(KINDS)}"]
    environment = {**os.environ, "CHROME_PATH": shutil.which("chromium") or ""}
    subprocess.run(command, check=True, env=environment)
    found = json.loads(report.read_text())["categories"]
    return [round(100 * found[kind]["score"]) for kind in KINDS]


def main() -> None:
    """Print the table; the exit code is 1 if a score is too low."""
    print(f"{'page':32}" + "".join(f"{kind:>16}" for kind in KINDS))
    lowest = 100
    with served() as address:
        for page in PAGES:
            row = scores(f"{address}{page}.html")
            print(f"{page:32}" + "".join(f"{score:>16}" for score in row), flush=True)
            lowest = min(lowest, *row)
    sys.exit(lowest < AIM)


if __name__ == "__main__":
    main()
