"""Stands in front of kubectl and istioctl while an example is recorded.

`python call.py PROGRAM WORD…` runs the real program. A call that asks the control plane is written
down with what it printed: the lab answers it so. After one that changes the cluster it waits until
all of it is done, and takes down the state. A call that asks a proxy or a workload is just run: the
lab runs it too. Without words the state is taken down and nothing is run; with NAMES_ONLY in the
environment that is just the objects as they are, without a wait.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from lab.files.recording import without_temporary

from cluster.recording import dump, settling

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
LIVE = frozenset(["exec", "logs", "port-forward", "attach", "cp", "debug", "proxy"])
"""What the lab runs itself; `logs` of istiod is an answer of the control plane."""

NAMES_ONLY = "RECORDING_NAMES_ONLY"

_PEM_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
_REDACTED = "<private key>"

_FLUSH = 1.3  # seconds: a proxy writes its log once a second
_OPTIONS_WITH_VALUE = frozenset({"-n", "--namespace", "--context", "--kubeconfig", "-c", "-l"})


def main(words: list[str]) -> int:
    os.environ["PATH"] = os.environ["PATH"].removeprefix(f"{folder() / 'bin'}:")
    if not words:
        take_state()
        return 0
    program, *args = words
    real = str(shutil.which(program))
    verb, rest = verb_of(args)
    if program == "kubectl" and verb in LIVE and not asks_istiod(rest):
        if verb == "logs":
            time.sleep(_FLUSH)
        os.execv(real, [real, *args])  # noqa: S606
    if verb == "logs":
        time.sleep(_FLUSH)
    plain = without_temporary(args, os.environ["TMPDIR"])
    call = run(real, args) | {"program": program, "args": plain, "step": current_step()}
    if changes(program, verb, rest):
        call["state"] = take_state()
    write(call)
    return int(call["exit"])


def verb_of(args: list[str]) -> tuple[str, list[str]]:
    """The first word that is no option, and what follows it."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        at += 2 if args[at] in _OPTIONS_WITH_VALUE else 1
    return (args[at], args[at + 1 :]) if at < len(args) else ("", [])


def asks_istiod(rest: list[str]) -> bool:
    """Whether a call of exec or logs is about the control plane."""
    return any(word.partition("/")[2].startswith("istiod") or word == "app=istiod" for word in rest)


def changes(program: str, verb: str, rest: list[str]) -> bool:
    if program == "kubectl":
        return verb in CHANGING or (verb == "rollout" and rest[:1] in (["restart"], ["undo"]))
    return verb == "install"


def run(real: str, args: list[str]) -> dict[str, Any]:
    """Runs the program on this process's files and keeps what it writes.

    `out` has standard output, and `err` standard error unless both go to one place: then `out` has
    the two in their order. Private keys are left out.
    """
    merged = os.path.samestat(os.fstat(1), os.fstat(2))
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [real, *args], stdout=pipe, stderr=subprocess.STDOUT if merged else pipe
    )
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
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names_only = bool(os.environ.get(NAMES_ONLY))
        moving = "" if names_only else settling.settle()
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
    sys.exit(main(sys.argv[1:]))
