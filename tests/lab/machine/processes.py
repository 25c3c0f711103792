"""Child processes that never outlive the lab."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

from lab.errors import LabError

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the lab."""

_GRACE = 3.0  # seconds between SIGTERM and SIGKILL

_MARK = "LAB_PROCESS"  # a variable that all processes of a lab have, with its process id

# Kills what has the mark, once its standard input has no writer left: the lab, or a process that is
# about to become another program. Until it finds nothing three times: what it kills may have
# started more, and a process has no variables for a moment while it becomes another program.
_REAPER = r"""
read -r
for ((quiet = 0; quiet < 3; quiet++)); do
  for path in $(grep -lsz "^$0\$" /proc/[0-9]*/environ); do
    pid=${path//[!0-9]/}
    kill -KILL "$pid"
    quiet=0
  done
  sleep 0.1
done 2>/dev/null
"""


def spawn(
    command: list[str],
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes] | int,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: tuple[int, ...] = (),
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, so that Ctrl-C reaches the lab alone.

    If the lab dies without a chance to stop it, it is killed. Raises LabError if the program cannot
    be started.
    """
    marked = (os.environ if env is None else env) | {_MARK: str(os.getpid())}
    process = None
    try:
        with uninterrupted():
            _reaper()
            # Without a function to run before the program, Python starts it by vfork: a copy of the
            # lab would take fifteen times as long.
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=marked,
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )
    except OSError as error:
        raise LabError(f"cannot start {command[0]}: {error.strerror}") from None
    except KeyboardInterrupt:
        if process:
            stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes], grace: float = _GRACE) -> None:
    """Ends a process and what it started: SIGTERM, and SIGKILL after `grace` seconds."""
    if grace:
        _signal(process, signal.SIGTERM)
    try:
        await_end(process, grace)
    finally:
        _signal(process, signal.SIGKILL)
        await_end(process, None)
        process.poll()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def await_end(process: subprocess.Popen[bytes], seconds: float | None) -> None:
    """Waits for the end of a process, but does not take note of it: `process.poll` stays None.

    `process.wait` would never return if Ctrl-C once came where it or `poll` took a lock.
    """
    with contextlib.suppress(ProcessLookupError):
        ended = os.pidfd_open(process.pid)
        try:
            select.select([ended], [], [], seconds)
        finally:
            os.close(ended)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts off what Ctrl-C and its like do to the end of the block, which tidies up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in INTERRUPTS}
    for number in INTERRUPTS:
        signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for late in arrived:
            signal.raise_signal(late)


@cache
def _reaper() -> None:
    """Starts what kills the processes of this lab when it has died. It ends with the lab."""
    command = ["bash", "-c", _REAPER, f"{_MARK}={os.getpid()}"]
    # Without the mark of another lab, in whose shell this one may have been started.
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, env=env, start_new_session=True)
    atexit.register(reaper.communicate)
