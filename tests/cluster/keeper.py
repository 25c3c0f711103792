"""Waits outside for the end of a cluster, and tidies up: what is inside cannot remove its cgroups.

`python -m cluster.keeper FOLDER` starts the first process in new namespaces. It ends it when it is
told to (SIGTERM), and if the keeper itself is killed, the kernel ends it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from lab.machine.processes import uninterrupted

from cluster import groups
from cluster.state import State, name_of, tidy

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main(folder: Path) -> int:
    """Keeps one cluster from its start to its end; gives the exit code of its first process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    found = groups.here(name_of(folder))
    state = State(folder, os.getpid(), psutil.Process().create_time(), tuple(found))
    state.write()
    groups.make(found)
    first = [sys.executable, "-m", "cluster.first", str(folder / "world")]
    command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", *first]
    unshare = None
    try:
        with uninterrupted():
            unshare = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: _become_child(found),
            )
        child = _child(unshare)
        if child:
            groups.leave(found, unshare.pid)
            state.with_first(child.pid, child.create_time()).write()
        # What it wrote to must end with the world, and not with this process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return unshare.wait()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if unshare:
            for child in psutil.Process(unshare.pid).children() if unshare.poll() is None else []:
                child.kill()
            unshare.wait()
        tidy(state)


def _become_child(found: list[groups.Group]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    groups.join(found)


def _child(unshare: subprocess.Popen[bytes]) -> psutil.Process | None:
    """The first process of the world, once it is there; None if that failed."""
    while unshare.poll() is None:
        children = psutil.Process(unshare.pid).children()
        if children:
            return children[0]
        time.sleep(0.01)
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
