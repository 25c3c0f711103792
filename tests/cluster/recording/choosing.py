"""Chooses the examples that a run of CI plays on the cluster, which has not the time for all.

The rule, which needs no memory of what earlier runs saw:

1. First come the examples that a commit touched: their manifests, transcripts or recording, in
   the last 20 commits or since a commit that is named; the newest commit first. As CI may have
   missed earlier commits, these may take half as many minutes more.
2. Then the others in turn, as many as fit into the minutes with the first: in the order of their
   names, from one that the id of the last commit decides, and on from the last to the first.

A commit that changes the recorder or the cluster touches no example: the turn is there for it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lab.files.example import Example
from lab.files.recording import head
from lab.paths import ROOT

from cluster.errors import ClusterError

RECENT = 20  # commits
MORE = 1.5  # times the minutes, for what was touched
UNKNOWN = 120.0  # seconds of an example whose recording does not tell them

_MARK = "commit "


@dataclass(frozen=True)
class Chosen:
    """An example, the seconds that it takes, and why it is played; not played without time."""

    example: Example
    seconds: float
    why: str
    played: bool = True


def choose(
    examples: Sequence[Example], minutes: float, since: str | None = None, at_once: int = 1
) -> list[Chosen]:
    """Those to play, in their order, and touched ones for which there is no time.

    `at_once` are played side by side. Raises ClusterError if git does not know the commits.
    """
    last, touched = _history(examples, since)
    ring = sorted(examples, key=lambda example: example.name)
    start = int(last, 16) % max(len(ring), 1)
    others = [one for one in ring[start:] + ring[:start] if one not in touched]
    available, spent = minutes * 60 * at_once, 0.0
    chosen: list[Chosen] = []
    for example, commit in touched.items():
        seconds = seconds_of(example)
        fits = not chosen or spent + seconds <= MORE * available
        spent += seconds if fits else 0
        chosen.append(Chosen(example, seconds, f"touched by {commit[:12]}", fits))
    for example in others:
        seconds = seconds_of(example)
        if chosen and spent + seconds > available:
            break  # not a shorter one in its place: its turn would come more often
        spent += seconds
        chosen.append(Chosen(example, seconds, "its turn"))
    return chosen


def seconds_of(example: Example) -> float:
    """What it took to record an example, on a cluster of its own."""
    return float(head(example.recordings).get("seconds") or UNKNOWN)


def described(chosen: Iterable[Chosen]) -> list[str]:
    """A line for each, for people."""
    lines = []
    for one in chosen:
        name = one.example.name
        late = "" if one.played else f"; no time: make check-recordings EXAMPLE={name}"
        lines.append(f"{name}: {one.why}, {one.seconds:.0f} s{late}")
    return lines


def _history(examples: Sequence[Example], since: str | None) -> tuple[str, dict[Example, str]]:
    """The id of the last commit, and by example the newest commit that touched it."""
    last = _git("rev-parse", "HEAD").strip()
    which = [f"{since}..HEAD"] if since else [f"--max-count={RECENT}"]
    # Merges show what they bring in.
    shown = ["--first-parent", "--diff-merges=first-parent", "--name-only", f"--format={_MARK}%H"]
    found: dict[Example, str] = {}
    commit = ""
    for line in _git("log", *shown, *which, "--").splitlines():
        if line.startswith(_MARK):
            commit = line.removeprefix(_MARK)
            continue
        for example in examples:
            if any((ROOT / line).is_relative_to(f) for f in (example.folder, example.recordings)):
                found.setdefault(example, commit)
    return last, found


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise ClusterError("choosing examples needs git", remedy="apt-get install git") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["git failed"])[0]
        raise ClusterError(f"git {words[0]}: {said}", remedy="name the examples instead")
    return done.stdout
