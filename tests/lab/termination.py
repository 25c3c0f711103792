"""Ends a pod as the kubelet does: hooks, SIGTERM, and SIGKILL when the time is up.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.cluster import Pod
from lab.errors import LabError
from lab.processes import await_end, stop

_DEFAULT_GRACE = 30.0  # seconds, of Kubernetes
_NOTICE = 0.1  # seconds from the end of the applications to the SIGTERM of a native sidecar
_LEAST_GRACE = 2.0  # seconds, what the kubelet leaves a process whatever its hooks took


@dataclass
class Running:
    """A container that runs: what its manifest says, its main process, and how a hook starts."""

    spec: dict[str, Any]
    process: subprocess.Popen[bytes]
    start: Callable[[list[str]], subprocess.Popen[bytes]]
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def stays(self) -> bool:
        """Whether it is a native sidecar: it ends after the containers proper."""
        return self.spec.get("restartPolicy") == "Always"


def terminate(pod: Pod, running: list[Running]) -> None:
    """Ends all containers of a pod, side by side, and returns when they have ended.

    Raises LabError for a hook that the lab does not play.
    """
    grace = float(pod.item["spec"].get("terminationGracePeriodSeconds", _DEFAULT_GRACE))
    for container in running:
        _hook(container)
    applications = [container.ended for container in running if not container.stays]
    threads = [
        threading.Thread(target=_end, args=(one, grace, applications if one.stays else []))
        for one in running
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _end(container: Running, grace: float, before: list[threading.Event]) -> None:
    deadline = time.monotonic() + grace
    _run_hook(container, grace)
    for ended in before:
        ended.wait(max(0.0, deadline - time.monotonic()))
    if before:
        time.sleep(_NOTICE)  # Envoy's last line is in its log by then
    if _listens(container.process, signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            container.process.send_signal(signal.SIGTERM)
    await_end(container.process, max(_LEAST_GRACE, deadline - time.monotonic()))
    # As the first process of a container, it takes all others with it.
    stop(container.process, grace=0)
    container.ended.set()


def _hook(container: Running) -> dict[str, Any]:
    hook: dict[str, Any] = container.spec.get("lifecycle", {}).get("preStop", {})
    if hook.keys() - {"exec", "sleep"}:
        raise LabError(
            f"container {container.spec['name']}: the lab does not play preStop {[*hook]}",
            remedy="it plays exec and sleep",
        )
    return hook


def _run_hook(container: Running, grace: float) -> None:
    hook = _hook(container)
    if "sleep" in hook:
        await_end(container.process, min(grace, hook["sleep"]["seconds"]))
    if "exec" in hook:
        process = container.start(hook["exec"]["command"])
        await_end(process, grace)
        stop(process, grace=0)


def _listens(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; without one, a container's first has none."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.M)
        return bool(caught and int(caught.group(1), 16) >> (number - 1) & 1)
    return False
