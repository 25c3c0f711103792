"""The commands of `python -m cluster`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.versions import ISTIO, ISTIOS

from cluster import needs
from cluster.errors import ClusterError
from cluster.paths import FOLDER, ROOT
from cluster.ready import built, istio_called, ready
from cluster.recording import plays
from cluster.saying import clock, short
from cluster.world import World, build

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


_PLAYS: dict[str, Callable[[argparse.Namespace], int]] = {
    "record": plays.record,
    "matrix": plays.matrix,
    "mutate": plays.mutate,
    "try": plays.trial,
}


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
        if asked.command in _PLAYS:
            return _PLAYS[asked.command](asked)
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
    istio = istio_called(label)
    if world.first:
        if world.istio != istio.label:
            raise ClusterError(
                f"the cluster is up with Istio {world.istio}", remedy="end it: make cluster-down"
            )
        print(_LATER.format(run=_script(world)))
        return 0
    say = clock()
    ready(istio, say)
    world.up(istio, say=say)
    say(f"done: Istio {istio.label}, {world.memory() / 2**30:.1f} GiB of memory")
    print(_LATER.format(run=_script(world)))
    return 0


def _build(label: str) -> int:
    istio = istio_called(label)
    if not built(istio):
        needs.check(built=False)
    build(istio, clock())
    return 0


def _script(world: World) -> str:
    """A short command that enters the cluster, from any folder."""
    path = world.folder / "run"
    words = ["exec", sys.executable, "-m", "cluster", "--folder", str(world.folder), "run"]
    setting = f"PYTHONPATH={shlex.quote(str(ROOT / 'tests'))}"
    path.write_text(f'#!/bin/sh\nexport {setting}\n{shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return short(path)


def _run(world: World, argv: list[str], *, outside: bool) -> int:
    command = world.command(argv or ["bash"], outside=outside)
    os.execvpe(command[0], command, world.environment())  # noqa: S606 (no shell is the point)


def _absolute(path: str) -> Path:
    """What runs in the cluster, in another folder, finds it too."""
    return Path(path).absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("cluster", description=_ABOUT)
    parser.add_argument(
        "--folder", type=_absolute, default=FOLDER, help="where it keeps its files: build/cluster"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in {
        "up": "build what is missing, and start it",
        "build": "build what is missing, and no more",
    }.items():
        command = commands.add_parser(name, help=what)
        command.add_argument("--istio", default=ISTIO.label, help=f"one of {', '.join(ISTIOS)}")
    plays.add_parsers(commands)
    commands.add_parser("down", help="end it; nothing of it is left")
    inside = commands.add_parser("run", help="run a program in it, or a shell")
    inside.add_argument("--outside", action="store_true", help="as a client outside of it")
    inside.add_argument("argv", nargs=argparse.REMAINDER, metavar="PROGRAM …")
    return parser
