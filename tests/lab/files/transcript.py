"""Transcripts: what a terminal showed, as a file that is both printed and played.

A `.console` file may open with comment lines (`# …`), which say what it shows. Then come steps: a
command after `$ `, and what it printed. A command goes on after a trailing backslash, and through
a here-document to its delimiter. One empty line before a command belongs to neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

PROMPT = "$ "
_HERE_DOCUMENT = re.compile(r"(?<!<)<<-?\s*(['\"]?)([A-Za-z_]+)\1")


@dataclass(frozen=True)
class Step:
    """One command and its expected output, as lines without newline; `line` counts from 1."""

    command: str
    output: tuple[str, ...]
    line: int

    def text(self) -> str:
        """The step as a terminal showed it, without the last newline."""
        return "\n".join((PROMPT + self.command, *self.output))


@dataclass(frozen=True)
class Transcript:
    path: Path
    header: tuple[str, ...]
    steps: tuple[Step, ...]

    def text(self) -> str:
        """The file's content: the header, then the steps, an empty line after each output."""
        lines, apart = list(self.header), bool(self.header)
        for step in self.steps:
            lines += ["", PROMPT + step.command] if apart else [PROMPT + step.command]
            lines += step.output
            apart = bool(step.output)
        return "\n".join(lines) + "\n"


def read(path: Path) -> Transcript:
    """The transcript in a file. Raises LabError with file and line if it is not one."""
    return parse(path.read_text("utf-8"), path)


def parse(text: str, path: Path) -> Transcript:
    """The transcript in a text, which is that of a file or a part of it. Raises as `read`."""
    lines = text.splitlines()
    header, at = [], 0
    while at < len(lines) and not lines[at].startswith(PROMPT):
        if lines[at] and not lines[at].startswith("#"):
            raise LabError(
                "output before the first command",
                where=path,
                line=at + 1,
                remedy="a transcript starts with comments (#) or a command ($ )",
            )
        header.append(lines[at])
        at += 1
    steps = []
    while at < len(lines):
        start = at
        command, at = _command(lines, at, path)
        end = at
        while end < len(lines) and not lines[end].startswith(PROMPT):
            end += 1
        steps.append(Step(command, _trimmed(lines[at:end]), start + 1))
        at = end
    if not steps:
        raise LabError(
            "no command in this transcript", where=path, line=1, remedy="commands start with $ "
        )
    return Transcript(path, _trimmed(header), tuple(steps))


def _command(lines: list[str], at: int, path: Path) -> tuple[str, int]:
    """The command that starts at a line, and the index of the line after it."""
    start = at
    collected = [lines[at].removeprefix(PROMPT)]
    while collected[-1].endswith("\\") and at + 1 < len(lines):
        at += 1
        collected.append(lines[at])
    delimiter = _HERE_DOCUMENT.search("\n".join(collected))
    if delimiter:
        while lines[at] != delimiter.group(2):
            at += 1
            if at == len(lines):
                raise LabError(
                    f"the here-document {delimiter.group(2)} has no end", where=path, line=start + 1
                )
            collected.append(lines[at])
    return "\n".join(collected), at + 1


def _trimmed(lines: list[str]) -> tuple[str, ...]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return tuple(lines)
