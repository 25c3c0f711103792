"""How well the search finds: what people put into it, and which page it must show first."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lab.paths import ROOT
from py_mini_racer import MiniRacer

SEARCHES = ROOT / "tests" / "book" / "searches.yaml"
INDEX = "finder-index.js"


@dataclass(frozen=True)
class Search:
    """What somebody puts in, and the pages that are right: `part/name`, or `part/name#entry`."""

    text: str
    right: tuple[str, ...]


def searches() -> Iterator[Search]:
    """All that are written down."""
    for page, items in yaml.safe_load(SEARCHES.read_text()).items():
        for item in items:
            if isinstance(item, str):
                yield Search(item, (page,))
            else:
                yield Search(item["search"], (page, *item["also"]))


class Finder:
    """The script of the search page with the index of a built HTML edition."""

    def __init__(self, html: Path) -> None:
        """Loads what the page loads, and the lines of all pages."""
        self.context = MiniRacer()
        self.context.eval((html / "_static" / "finder.js").read_text())
        self.context.eval((html / INDEX).read_text())
        for path in sorted((html / "finder").rglob("*.js")):
            self.context.eval(path.read_text())

    def call(self, function: str, *values: Any) -> Any:
        """What a function of the script gives."""
        arguments = ", ".join(map(json.dumps, values))
        return json.loads(str(self.context.eval(f"JSON.stringify(finder.{function}({arguments}))")))

    def find(self, text: str) -> list[str]:
        """The results, the best first, as `Search.right` names them."""
        return [
            f"{item['page']['name']}#{item['section']['id']}"
            if item["isEntry"]
            else item["page"]["name"]
            for item in self.call("find", text)
        ]

    def lines(self, text: str) -> list[list[str]]:
        """The lines that each result shows."""
        script = f"finder.find({json.dumps(text)}).map(one => finder.lines(one).map(l => l.text))"
        found: list[list[str]] = json.loads(str(self.context.eval(f"JSON.stringify({script})")))
        return found

    def close(self) -> None:
        """Ends the engine."""
        self.context.close()


def misses(finder: Finder, among: int) -> list[Search]:
    """The searches with no right page among the first so many results."""
    return [one for one in searches() if not {*one.right} & {*finder.find(one.text)[:among]}]


def weight(html: Path) -> int:
    """The bytes of the index as a server compresses it, without the lines of pages."""
    return len(gzip.compress((html / INDEX).read_bytes()))
