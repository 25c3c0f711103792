"""Lighthouse on five pages of the built HTML edition, for phones: `make lighthouse`.

Prints a row of scores for each page, of 100, and fails if one is below 95. The pages are served
from a folder below the root, compressed, as a web server would. A busy machine lowers the scores of
performance: Lighthouse slows the processor down further, to that of a phone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from browser.tabs import HTML, served

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


def scores(address: str) -> list[int]:
    """The scores of a page, in the order of KINDS."""
    report = HTML.parent / "lighthouse" / "report.json"
    command = [str(LIGHTHOUSE), address, "--quiet", "--output=json", f"--output-path={report}"]
    command += ["--no-enable-error-reporting"]  # which would ask, and send
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
