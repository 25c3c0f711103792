"""The one kind of error that the cluster reports: a line to act on, and the log that shows why."""

from __future__ import annotations

from pathlib import Path

_LINES = 5  # of a log


class ClusterError(Exception):
    """What went wrong and what to do about it; `log` are the last lines that a program wrote."""

    def __init__(self, cause: str, *, remedy: str = "", log: tuple[str, ...] = ()) -> None:
        super().__init__(cause)
        self.cause, self.remedy, self.log = cause, remedy, log

    def __str__(self) -> str:
        line = self.cause + (f" ({self.remedy})" if self.remedy else "")
        return "\n".join([line, *(f"  | {said}" for said in self.log)])


def last_lines(path: Path, count: int = _LINES) -> tuple[str, ...]:
    """The last lines of a log that are not empty, each cut to the width of a wide terminal."""
    if not path.exists():
        return ()
    lines = path.read_text(errors="replace").splitlines()
    return tuple(line[:300] for line in lines if line.strip())[-count:]
