"""What tests share: plays of examples, what labs leave, and builds of the book."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from bs4 import BeautifulSoup
from lab.files import transcript
from lab.files.example import Example, find_all, load
from lab.files.masks import same
from lab.files.recording import head, object_name
from lab.machine.isolation import isolate, isolate_if_possible, isolated
from lab.paths import ROOT
from lab.plays.play import Playing
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

CONF = ROOT / "conf"


def seconds_of(name: str) -> int:
    """How long the recording of an example took."""
    return int(head(load(name).recordings).get("seconds", 0))


# They take the longest, and begin first: else a worker would be alone with one of them at the end.
_FIRST = ("test_book.py", "test_book_pdf.py", "test_book_epub.py", "test_examples.py")
_NEXT = ("test_failures.py", "test_replay.py", "test_isolation.py", "test_typst_fuzz.py")

# Connections that stay open, and are waited for: no other example takes half as long to replay.
_LONGEST = "tricks/tcp-access-log"

# In the order in which they begin. The time that a recording took tells how long a replay takes.
_PLAYED = tuple(
    sorted((e.name for e in find_all()), key=lambda name: (name != _LONGEST, -seconds_of(name)))
)


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Hands workers the tests of a file in one go, but those of the examples by example.

    What looks at the whole book has one worker, which builds it. Tests that each start a lab of
    their own go to whoever is free, one by one, and those of a class with a mesh together.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        name, _, parameters = test.partition("[")
        if file.endswith(("test_book.py", "test_book_pdf.py", "test_book_epub.py")):
            return "book"
        if file.endswith("test_examples.py"):
            return next(filter(parameters.startswith, _PLAYED), file)
        if not file.endswith(("test_failures.py", "test_replay.py")):
            return file
        return f"{name.partition('::')[0]} {parameters}" if "::" in name else nodeid


# Else the collector of garbage takes a third of the time in which pages are parsed.
gc.set_threshold(100_000, 20, 100)


def pytest_configure(config: pytest.Config) -> None:
    """Gives the labs of each process that runs tests a network of their own.

    Replays use the addresses of the cluster, which are the same for all examples.
    """
    if not hasattr(config, "workerinput"):
        isolate_if_possible()
    elif isolated():
        isolate()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Groups(config, log)


def pytest_collection_finish() -> None:
    """Lets the collector of garbage pass over what is there to stay."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = [*_FIRST, *_NEXT]

    def rank(item: pytest.Item) -> tuple[int, int]:
        file = names.index(item.path.name) if item.path.name in names else len(names)
        parameters = item.nodeid.partition("[")[2]
        played = (at for at, name in enumerate(_PLAYED) if parameters.startswith(name))
        return file, next(played, len(_PLAYED)) if item.path.name == "test_examples.py" else 0

    items.sort(key=rank)


def play_first(running: Playing, count: int) -> None:
    """Plays so many of an example's transcripts; those that were played already are passed over."""
    for path in running.example.transcripts[:count]:
        if path.name > running.server.answers.step[0]:
            for step, output in running.outputs(transcript.read(path), lambda _: None):
                assert same(step.output, output), output


Copy = Callable[..., Example]
"""Takes the name of an example, and what else the copy depends on."""


@pytest.fixture
def copy_of(tmp_path: Path) -> Copy:
    """Copies an example with its recordings, to be changed and played."""

    def copy(name: str) -> Example:
        original, folder = load(name), tmp_path / name
        shutil.copytree(original.folder, folder)
        shutil.copytree(original.recordings, folder / "recordings", dirs_exist_ok=True)
        return load(str(folder))

    return copy


def only_transcript(example: Example, text: str) -> Path:
    """Replaces an example's transcripts by one."""
    for path in example.transcripts:
        path.unlink()
    path = example.folder / "1-call.console"
    path.write_text(text)
    return path


@pytest.fixture
def small(copy_of: Copy) -> Copy:
    """Copies an example as if some pods had not run, and the gateway's neither: fewer proxies."""

    def copy(name: str, *without: str) -> Example:
        example = copy_of(name)
        pods = re.compile(rf"Pod ({'|'.join(('istio-system/istio-ingressgateway', *without))})-")
        left_out = set()
        for path in example.recordings.glob("*/state.json"):
            items = {
                item.get("name") or object_name(item): item for item in json.loads(path.read_text())
            }
            left_out |= (gone := set(filter(pods.match, items)))
            left = [item for name, item in items.items() if name not in gone]
            path.write_text(json.dumps(left, indent=1, sort_keys=True, ensure_ascii=False))
        assert len(left_out) == 1 + len(without)
        return example

    return copy


def of_process(pid: int | str, kind: str) -> str:
    """The command line or the variables of a process: what is in a file of /proc."""
    with open(f"/proc/{pid}/{kind}", errors="replace") as file:  # noqa: PTH123 (pathlib takes long)
        return file.read()


@cache
def front_matter(page: Path) -> dict[str, Any]:
    """What stands above a page of the book; nothing if it has none."""
    before, _, rest = page.read_text().partition("---\n")
    return dict(yaml.safe_load(rest.partition("---\n")[0])) if not before else {}


