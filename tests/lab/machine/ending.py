"""How the command lines of this project begin, and how they end when they are told to."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from typing import NoReturn

from lab.machine.processes import INTERRUPTS, uninterrupted


def run(name: str, module: str, words: list[str], patience: float) -> int:
    """Runs one command of a module by its `run`; gives its exit code, 130 if a signal ended it.

    For `patience` seconds a second Ctrl-C does not cut short what the first began.
    """
    last = -patience  # when one came, by the monotonic clock

    def interrupt(*_: object) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > patience:
            raise KeyboardInterrupt

    for number in INTERRUPTS:
        signal.signal(number, interrupt)
    try:
        # Imported here because it takes a third of a second, in which Ctrl-C counts as well. But an
        # exception inside an import may be lost, and keep the lock that every fork needs.
        with uninterrupted():
            commands = importlib.import_module(module)
        return int(commands.run(words))
    except KeyboardInterrupt:
        print(f"{name}: interrupted; everything that it started has ended", file=sys.stderr)
        return 130


def leave(code: int) -> NoReturn:
    """Ends this process at once.

    On its usual way out Python first gives up its handlers, and then a late Ctrl-C would be the
    death of it; and it would wait for the keeper of a cluster that is to stay.
    """
    sys.stdout.flush()
    os._exit(code)
