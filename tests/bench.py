"""Measures what the book takes to build and its examples to play, and prints a table.

Every figure is the median of some runs, in seconds of wall time, beside the aim that it is held
to. The weights of pages come last. Nothing here passes or fails.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import weights
from bs4 import BeautifulSoup
from lab import play
from lab.example import Example, find_all, load
from lab.istiod import Source
from lab.manifests import CLUSTER_SCOPED, Object, read_manifest
from lab.mesh import Mesh
from lab.paths import ROOT

CHAPTER = "problems/gateway-tcp-port.md"


def main() -> None:
    """Prints a row per figure as it comes in; Ctrl-C stops between two of them."""
    print(f"{'what':44}{'median':>8}{'aim':>8}   runs")
    _row("HTML of the whole book, nothing cached", _built("html"), 10.0, 3)
    _row("HTML after a change of one chapter", _built_again, 2.0, 3)
    _row("PDF of the whole book, nothing cached", _built("typst"), 2.0, 3)
    for example in (example for example in find_all() if not example.agent):
        _row(f"mesh ready: {example.name}", partial(_ready, example), 0.6, 5)
        _row(f"replay: {example.name}", partial(_replay, example), 4.0, 3)
    _row("mesh ready: two sidecars, one gateway", _two_sidecars_ready, 0.8, 5)
    _row("make test", _tests, 90.0, 1)
    _weights()


def _row(what: str, measure: Callable[[], float], aim: float, runs: int) -> None:
    seconds = statistics.median(measure() for _ in range(runs))
    print(f"{what:44}{seconds:>8.2f}{aim:>8.1f}   {runs}", flush=True)


def _built(builder: str) -> Callable[[], float]:
    def build() -> float:
        with tempfile.TemporaryDirectory() as folder:
            sphinx = [sys.executable, "-m", "sphinx", "-q", "-c", "conf", "-b", builder]
            return _timed([*sphinx, "-d", f"{folder}/doctrees", "book", f"{folder}/out"])

    return build


def _built_again() -> float:
    with tempfile.TemporaryDirectory() as folder:
        sphinx = [sys.executable, "-m", "sphinx", "-q", "-c", "conf", "-d", f"{folder}/doctrees"]
        _timed([*sphinx, "book", f"{folder}/out"])
        (ROOT / "book" / CHAPTER).touch()
        return _timed([*sphinx, "book", f"{folder}/out"])


def _weights() -> None:
    """Prints what each page weighs with all that it loads, the heaviest first."""
    with tempfile.TemporaryDirectory() as folder:
        _timed([sys.executable, "-m", "sphinx", "-q", "-c", "conf", "book", folder])
        rows = [
            (weights.first_view(path, BeautifulSoup(path.read_text(), "html.parser")), path)
            for path in Path(folder).rglob("*.html")
            if "tags" not in path.parts
        ]
        print(f"\n{'first view of a page, compressed':44}{'kB':>8}{'aim':>8}")
        for weight, path in sorted(rows, reverse=True):
            print(f"{path.relative_to(folder).as_posix():44}{weight / 1000:>8.1f}{150:>8}")


def _tests() -> float:
    return _timed(["make", "--silent", "test"])


def _timed(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    return time.monotonic() - start


def _two_sidecars_ready() -> float:
    example = load("problems/upstream-connection-termination")
    items = _items(example.folder / "namespaces.yaml")
    for namespace in ("with-sidecar", "without-sidecar"):
        for name in ("orders.yaml", "client.yaml"):
            items += _items(example.folder / name, namespace)
    return _ready(example, items)


def _items(path: Path, namespace: str = "default") -> list[tuple[Object, Path | None]]:
    """The objects of a manifest, as `kubectl -n NAMESPACE apply` hands them to the lab."""
    items = read_manifest(path.read_text(), path)
    for item in items:
        if item["kind"] not in CLUSTER_SCOPED:
            item["metadata"].setdefault("namespace", namespace)
    return [(item, path) for item in items]


def _ready(example: Example, items: Sequence[tuple[Object, Path | None]] = ()) -> float:
    start = time.monotonic()
    with Mesh(example, Source.RECORDED) as mesh:
        mesh.apply(list(items))
        return time.monotonic() - start


def _replay(example: Example) -> float:
    start = time.monotonic()
    with play.playing(example, Source.RECORDED) as playing:
        play.replay(playing, lambda _: None)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
