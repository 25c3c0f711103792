"""Lets the commands of a shell reach the running mesh.

A command is a caller that says its process id into a named pipe, and waits for its exit code in
another. The lab takes its words and its folder from /proc, and its open files by pidfd_getfd(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path

from lab.errors import LabError
from lab.mesh.mesh import Mesh
from lab.programs import control_plane, curl, dig
from lab.programs.call import Call
from lab.programs.control_plane import Answers

_PROGRAMS: dict[str, Callable[[Mesh, Call], int]] = {"curl": curl.run, "dig": dig.run}
_COMMANDS = ("kubectl", "istioctl", *_PROGRAMS)

# A transcript calls it dozens of times: an interpreter larger than sh would take ten times as long.
_CALLER = """#!/bin/sh
if ! kill -0 "$LAB_PID" 2>/dev/null || ! mkfifo "$LAB_CALLS.$$" 2>/dev/null; then
  echo "${0##*/}: the lab is not running" >&2
  exit 1
fi
exec 3<>"$LAB_CALLS.$$" 4<&0 5>&1 6>&2 # where what follows does not put pipes in their places
echo $$ >"$LAB_CALLS"
read -r code <&3
exit "$code"
"""
_PIDFD_GETFD = 438  # the number of this system call, on all processors
_LIBC = ctypes.CDLL(None)


@dataclass
class Server:
    """Answers calls. `failures` collects what the lab itself could not do, in order."""

    mesh: Mesh
    failures: list[LabError]
    answers: Answers
    _waiting: set[int] = field(default_factory=set)  # where callers wait for their exit codes
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def commands(self) -> Path:
        """A folder with the commands, for a shell's PATH."""
        return self.mesh.folder / "bin"

    @property
    def calls(self) -> Path:
        """The named pipe for callers. That of a caller has its process id behind the same name."""
        return self.mesh.folder / "calls"

    def environment(self) -> dict[str, str]:
        """What a command needs to know."""
        return {"LAB_PID": str(os.getpid()), "LAB_CALLS": str(self.calls)}

    def listen(self) -> None:
        """Answers callers, each in a thread of its own, until there is one with no number."""
        with os.fdopen(os.open(self.calls, os.O_RDWR), "rb") as calls:
            while pid := int(calls.readline()):
                threading.Thread(target=self._answer, args=(pid,), daemon=True).start()

    def close(self) -> None:
        """Ends `listen`, and lets all callers go."""
        with os.fdopen(os.open(self.calls, os.O_WRONLY | os.O_NONBLOCK), "wb") as calls:
            calls.write(b"0\n")
        for answer in [*self._waiting]:
            self._release(answer, 1)

    def _answer(self, pid: int) -> None:
        """Runs one call to its end, unless the caller is gone."""
        answers = self.calls.with_name(f"{self.calls.name}.{pid}")
        with contextlib.suppress(OSError), contextlib.ExitStack() as files:
            caller = os.pidfd_open(pid)
            files.callback(os.close, caller)
            answer = os.open(answers, os.O_WRONLY | os.O_NONBLOCK)
            answers.unlink()
            self._waiting.add(answer)
            code = 1
            files.callback(lambda: self._release(answer, code))
            words = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).removesuffix("\0")
            _, path, *args = words.split("\0")
            cwd = Path(f"/proc/{pid}/cwd").readlink()
            stdin, stdout, stderr = (
                files.enter_context(_file(pid, caller, number)) for number in (4, 5, 6)
            )
            shown = self.mesh.addresses.shown
            code = self._run(Path(path).name, Call(args, cwd, stdin, stdout, stderr, caller, shown))

    def _release(self, answer: int, code: int) -> None:
        """Gives a caller its exit code, unless it has one."""
        with self._lock, contextlib.suppress(OSError):
            if answer in self._waiting:
                self._waiting.remove(answer)
                os.write(answer, f"{code}\n".encode())
                os.close(answer)

    def _run(self, name: str, call: Call) -> int:
        """The exit code of a command."""
        try:
            if name in _PROGRAMS:
                words = [self.mesh.addresses.inside(word) for word in call.args]
                return _PROGRAMS[name](self.mesh, replace(call, args=words))
            return control_plane.run(self.mesh, self.answers, name, call)
        except LabError as error:
            self.failures.append(error)
        except BrokenPipeError:
            return 141
        except Exception as error:  # which nobody foresaw; it must not pass for an output
            cause = f"the lab cannot play: {name} {' '.join(call.args)}"
            self.failures.append(LabError(f"{cause} ({type(error).__name__}: {error})"))
        call.error(f"lab: {self.failures[-1]}")
        return 1


def _file(pid: int, caller: int, number: int) -> FileIO:
    """An open file of a caller: 4 is its standard input, 5 its output, 6 its error."""
    mode = "rb" if number == 4 else "wb"
    taken = _LIBC.syscall(_PIDFD_GETFD, caller, number, 0)
    if taken >= 0:
        return FileIO(taken, mode)
    # Some containers forbid that call. Opened anew, a file has another position, so this appends.
    flags = os.O_RDONLY if number == 4 else os.O_WRONLY | os.O_APPEND
    return FileIO(os.open(f"/proc/{pid}/fd/{number}", flags | os.O_NOCTTY), mode)


@contextlib.contextmanager
def serve(mesh: Mesh) -> Iterator[Server]:
    """Runs a server for a mesh while the block runs."""
    server = Server(mesh, [], Answers(mesh.recording.calls))
    server.commands.mkdir()
    for name in _COMMANDS:
        command = server.commands / name
        command.write_text(_CALLER)
        command.chmod(0o755)
    os.mkfifo(server.calls, 0o600)
    threading.Thread(target=server.listen, daemon=True).start()
    try:
        yield server
    finally:
        server.close()
