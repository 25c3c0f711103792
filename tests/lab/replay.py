"""The mesh of an example as it was recorded on a cluster: state by state, with its addresses."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from lab import addresses, dns, states
from lab.addresses import NODE, Addresses
from lab.cluster import Pod, pods_in
from lab.envoy import Proxy, binary
from lab.errors import LabError
from lab.example import REJECTED
from lab.isolation import call_from
from lab.kubelet import Container
from lab.manifests import Object
from lab.mesh import Mesh, bootstrap_override
from lab.names import known, zone
from lab.network import Forwarders
from lab.processes import uninterrupted
from lab.states import Recorded, State, object_name

_INITIAL = 1  # the state before the first transcript
_SESSION = re.compile(r"127\.0\.0\.1(?=:\d{5}\b)")  # and its port, one of Linux's own choice


@dataclass
class Replay(Mesh):
    """As `Mesh`, but what runs follows from the recorded states and from nothing else.

    `secrets` are the Secrets that the transcripts have made, as objects: no recording has them.
    """

    recording: states.Recording = field(init=False)
    addresses: Addresses = field(init=False)
    number: int = field(default=0, init=False)  # of the state that runs
    secrets: dict[str, Object] = field(default_factory=dict, init=False)
    _lent: str = field(default="", init=False)

    def __enter__(self) -> Replay:
        binary()
        self.addresses, self._guard = addresses.take()
        try:
            self.recording = states.current(self.example, self.addresses.inside)
            with uninterrupted():
                self.folder = Path(tempfile.mkdtemp(prefix="lab-"))
            node = self.addresses.inside(NODE)
            self._dns = dns.Server((node, dns.PORT))
            self.forwarders = Forwarders(node)
            self.move_to(_INITIAL)
        except BaseException:
            self.stop()
            raise
        return self

    def keep(self, secret: Object) -> None:
        """Takes in a Secret that a transcript has made; proxies get it with the next answer.

        No recorded state tells what is in a Secret, so that one may stay the same.
        """
        with self.lock:
            self.secrets[object_name(secret)] = secret
            self.number = 0

    def move_to(self, number: int) -> None:
        """Makes what runs the same as what ran on the cluster in this state."""
        with self.lock:
            if self._stopped or number == self.number:
                return
            self.number, self.sent = number, self.recording.states[number - 1]
            snapshot = [*self.sent.objects, *self.secrets.values()]
            # The type is another one until all are recorded.
            self.cluster = Recorded(snapshot, self.addresses.inside)  # type: ignore[assignment]
            pods = {pod.id: pod for pod in pods_in(self.cluster.snapshot())}
            self._end_all_but(pods)
            self._dns.zone = zone(snapshot)
            self._tell_pods(known(snapshot))
            for name in pods.keys() & self.sent.proxies.keys():
                self._configure_proxy(name, pods[name])
                if _listens_on_udp(self.sent.proxies[name]):
                    self._lend(pods[name].address)
            self._start(pods, {object_name(item): item for item in snapshot})

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

    sent: State = field(init=False)

    def _resources(self, name: str) -> states.Resources:
        return self.sent.proxies[name]

    def _start(self, pods: dict[str, Pod], files: dict[str, Object]) -> None:
        """Starts containers after their own proxy, as behind a native sidecar."""
        started: list[Container] = []
        for name, pod in sorted(pods.items(), key=lambda item: item[0] in self.proxies):
            cause = self.proxies[name].settle() if name in self.proxies else ""
            if cause and not self._shows_rejections:
                raise LabError(f"Envoy of {pod.name} rejected: {cause}")
            started += self._start_containers(name, pod, files)
        for container in started:
            container.settle()
        self.check_containers()

    @property
    def _shows_rejections(self) -> bool:
        """Whether there is a manifest that is to show how a proxy keeps its old configuration."""
        return any(path.name.startswith(REJECTED) for path in self.example.manifests)

    def _proxy(self, pod: Pod, folder: Path) -> Proxy:
        override = bootstrap_override(pod, self.cluster.snapshot())
        added = self.recording.bootstraps.get(pod.id, self.recording.bootstrap)
        return Proxy(pod, folder, self._dns.place, self.authority, override, added)


def _listens_on_udp(resources: states.Resources) -> bool:
    addresses = [listener["address"] for listener in resources["listeners"]]
    return any(one.get("socketAddress", {}).get("protocol") == "UDP" for one in addresses)
