"""Plays an example with one of its values changed, on a cluster of its own, and says who noticed.

Each value has a new cluster: to remove what an example made takes longer than to start one, and
counters, logs and addresses would not be those of a fresh one. A play ends at the first difference.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lab.errors import LabError
from lab.files import recording as states
from lab.files.example import REJECTED, Example
from lab.files.recording import State
from lab.plays.mutations import Mutation, Outcome
from lab.plays.play import Difference
from lab.versions import ISTIO

from cluster.recording import comparing, keeping, record, watching
from cluster.world import World

_REFUSED = re.compile(
    r"^\+(Error from server|error: error (when|validating)|The \S+ \".*\" is invalid)", re.M
)

Report = Callable[[str], None]


def outcome(
    example: Example, change: Mutation, world: World, report: Report
) -> tuple[Outcome, str]:
    """What became of a change, and the place in the transcripts that noticed it.

    Raises LabError if the example is not as it was recorded.
    """
    recorded = states.load(example.recordings)
    if recorded is None or recorded.inputs != states.digests(example):
        remedy = f"record it: make record EXAMPLE={example.name}"
        raise LabError(f"{example.name} was not recorded as it is", remedy=remedy)
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        copy = replace(example, folder=Path(folder) / example.name)
        shutil.copytree(example.folder, copy.folder)
        change.apply(copy.folder)
        with keeping.up(copy, ISTIO, world, report):
            found = watching.differences(copy, world, report, first=True)
            taken = record.states_of(world)
    if found:
        return judged(change, found[0]), f"{found[0].transcript}:{found[0].error.line}"
    now = replace(recorded, states=[State(one["objects"], one["proxies"]) for one in taken])
    proxies = any(state.proxies for state in now.states)  # else their configuration is unknown
    same = proxies and not comparing.differing_states(recorded, now)
    return (Outcome.IDLE if same else Outcome.SURVIVED), ""


def judged(change: Mutation, difference: Difference) -> Outcome:
    """Whether it was noticed because nobody took the object, and that was not meant."""
    refused = _REFUSED.search(difference.error.cause)
    if refused and not change.file.name.startswith(REJECTED):
        return Outcome.REFUSED
    return Outcome.NOTICED
