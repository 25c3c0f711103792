"""The running mesh of one example: cluster, control plane, proxies and containers together."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from lab import dns
from lab.agent import Agent
from lab.certificates import Authority
from lab.cluster import Cluster, Key, Pod, key_of, pods_in, title_of
from lab.credentials import filled
from lab.envoy import Proxy, binary
from lab.errors import LabError
from lab.example import REJECTED, Example
from lab.istiod import Istiod, Source
from lab.kubelet import Container, containers
from lab.manifests import Object
from lab.names import known, zone
from lab.network import Forwarders
from lab.processes import uninterrupted
from lab.recordings import Recording, Resources, Verdict
from lab.termination import Running, terminate

_MESH_CONFIG = {"accessLogFile": "/dev/stdout"}
_GUARD_PORT = 65000

# Of Istio's injector: the ConfigMap whose file pilot-agent merges into the bootstrap.
_OVERRIDE, _OVERRIDE_FILE = "sidecar.istio.io/bootstrapOverride", "custom_bootstrap.json"


@dataclass
class Mesh:
    """Everything that runs for one example. Use it as a context manager: leaving stops it all."""

    example: Example
    source: Source
    folder: Path = field(init=False)
    cluster: Cluster = field(init=False)
    istiod: Istiod = field(init=False)
    forwarders: Forwarders = field(init=False)
    authority: Authority = field(default_factory=Authority, init=False)
    state: Recording = field(init=False)
    istiod_log: list[str] = field(default_factory=list, init=False)
    proxies: dict[str, Proxy] = field(default_factory=dict, init=False)
    lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _containers: dict[str, list[Container]] = field(default_factory=dict, init=False)
    _stopped: bool = field(default=False, init=False)
    _wanted: dict[str, Pod] = field(default_factory=dict, init=False)  # that are not to end
    _guard: socket.socket | None = field(default=None, init=False)
    _dns: dns.Server = field(init=False)

    def __enter__(self) -> Mesh:
        binary()
        self._take_network()
        try:
            with uninterrupted():
                self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
            config = _MESH_CONFIG | self.example.settings.get("meshConfig", {})
            outside = self.example.settings.get("outside", {})
            network = self.example.network
            self.cluster = Cluster.installed(network, yaml.safe_dump(config), outside)
            self._dns = dns.Server((self.cluster.unused_address(), dns.PORT))
            self.istiod = Istiod(self.example, self.source)
            self.forwarders = Forwarders(self.cluster.unused_address())
            self._move_to(self.cluster, self.istiod.configure(self.cluster))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends every process and removes every file of this mesh."""
        with uninterrupted(), self.lock:  # what a call has begun is there to be ended
            self._stopped = True
            running: list[Proxy | Container] = [*self.proxies.values()]
            running += chain(*self._containers.values())
            with ThreadPoolExecutor() as pool:  # each takes its time to end
                for ending in [pool.submit(program.stop) for program in running]:
                    ending.result()
            if hasattr(self, "_dns"):
                self._dns.stop()
            if hasattr(self, "forwarders"):
                self.forwarders.close()
            if hasattr(self, "folder"):
                shutil.rmtree(self.folder, ignore_errors=True)
            if self._guard:
                self._guard.close()

    def apply(self, items: list[tuple[Object, Path | None]]) -> tuple[list[str], list[Verdict]]:
        """Applies objects as kubectl would, and waits until the mesh runs with them.

        Gives what became of each object (`created`, `configured`, `unchanged`, or `denied`), and
        what the webhook said. An object that it denies is left out; the others are applied.
        """
        with self.lock:
            cluster, outcomes = _applied(self.cluster, items, set())
            state = self.istiod.configure(cluster)
            verdicts = state.verdicts
            denied = {verdict.object for verdict in verdicts if verdict.refused}
            if denied:
                cluster, outcomes = _applied(self.cluster, items, denied)
                state = self.istiod.configure(cluster)
            self._move_to(cluster, state)
            named = {title_of(item) for item, _ in items}
            return outcomes, [verdict for verdict in verdicts if verdict.object in named]

    def delete(self, keys: list[Key]) -> None:
        """Deletes objects, and waits until the mesh runs without them."""

        def change(cluster: Cluster) -> None:
            for key in keys:
                cluster.delete(key)

        self._change(change)

    def end(self, pods: list[Pod]) -> None:
        """Ends pods as the kubelet does; those that take their place start when they have ended."""
        self._end(pods, lambda _: None)

    def scale(self, key: Key, replicas: int) -> None:
        """Sets the number of replicas of a Deployment, and ends pods that are too many."""
        own = [p for p in self.pods() if (p.namespace, p.deployment) == (key.namespace, key.name)]
        self._end(own[replicas:], lambda cluster: cluster.scale(key, replicas))

    def _end(self, pods: list[Pod], then: Callable[[Cluster], None]) -> None:
        """Ends pods, and changes the cluster when they have ended.

        The mesh goes on meanwhile: other calls may reach the pods as they end.
        """

        def mark(cluster: Cluster) -> None:
            for pod in pods:
                cluster.terminate(pod)

        def forget(cluster: Cluster) -> None:
            for pod in pods:
                cluster.forget(pod)
            then(cluster)

        with ThreadPoolExecutor(max(1, len(pods))) as kubelets:
            endings = [kubelets.submit(terminate, pod, self._running(pod)) for pod in pods]
            self._change(mark)
            for ending in endings:
                ending.result()
        self._change(forget)

    def _running(self, pod: Pod) -> list[Running]:
        """What runs of a pod. Raises LabError if its end would not be as on a cluster."""
        proxy = self.proxies.get(_id(pod))
        if proxy and not isinstance(proxy, Agent):
            raise LabError(
                f"pod {pod.name} has no pilot-agent to end its proxy",
                remedy=f"lab.yaml names the Deployment: agent: [{pod.deployment}]",
            )
        running = [r for container in self.containers_of(pod) for r in container.running()]
        return running + (proxy.running() if isinstance(proxy, Agent) else [])

    def _change(self, change: Callable[[Cluster], None]) -> None:
        """Changes the cluster, and waits until the mesh runs with it."""
        with self.lock:
            cluster = self.cluster.copy()
            change(cluster)
            if not self._stopped:
                self._move_to(cluster, self.istiod.configure(cluster))

    def objects(self) -> list[Object]:
        """The cluster's objects as a client of the API server sees them: with istiod's statuses."""
        written = {
            Key(s["group"], s["kind"], s["namespace"], s["name"]): s["status"]
            for s in self.state.statuses
        }
        return [
            item | {"status": written[key]} if (key := key_of(item)) in written else item
            for item in self.cluster.snapshot()
        ]

    def pods(self) -> list[Pod]:
        return pods_in(self.cluster.snapshot())

    def check_containers(self) -> None:
        """Raises LabError for a container that has ended by itself.

        The kubelet would start it again, and show its pod as not ready.
        """
        for name in self._wanted:
            for container in self._containers.get(name, []):
                container.check_alive()

    def containers_of(self, pod: Pod) -> list[Container]:
        return self._containers.get(_id(pod), [])

    def _move_to(self, cluster: Cluster, state: Recording) -> None:
        """Makes what runs the same as what the cluster says."""
        self._check_agents(pods_in(cluster.snapshot()))
        changed = getattr(self, "state", None) is not state
        self.cluster, self.state = cluster, state
        if changed:
            self.istiod_log += state.log
        snapshot = cluster.snapshot()
        pods = {_id(pod): pod for pod in pods_in(snapshot)}
        wanted = self._wanted = {name: pod for name, pod in pods.items() if not pod.terminating}
        self._end_all_but(pods)
        self._dns.zone = zone(snapshot)
        self._tell_pods(known(snapshot))
        for name, pod in wanted.items():
            if pod.proxy_type:
                self._configure_proxy(name, pod)
        files = {title_of(i): i for i in snapshot if i["kind"] in ("ConfigMap", "Secret")}
        rejected: dict[str, str] = {}
        started: list[Container] = []
        # Containers start after their own proxy, as behind a native sidecar; first those without.
        for name, pod in sorted(wanted.items(), key=lambda item: item[0] in self.proxies):
            if name in self.proxies:
                rejected[name] = self.proxies[name].settle()
            started += self._start_containers(name, pod, files)
        for container in started:
            container.settle()
        self.check_containers()
        for name, cause in rejected.items():
            if cause and not _meant_to_be_rejected(cluster):
                raise LabError(f"Envoy of {wanted[name].name} rejected: {cause}")

    def _end_all_but(self, pods: Collection[str]) -> None:
        for gone in self._containers.keys() - set(pods):
            for container in self._containers.pop(gone):
                container.stop()
            if gone in self.proxies:
                self.proxies.pop(gone).stop()
            shutil.rmtree(self.folder / gone)  # a pod of the same name may come after it

    def _check_agents(self, pods: list[Pod]) -> None:
        """Raises LabError for a second pod with pilot-agent, while the mesh is as it was."""
        agents = [pod for pod in pods if pod.proxy_type and pod.deployment in self.example.agent]
        agents.sort(key=lambda pod: _id(pod) not in self.proxies)
        for other in agents[1:]:
            raise LabError(
                f"no second pilot-agent for {other.name}: that of {agents[0].name} has its ports",
                remedy="the lab plays one pod with pilot-agent at a time; nothing was changed",
            )

    @property
    def _services(self) -> Path:
        return self.folder / "services.json"

    def _tell_pods(self, known: dict[str, Any]) -> None:
        partial = self._services.with_suffix(".partial")
        partial.write_text(json.dumps(known))
        partial.replace(self._services)

    def _start_containers(self, name: str, pod: Pod, files: dict[str, Object]) -> list[Container]:
        if name in self._containers:
            return []
        self._containers[name] = containers(pod, self.folder / name, self._services)
        for container in self._containers[name]:
            container.start(files)
        return self._containers[name]

    def _configure_proxy(self, name: str, pod: Pod) -> None:
        resources = filled(self._resources(name), self.cluster.snapshot(), pod.namespace)
        if name in self.proxies:
            self.proxies[name].push(resources)
        else:
            self.proxies[name] = self._proxy(pod, self.folder / name / "istio-proxy")
            self.proxies[name].start(resources)

    def _resources(self, name: str) -> Resources:
        """What a proxy is sent in this state."""
        return self.state.proxies[name]

    def _proxy(self, pod: Pod, folder: Path) -> Proxy:
        override = bootstrap_override(pod, self.cluster.snapshot())
        if pod.deployment not in self.example.agent:
            return Proxy(pod, folder, self._dns.place, self.authority, override)
        if override:
            raise LabError(f"pod {pod.name}: the lab plays no {_OVERRIDE} with pilot-agent")
        return Agent(pod, folder, self._dns.place, self.authority)

    def _take_network(self) -> None:
        """Makes sure that nothing else plays on this example's addresses.

        Two Envoys on one port would both start, and share the connections between them.
        """
        address = f"{self.example.network}.1"
        self._guard = socket.socket()
        try:
            self._guard.bind((address, _GUARD_PORT))
        except OSError:
            self._guard.close()
            raise LabError(
                f"another lab plays {self.example.name}: {address}:{_GUARD_PORT} is in use",
                remedy="wait for it to end, or leave its shell",
            ) from None


