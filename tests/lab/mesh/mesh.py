"""The running mesh of one example, as it was recorded on a cluster: state by state."""

from __future__ import annotations

import json
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files import recording
from lab.files.example import Example
from lab.files.manifests import Object
from lab.files.recording import Recording, Resources, State, object_name
from lab.machine import addresses
from lab.machine.addresses import Addresses
from lab.machine.isolation import call_from
from lab.machine.processes import uninterrupted
from lab.mesh import dns
from lab.mesh.container import Container, containers
from lab.mesh.network import Forwarders
from lab.objects.names import NODE, Zone, client_address, known, zone
from lab.objects.pod import Pod, pods_in
from lab.proxy import xds
from lab.proxy.certificates import Authority
from lab.proxy.credentials import filled
from lab.proxy.envoy import Proxy, binary

_INITIAL = 1  # the state before the first transcript
_SESSION = re.compile(r"127\.0\.0\.1(?=:\d{5}\b)")  # and its port, one of Linux's own choice

# Of Istio's injector: the ConfigMap whose file pilot-agent merges into the bootstrap.
_OVERRIDE, _OVERRIDE_FILE = "sidecar.istio.io/bootstrapOverride", "custom_bootstrap.json"


@dataclass
class Mesh:
    """Everything that runs for one example. Use it as a context manager: leaving stops it all.

    What runs follows from the recorded states alone. `objects` are those of the state that runs,
    and the Secrets and ConfigMaps that the transcripts have made.
    """

    example: Example
    addresses: Addresses = field(init=False)
    folder: Path = field(init=False)
    recording: Recording = field(init=False)
    number: int = field(default=0, init=False)  # of the state that runs
    state: State = field(init=False)
    objects: list[Object] = field(default_factory=list, init=False)
    forwarders: Forwarders = field(init=False)
    authority: Authority = field(default_factory=Authority, init=False)
    proxies: dict[str, Proxy] = field(default_factory=dict, init=False)
    lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _made: dict[str, Object] = field(default_factory=dict, init=False)
    _containers: dict[str, list[Container]] = field(default_factory=dict, init=False)
    _stopped: bool = field(default=False, init=False)
    _dns: dns.Server = field(init=False)
    _lent: str = field(default="", init=False)  # the address for sessions of UDP
    _guard: socket.socket = field(init=False)  # keeps other labs away from the addresses

    def __enter__(self) -> Mesh:
        binary()
        self.addresses, self._guard = addresses.take()
        try:
            self.recording = recording.current(self.example, self.addresses.inside)
            with uninterrupted():
                self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
            self._dns = dns.Server((self.node, dns.PORT))
            self.forwarders = Forwarders(self.node)
            self.move_to(_INITIAL)
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
            self._guard.close()

    @property
    def node(self) -> str:
        """The address of the node, on which nothing answers but the lab's own DNS."""
        return self.addresses.inside(NODE)

    def client_address(self, balancer: str) -> str:
        """Whom a pod sees when the client outside calls the address of a load balancer."""
        return self.addresses.inside(client_address(self.objects, balancer))

    def keep(self, made: Object) -> None:
        """Takes in a Secret or ConfigMap that a transcript has made, for proxies and for pods.

        Proxies get it with the next answer. No recorded state tells what is in a Secret, or in a
        ConfigMap that no pod mounts, so that one may stay the same.
        """
        with self.lock:
            self._made[object_name(made)] = made
            self.number = 0

    def move_to(self, number: int) -> None:
        """Makes what runs the same as what ran on the cluster in this state."""
        with self.lock:
            if self._stopped or number == self.number:
                return
            self.number, self.state = number, self.recording.states[number - 1]
            there = {object_name(item): item for item in self.state.running()}
            self.objects = [*(there | self._made).values()]
            pods = {pod.id: pod for pod in self.pods()}
            self._end_all_but(pods)
            self._dns.zone = zone(self.objects)
            self._tell_pods(known(self.objects))
            for name in pods.keys() & self.state.proxies.keys():
                self._configure_proxy(name, pods[name])
                if _listens_on_udp(self.state.proxies[name]):
                    self._lend(pods[name].address)
            self._start(pods)

    def _lend(self, address: str) -> None:
        """Gives sessions of UDP the address of their proxy's pod.

        Up to Envoy 1.39 they take none from the bootstrap.
        """
        if self.addresses.as_they_are:
            call_from(address, f"{addresses.PODS}.0.0/16")
        else:
            self._lent = address

    def in_logs(self, text: str) -> str:
        """A text from a log, with the address in it that sessions of UDP should have had."""
        return _SESSION.sub(self._lent, text) if self._lent else text

    def pods(self) -> list[Pod]:
        return pods_in(self.objects)

    def containers_of(self, pod: Pod) -> list[Container]:
        return self._containers.get(pod.id, [])

    def names_of(self, pod: Pod) -> Zone:
        """The names that pilot-agent answers for in a pod, before the cluster's DNS is asked."""
        names = self.state.proxies.get(pod.id, {}).get("names", [])
        return {known["name"]: known["addresses"] for known in names}

    def check_containers(self) -> None:
        """Raises LabError for a container that has ended by itself.

        The kubelet would start it again, and show its pod as not ready.
        """
        for container in chain(*self._containers.values()):
            container.check_alive()

    def _end_all_but(self, pods: Collection[str]) -> None:
        for gone in self._containers.keys() - set(pods):
            for container in self._containers.pop(gone):
                container.stop()
            if gone in self.proxies:
                self.proxies.pop(gone).stop()
            shutil.rmtree(self.folder / gone)  # a pod of the same name may come after it

    @property
    def _services(self) -> Path:
        return self.folder / "services.json"

    def _tell_pods(self, known: dict[str, Any]) -> None:
        partial = self._services.with_suffix(".partial")
        partial.write_text(json.dumps(known))
        partial.replace(self._services)

    def _start(self, pods: dict[str, Pod]) -> None:
        """Starts containers after their own proxy, as behind a native sidecar."""
        files = {object_name(item): item for item in self.objects}
        started: list[Container] = []
        for name, pod in sorted(pods.items(), key=lambda item: item[0] in self.proxies):
            cause = self.proxies[name].settle() if name in self.proxies else ""
            if cause and not self.example.shows_rejections:
                raise LabError(f"Envoy of {pod.name} rejected: {cause}")
            started += self._start_containers(name, pod, files)
        for container in started:
            container.settle()
        self.check_containers()

    def _start_containers(self, name: str, pod: Pod, files: dict[str, Object]) -> list[Container]:
        if name in self._containers:
            return []
        self._containers[name] = containers(pod, self.folder / name, self._services)
        for container in self._containers[name]:
            container.start(files)
        return self._containers[name]

    def _configure_proxy(self, name: str, pod: Pod) -> None:
        resources = filled(self.state.proxies[name], self.objects, pod.namespace)
        if name in self.proxies:
            self.proxies[name].push(resources)
            return
        folder = self.folder / name / "istio-proxy"
        added = self.recording.bootstraps.get(pod.id, self.recording.bootstrap)
        override = _bootstrap_override(pod, self.objects)
        lasting = xds.lasting_keys(s.proxies.get(name, {}) for s in self.recording.states)
        self.proxies[name] = Proxy(
            pod, folder, self._dns.place, self.authority, override, added, lasting
        )
        self.proxies[name].start(resources)


def _bootstrap_override(pod: Pod, objects: list[Object]) -> str:
    """What the ConfigMap adds to the bootstrap that the annotation of a pod names, or nothing."""
    name = pod.item["metadata"]["annotations"].get(_OVERRIDE)
    title = f"ConfigMap {pod.namespace}/{name}"
    found = next((item for item in objects if object_name(item) == title), None)
    if name is None:
        return ""
    if found is None or _OVERRIDE_FILE not in found["data"]:
        raise LabError(f"pod {pod.name}: {_OVERRIDE} needs {_OVERRIDE_FILE} in {title}")
    return str(found["data"][_OVERRIDE_FILE])


def _listens_on_udp(resources: Resources) -> bool:
    places = [listener["address"] for listener in resources["listeners"]]
    return any(place.get("socketAddress", {}).get("protocol") == "UDP" for place in places)