@dataclass(frozen=True)
class Traces:
    """What a lab leaves: its files under `folder`, its processes with that name about them."""

    folder: Path

    def processes(self, word: str = "") -> list[str]:
        """The command lines of running processes of the lab that contain the word."""
        mark = str(self.folder)
        found = []
        for process in map(str, psutil.pids()):
            with contextlib.suppress(OSError):
                command = of_process(process, "cmdline").replace("\0", " ")
                # The kernel takes five times as long for the variables.
                if word in command and mark in command + of_process(process, "environ"):
                    found.append(command)
        return found

    def assert_nothing_left(self) -> None:
        # What is killed with the lab is gone a moment after it.
        assert eventually(lambda: not self.processes()), self.processes()
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Traces:
    """A temporary folder of its own for every lab of this test, so that it can be told apart."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return Traces(folder)


# Builds the book for some builders, one after the other; without `pdf` among them, the PDF is empty
# beside all that the compiler is given.
_BUILD = """
import sys
from pdf import builder
from sphinx.cmd.build import main

names, out, *words = sys.argv[1:]
if "pdf" not in names:
    builder.finish = lambda *_: b""
    builder.TypstBuilder.check = lambda *_: None
for name in names.replace("pdf", "typst").split():
    if code := main([*words, "-d", f"{out}/doctrees", "-b", name, f"{out}/{name}"]):
        sys.exit(code)
"""


def start_build(out: Path, names: str, **variables: str) -> subprocess.Popen[str]:
    """Start builds of the book as the Makefile does, in a process of their own."""
    command = [sys.executable, "-c", _BUILD, names, str(out), "-q", "-n", "-W", "--keep-going"]
    return subprocess.Popen(
        [*command, "-c", str(CONF), str(ROOT / "book")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ
        | {"SOURCE_DATE_EPOCH": "1795000000", "NO_COLOR": "1", "PYTHONPATH": str(CONF)}
        | variables,
    )


def run_sphinx(
    source: Path, out: Path, builder: str = "dummy", settings: Sequence[str] = ()
) -> tuple[int, str]:
    """Build a small book in this process, and give Sphinx's exit code and what it said.

    A process of its own would take four times as long.
    """
    # Imported here since the process that hands out tests needs none of it.
    from sphinx.cmd.build import main as build_main
    from sphinx.deprecation import RemovedInSphinx11Warning
    from sphinx.locale import translators

    translators.clear()  # what an earlier build left there
    command = ["-q", "-n", "-W", "--keep-going", "-c", str(CONF), "-b", builder]
    command += [word for setting in settings for word in ("-D", setting)]
    said = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        # MyST-Parser asks Sphinx 9 for a name that goes away in Sphinx 11.
        warnings.simplefilter("ignore", RemovedInSphinx11Warning)
        command += ["-d", str(out / "doctrees"), str(source), str(out / builder)]
        try:
            code = build_main(command)
        except SystemExit as end:  # as an extension ends it
            code = int(end.code or 0)
    return code, said.getvalue()


def unsaid(root: Path, directive: str, faulty: dict[str, str], transcript: str) -> list[str]:
    """What a build leaves unsaid of faulty contents of a directive: the errors, each with its line.

    The book in `root` has one page with all of them, and an example with `1-a.console`.
    """
    page, expected = "# Title\n", []
    for content, said in faulty.items():
        page += f"\n```{{{directive}}}{content}\n```\n"
        line = page.count("\n") - content.count("\n") - 1
        expected.append(f"book/part/chapter.md:{line}: ERROR: {said}")
    for name, text in {
        "book/index.md": "# Index\n\n```{toctree}\npart/chapter\n```\n",
        "book/part/chapter.md": page,
        "examples/part/chapter/1-a.console": transcript,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code, output = run_sphinx(root / "book", root / "out")
    assert code == 1
    return [place for place in expected if place not in output]


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of two builds of the book, each from nothing, made side by side on two days.

    In the first they come in the order in which `make` builds them: those after the first take
    what Sphinx has read for it. In the second folder it is the other way round, and the PDF is
    empty.
    """
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    builds = (
        start_build(one, "pdf epub html", TZ="UTC0"),
        start_build(two, "html epub typst", TZ="LATER-24"),
    )
    for build in builds:
        assert (build.communicate()[0], build.returncode) == ("", 0)
    return one, two


@pytest.fixture(scope="session")
def pages(builds: tuple[Path, Path]) -> dict[Path, BeautifulSoup]:
    """Each page of the book, parsed. Tests leave them as they are."""
    files = sorted((builds[0] / "html").rglob("*.html"))
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}


def eventually(claim: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether a claim comes true before the time is up."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def listening_places(process: int) -> set[str]:
    """The addresses on which the processes that one started accept connections, as address:port."""
    places: set[str] = set()
    for child in psutil.Process(process).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            places |= {
                f"{connection.laddr.ip}:{connection.laddr.port}"
                for connection in child.net_connections("tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    return places
