"""Plays an example's transcripts on the cluster, as a client outside of it, and keeps all of it."""

from __future__ import annotations

import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files import transcript
from lab.files.example import Example
from lab.files.recording import without_temporary
from lab.files.transcript import Step, Transcript

from cluster.recording import asking, call, costs, shim
from cluster.recording.quiet import Quiet
from cluster.world import World, end

_TIMEOUT = 240.0  # seconds for one command, its waiting included
_LEAVES = 1.0  # seconds in which a shell ends that has nothing more to do
_PYTHON = [sys.executable, "-S", "-m"]  # what stands in front needs no installed packages
_TAKE_STATE = [*_PYTHON, "cluster.recording.call"]


@dataclass(frozen=True)
class Played:
    """What came of an example: its transcripts with their outputs, calls, and states in order."""

    transcripts: list[Transcript]
    calls: list[dict[str, Any]]
    states: list[dict[str, Any]]
    moving: dict[int, str]  # what was not at rest when a state was taken


def play(
    example: Example,
    world: World,
    report: Callable[[str], None],
    seen: Callable[[Transcript, Step, Step], None] = lambda *_: None,
    ending: str = "",
    spent: costs.Costs | None = None,
) -> Played:
    """Plays all transcripts in order, in one bash, on a new cluster in which nothing was done yet.

    One that no replay plays runs as it does for a reader: nobody waits for it, and after each
    command the objects are taken down, for the names in them. `seen` is told of each step as it was
    and as it is now; what it raises ends the play. `ending` is a last command, of which nothing is
    kept. Raises LabError for a command that does not end.
    """
    folder = world.folder / "recording"
    environment = _prepare(example, folder)
    with _forwarded(world), _shell(example, world, folder, environment) as run:
        spent, quiet = spent or costs.Costs(), Quiet(folder)
        with spent.step(folder, "the first state"):
            run(shlex.join(_TAKE_STATE))
        played = []
        for path in example.transcripts:
            script = transcript.read(path)
            steps = []
            for number, step in enumerate(script.steps, 1):
                report(f"$ {step.command}")
                (folder / "step").write_text(json.dumps([path.name, number]))
                try:
                    with quiet.step(step.command), spent.step(folder, step.command):
                        output = run(step.command)
                except LabError as error:
                    raise LabError(error.cause, where=path, line=step.line) from None
                if example.held:  # not in the shell, whose $? is the transcript's
                    with spent.part(shim.DUMP):
                        world.run(_TAKE_STATE, env=environment, check=True)
                for line in output:
                    report(line)
                steps.append(replace(step, output=tuple(output)))
                seen(script, step, steps[-1])
            played.append(replace(script, steps=tuple(steps)))
        if ending:
            run(ending)
    log = folder / "calls.jsonl"
    calls = log.read_text().splitlines() if log.exists() else []
    moving = {int(p.stem[6:]): p.read_text() for p in folder.glob("state-*.moving")}
    return Played(
        played,
        [_read_call(line, folder) for line in calls],
        states_of(world),
        moving,
    )


def _prepare(example: Example, folder: Path) -> dict[str, str]:
    """Fills the folder of a play with what stands in front of programs; gives the variables."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    for name in () if example.held else ("kubectl", "istioctl"):
        front = folder / "bin" / name
        front.write_text(f'#!/bin/sh\nexec {shlex.join([*_PYTHON, shim.__name__, name])} "$@"\n')
        front.chmod(0o755)
    return {
        "RECORDING_FOLDER": str(folder),
        call.NAMES_ONLY: "1" if example.held else "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        # What Python compiles is kept, and not beside the example's files.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "TMPDIR": str(folder),
    }


def _read_call(line: str, folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(line)
    return told | {"args": without_temporary(told["args"], str(folder))}


def states_of(world: World) -> list[dict[str, Any]]:
    """The states that were taken down until now."""
    paths = sorted((world.folder / "recording").glob("state-*.json"))
    return [json.loads(path.read_text()) for path in paths]


@contextmanager
def _forwarded(world: World) -> Iterator[None]:
    """Reaches istiod's debug pages while the block runs."""
    target = ["-n", "istio-system", "port-forward", "deploy/istiod", f"{asking.PORT}:15014"]
    pipe = subprocess.PIPE
    process = world.popen(["kubectl", *target], outside=True, stdout=pipe)
    try:
        if not process.stdout or b"Forwarding" not in process.stdout.readline():
            raise LabError("cannot reach istiod's debug pages")
        yield
    finally:
        end(process)


@contextmanager
def _shell(
    example: Example, world: World, folder: Path, environment: dict[str, str]
) -> Iterator[Callable[[str], list[str]]]:
    """A bash in the example's folder, and what runs a command in it to its end."""
    output = folder / "output"
    commands, feed = os.pipe()
    done, tell = os.pipe()
    loop = folder / "loop.sh"
    loop.write_text(
        f"PATH={folder}/bin:$PATH\n"
        f"while IFS= read -r -d '' -u {commands} step; do\n"
        f'  eval "$step" </dev/null\n  echo >&{tell}\ndone\n'
    )
    with output.open("ab") as out:
        process = world.popen(
            ["bash", "--norc", "--noprofile", str(loop)],
            outside=True,
            stdout=out,
            stderr=out,
            env=environment,
            cwd=example.folder,
            pass_fds=(commands, tell),
        )
    os.close(commands)
    os.close(tell)

    def run(command: str) -> list[str]:
        before = output.stat().st_size
        os.write(feed, command.encode() + b"\0")
        deadline = time.monotonic() + _TIMEOUT
        while not select.select([done], [], [], 0.1)[0]:
            if time.monotonic() > deadline:
                raise LabError(f"no end after {_TIMEOUT:.0f} s: {command.splitlines()[0]}")
        if not os.read(done, 1):
            raise LabError(f"the shell ended in: {command.splitlines()[0]}")
        with output.open("rb") as text:
            text.seek(before)
            lines = text.read().decode(errors="replace").splitlines()
        while lines and not lines[-1].strip():
            lines.pop()
        return lines

    try:
        yield run
    finally:
        os.close(feed)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVES)  # so that its CPU is counted
        end(process)
        os.close(done)
