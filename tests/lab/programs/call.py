"""One call of a command from the lab's shell: its words, and the caller's own files."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO

from lab.machine.processes import spawn, stop


@dataclass(frozen=True)
class Call:
    """`args` are the words after the command's name; `cwd` is where the caller stands.

    `caller` is a pidfd of the caller's process. `shown` makes what programs write what the caller
    is to see; what they are said to have written on a cluster is that already.
    """

    args: list[str]
    cwd: Path
    stdin: FileIO
    stdout: FileIO
    stderr: FileIO
    caller: int
    shown: Callable[[bytes], bytes] | None = None

    def print(self, text: str) -> None:
        """Writes a line to the caller's standard output."""
        _write(self.stdout, self._shown(f"{text}\n".encode()))

    def error(self, text: str) -> None:
        """Writes a line to the caller's standard error."""
        _write(self.stderr, self._shown(f"{text}\n".encode()))

    def write(self, text: str) -> None:
        """Writes text as it is to the caller's standard output."""
        _write(self.stdout, text.encode())

    def _shown(self, data: bytes) -> bytes:
        return self.shown(data) if self.shown else data

    def path(self, word: str) -> Path:
        """A file that the caller named, seen from where the caller stands."""
        return (self.cwd / word).resolve()

    def merged(self) -> bool:
        """Whether output and error go to the same place, so that their order matters."""
        one, other = os.fstat(self.stdout.fileno()), os.fstat(self.stderr.fileno())
        return os.path.samestat(one, other)

    def hung_up(self, seconds: float) -> bool:
        """Waits for so long, or until the caller goes away; says whether it did."""
        poll = select.poll()
        poll.register(self.caller, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def run(
        self, command: list[str], env: dict[str, str], translate: dict[bytes, bytes] | None = None
    ) -> int:
        """Runs a program on the caller's files until it ends or the caller goes away.

        `translate` replaces byte strings in what the program writes to standard error, and in all
        of its output where the caller does not keep the two apart. What comes of it is `shown`.
        Gives the exit code.
        """
        piped = bool(translate or self.shown)
        merged = piped and self.merged()
        process = spawn(
            command,
            stdin=self.stdin,
            stdout=subprocess.PIPE if merged or self.shown else self.stdout,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE if piped else self.stderr,
            env=env,
            cwd=self.cwd,
        )
        # Both are taken here, where neither can be gone already.
        watched = os.dup(self.caller), os.pidfd_open(process.pid), process
        threading.Thread(target=_end_with, args=watched, daemon=True).start()
        words = translate or {}
        passing = [
            threading.Thread(target=self._pass_on, args=args, daemon=True)
            for args in (
                (process.stdout, self.stdout, words if merged else {}),
                (process.stderr, self.stderr, words),
            )
            if args[0]
        ]
        for thread in passing:
            thread.start()
        for thread in passing:
            thread.join()
        code = process.wait()
        return code if code >= 0 else 128 - code

    def _pass_on(self, pipe: IO[bytes], out: FileIO, words: dict[bytes, bytes]) -> None:
        """Passes on what a program writes, line by line, until it ends or nobody reads it."""
        with pipe, contextlib.suppress(BrokenPipeError):
            for line in pipe:
                _write(out, self._shown(_translated(line, words)))


def _end_with(caller: int, ended: int, process: subprocess.Popen[bytes]) -> None:
    """Stops a process when its caller goes away, for instance on Ctrl-C."""
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(caller, select.POLLIN)
    if ended not in {fd for fd, _ in poll.poll()}:
        stop(process)
    os.close(caller)
    os.close(ended)


def _translated(line: bytes, translate: dict[bytes, bytes]) -> bytes:
    for old, new in translate.items():
        line = line.replace(old, new)
    return line


def _write(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) or 0 :]
