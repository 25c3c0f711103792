"""The commands of the lab; `make help` shows how they are called."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from subprocess import DEVNULL

from lab import versions
from lab.errors import LabError
from lab.files.example import Example, find_all, load
from lab.files.recording import current
from lab.machine.isolation import isolate_if_possible
from lab.machine.processes import spawn, stop
from lab.paths import TEST_EXAMPLES
from lab.plays import matrix, play
from lab.programs import shell
from lab.programs.control_plane import READER


def run(words: list[str]) -> int:
    """Runs one command; gives its exit code, 1 for what the lab can explain."""
    given = _parser().parse_args(words)
    try:
        return int(given.run(given))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab", description="Plays the examples of the guide on a small mesh on loopback."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("try", _try, "play an example, then open a shell in its mesh"),
        ("play", _play, "play examples and compare every output"),
        ("matrix", _matrix, "play examples on other versions of Envoy, and keep what held"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.set_defaults(run=run)
        several = name != "try"
        command.add_argument(
            "example",
            nargs="*" if several else None,
            metavar="EXAMPLE",
            help="its part/name" + ("; all of them if none is named" if several else ""),
        )
        if name == "play":
            command.add_argument("--times", type=int, default=1, help="so often, and list failures")
            command.add_argument("--load", action="store_true", help="while all cores are busy")
    return parser


def _try(given: argparse.Namespace) -> int:
    (example,) = _examples(given)
    with play.playing(example) as playing:
        play.replay(playing, print)
        playing.server.answers.step = READER
        rc = playing.mesh.folder / "bashrc"
        playing.shell.hand_over(rc)
        print(f"\nYou are in examples/{example.name}, and its mesh is running. Leave with exit.")
        print("It is a replay: what the cluster was not asked then, it does not answer.")
        return shell.interactive(playing.server, example.folder, rc)


def _play(given: argparse.Namespace) -> int:
    code = 0
    examples = _examples(given)
    with _busy(os.cpu_count() or 1) if given.load else contextlib.nullcontext():
        for turn in range(given.times):
            prefix = f"{turn + 1} of {given.times}: " if given.times > 1 else ""
            for example in examples:
                start = time.monotonic()
                try:
                    if example.held:
                        recorded = current(example).recorded
                        print(f"{prefix}{example.name}: as held by the cluster run of {recorded}")
                        continue
                    with play.playing(example) as playing:
                        play.replay(playing, _quiet)
                    print(f"{prefix}{example.name}: {time.monotonic() - start:.1f} s", flush=True)
                except LabError as error:
                    code = 1
                    if prefix:
                        print(f"{prefix}{example.name}: failed", flush=True)
                    print(f"lab: {prefix}{error}", file=sys.stderr, flush=True)
    return code


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """Keeps so many cores busy while the block runs."""
    loop = [sys.executable, "-IS", "-c", "while True: pass"]
    processes = [spawn(loop, stdout=DEVNULL, stderr=DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            stop(process)


def _matrix(given: argparse.Namespace) -> int:
    wrong = []
    for version in versions.ENVOYS:  # first: a process that is isolated cannot install anything
        matrix.install(version)
    for example in _examples(given, of_tests=False):
        if example.held:
            matrix.save({example.name: matrix.held_row(example)})
            print(f"{example.name}: held by the cluster run", flush=True)
            continue
        found = {}
        for version in versions.ENVOYS:
            found[version] = matrix.play(example, version)
            said = f"differs in {len(found[version])} outputs" if found[version] else "held"
            print(f"{example.name} on Envoy {version}: {said}", flush=True)
        row, unexplained = matrix.row(example, found)
        wrong += unexplained
        if not unexplained:
            matrix.save({example.name: row})
    for error in wrong:
        print(f"lab: {error}", file=sys.stderr)
    return 1 if wrong else 0


def _examples(given: argparse.Namespace, *, of_tests: bool = True) -> list[Example]:
    """Those that are named, or else the guide's; with `of_tests`, also those of the tests.

    From then on this process has a network of its own.
    """
    names = [given.example] if isinstance(given.example, str) else given.example
    everything = [*find_all(), *(find_all(TEST_EXAMPLES) if of_tests else [])]
    examples = [load(name) for name in names] or everything
    isolate_if_possible()
    return examples


def _quiet(_: str) -> None:
    """Reports nothing: the caller reports whole examples."""
