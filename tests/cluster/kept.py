"""Keeps what was built, by the digest of what it was built from, for all clones of this user."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster.errors import ClusterError, last_lines
from cluster.paths import cache

_DAYS = 30  # a part that nobody has used for so long is removed when another takes its place

Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """Something that is built once: a folder of files which follow from `inputs` alone."""

    name: str
    about: str  # what progress calls it
    inputs: tuple[str, ...]  # all that decides what is in the folder
    make: Callable[[Path], None] = field(compare=False)  # fills an empty folder

    @property
    def digest(self) -> str:
        """Sixteen digits that change with the inputs."""
        return hashlib.sha256(json.dumps(self.inputs).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        """Where it is once it is built; a folder of this name is always whole."""
        return cache() / f"{self.name}-{self.digest}"


def have(part: Part, say: Say) -> Path:
    """The folder of a part, which is built if it is not there.

    It is written aside and then renamed, so that what was interrupted never counts as done. Where
    another clone builds it, this one waits. Raises ClusterError if it cannot be built.
    """
    if part.folder.exists():
        os.utime(part.folder)
        return part.folder
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with _locked(cache() / f"{part.name}.lock", lambda: say(f"waiting for {part.about}")):
            if not part.folder.exists():
                say(f"building {part.about} ...")
                began = time.monotonic()
                _forget(part)
                _build(part)
                say(f"built {part.about} in {time.monotonic() - began:.0f} s")
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ClusterError(
            f"{part.about}: {error.strerror}: {error.filename or part.folder}",
            remedy="free some space, or name another folder by XDG_CACHE_HOME" if full else "",
        ) from None
    return part.folder


def run(command: list[str], log: Path, doing: str, **options: object) -> None:
    """Runs a program of a build, what it says goes to `log`.

    `options` are those of subprocess.run. Raises ClusterError with its last lines if it fails.
    """
    with log.open("ab") as out:
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options
            )
        except (FileNotFoundError, PermissionError):  # the latter if a folder of PATH is closed
            raise ClusterError(f"{doing} needs {command[0]}, which is not there") from None
    if done.returncode:
        raise ClusterError(f"{doing} failed with exit code {done.returncode}", log=last_lines(log))


def _forget(part: Part) -> None:
    """Removes what earlier inputs gave and nobody has used for long, and what was interrupted."""
    unused = time.time() - _DAYS * 24 * 3600
    for path in cache().glob(f"{part.name}-{'[0-9a-f]' * 16}"):
        if path.stat().st_mtime < unused:
            shutil.rmtree(path)
    for path in cache().glob(f".{part.name}-*"):
        shutil.rmtree(path)


def _build(part: Part) -> None:
    aside = cache() / f".{part.name}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        part.make(aside)
        aside.rename(part.folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
