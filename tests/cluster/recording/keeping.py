"""From a play on the cluster to the files of an example, or to what differs from them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lab.files import recording, transcript
from lab.files.example import Example
from lab.files.recording import Call, Recording, State
from lab.versions import Istio

from cluster.parts import kubernetes_version
from cluster.recording import costs, dump, record
from cluster.recording.comparing import Roles, differing, differing_states
from cluster.recording.record import Played
from cluster.world import World

_FAR = 0.5  # of the seconds that a recording took: within it they vary with the machine

Report = Callable[[str], None]


def play(example: Example, istio: Istio, world: World, report: Report) -> tuple[Played, Recording]:
    """Plays an example on a cluster of its own, which has ended when this returns."""
    began = time.monotonic()
    spent = costs.Costs()
    with up(example, istio, world, report):
        spent.parts[costs.START] = time.monotonic() - began
        spent.started = world.cpu()
        bootstrap = _bootstrap(world)  # of the gateway before a transcript can change it
        played = record.play(example, world, report, spent=spent)
        new = _recording(example, istio, bootstrap, played)
        spent.cluster = world.cpu()
        ended = time.monotonic()
    spent.parts[costs.END] = time.monotonic() - ended
    for line in spent.lines():
        report(line)
    return played, replace(new, seconds=round(time.monotonic() - began))


@contextmanager
def up(example: Example, istio: Istio, world: World, report: Report) -> Iterator[None]:
    """A new cluster with what an example sets in the mesh's configuration, while the block runs."""
    world.up(istio, example.settings.get("meshConfig"), say=report)  # one that is there stays
    try:
        yield
    finally:
        world.down()


def save(example: Example, played: Played, new: Recording) -> bool:
    """Writes transcripts and recording, and tells so, unless only what may differ does.

    Then all of it is new: the names, addresses and times in it belong together. Otherwise it stays
    as it is, but for its seconds if they are far off: CI counts on them.
    """
    if not compare(example, played, new):
        then = recording.head(example.recordings).get("seconds", 0)
        if abs(new.seconds - then) > _FAR * then:
            recording.save_seconds(example.recordings, new.seconds)
        return False
    for script in played.transcripts:
        script.path.write_text(script.text())
    recording.save(example.recordings, new)
    return True


def compare(example: Example, played: Played, new: Recording) -> list[str]:
    """A line for each thing that is not as on file."""
    old = recording.load(example.recordings)
    if old is None:
        return [f"{example.name} was never recorded on a cluster"]
    before, after = Roles.of(old.states), Roles.of(new.states)
    found = [
        f"{script.path.name}:{line}: the output differs\n{diff}"
        for script in played.transcripts
        for line, diff in differing(transcript.read(script.path), script, before, after).items()
    ]
    then, now = old.inputs, recording.digests(example)  # as on file: outputs are compared above
    changed = [name for name in then.keys() | now.keys() if then.get(name) != now.get(name)]
    found += [f"{name} has changed" for name in sorted(changed)]
    if {call.step for call in old.calls} != {call.step for call in new.calls}:
        found.append("other commands ask the control plane")
    if old.held != new.held:
        found.append("why no replay plays it has changed")
    if not example.held:
        found += differing_states(old, new)
    return [f"{example.name}: {line}" for line in found]


def _recording(
    example: Example, istio: Istio, bootstrap: dict[str, Any], played: Played
) -> Recording:
    return Recording(
        istio=istio.label,
        module=istio.module,
        kubernetes=kubernetes_version(),
        envoy=istio.envoy,
        recorded=datetime.datetime.now(datetime.UTC).date().isoformat(),
        inputs=recording.digests(example, played.transcripts),
        bootstrap=bootstrap,
        bootstraps={name: own for one in played.states for name, own in one["bootstraps"].items()},
        calls=[_call(one) for one in played.calls],
        states=[State(one["objects"], one["proxies"]) for one in played.states],
        held=example.held,
    )


def _call(told: dict[str, Any]) -> Call:
    file, number = told["step"]
    return Call(
        step=(file, number),
        program=told["program"],
        args=tuple(told["args"]),
        out=told["out"],
        exit=told["exit"],
        err=told.get("err"),
        state=told.get("state"),
    )


def _bootstrap(world: World) -> dict[str, Any]:
    gateway = ["kubectl", "-n", "istio-system", "exec", "deploy/istio-ingressgateway", "--"]
    return dump.of_bootstrap(world.run([*gateway, "cat", dump.BOOTSTRAP], check=True).stdout)
