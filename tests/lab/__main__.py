"""`python -m lab`: the command line."""

from __future__ import annotations

import sys

from lab.machine import ending

_PATIENCE = 5.0  # seconds


def main(words: list[str]) -> int:
    """Runs one command and gives its exit code."""
    return ending.run("lab", "lab.plays.commands", words, _PATIENCE)


if __name__ == "__main__":
    ending.leave(main(sys.argv[1:]))
