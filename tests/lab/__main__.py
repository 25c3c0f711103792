"""`python -m lab`: the command line, and how it ends when it is told to."""

from __future__ import annotations

import os
import signal
import sys
import time

from lab.machine.processes import INTERRUPTS, uninterrupted

_PATIENCE = 5.0  # seconds in which a second Ctrl-C does not cut short what the first began
_interrupted = -_PATIENCE  # when the last one came, by the monotonic clock


def main(words: list[str]) -> int:
    """Runs one command; gives its exit code, 130 if Ctrl-C or a signal ended it."""
    for number in INTERRUPTS:
        signal.signal(number, _interrupt)
    try:
        # Imported here because it takes a third of a second, in which Ctrl-C counts as well. But an
        # exception inside an import may be lost, and keep the lock that every fork needs.
        with uninterrupted():
            from lab.plays import commands

        return commands.run(words)
    except KeyboardInterrupt:
        print("lab: interrupted; everything that it started has ended", file=sys.stderr)
        return 130


def _interrupt(*_: object) -> None:
    global _interrupted
    last, _interrupted = _interrupted, time.monotonic()
    if _interrupted - last > _PATIENCE:
        raise KeyboardInterrupt


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # At once: on its usual way out Python first gives up its handlers, and then a late Ctrl-C
    # would be the death of it.
    os._exit(code)
