"""One call of a command from the lab's shell: its words, and the caller's own files."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from lab.processes import spawn, stop


@dataclass(frozen=True)
class Call:
    """`args` are the words after the command's name; `cwd` is where the caller stands.

    `caller` is a pidfd of the caller's process.
    """

    args: list[str]
    cwd: Path
    stdin: FileIO
    stdout: FileIO
    stderr: FileIO
    caller: int

    def print(self, text: str) -> None:
        """Writes a line to the caller's standard output."""
        _write(self.stdout, text + "\n")

    def error(self, text: str) -> None:
        """Writes a line to the caller's standard error."""
        _write(self.stderr, text + "\n")

    def write(self, text: str) -> None:
        """Writes text as it is to the caller's standard output."""
        _write(self.stdout, text)

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
        of its output where the caller does not keep the two apart. Gives the exit code.
        """
        merged = self.merged() if translate else False
        process = spawn(
            command,
            stdin=self.stdin,
            stdout=subprocess.PIPE if merged else self.stdout,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE if translate else self.stderr,
            env=env,
            cwd=self.cwd,
        )
        # Both are taken here, where neither can be gone already.
        watched = os.dup(self.caller), os.pidfd_open(process.pid), process
        threading.Thread(target=_end_with, args=watched, daemon=True).start()
        out = self.stdout if merged else self.stderr
        pipe = process.stdout if merged else process.stderr
        with pipe or contextlib.nullcontext():
            for line in pipe or ():
                _write_bytes(out, _translated(line, translate or {}))
        code = process.wait()
        return code if code >= 0 else 128 - code


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


def _write(file: FileIO, text: str) -> None:
    _write_bytes(file, text.encode())


def _write_bytes(file: FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) or 0 :]