def _applied(
    cluster: Cluster, items: list[tuple[Object, Path | None]], denied: set[str]
) -> tuple[Cluster, list[str]]:
    cluster = cluster.copy()
    outcomes = [
        "denied" if title_of(item) in denied else cluster.apply(item, origin)
        for item, origin in items
    ]
    return cluster, outcomes


def _meant_to_be_rejected(cluster: Cluster) -> bool:
    """Whether there is an object that is to show how a proxy goes on with its old configuration."""
    return any(path.name.startswith(REJECTED) for path in cluster.origins())


def bootstrap_override(pod: Pod, snapshot: list[Object]) -> str:
    """What the ConfigMap adds to the bootstrap that the annotation of a pod names, or nothing."""
    name = pod.item["metadata"]["annotations"].get(_OVERRIDE)
    title = f"ConfigMap {pod.namespace}/{name}"
    found = next((item for item in snapshot if title_of(item) == title), None)
    if name is None:
        return ""
    if found is None or _OVERRIDE_FILE not in found["data"]:
        raise LabError(f"pod {pod.name}: {_OVERRIDE} needs {_OVERRIDE_FILE} in {title}")
    return str(found["data"][_OVERRIDE_FILE])


def _id(pod: Pod) -> str:
    return f"{pod.name}.{pod.namespace}"
