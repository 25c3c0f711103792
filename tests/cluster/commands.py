"""The commands of `python -m cluster`."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab import matrix, mutations
from lab.errors import LabError
from lab.example import Example, find_all, load
from lab.paths import TEST_EXAMPLES
from lab.versions import ISTIO, ISTIOS, OTHERS, Istio

from cluster import needs
from cluster.errors import ClusterError
from cluster.kept import Say
from cluster.paths import FOLDER, ROOT
from cluster.recording import choosing, keeping, mutating, several, trying, watching
from cluster.world import World, build, components

_ABOUT = """
A real cluster on this machine, in namespaces of its own: Kubernetes, containerd and Istio, built
from the registries of Go, Debian and Python. It needs root on Linux.
"""

_LATER = """
The cluster is up:
  {run} kubectl get pods -A      any command, on the node
  {run} bash                     a shell with kubectl and istioctl
  {run} --outside curl -s …      as a client outside of the cluster
  make cluster-down                            ends it
"""


def run(words: Sequence[str]) -> int:
    """Runs one command and gives its exit code; an error is told in a line."""
    parser = _parser()
    asked = parser.parse_args(words)
    try:
        world = World(asked.folder)
        if asked.command == "up":
            return _up(world, asked.istio)
        if asked.command == "build":
            return _build(asked.istio)
        if asked.command == "record":
            return _record(asked)
        if asked.command == "matrix":
            return _matrix(asked)
        if asked.command == "mutate":
            return _mutate(asked)
        if asked.command == "try":
            return _try(world, load(asked.example))
        if asked.command == "down":
            print("The cluster has ended." if world.down() else "There was no cluster.")
            return 0
        return _run(world, asked.argv, outside=asked.outside)
    except (ClusterError, LabError) as error:
        print(f"cluster: {error}", file=sys.stderr)
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        print(f"cluster: {error.strerror}{place}", file=sys.stderr)
    return 1


def _up(world: World, label: str) -> int:
    istio = _istio(label)
    if world.first:
        if world.istio != istio.label:
            raise ClusterError(
                f"the cluster is up with Istio {world.istio}", remedy="end it: make cluster-down"
            )
        print(_LATER.format(run=_script(world)))
        return 0
    needs.check(built=_built(istio))
    say = _clock()
    world.up(istio, say=say)
    say(f"done: Istio {istio.label}, {world.memory() / 2**30:.1f} GiB of memory")
    print(_LATER.format(run=_script(world)))
    return 0


def _build(label: str) -> int:
    istio = _istio(label)
    if not _built(istio):
        needs.check(built=False)
    build(istio, _clock())
    return 0


def _record(asked: argparse.Namespace) -> int:
    """Each example on a cluster of its own, apart from one that a reader has up."""
    say, examples = _clock(), [load(name) for name in asked.example]
    if asked.minutes:
        examples = _chosen(asked, say)
    elif not examples:
        examples = _moved()
    needs.check(built=_built(ISTIO))
    build(ISTIO, say)
    folder = asked.folder.with_name(f"{asked.folder.name}-record")
    if asked.example and len(examples) == 1:
        return _record_one(World(folder), examples[0], say, check=asked.check)
    places = [asked.folder.with_name(f"{asked.folder.name}-{n + 1}") for n in range(asked.at_once)]
    say(f"{len(examples)} examples; what they print is in {_short(folder / 'plays')}")
    began = time.monotonic()
    options = ["--check"] if asked.check else []
    limit = asked.minutes * 60 * choosing.MORE if asked.minutes else math.inf
    done = several.Crew(places, folder / "plays", options, say, limit).run(examples)
    say(several.summary(done, time.monotonic() - began))
    return 1 if any(one.code for one in done) else 0


def _moved() -> list[Example]:
    """Those that were recorded on a cluster before."""
    return [one for one in [*find_all(), *find_all(TEST_EXAMPLES)] if one.on_cluster]


def _chosen(asked: argparse.Namespace, say: Say) -> list[Example]:
    """What a run of CI plays in the given minutes."""
    chosen = choosing.choose(_moved(), asked.minutes, asked.since)
    for line in choosing.described(chosen):
        say(line)
    return [one.example for one in chosen if one.played]


def _record_one(world: World, example: Example, say: Say, *, check: bool) -> int:
    say(f"{example.name}: begins")
    played, new = keeping.play(example, ISTIO, world, say)
    for number, what in sorted(played.moving.items()):
        print(f"cluster: {example.name}: state {number} was not at rest: {what}", file=sys.stderr)
    if not check:
        written = keeping.save(example, played, new)
        say(f"{example.name}: {'written' if written else 'nothing differs'}")
        return 0
    wrong = keeping.compare(example, played, new)
    for line in wrong:
        print(f"cluster: {line}", file=sys.stderr)
    say(f"{example.name}: {'differs' if wrong else 'nothing differs'}")
    return 1 if wrong else 0


def _matrix(asked: argparse.Namespace) -> int:
    """What each example does on a cluster of another Istio, into the table of versions."""
    istio, say, wrong = _istio(asked.istio), _clock(), []
    examples = [load(name) for name in asked.example] or find_all()
    examples = [example for example in examples if example.on_cluster]
    if not examples:
        say("none of them was recorded on a cluster, so that none is played on one")
        return 0
    needs.check(built=_built(istio))
    build(istio, say)
    world = World(asked.folder.with_name(f"{asked.folder.name}-matrix"))
    for example in examples:
        say(f"{example.name} on Istio {istio.label}: begins")
        with keeping.up(example, istio, world, say):
            found = watching.differences(example, world, say)
        row, unexplained = matrix.column(example, istio.label, found)
        said = f"differs in {len(found)} outputs" if found else "held"
        say(f"{example.name} on Istio {istio.label}: {said}")
        wrong += unexplained
        if not unexplained:
            matrix.save_column(example, istio.label, row)
    for error in wrong:
        print(f"cluster: {error}", file=sys.stderr)
    return 1 if wrong else 0


def _mutate(asked: argparse.Namespace) -> int:
    """Whether transcripts notice when values of the manifests change."""
    say, found = _clock(), {}
    examples = [load(name) for name in asked.example] or [e for e in find_all() if e.on_cluster]
    needs.check(built=_built(ISTIO))
    build(ISTIO, say)
    world = World(asked.folder.with_name(f"{asked.folder.name}-mutate"))
    for example in examples:
        began, outcomes = time.monotonic(), {}
        sample = mutations.sample(example, asked.values)
        for number, change in enumerate(sample, 1):
            outcome, where = mutating.outcome(example, change, world, lambda _: None)
            outcomes[change] = outcome
            by = f" by {where}" if where else ""
            say(f"{number}/{len(sample)} {example.name}/{change}: {outcome.value}{by}")
        found[example.name] = outcomes
        mutations.save(example, outcomes, time.monotonic() - began)
    wrong = list(mutations.judge(found))
    for line in mutations.summary(found):
        print(line)
    for error in wrong:
        print(f"cluster: {error}", file=sys.stderr)
    return 1 if wrong else 0


def _try(world: World, example: Example) -> int:
    """On the cluster that a reader has up, or on one that ends with the shell."""
    if world.first:
        if example.settings.get("meshConfig"):
            raise ClusterError(
                "the cluster that is up has not the meshConfig of this example",
                remedy="end it, and try again: make cluster-down",
            )
        return _try_on(world, example, "It stays, with all that you made, until make cluster-down.")
    needs.check(built=_built(ISTIO))
    own = World(world.folder.with_name(f"{world.folder.name}-try"))
    with keeping.up(example, ISTIO, own, _clock()):
        return _try_on(own, example, "It ends with this shell.")


def _try_on(world: World, example: Example, end: str) -> int:
    rc = trying.play(example, world, lambda line: print(line, flush=True))
    print(f"\nYou are in {_short(example.folder)}, as a client outside of a cluster that is up.")
    print(f"kubectl and istioctl are there, and you may do anything. {end} Leave with exit.")
    return trying.shell(example, world, rc)


def _built(istio: Istio) -> bool:
    return all(part.folder.exists() for part in components(istio).values())


def _clock() -> Say:
    """Prints what is said, after the seconds since now."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    return say


