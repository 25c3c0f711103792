"""`python -m lab`: the command line, and how it ends when it is told to."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(words: list[str]) -> int:
    """Runs one command; gives its exit code, 130 if Ctrl-C or a signal ended it."""
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        # Imported here because it takes a third of a second, in which Ctrl-C counts as well.
        from lab import commands

        return commands.run(words)
    except KeyboardInterrupt:
        print("lab: interrupted; everything that it started has ended", file=sys.stderr)
        return 130
    finally:
        _ignore_signals()


def _interrupt(*_: object) -> NoReturn:
    """Ends the lab. From then on it tidies up, and a second Ctrl-C does not cut that short."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
