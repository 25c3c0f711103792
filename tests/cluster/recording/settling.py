"""Waits until a change has reached everything: rollouts done, old pods gone, proxies up to date.

This waiting is the recorder's, not the reader's: a transcript that needs it has a command of its
own for it. It runs inside the cluster's world, and asks by kubectl and by istiod's debug pages.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]

PORT = 25014
"""Where the recorder has forwarded istiod's port 15014 to, on the client's loopback."""

_REACTION = 0.4  # seconds in which controllers and istiod (0.1 s of debounce) take up a change
_REST = 0.6  # seconds in which nothing may change any more
_POLL = 0.15
_LIMIT = 60.0

_TYPES = ("cluster", "listener", "route", "endpoint")


def get(kinds: str) -> list[Object]:
    """Objects of all namespaces, as `kubectl get` gives them."""
    command = ["kubectl", "get", kinds, "--all-namespaces", "--output=json"]
    done = subprocess.run(command, capture_output=True, check=True)
    return list(json.loads(done.stdout)["items"])


def ask_istiod(path: str) -> Any:
    """One of istiod's debug pages, as JSON."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/debug/{path}", timeout=10) as answer:
        return json.loads(answer.read())


def settle(limit: float = _LIMIT) -> str:
    """Waits until nothing moves any more. Gives what still did when the time was up, or nothing.

    A pod that fails again and again, or a proxy that rejects its configuration, is at rest too:
    an example may be about it.
    """
    time.sleep(_REACTION)
    deadline = time.monotonic() + limit
    before, since = None, time.monotonic()
    while True:
        moving, now = _moving(), time.monotonic()
        if moving != before:
            before, since = moving, now
        if not moving[0] and now - since >= _REST:
            return ""
        if now > deadline:
            return moving[0]
        time.sleep(_POLL)


def _moving() -> tuple[str, str]:
    """What is still on its way, and a text that changes whenever anything moves."""
    deployments, pods = get("deployments"), get("pods")
    proxies = {f"{name(pod)}" for pod in pods if has_proxy(pod) and is_running(pod)}
    synced = {status["proxy"]: status for status in ask_istiod("syncz") or []}
    checks: list[tuple[str, Callable[[], list[str]]]] = [
        ("rollouts", lambda: [name(d) for d in deployments if not is_rolled_out(d)]),
        ("pods that end", lambda: [name(p) for p in pods if "deletionTimestamp" in p["metadata"]]),
        ("pods that start", lambda: [name(p) for p in pods if is_starting(p)]),
        ("proxies without istiod", lambda: sorted(proxies - synced.keys())),
    ]
    text = json.dumps([[name(p), p["status"]["phase"]] for p in pods]) + json.dumps(
        [[s["proxy"], *(s.get(f"{kind}_acked", "") for kind in _TYPES)] for s in synced.values()],
    )
    for what, found in checks:
        if names := found():
            return f"{what}: {', '.join(names)}", text
    return "", text


def name(item: Object) -> str:
    """NAME.NAMESPACE, as istiod calls a pod."""
    return f"{item['metadata']['name']}.{item['metadata']['namespace']}"


def has_proxy(pod: Object) -> bool:
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return any(container["name"] == "istio-proxy" for container in containers)


def is_running(pod: Object) -> bool:
    return bool(pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"])


def is_starting(pod: Object) -> bool:
    """Whether a pod is on its way to be ready, and has not failed on it."""
    if "deletionTimestamp" in pod["metadata"] or pod["status"]["phase"] in ("Succeeded", "Failed"):
        return False
    states = pod["status"].get("containerStatuses", [])
    states += pod["status"].get("initContainerStatuses", [])
    if any(state.get("restartCount") for state in states):
        return False
    waiting = [state["state"].get("waiting", {}).get("reason", "") for state in states]
    if any(reason.endswith(("BackOff", "Error")) for reason in waiting):
        return False
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") != "True"


def is_rolled_out(deployment: Object) -> bool:
    """Whether all replicas are those of the template as it is now."""
    status, wanted = deployment["status"], deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas")]
    return seen and counts == [wanted, wanted]
