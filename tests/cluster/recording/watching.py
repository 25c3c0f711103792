"""Watches a play on a cluster for outputs that are not as recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.files import recording as states
from lab.files.example import Example
from lab.files.recording import State
from lab.files.transcript import Step, Transcript
from lab.plays.play import Difference
from lab.versions import ISTIOS

from cluster.recording import record
from cluster.recording.comparing import Roles, diff, lines
from cluster.world import World

_PAGES = re.compile(rf"(?<=https://istio\.io/)v(?:{'|'.join(map(re.escape, ISTIOS))})(?=/)")
"""Pages that istioctl links to are those of its own version."""


class _Enough(Exception):
    """Ends a play."""


@dataclass
class _Watch:
    world: World
    before: Roles
    first: bool
    steps: list[tuple[Transcript, Step, Step]] = field(default_factory=list)

    def __call__(self, script: Transcript, old: Step, new: Step) -> None:
        self.steps.append((script, old, new))
        if self.first and self.differences(self.steps[-1:]):
            raise _Enough

    def differences(self, steps: Sequence[tuple[Transcript, Step, Step]]) -> list[Difference]:
        """What differs, by the roles of all states until now."""
        taken = record.states_of(self.world)
        after = Roles.of(State(one["objects"], one["proxies"]) for one in taken)
        found = []
        for script, old, new in steps:
            recorded, now = _compared(old, self.before), _compared(new, after)
            if recorded != now:
                found.append(_difference(script, old, recorded, now))
        return found


def differences(
    example: Example, world: World, report: Callable[[str], None], *, first: bool = False
) -> list[Difference]:
    """Plays an example on a cluster that is up, and gives each output that is not as recorded.

    Also why the play could not go on, if it could not; with `first`, it ends at a difference.
    Raises LabError if the example was never recorded on a cluster.
    """
    old = states.load(example.recordings)
    if old is None:
        remedy = f"record it: make record EXAMPLE={example.name}"
        raise LabError(f"{example.name} was never recorded on a cluster", remedy=remedy)
    watch = _Watch(world, Roles.of(old.states), first)
    stopped = []
    try:
        record.play(example, world, report, watch)
    except _Enough:
        pass
    except LabError as error:
        stopped = [Difference(error, stops=True)]
    return watch.differences(watch.steps) + stopped


def _compared(step: Step, roles: Roles) -> list[str]:
    return lines([_PAGES.sub("<istio>", line) for line in step.output], roles)


def _difference(script: Transcript, step: Step, recorded: list[str], now: list[str]) -> Difference:
    head = f"the output of `{step.command.splitlines()[0]}` differs"
    cause = f"{head}\n{diff(recorded, now)}"
    return Difference(LabError(cause, where=script.path, line=step.line))
