"""Child processes that never outlive the lab."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

from lab.errors import LabError

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end the lab."""

_PR_SET_PDEATHSIG = 1
_GRACE = 3.0  # seconds between SIGTERM and SIGKILL


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

    The kernel kills it if the lab dies without a chance to stop it. Raises LabError if the program
    cannot be started.
    """

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=partial(_die_with_parent, os.getpid()),
        )

    process = None
    try:
        # An exception in the middle of a wait could leave the other thread's lock taken for good.
        with uninterrupted():
            process = _starter.submit(start).result()
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


def release(guard: socket.socket) -> None:
    """Closes a socket so that its address is free at once.

    A process that another thread is about to start would keep it until it runs its own program.
    """
    _starter.submit(guard.close).result()


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


# "Parent" means the thread that starts a process: one that lives as long as the lab.
_starter = ThreadPoolExecutor(max_workers=1)
_libc = ctypes.CDLL(None)


def _die_with_parent(parent: int) -> None:
    """Asks the kernel for it; a parent that died before that is noticed here."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
