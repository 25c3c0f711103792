"""Plays an example: its transcripts in order, in one shell, in one mesh."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.errors import LabError
from lab.files import transcript
from lab.files.example import Example
from lab.files.masks import mask, same
from lab.files.transcript import Step, Transcript
from lab.mesh.mesh import Mesh
from lab.programs.server import Server, serve
from lab.programs.shell import Shell

Report = Callable[[str], None]
"""Takes lines of progress: each command as it starts, and then what it printed."""


@dataclass(frozen=True)
class Playing:
    """An example whose mesh runs and whose shell takes commands."""

    example: Example
    mesh: Mesh
    server: Server
    shell: Shell

    def outputs(self, script: Transcript, report: Report) -> Iterator[tuple[Step, tuple[str, ...]]]:
        """Runs the commands of a transcript, and gives each with what it printed now."""
        for number, step in enumerate(script.steps, 1):
            self.server.answers.step = (script.path.name, number)
            yield step, self.step(script, step, report)

    def step(self, script: Transcript, step: Step, report: Report) -> tuple[str, ...]:
        """Runs one command and gives its output. Raises LabError if the lab could not play it."""
        report(f"$ {step.command}")
        try:
            output = self.shell.run(step.command)
        except LabError as error:
            raise LabError(error.cause, where=script.path, line=step.line) from None
        if self.server.failures:
            failure = self.server.failures[0]
            if failure.where is None:
                failure.where, failure.line = script.path, step.line
            raise failure
        while output and not output[-1].strip():
            output.pop()
        for line in output:
            report(line)
        return tuple(output)


@dataclass(frozen=True)
class Difference:
    """An output that is not as recorded, or with `stops` why the play could not go on."""

    error: LabError
    stops: bool = False

    @property
    def transcript(self) -> str:
        """The name of the file."""
        return self.error.where.name if self.error.where else ""

    @property
    def said(self) -> str:
        """What came instead of the recorded lines; where nothing did, the lines that are gone."""
        lines = self.error.cause.splitlines()
        if self.stops:
            return "\n".join(lines)
        came = [line for line in lines if line.startswith("+")]
        gone = [line for line in lines if line.startswith("-")]
        return "\n".join(gone if came == ["+++ now"] else came)


@contextlib.contextmanager
def playing(example: Example) -> Iterator[Playing]:
    """Starts an example's mesh and shell, and ends both whatever happens in the block.

    Raises LabError if only a cluster plays the example.
    """
    if example.held:
        raise LabError(f"{example.name} needs a cluster: {example.held}", remedy="make cluster")
    with Mesh(example) as mesh, serve(mesh) as server, Shell(server, example.folder) as sh:
        yield Playing(example, mesh, server, sh)


def replay(play: Playing, report: Report) -> None:
    """Plays all transcripts. Raises LabError at the first output that differs, with the diff."""
    for difference in differences(play, report):
        raise difference.error


def differences(play: Playing, report: Report) -> Iterator[Difference]:
    """Plays all transcripts, and gives each output that differs, and why it stopped if it did."""
    for path in play.example.transcripts:
        script = transcript.read(path)
        try:
            for step, output in play.outputs(script, report):
                if not same(step.output, output):
                    yield Difference(_difference(script, step, output))
        except LabError as error:
            yield Difference(error, stops=True)
            return


def _difference(script: Transcript, step: Step, output: tuple[str, ...]) -> LabError:
    diff = difflib.unified_diff(
        [mask(line) for line in step.output],
        [mask(line) for line in output],
        "recorded",
        "now",
        lineterm="",
        n=1,
    )
    return LabError(
        f"the output of `{step.command.splitlines()[0]}` differs\n" + "\n".join(diff),
        where=script.path,
        line=step.line,
    )
