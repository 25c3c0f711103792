"""Runs the Go programs that hold Istio's code; `make controlplane` builds them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.paths import ROOT, TOOLS
from lab.processes import spawn, stop

_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Done:
    """What a program wrote, and its exit code."""

    stdout: str
    stderr: str
    code: int


def built() -> bool:
    """Whether all three programs are there."""
    return all((TOOLS / name).exists() for name in ("controlplane", "istioctl", "pilot-agent"))


def path(name: str) -> Path:
    """Where a program is. Raises LabError if it is not built."""
    if not (TOOLS / name).exists():
        raise LabError(f"the Go program {name} is not built", remedy="build it: make controlplane")
    return TOOLS / name


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
