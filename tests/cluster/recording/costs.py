"""What a play costs: the seconds of each command by what they go to, and the CPU of all.

What stands in front of kubectl and istioctl notes its part in a file (`shim.spent`).
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.recording import shim

_SLOWEST = 12  # commands of which each has a line

START, END = "start of the cluster", "its end"
COMMAND = "the command"


@dataclass
class Costs:
    """Seconds of each part, and of each command with its parts."""

    parts: dict[str, float] = field(default_factory=dict)
    steps: list[tuple[str, float, dict[str, float]]] = field(default_factory=list)
    started: float = 0.0  # seconds of CPU until the cluster was there
    cluster: float = 0.0  # and until its end
    _began: float = field(default_factory=lambda: time.monotonic())
    _seen: int = 0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds what the block took to a part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._add(name, time.monotonic() - began)

    @contextmanager
    def step(self, folder: Path, command: str) -> Iterator[None]:
        """Adds what the block took as a command of a transcript."""
        began = time.monotonic()
        yield
        total = time.monotonic() - began
        inside: dict[str, float] = {}
        for part, seconds in self._noted(folder):
            inside[part] = inside.get(part, 0) + seconds
        inside[COMMAND] = total - sum(inside.values())
        for part, seconds in inside.items():
            self._add(part, seconds)
        self.steps.append((command, total, inside))

    def _add(self, part: str, seconds: float) -> None:
        self.parts[part] = self.parts.get(part, 0) + seconds

    def _noted(self, folder: Path) -> list[tuple[str, float]]:
        path = folder / shim.SPENT
        lines = path.read_text().splitlines() if path.exists() else []
        new, self._seen = lines[self._seen :], len(lines)
        return [(part, float(seconds)) for seconds, _, part in (one.partition(" ") for one in new)]

    def lines(self) -> list[str]:
        """A few lines for people: the parts, the CPU, and the slowest commands."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        commands = used.ru_utime + used.ru_stime
        found = [
            f"{time.monotonic() - self._began:.0f} s: {_shown(self.parts)}",
            f"CPU: {self.cluster:.0f} s of the cluster, {self.started:.0f} s of them for its "
            f"start, and {commands:.0f} s of what was run on it",
        ]
        for command, total, inside in sorted(self.steps, key=lambda s: -s[1])[:_SLOWEST]:
            first = command.splitlines()[0][:60]
            found.append(f"{total:.1f} s `{first}`: {_shown(inside)}")
        return found


def _shown(parts: dict[str, float]) -> str:
    most = sorted(parts.items(), key=lambda part: -part[1])
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in most if seconds >= 0.05)
