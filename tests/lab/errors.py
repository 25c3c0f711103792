"""The one kind of error that the lab reports: a line that a reader can act on."""

from __future__ import annotations

from pathlib import Path

from lab.paths import ROOT


class LabError(Exception):
    """What went wrong, where, and what to do about it, in one line.

    `where` is a file, with `line` counted from 1 if known; `remedy` is a sentence
    without full stop.
    """

    def __init__(
        self, cause: str, *, where: Path | None = None, line: int | None = None, remedy: str = ""
    ) -> None:
        super().__init__(cause)
        self.cause, self.where, self.line, self.remedy = cause, where, line, remedy

    def __str__(self) -> str:
        place = ""
        if self.where is not None:
            inside = self.where.is_relative_to(ROOT)
            place = str(self.where.relative_to(ROOT) if inside else self.where)
            place += f":{self.line}: " if self.line else ": "
        return place + self.cause + (f" ({self.remedy})" if self.remedy else "")