def _istio(label: str) -> Istio:
    try:
        return ISTIOS[label]
    except KeyError:
        known = " and ".join(ISTIOS)
        raise ClusterError(
            f"there is no Istio {label!r} here", remedy=f"known are {known}"
        ) from None


def _script(world: World) -> str:
    """A short command that enters the cluster, from any folder."""
    path = world.folder / "run"
    words = ["exec", sys.executable, "-m", "cluster", "--folder", str(world.folder), "run"]
    setting = f"PYTHONPATH={shlex.quote(str(ROOT / 'tests'))}"
    path.write_text(f'#!/bin/sh\nexport {setting}\n{shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return _short(path)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _run(world: World, argv: list[str], *, outside: bool) -> int:
    command = world.command(argv or ["bash"], outside=outside)
    os.execvpe(command[0], command, world.environment())  # noqa: S606 (no shell is the point)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("cluster", description=_ABOUT)
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="where it keeps its files: build/cluster"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in {
        "up": "build what is missing, and start it",
        "build": "build what is missing, and no more",
    }.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("--istio", default=ISTIO.label, help=f"one of {', '.join(ISTIOS)}")
    record = commands.add_parser("record", help="play examples, each on a new cluster, and keep it")
    record.add_argument(
        "example", nargs="*", metavar="EXAMPLE", help="its part/name; else all recorded on one"
    )
    record.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    record.add_argument("--at-once", type=int, default=1, metavar="N", help="N side by side")
    record.add_argument(
        "--minutes", type=float, metavar="N", help="what commits touched, and others in turn"
    )
    record.add_argument("--since", metavar="COMMIT", help="touched since then, with --minutes")
    other = commands.add_parser("matrix", help="play examples on a cluster of another Istio")
    other.add_argument("example", nargs="*", metavar="EXAMPLE", help="its part/name; else all")
    other.add_argument("--istio", default=OTHERS[0], help=f"one of {', '.join(ISTIOS)}")
    mutate = commands.add_parser("mutate", help="change values of manifests: is it noticed?")
    mutate.add_argument("example", nargs="*", metavar="EXAMPLE", help="its part/name; else all")
    mutate.add_argument("--values", type=int, default=mutations.SAMPLE, help="of each example")
    trial = commands.add_parser("try", help="play an example, then open a shell on its cluster")
    trial.add_argument("example", metavar="EXAMPLE", help="its part/name")
    commands.add_parser("down", help="end it; nothing of it is left")
    inside = commands.add_parser("run", help="run a program in it, or a shell")
    inside.add_argument("--outside", action="store_true", help="as a client outside of it")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="PROGRAM …")
    return parser
