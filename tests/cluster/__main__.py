"""`python -m cluster`: the command line, and how it ends when it is told to."""

from __future__ import annotations

import os
import signal
import sys
import time

_PATIENCE = 20.0  # seconds in which a second Ctrl-C does not cut short what the first began
_interrupted = -_PATIENCE  # when the last one came, by the monotonic clock


def main(words: list[str]) -> int:
    """Runs one command; gives its exit code, 130 if Ctrl-C or a signal ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        from cluster import commands

        return commands.run(words)
    except KeyboardInterrupt:
        print("cluster: interrupted; everything that it started has ended", file=sys.stderr)
        return 130


def _interrupt(*_: object) -> None:
    global _interrupted
    last, _interrupted = _interrupted, time.monotonic()
    if _interrupted - last > _PATIENCE:
        raise KeyboardInterrupt


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # At once: the keeper of a cluster that is up must not be waited for.
    os._exit(code)
