"""The bash in which transcripts run: one for a whole example, so that variables stay."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lab.errors import LabError
from lab.machine.processes import spawn, stop
from lab.programs.server import Server

# Takes commands from one descriptor, each ended by a NUL, and answers on another when one is done.
# They run with no standard input: a command that reads it sees its end, and not the next command.
_LOOP = r"""
lab_known=" $(echo $(compgen -v)) lab_known lab_step lab_name "
while IFS= read -r -d '' -u %d lab_step; do
  eval "$lab_step" </dev/null
  echo >&%d
done
"""

# Seconds after which a wait looks up: a signal that the kernel gave to another thread of the lab is
# answered by this one, but does not wake it.
_PATIENCE = 0.1

_GRACE = 3.0  # seconds for a reader's shell to end

# What a reader's shell takes over: the functions and variables that the transcripts set.
_SAVE = """{
  declare -f
  for lab_name in $(compgen -v); do
    [[ $lab_known == *" $lab_name "* ]] || declare -p "$lab_name"
  done
} > %s"""


def environment(server: Server) -> dict[str, str]:
    """The variables with which a shell reaches a lab.

    `mktemp` makes its files in the mesh's folder, where keys do not outlive the lab.
    """
    return (
        os.environ
        | server.environment()
        | {
            "PATH": f"{server.commands}:{os.environ.get('PATH', os.defpath)}",
            "TMPDIR": str(server.mesh.folder),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }
    )


@dataclass
class Shell:
    """A bash in an example's folder. Use it as a context manager."""

    server: Server
    folder: Path
    timeout: float = 60.0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _commands: BinaryIO | None = field(default=None, init=False)
    _done: int = field(default=-1, init=False)

    def __enter__(self) -> Shell:
        commands_read, commands_write = os.pipe()
        self._done, done_write = os.pipe()
        loop = self.server.mesh.folder / "loop.sh"
        loop.write_text(_LOOP % (commands_read, done_write))
        self._output.touch()
        with self._output.open("ab") as out:
            self._process = spawn(
                ["bash", "--norc", "--noprofile", str(loop)],
                stdout=out,
                stderr=out,
                env=environment(self.server),
                cwd=self.folder,
                pass_fds=(commands_read, done_write),
            )
        os.close(commands_read)
        os.close(done_write)
        self._commands = os.fdopen(commands_write, "wb", 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._commands:
            self._commands.close()
        self.stop()
        os.close(self._done)

    def stop(self) -> None:
        """Ends the shell and what runs in it; `run`, in another thread, then raises LabError."""
        if self._process:
            stop(self._process)

    @property
    def _output(self) -> Path:
        return self.server.mesh.folder / "output"

    def run(self, command: str) -> list[str]:
        """Runs a command to its end and gives what it printed, output and errors, as lines."""
        before = self._output.stat().st_size
        if self._commands is None:
            raise ValueError("the shell is not open")
        self._commands.write(command.encode() + b"\0")
        self._await(command)
        with self._output.open("rb") as output:
            output.seek(before)
            return output.read().decode(errors="replace").splitlines()

    def _await(self, command: str) -> None:
        deadline = time.monotonic() + self.timeout
        while not select.select([self._done], [], [], _PATIENCE)[0]:
            if time.monotonic() < deadline:
                continue
            raise LabError(f"no end after {self.timeout:.0f} s: {command.splitlines()[0]}")
        if not os.read(self._done, 1):
            raise LabError(f"the shell ended in: {command.splitlines()[0]}")

    def hand_over(self, rc: Path) -> None:
        """Writes what an interactive shell needs to go on where this one is."""
        self.run(_SAVE % rc)


def interactive(server: Server, folder: Path, rc: Path) -> int:
    """Opens a shell for a reader until they leave it; gives its exit code."""
    with rc.open("a") as file:
        file.write("\nPS1='(lab) $ '\nunset HISTFILE\n")
    env = environment(server) | {"TERM": os.environ.get("TERM", "dumb")}
    return hand_to_reader(["bash", "--noprofile", "--rcfile", str(rc), "-i"], env, folder)


def hand_to_reader(command: list[str], env: dict[str, str], folder: Path) -> int:
    """Runs an interactive program on this terminal until it ends; gives its exit code."""
    # Ctrl-C is for what runs in the shell; ignoring it outright would be inherited.
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    # `make` in this shell is a make of its own, not one inside the make that opened it.
    env = {name: value for name, value in env.items() if not name.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.Popen(command, env=env, cwd=folder)
    try:
        while (code := process.poll()) is None:
            time.sleep(_PATIENCE)
    except KeyboardInterrupt:
        _hang_up(process)
        raise
    signal.signal(signal.SIGINT, previous)
    return code


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """Ends an interactive bash, which ends its jobs when the terminal hangs up."""
    import psutil  # which takes its time, and most shells end by themselves

    # Where nsenter runs it, it does not pass signals on.
    for one in [*psutil.Process(process.pid).children(), psutil.Process(process.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGHUP)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
