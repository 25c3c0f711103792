"""Stands in front of kubectl and istioctl while an example is recorded.

`python -m cluster.recording.shim PROGRAM WORD…` runs the real program. One that asks a proxy or a
workload is just run, as the lab runs it too; `call` is for all others. This module starts for each
command of a transcript, and so needs as few others as it can.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

LIVE = frozenset(["exec", "logs", "port-forward", "attach", "cp", "debug", "proxy"])
"""What the lab runs itself; `logs` of istiod is an answer of the control plane."""

LAST_REQUEST = "last-request"
"""The file with the time since which no request can have been made; it is empty if one can now."""

FLUSH, SETTLE, DUMP = "waiting for logs", "settling", "taking down"
"""What a command can spend its seconds on, apart from what it does."""

SPENT = "spent"
"""The file in which they are noted: a line each."""

_FLUSHED = 1.3  # seconds: a proxy writes its log once a second
_OPTIONS_WITH_VALUE = frozenset({"-n", "--namespace", "--context", "--kubeconfig", "-c", "-l"})


def main(words: list[str]) -> int:
    """Runs a program and gives its exit code, or becomes it."""
    leave_path()
    program, *args = words
    verb, rest = verb_of(args)
    if program == "kubectl" and verb in LIVE and not asks_istiod(rest):
        if verb == "logs":
            await_flush()
        os.execvp(program, words)  # noqa: S606
    from cluster.recording import call

    return call.main(words)


def leave_path() -> None:
    """From here on, names of programs mean the real ones."""
    ours = f"{os.environ['RECORDING_FOLDER']}/bin:"
    os.environ["PATH"] = os.environ["PATH"].removeprefix(ours)


def verb_of(args: list[str]) -> tuple[str, list[str]]:
    """The first word that is no option, and what follows it."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        at += 2 if args[at] in _OPTIONS_WITH_VALUE else 1
    return (args[at], args[at + 1 :]) if at < len(args) else ("", [])


def asks_istiod(rest: list[str]) -> bool:
    """Whether a call of exec or logs is about the control plane."""
    return any(word.partition("/")[2].startswith("istiod") or word == "app=istiod" for word in rest)


def await_flush() -> None:
    """Waits until proxies have written what they knew at the last request."""
    with open(f"{os.environ['RECORDING_FOLDER']}/{LAST_REQUEST}") as file:  # noqa: PTH123
        told = file.read()
    now = time.monotonic()
    with spent(FLUSH):
        time.sleep(max(0.0, (float(told) if told else now) + _FLUSHED - now))


@contextlib.contextmanager
def spent(part: str) -> Iterator[None]:
    """Notes what the block took as a part of the command that runs."""
    began = time.monotonic()
    try:
        yield
    finally:
        note(part, time.monotonic() - began)


def note(part: str, seconds: float) -> None:
    """Notes what the command that runs has spent on a part of it."""
    with open(f"{os.environ['RECORDING_FOLDER']}/{SPENT}", "a") as file:  # noqa: PTH123
        file.write(f"{seconds:.3f} {part}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
