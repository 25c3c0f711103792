"""Plays on several clusters, each by a process of its own, some of them side by side."""

from __future__ import annotations

import hashlib
import math
import os
import re
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from lab.machine.processes import spawn, stop, uninterrupted

from cluster.paths import python_environment

_GRACE = 40.0  # seconds in which a cluster ends

Report = Callable[[str], None]


_LONG = 200  # characters of a file name, which may have 255


@dataclass(frozen=True)
class Job:
    """One play: `words` of a command of `python -m cluster` which ends with a line `TITLE: …`."""

    title: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """What became of it: its exit code, what its last line told, and its errors."""

    title: str
    code: int
    outcome: str
    said: list[str]
    seconds: float


@dataclass
class Crew:
    """Processes that play, each at a place of its own: a folder beside that of its cluster."""

    places: list[Path]
    logs: Path  # where each leaves a file of what it prints
    report: Report
    limit: float = math.inf  # seconds after which no other job begins
    _running: dict[Popen[bytes], tuple[Job, Path, float]] = field(default_factory=dict)

    def run(self, jobs: Sequence[Job]) -> list[Done]:
        """Plays all, and gives what became of them, in the order in which they ended.

        Whatever happens, Ctrl-C too, all of them end with their clusters.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        waiting, free, done = list(jobs), list(self.places), []
        late = time.monotonic() + self.limit
        try:
            while waiting or self._running:
                while waiting and free:
                    self._start(waiting.pop(0), free.pop(0))
                process = self._ended()
                job, place, began = self._running.pop(process)
                free.append(place)
                stop(process, 0)
                done.append(self._result(job, process.returncode, time.monotonic() - began))
                if time.monotonic() > late:
                    for job in waiting:
                        self.report(f"{job.title}: not played, the time is over")
                    waiting.clear()
        finally:
            self._end()
        return done

    def _start(self, job: Job, place: Path) -> None:
        self.report(f"{job.title}: begins")
        command = [sys.executable, "-m", "cluster", "--folder", str(place), *job.words]
        out, err = self._files(job)
        with out.open("wb") as stdout, err.open("wb") as stderr, uninterrupted():
            process = spawn(command, stdout=stdout, stderr=stderr, env=python_environment())
            self._running[process] = (job, place, time.monotonic())

    def _files(self, job: Job) -> tuple[Path, Path]:
        stem = re.sub(r"[^\w.]+", "-", job.title).strip("-")
        if len(stem) > _LONG:
            stem = f"{stem[:_LONG]}-{hashlib.sha256(job.title.encode()).hexdigest()[:12]}"
        return self.logs / f"{stem}.log", self.logs / f"{stem}.errors"

    def _ended(self) -> Popen[bytes]:
        """Waits for the end of one of them."""
        with ExitStack() as stack:
            waits = select.poll()
            found = {}
            for process in self._running:
                number = os.pidfd_open(process.pid)
                stack.callback(os.close, number)
                waits.register(number, select.POLLIN)
                found[number] = process
            return found[waits.poll()[0][0]]

    def _result(self, job: Job, code: int, seconds: float) -> Done:
        out, err = self._files(job)
        said = err.read_text(errors="replace").splitlines()
        last = (out.read_text(errors="replace").splitlines() or [""])[-1]
        known, found, outcome = last.partition(f"{job.title}: ")
        outcome = outcome if found and not known.strip(" 0123456789.s") else "failed"
        self.report(f"{job.title}: {outcome}, {seconds:.0f} s")
        for line in said:
            print(line, file=sys.stderr, flush=True)
        return Done(job.title, code, outcome, said, seconds)

    def _end(self) -> None:
        for process in self._running:
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._running:
            stop(process, _GRACE)


def summary(done: Sequence[Done], seconds: float) -> str:
    """How many had each outcome, in a line, below what was wrong with those that did not hold.

    It was told before, when each ended; a log is read from its end.
    """
    counts = Counter(one.outcome for one in done)
    kinds = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    bad = [one for one in done if one.code]
    names = f" ({', '.join(one.title for one in bad)})" if bad else ""
    wrong = [line for one in bad for line in one.said]
    return "\n".join([*wrong, f"{len(done)} examples: {kinds}{names}, {seconds:.0f} s"])
