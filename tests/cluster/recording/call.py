"""Writes down a call that asks the control plane, with what it printed: the lab answers it so.

After one that changes the cluster it waits until all of it is done, and takes down the state. As a
program, `python -m cluster.recording.call`, it takes down the state and runs nothing; with
NAMES_ONLY in the environment that is just the objects as they are, without a wait.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
import subprocess
import threading
from pathlib import Path
from typing import IO, Any

from cluster.recording import shim

CHANGING = frozenset(
    [
        "apply",
        "create",
        "delete",
        "replace",
        "patch",
        "scale",
        "label",
        "annotate",
        "edit",
        "set",
        "run",
        "expose",
    ]
)
NAMES_ONLY = "RECORDING_NAMES_ONLY"

_PEM_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_REDACTED = "<private key>"


def main(words: list[str]) -> int:
    """Runs a program that asks the control plane, and gives its exit code."""
    program, *args = words
    verb, rest = shim.verb_of(args)
    call = run(words) | {"program": program, "args": args, "step": current_step()}
    if changes(program, verb, rest):
        call["state"] = take_state()
    write(call)
    return int(call["exit"])


def changes(program: str, verb: str, rest: list[str]) -> bool:
    if program == "kubectl":
        return verb in CHANGING or (verb == "rollout" and rest[:1] in (["restart"], ["undo"]))
    return verb == "install"


def run(words: list[str]) -> dict[str, Any]:
    """Runs the program on this process's files and keeps what it writes.

    `out` has standard output, and `err` standard error unless both go to one place: then `out` has
    the two in their order. Private keys are left out.
    """
    merged = os.path.samestat(os.fstat(1), os.fstat(2))
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdout=pipe, stderr=subprocess.STDOUT if merged else pipe)
    kept: dict[str, list[bytes]] = {"out": [], "err": []}
    sources: list[tuple[IO[bytes] | None, int, str]] = [(process.stdout, 1, "out")]
    sources += [] if merged else [(process.stderr, 2, "err")]
    threads = [threading.Thread(target=_copy, args=(f, to, kept[name])) for f, to, name in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = {
        name: without_keys(b"".join(parts).decode(errors="replace")) for name, parts in kept.items()
    }
    if merged:
        del texts["err"]
    code = process.wait()
    return texts | {"exit": code if code >= 0 else 128 - code}


def without_keys(text: str) -> str:
    """A text as it may be kept: `create secret -o yaml`, whose reader is a pipe, prints keys."""

    def kept(found: re.Match[str]) -> str:
        try:
            data = base64.b64decode(found[0], validate=True)
        except binascii.Error:  # no base64
            return found[0]
        return _REDACTED if b"PRIVATE KEY-----" in data else found[0]

    return _BASE64.sub(kept, _PEM_KEY.sub(_REDACTED, text))


def _copy(source: IO[bytes] | None, to: int, kept: list[bytes]) -> None:
    while source and (data := os.read(source.fileno(), 65536)):
        kept.append(data)
        os.write(to, data)


def folder() -> Path:
    return Path(os.environ["RECORDING_FOLDER"])


def current_step() -> list[Any]:
    """The transcript that plays, and the line of its command."""
    return list(json.loads((folder() / "step").read_text()))


def take_state() -> int:
    """Waits for the cluster, and gives the number of the state that it is in now."""
    from cluster.recording import dump, settling  # most calls need none of it

    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names_only, moving = bool(os.environ.get(NAMES_ONLY)), ""
        if not names_only:
            moving = settling.settle()
        with shim.spent(shim.DUMP):
            state = json.dumps(dump.state(proxies=not names_only), sort_keys=True)
        states = sorted(folder().glob("state-*.json"))
        if states and states[-1].read_text() == state:
            return len(states)
        path = folder() / f"state-{len(states) + 1:03}.json"
        path.write_text(state)
        if moving:
            path.with_suffix(".moving").write_text(moving)
        return len(states) + 1


def write(call: dict[str, Any]) -> None:
    with (folder() / "calls.jsonl").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(call) + "\n")


if __name__ == "__main__":
    shim.leave_path()
    take_state()
