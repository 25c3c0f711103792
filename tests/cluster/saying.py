"""How the commands tell what they do."""

from __future__ import annotations

import time
from pathlib import Path

from cluster.kept import Say


def clock() -> Say:
    """Prints what is said, after the seconds since now."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    return say


def short(path: Path) -> str:
    """A path as a reader in this folder writes it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
