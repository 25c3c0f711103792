"""Runs the Go programs that hold Istio's code; `make controlplane` builds them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.paths import CONTROLPLANE, ROOT, TOOLS
from lab.processes import spawn, stop

_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Done:
    """What a program wrote, and its exit code."""

    stdout: str
    stderr: str
    code: int


def built() -> bool:
    """Whether all three programs are there, and of today's sources."""
    return all(_wrong(name) is None for name in ("controlplane", "istioctl", "pilot-agent"))


def path(name: str) -> Path:
    """Where a program is. Raises LabError if it is not built, or older than its sources."""
    wrong = _wrong(name)
    if wrong:
        raise LabError(f"the Go program {name} {wrong}", remedy="build it: make controlplane")
    return TOOLS / name


def _wrong(name: str) -> str | None:
    """What make would build the program for: none is there, or a source is younger."""
    program = TOOLS / name
    if not program.exists():
        return "is not built"
    built_at = program.stat().st_mtime
    sources = [CONTROLPLANE / "go.mod", *sorted(CONTROLPLANE.rglob("*.go"))]
    younger = next((s for s in sources if s.stat().st_mtime > built_at), None)
    return f"is older than {younger.relative_to(ROOT)}" if younger else None


def run(
    name: str,
    args: list[str],
    *,
    stdin: str = "",
    env: dict[str, str] | None = None,
    cwd: Path = ROOT,
) -> Done:
    """Runs `controlplane` or `istioctl` to its end, with `env` added to the environment.

    Raises LabError if it is not built or does not end.
    """
    pipe = subprocess.PIPE
    process = spawn(
        [str(path(name)), *args],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=os.environ | (env or {}),
        cwd=cwd,
    )
    try:
        stdout, stderr = process.communicate(stdin.encode(), _TIMEOUT)
    except subprocess.TimeoutExpired:
        raise LabError(f"no end after {_TIMEOUT:.0f} s: {name} {' '.join(args)}") from None
    finally:
        stop(process)
    return Done(stdout.decode(), stderr.decode(), process.returncode)
