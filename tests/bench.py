"""Measures what the book takes to build and its examples to play, and prints a table.

Every figure is the median of some runs, in seconds of wall time, beside the aim that it is held
to. Those of a cluster come first, where one can run; the weights of pages come last, and
Lighthouse's scores of five pages, if it is installed. Nothing here passes or fails, or needs a
network.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import decoding
import searching
import weights
from bs4 import BeautifulSoup
from cluster.ready import built
from cluster.world import World
from lab.files.example import Example, find_all, load
from lab.files.recording import head
from lab.machine.isolation import isolate_if_possible
from lab.mesh.mesh import Mesh
from lab.paths import ROOT
from lab.plays import play
from lab.versions import ISTIO
from py_mini_racer import MiniRacer
from pypdf import PdfReader

# What the long books are made of: these take about 190 pages.
CHAPTERS = ("problems",)

CHAPTER = "problems/gateway-tcp-port.md"

_TWO_SIDECARS = 2  # the state of the example below in which there are two, and nothing else

SUM_UP = """
function sumUp(text) {
  const { requests } = accessLog.finish(accessLog.read(text, logData));
  return accessLog.finish(accessLog.summary(requests, logData)).length;
}
"""

LIGHTHOUSE = ROOT / "build" / "lighthouse" / "node_modules" / ".bin" / "lighthouse"


def main() -> None:
    """Prints a row per figure as it comes in; Ctrl-C stops between two of them."""
    print(f"{'what':44}{'median':>8}{'aim':>8}   runs")
    _cluster()
    isolate_if_possible()
    _row("HTML of the whole book, nothing cached", _built("html"), 10.0, 3)
    _row("HTML after a change of one chapter", _built_again, 2.0, 3)
    _row("PDF of the whole book, nothing cached", _built("typst"), 5.0, 3)
    _row("EPUB of the whole book, nothing cached", _built("epub"), 10.0, 3)
    for times in (1, 4):
        with tempfile.TemporaryDirectory() as folder:
            pages = _repeat(Path(folder), times)
            _row(f"PDF of {pages} pages", _built("typst", Path(folder)), pages / 80, 3)
            memory = _memory(_sphinx("typst", Path(folder), Path(folder, "again")))
            print(f"{'memory of that, GB':44}{memory:>8.2f}{pages / 980:>8.1f}   1", flush=True)
    for example in (e for e in find_all() if not e.held):
        _row(f"mesh ready: {example.name}", partial(_ready, example), 0.6, 5)
        _row(f"replay: {example.name}", partial(_replay, example), 4.0, 3)
    _row("make test", _tests, 60.0, 1)
    _weights()
    print_ratings(LIGHTHOUSE)


def _cluster() -> None:
    """A cluster with Istio, where its parts are built: time and memory; and the recordings."""
    recorded = sum(int(head(example.recordings).get("seconds", 0)) for example in find_all())
    print(f"{'examples recorded, one after another':44}{recorded:>8}{1200:>8}   1")
    if os.geteuid() or not built(ISTIO):
        return
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        start = time.monotonic()
        try:
            world.up(ISTIO)
            print(f"{'cluster ready, parts built':44}{time.monotonic() - start:>8.2f}{60:>8}   1")
            print(f"{'memory of it, GiB':44}{world.memory() / 2**30:>8.2f}{4:>8}   1", flush=True)
        finally:
            world.down()


def _row(what: str, measure: Callable[[], float], aim: float, runs: int) -> None:
    seconds = statistics.median(measure() for _ in range(runs))
    print(f"{what:44}{seconds:>8.2f}{aim:>8.1f}   {runs}", flush=True)


def _built(builder: str, root: Path = ROOT) -> Callable[[], float]:
    def build() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return _timed(_sphinx(builder, root, Path(folder)))

    return build


def _built_again() -> float:
    with tempfile.TemporaryDirectory() as folder:
        sphinx = _sphinx("html", ROOT, Path(folder))
        _timed(sphinx)
        (ROOT / "book" / CHAPTER).touch()
        return _timed(sphinx)


def _weights() -> None:
    """Prints what each page weighs with all that it loads, the heaviest first."""
    with tempfile.TemporaryDirectory() as folder:
        _timed(_sphinx("html", ROOT, Path(folder)))
        pages = Path(folder, "out")
        rows = [
            (weights.first_view(path, BeautifulSoup(path.read_text(), "html.parser")), path)
            for path in pages.rglob("*.html")
            if "tags" not in path.parts
        ]
        print(f"\n{'first view of a page, compressed':44}{'kB':>8}{'aim':>8}")
        for weight, path in sorted(rows, reverse=True):
            print(f"{path.relative_to(pages).as_posix():44}{weight / 1000:>8.1f}{150:>8}")
        print_search(pages)
        print_decoder(pages)


def print_search(pages: Path) -> None:
    """Prints how often the search of a built edition is right, and what its index weighs."""
    count = len(list(searching.searches()))
    finder = searching.Finder(pages)
    print(f"\n{f'the search, {count} tried':44}{'found':>8}{'aim':>8}")
    for among, aim in ((1, 95), (3, 100)):
        share = 100 - 100 * len(searching.misses(finder, among)) / count
        print(f"{f'right page among the first {among}, %':44}{share:>8.1f}{aim:>8}")
    finder.close()
    print(f"{'index, compressed, kB':44}{searching.weight(pages) / 1000:>8.1f}{80:>8}")


def print_decoder(pages: Path) -> None:
    """Prints how long the decoder of a built edition takes to sum up many lines, in seconds."""
    page = BeautifulSoup((pages / "reference" / "decoder.html").read_text(), "html.parser")
    line = str(page.select("[data-example]")[0]["data-example"]).splitlines()[0]
    data = (pages / "_static" / "decoder-data.js").read_text()
    print(f"\n{'the decoder, without a browser':44}{'median':>8}{'aim':>8}   runs")
    with MiniRacer() as engine:
        engine.eval(f"{decoding.RUN}; {data}; {SUM_UP}")
        for count, aim in ((1_000, 1.0), (100_000, 15.0)):
            lines = "\n".join(re.sub(r'"[\da-f-]{36}"', f'"{n}"', line) for n in range(count))
            _row(f"{count} lines", partial(_called, engine, "sumUp", lines), aim, 3)
    decoder, every = decoding.Decoder(), decoding.cases()
    right = sum(not [*case.faults(decoder.decode(case.text))] for case in every)
    print(f"{f'right first advice of {len(every)}, %':44}{100 * right / len(every):>8.1f}{95:>8}")


def _called(engine: MiniRacer, function: str, *values: str) -> float:
    start = time.monotonic()
    engine.call(function, *values)
    return time.monotonic() - start


def print_ratings(tool: Path) -> None:
    """Prints how Lighthouse rates five pages, if it is installed at a path, or how to get that."""
    print()
    if not tool.exists():
        print("Lighthouse is not installed: `make lighthouse` does that, and prints its scores.")
        return
    _timed(["make", "--silent", "html"])
    sys.stdout.flush()
    subprocess.run([sys.executable, "tests/browser/lighthouse.py"], cwd=ROOT, check=False)


def _sphinx(builder: str, root: Path, out: Path) -> list[str]:
    # Of the warnings that copies of chapters cause, the copies are the reason.
    options = ["-q", *(["-Q"] if root != ROOT else []), "-c", "conf", "-d", f"{out}/doctrees"]
    options += ["-j", "auto"] if builder == "typst" else []  # as the Makefile has it
    return [sys.executable, "-m", "sphinx", *options, "-b", builder, f"{root}/book", f"{out}/out"]


def _repeat(folder: Path, times: int) -> int:
    """Makes a book of copies of some chapters, and gives how many pages its PDF has."""
    for name in ("examples", "tests/recordings", "book"):
        (folder / name).mkdir(parents=True)
        for copy in range(times):
            for part in CHAPTERS:
                # The first keeps its name: chapters link to each other.
                target = folder / name / (f"{part}-{copy}" if copy else part)
                shutil.copytree(ROOT / name / part, target)
    names = "\n".join(
        path.relative_to(folder / "book").with_suffix("").as_posix()
        for part in sorted((folder / "book").iterdir())
        if part.name.startswith(CHAPTERS)
        for path in sorted(part.glob("*.md"))
    )
    (folder / "book" / "index.md").write_text(f"# Book\n\n```{{toctree}}\n{names}\n```\n")
    subprocess.run(_sphinx("typst", folder, folder), cwd=ROOT, check=True)
    (pdf,) = (folder / "out").glob("*.pdf")
    return len(PdfReader(pdf).pages)


def _tests() -> float:
    return _timed(["make", "--silent", "test"])


def _timed(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ)
    return time.monotonic() - start


def _memory(command: list[str]) -> float:
    """Gives how much memory the largest process of a command has at most, in GB."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _pid, process.returncode, usage = os.wait4(process.pid, 0)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_maxrss / 1e6


def _two_sidecars_ready() -> float:
    example = load("problems/upstream-connection-termination")
    start = time.monotonic()
    with Mesh(example) as mesh:
        mesh.move_to(_TWO_SIDECARS)
        return time.monotonic() - start


def _ready(example: Example) -> float:
    start = time.monotonic()
    with play.playing(example):
        return time.monotonic() - start


def _replay(example: Example) -> float:
    start = time.monotonic()
    with play.playing(example) as playing:
        play.replay(playing, lambda _: None)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
