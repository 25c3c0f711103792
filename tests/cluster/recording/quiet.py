"""Knows which commands of a transcript can cause a request, which a proxy logs a second later."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.recording import shim

_READING = frozenset({"logs", "get", "describe"})
_FILTERS = frozenset(
    {"awk", "cut", "grep", "head", "jq", "sed", "sort", "tail", "tr", "uniq", "wc"}
)
_QUOTED = re.compile(r"'[^']*'")
_LISTS = re.compile(r"[;&`\n]|\$\(|<\(")  # what joins commands, apart from pipes
_TO_OUTPUT = re.compile(r"\d?>&\d")
_BACKGROUND = re.compile(r"(?<![&>])&(?![&>\d])")
_WAITS = re.compile(r"(?<!kubectl )\bwait\b")


def only_reads(command: str) -> bool:
    """Whether a command is one call that reads, and filters of what it prints."""
    joined = _TO_OUTPUT.sub("", _plain(command))
    if _LISTS.search(joined):
        return False
    first, *filters = [part.split() for part in joined.split("|")]
    if any(not words or words[0] not in _FILTERS for words in filters):
        return False
    program, *args = first or [""]
    reads = program == "kubectl" and shim.verb_of(args)[0] in _READING
    return reads or program == "istioctl"


def leaves_something(command: str) -> bool:
    """Whether a command starts something that goes on when it has ended."""
    plain = _plain(command)
    return bool(_BACKGROUND.search(plain)) and not _WAITS.search(plain)


def _plain(command: str) -> str:
    return _QUOTED.sub("''", command.replace("\\\n", " "))


@dataclass
class Quiet:
    """Tells `shim` since when no request can have been made, by a file in a folder."""

    folder: Path
    _last: float = field(default_factory=lambda: time.monotonic())
    _for_ever: bool = False  # whether something in the background may make requests

    @contextmanager
    def step(self, command: str) -> Iterator[None]:
        """Knows that the block plays a command."""
        self._for_ever |= leaves_something(command)
        loud = self._for_ever or not only_reads(command)
        (self.folder / shim.LAST_REQUEST).write_text("" if loud else str(self._last))
        yield
        if loud:
            self._last = time.monotonic()
