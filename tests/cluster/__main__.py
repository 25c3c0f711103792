"""`python -m cluster`: the command line."""

from __future__ import annotations

import sys

from lab.machine import ending

_PATIENCE = 20.0  # seconds


def main(words: list[str]) -> int:
    """Runs one command and gives its exit code."""
    return ending.run("cluster", "cluster.commands", words, _PATIENCE)


if __name__ == "__main__":
    ending.leave(main(sys.argv[1:]))
