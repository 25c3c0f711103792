"""Every page in a real browser, opened as a file: `make test-browser`.

It wants the built HTML edition, and Chromium on the PATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.tabs import HTML, PAGES, Watched

CHAPTER = HTML / "problems" / "gateway-tcp-port.html"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = {"runOnly": RULES, "resultTypes": ["violations"], "preload": False}
VIEWS = [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")]


def name(path: Path) -> str:
    return path.relative_to(HTML).as_posix()


def violations(found: dict[str, Any]) -> list[str]:
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing_on_any_page(width: int, scheme: Any, watched: Watched) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.page.emulate_media(color_scheme=scheme)
    found = {}
    for path in PAGES:
        watched.open(path)
        found[name(path)] = violations(Axe().run(watched.page, options=AXE).response)
    assert {page: rules for page, rules in found.items() if rules} == {}
