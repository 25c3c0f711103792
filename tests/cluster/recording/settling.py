"""Waits until a change has reached everything: rollouts done, old pods gone, proxies up to date.

This waiting is the recorder's, not the reader's: a transcript that needs it has a command of its
own for it. It runs inside the cluster's world.
"""

from __future__ import annotations

import calendar
import json
import time
from collections.abc import Callable

from cluster.recording import shim
from cluster.recording.asking import Object, ask_istiod, get

_REACTION = 0.4  # seconds in which controllers and istiod (0.1 s of debounce) take up a change
_REST = 0.5  # seconds in which nothing may change any more
_POLL = 0.1
_LIMIT = 60.0
_NEW = 5.0  # seconds of a Gateway's age in which istiod answers for it, unless it is not to

_TYPES = ("cluster", "listener", "route", "endpoint", "extensionconfig")
_FIELDS = [f"{kind}_{what}" for kind in _TYPES for what in ("sent", "acked")]


def settle(limit: float = _LIMIT) -> str:
    """Waits until nothing moves any more. Gives what still did when the time was up, or nothing.

    A pod that fails again and again, or a proxy that rejects its configuration, is at rest too:
    an example may be about it.
    """
    with shim.spent(shim.SETTLE):
        time.sleep(_REACTION)
    now = time.monotonic()
    deadline = now + limit
    before, since = None, now
    while True:
        began, (what, text) = now, _moving()
        now = time.monotonic()
        if (what, text) != before:
            before, since = (what, text), now
        over = now > deadline or (not what and now - since >= _REST)
        if not over:
            time.sleep(_POLL)
        now = time.monotonic()
        kind = what.partition(":")[0]
        shim.note(f"{shim.SETTLE} ({kind})" if kind else shim.SETTLE, now - began)
        if over:
            return what


def _moving() -> tuple[str, str]:
    """What is still on its way, and a text that changes whenever anything moves."""
    deployments, pods, gateways = get("deployments"), get("pods"), get("gateways")
    proxies = {f"{name(pod)}" for pod in pods if has_proxy(pod) and is_running(pod)}
    synced = {status["proxy"]: status for status in ask_istiod("syncz") or []}
    checks: list[tuple[str, Callable[[], list[str]]]] = [
        ("rollouts", lambda: [name(d) for d in deployments if not is_rolled_out(d)]),
        ("pods that end", lambda: [name(p) for p in pods if "deletionTimestamp" in p["metadata"]]),
        ("pods that start", lambda: [name(p) for p in pods if is_starting(p)]),
        ("new gateways", lambda: [name(g) for g in gateways if is_new(g, time.time())]),
        ("proxies without istiod", lambda: sorted(proxies - synced.keys())),
    ]
    phases = [[name(pod), pod["status"]["phase"]] for pod in pods]
    # In an order of our own, as istiod gives them in any.
    versions = [[proxy, *map(synced[proxy].get, _FIELDS)] for proxy in sorted(synced)]
    text = json.dumps([phases, versions])
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


def is_new(gateway: Object, now: float) -> bool:
    """Whether istiod may be about to answer for a Gateway of its own, or to make its Deployment."""
    conditions = {c["type"]: c for c in gateway.get("status", {}).get("conditions", [])}
    answered = "observedGeneration" in conditions.get("Accepted", {})
    ours = str(gateway["spec"]["gatewayClassName"]).startswith("istio")
    made = time.strptime(gateway["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
    return ours and not answered and now - calendar.timegm(made) < _NEW


def is_rolled_out(deployment: Object) -> bool:
    """Whether all replicas are those of the template as it is now."""
    status, wanted = deployment["status"], deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas")]
    return seen and counts == [wanted, wanted]
