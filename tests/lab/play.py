"""Plays an example: its transcripts in order, in one shell, in one mesh."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lab import recordings, tools, transcript
from lab.errors import LabError
from lab.example import Example
from lab.istiod import Source
from lab.manifests import read_manifest
from lab.masks import mask, same
from lab.mesh import Mesh
from lab.recordings import Recording, digest_of
from lab.replay import Replay
from lab.server import Server, serve
from lab.shell import Shell
from lab.transcript import Step, Transcript

Report = Callable[[str], None]
"""Takes lines of progress: each command as it starts, and then what it printed."""


@dataclass(frozen=True)
class Playing:
    """An example whose mesh runs and whose shell takes commands."""

    example: Example
    mesh: Mesh
    server: Server
    shell: Shell

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
def playing(example: Example, source: Source) -> Iterator[Playing]:
    """Starts an example's mesh and shell, and ends both whatever happens in the block.

    Raises LabError if only a cluster plays the example.
    """
    if example.held:
        raise LabError(f"{example.name} needs a cluster: {example.held}", remedy="make cluster")
    made = Replay(example, source) if example.on_cluster else Mesh(example, source)
    with made as mesh, serve(mesh) as server, Shell(server, example.folder) as sh:
        yield Playing(example, mesh, server, sh)


def replay(play: Playing, report: Report) -> None:
    """Plays all transcripts. Raises LabError at the first output that differs, with the diff."""
    for difference in differences(play, report):
        raise difference.error


def differences(play: Playing, report: Report) -> Iterator[Difference]:
    """Plays all transcripts, and gives each output that differs, and why it stopped if it did."""
    for path in play.example.transcripts:
        script = transcript.read(path)
        for number, step in enumerate(script.steps, 1):
            play.server.answers.step = (path.name, number)
            try:
                output = play.step(script, step, report)
            except LabError as error:
                yield Difference(error, stops=True)
                return
            if not same(step.output, output):
                yield Difference(_difference(script, step, output))


def record(example: Example, report: Report) -> tuple[list[Transcript], list[Recording]]:
    """Plays an example live, and gives its transcripts as they came out, and the recordings.

    A transcript whose outputs differ from those on file only in what is masked stays as it is on
    file. Else all of it is new: the ids and times in it belong together.
    """
    with playing(example, Source.LIVE) as play:
        scripts = []
        for path in example.transcripts:
            script = transcript.read(path)
            outputs = [play.step(script, step, report) for step in script.steps]
            if not all(map(same, (step.output for step in script.steps), outputs)):
                pairs = zip(script.steps, outputs, strict=True)
                steps = (replace(step, output=output) for step, output in pairs)
                script = replace(script, steps=tuple(steps))
            scripts.append(script)
        return scripts, play.mesh.istiod.used


def save(example: Example, scripts: list[Transcript], states: list[Recording]) -> None:
    """Writes what `record` gave."""
    for script in scripts:
        script.path.write_text(script.text())
    recordings.save(example.recordings, states)
    validation = example.recordings / "validation.json"
    validation.write_text(json.dumps(validate(example), indent=1, sort_keys=True) + "\n")


def check(example: Example, report: Report) -> list[str]:
    """Records again without writing, and gives a line for each thing that came out different."""
    scripts, states = record(example, report)
    wrong = [
        f"{script.path.name}: an output differs"
        for script in scripts
        if script != transcript.read(script.path)
    ]
    old = recordings.load(example.recordings)
    if [s.digest for s in old] != [s.digest for s in states]:
        wrong.append("the states that the transcripts reach differ")
    else:
        pairs = zip(old, states, strict=True)
        wrong += [
            f"state {number}: Istio says something else"
            for number, (one, other) in enumerate(pairs, 1)
            if recordings.differs(one, other)
        ]
    if validate(example) != recordings.load_validation(example.recordings):
        wrong.append("istioctl validate says something else of the manifests")
    return [f"examples/{example.name}: {line}" for line in wrong]


def validate(example: Example) -> dict[str, dict[str, str]]:
    """What `istioctl validate` says of each manifest, with the digest of what it was said of."""
    said = {}
    for path in example.manifests:
        done = tools.run("istioctl", ["validate", "-f", path.name], cwd=example.folder)
        items = read_manifest(path.read_text(), path)
        said[path.name] = {
            "digest": digest_of(items),
            "said": (done.stdout + done.stderr).strip(),
        }
    return said


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
