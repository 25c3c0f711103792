"""Keeps the pages of the sample book as they look now: what the tests hold them to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from printed import Pdf
from test_typst import APPROVED, SAMPLE, build


def main() -> None:
    """Writes a picture of each page, and says where."""
    os.environ["SOURCE_DATE_EPOCH"] = "1790000000"
    APPROVED.mkdir(exist_ok=True)
    for path in APPROVED.glob("*.png"):
        path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        pages = Pdf(build(SAMPLE, Path(folder)).path).pictures()
    for number, page in enumerate(pages, start=1):
        page.save(APPROVED / f"{number:02}.png", optimize=True)
    print(f"{len(pages)} pages are in {APPROVED.relative_to(Path.cwd())}: look at each of them.")


if __name__ == "__main__":
    main()
