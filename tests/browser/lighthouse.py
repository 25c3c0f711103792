"""Lighthouse on five pages of the built HTML edition, for phones: `make lighthouse`.

Prints a row of scores for each page, of 100, and fails if one is below its aim. The pages are
served from a folder below the root, compressed, as a web server would. A busy machine lowers the
scores of performance: Lighthouse slows the processor down further, to that of a phone.
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
AIMS = {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
PAGES = [
    "index",
    "problems/gateway-tcp-port",
    "debugging/access-logs",
    "reference/response-flags",
    "reference/decoder",
]


def scores(address: str) -> list[int]:
    """The scores of a page, in the order of AIMS."""
    report = HTML.parent / "lighthouse" / "report.json"
    command = [str(LIGHTHOUSE), address, "--quiet", "--output=json", f"--output-path={report}"]
    command += ["--no-enable-error-reporting"]  # which would ask, and send
    command += [f"--chrome-flags={FLAGS}", f"--only-categories={','.join(AIMS)}"]
    environment = {**os.environ, "CHROME_PATH": shutil.which("chromium") or ""}
    subprocess.run(command, check=True, env=environment)
    found = json.loads(report.read_text())["categories"]
    return [round(100 * found[kind]["score"]) for kind in AIMS]


def main() -> None:
    """Print the table; the exit code is 1 if a score is too low."""
    print(f"{'page':32}" + "".join(f"{kind:>16}" for kind in AIMS))
    missed = False
    with served() as address:
        for page in PAGES:
            row = scores(f"{address}{page}.html")
            print(f"{page:32}" + "".join(f"{score:>16}" for score in row), flush=True)
            missed |= any(score < aim for score, aim in zip(row, AIMS.values(), strict=True))
    sys.exit(missed)


if __name__ == "__main__":
    main()
