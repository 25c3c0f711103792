"""The cluster: the objects that were applied, and what controllers would add to them.

There is no Kubernetes here. `Cluster` keeps objects by name as an API server does, and `snapshot`
adds what the controllers of a cluster would: a Pod per replica with an address, the ClusterIP of a
Service and the address of its load balancer, and the EndpointSlice that joins the two. Every
address and time follows from the order of events, so that equal transcripts give equal clusters.
"""

from __future__ import annotations

import base64
import copy
import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from lab.errors import LabError
from lab.injector import inject
from lab.manifests import CLUSTER_SCOPED, Object, read_manifest
from lab.versions import ISTIO

_EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

# Host numbers in the example's network.
_NODE, _FIRST_BALANCER, _FIRST_POD, _CLIENT = 1, 2, 10, 254
OUTSIDE = "lab/outside"
"""The annotation with the host that a Service stands for, if it is outside of the cluster."""

_SHADOW = 64  # from a network's second number to that of its applications behind sidecars
_NOT_PLAYED = frozenset({"Pod", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob"})
_SIDECAR_IMAGE = "istio/proxyv2"


class Key(NamedTuple):
    """An object's identity. `group` tells Istio's Gateway from the Gateway API's."""

    group: str
    kind: str
    namespace: str
    name: str


def key_of(item: Object) -> Key:
    group = item["apiVersion"].rpartition("/")[0]
    metadata = item["metadata"]
    namespace = "" if item["kind"] in CLUSTER_SCOPED else metadata.get("namespace", "default")
    return Key(group, item["kind"], namespace, str(metadata["name"]))


def title_of(item: Object) -> str:
    """An object's kind and name as verdicts give them: `Gateway shop/shop`."""
    key = key_of(item)
    return f"{key.kind} {key.namespace}/{key.name}"


@dataclass(frozen=True)
class Pod:
    """A Pod as the lab runs it: its object, and the addresses that it listens on."""

    item: Object

    @property
    def name(self) -> str:
        return str(self.item["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.item["metadata"]["namespace"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.item["metadata"].get("labels", {}))

    @property
    def id(self) -> str:
        """NAME.NAMESPACE, as istiod calls it."""
        return f"{self.name}.{self.namespace}"

    @property
    def address(self) -> str:
        return str(self.item["status"]["podIP"])

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Native sidecars first, then the containers proper."""
        spec = self.item["spec"]
        return [*spec.get("initContainers", []), *spec["containers"]]

    @property
    def deployment(self) -> str:
        """The name of the Deployment that it is of."""
        owner = self.item["metadata"]["ownerReferences"][0]
        name = str(owner["name"])
        return name.rpartition("-")[0] if owner["kind"] == "ReplicaSet" else name

    @property
    def terminating(self) -> bool:
        return "deletionTimestamp" in self.item["metadata"]

    @property
    def proxy_container(self) -> dict[str, Any] | None:
        """The container in which Istio's proxy runs."""
        return next((c for c in self.containers if _SIDECAR_IMAGE in c["image"]), None)

    @property
    def proxy_type(self) -> str | None:
        """`router` for a gateway, `sidecar` beside an application, None without a proxy."""
        if self.proxy_container is None:
            return None
        return "router" if "router" in self.proxy_container.get("args", []) else "sidecar"

    @property
    def own_address(self) -> str:
        """Where the application itself listens.

        Beside a sidecar that is another address than the pod's, on which the sidecar listens in its
        place: there is no iptables to redirect what comes in.
        """
        return shadow(self.address) if self.proxy_type == "sidecar" else self.address

    @property
    def proxy_metadata(self) -> dict[str, Any]:
        """What pilot-agent tells istiod of its surroundings: each ISTIO_META_ variable."""
        given = (self.proxy_container or {}).get("env", [])
        variables = {variable["name"]: variable["value"] for variable in given}
        metadata: dict[str, Any] = {
            name.removeprefix("ISTIO_META_"): value
            for name, value in variables.items()
            if name.startswith("ISTIO_META_")
        }
        config = json.loads(variables.get("PROXY_CONFIG", "{}"))
        return metadata | ({"PROXY_CONFIG": config} if config else {})

    def tcp_ports(self) -> set[int]:
        """The ports that its containers name; those of the proxy are listeners of its own."""
        others = [c for c in self.containers if _SIDECAR_IMAGE not in c["image"]]
        ports = (port for container in others for port in container.get("ports", []))
        return {p["containerPort"] for p in ports if p.get("protocol", "TCP") == "TCP"}

    def port(self, wanted: int | str) -> int:
        """The number of a port that a Service may have given by name."""
        if isinstance(wanted, int):
            return wanted
        for container in self.containers:
            for port in container.get("ports", []):
                if port.get("name") == wanted:
                    return int(port["containerPort"])
        raise LabError(
            f"pod {self.name} has no port named {wanted!r}",
            remedy="name it under ports of a container",
        )


def shadow(address: str) -> str:
    """The address of the application in a pod whose own address its sidecar has taken.

    Networks of examples start with 127.64 to 127.127, pods of a cluster with 10.244; in both cases
    64 makes of the second number, within eight bits, one that nobody else has.
    """
    first, second, rest = address.split(".", 2)
    return f"{first}.{(int(second) + _SHADOW) % 256}.{rest}"


_Place = tuple[Key, int]
"""One of the replicas of a Deployment: pods come and go in it."""


@dataclass
class _Entry:
    item: Object
    origin: Path | None
    created: int


@dataclass
class Cluster:
    """Objects by key, and the addresses handed out so far. `network` is such as `127.80.3`.

    `outside` names Services, as SERVICE.NAMESPACE, that stand for hosts outside of the cluster.
    """

    network: str
    outside: dict[str, str] = field(default_factory=dict)  # by host
    _entries: dict[Key, _Entry] = field(default_factory=dict)
    _handed_out: dict[tuple[str, Key, int, int], int] = field(default_factory=dict)
    _terminating: dict[_Place, Object] = field(default_factory=dict)
    _replaced: dict[_Place, int] = field(default_factory=dict)  # how often a pod was
    _events: int = 0
    _seen: list[Object] | None = None  # the snapshot, until something changes

    @classmethod
    def installed(
        cls, network: str, mesh_config: str, outside: dict[str, str] | None = None
    ) -> Cluster:
        """A cluster with Istio installed, `mesh_config` (YAML) in its ConfigMap."""
        cluster = cls(network, outside or {})
        path = Path(__file__).with_name("installation.yaml")
        for item in read_manifest(path.read_text().replace("$RELEASE", ISTIO.release), path):
            if item["kind"] == "ConfigMap":
                item["data"]["mesh"] = mesh_config
            cluster.apply(item, None)
        return cluster

    def apply(self, item: Object, origin: Path | None) -> str:
        """Keeps an object, and says what happened: `created`, `configured` or `unchanged`.

        Raises LabError for a kind whose pods the lab would not run.
        """
        self._seen = None
        item = copy.deepcopy(item)
        key = key_of(item)
        if key.kind in _NOT_PLAYED:
            raise LabError(
                f"the lab does not play the kind {key.kind}",
                where=origin,
                remedy="it runs pods of Deployments",
            )
        if key.namespace:
            item["metadata"]["namespace"] = key.namespace
        old = self._entries.get(key)
        if old and old.item == item:
            old.origin = origin
            return "unchanged"
        if old:
            old.item, old.origin = item, origin
            return "configured"
        self._entries[key] = _Entry(item, origin, self._events)
        self._events += 1
        return "created"

    def delete(self, key: Key) -> None:
        """Forgets an object, and all in it if it is a namespace. KeyError if there is none."""
        self._seen = None
        del self._entries[key]
        self._events += 1
        if key.kind == "Namespace":
            self._entries = {k: e for k, e in self._entries.items() if k.namespace != key.name}

    def scale(self, key: Key, replicas: int) -> None:
        """Sets the number of replicas of a Deployment."""
        self._seen = None
        entry = self._entries[key]
        entry.item = entry.item | {"spec": entry.item["spec"] | {"replicas": replicas}}

    def terminate(self, pod: Pod) -> None:
        """Marks a pod as one that ends: its Service sends it nothing new."""
        self._seen = None
        key = Key("apps", "Deployment", pod.namespace, pod.deployment)
        names = [known.name for known in self._pods(self._completed(key, self._entries[key]))]
        item = copy.deepcopy(pod.item)
        item["metadata"]["deletionTimestamp"] = _time(self._events)
        self._events += 1
        self._terminating[key, names.index(pod.name)] = item

    def forget(self, pod: Pod) -> None:
        """Takes away a pod that has ended; another takes its place if it is wanted there."""
        self._seen = None
        for place, item in [*self._terminating.items()]:
            if item["metadata"]["name"] == pod.name:
                del self._terminating[place]
                self._replaced[place] = self._replaced.get(place, 0) + 1

    def copy(self) -> Cluster:
        """A cluster to try a change on. The objects in it are shared: they are never changed."""
        return replace(
            self,
            _entries={key: replace(entry) for key, entry in self._entries.items()},
            _handed_out=dict(self._handed_out),
            _terminating=dict(self._terminating),
            _replaced=dict(self._replaced),
        )

    def namespaces(self) -> set[str]:
        return {key.name for key in self._entries if key.kind == "Namespace"}

    def origins(self) -> dict[Path, list[Object]]:
        """The objects that came from each file."""
        found: dict[Path, list[Object]] = {}
        for entry in self._entries.values():
            if entry.origin:
                found.setdefault(entry.origin, []).append(entry.item)
        return found

    def snapshot(self) -> list[Object]:
        """All objects as a client of the API server would see them, oldest first. Read only."""
        if self._seen is None:
            self._seen = self._see()
        return self._seen

    def _see(self) -> list[Object]:
        items = [self._completed(key, entry) for key, entry in self._entries.items()]
        pods = [pod for item in items if item["kind"] == "Deployment" for pod in self._pods(item)]
        slices = [
            _endpoint_slice(item, pods)
            for item in items
            if item["kind"] == "Service" and item["spec"].get("selector")
        ]
        return [*items, *(pod.item for pod in pods), *slices]

    def inside(self, snapshot: list[Object]) -> list[Object]:
        """The objects that are there on a cluster: without the namespaces of hosts outside."""
        outside = {service.partition(".")[2] for service in self.outside.values()}
        return [item for item in snapshot if key_of(item).namespace not in outside]

    def unused_address(self) -> str:
        """An address of this network on which nothing ever listens."""
        return f"{self.network}.{_NODE}"

    def client_address(self, _: str = "") -> str:
        """The address of whoever calls from outside of the mesh, a load balancer or another."""
        return f"{self.network}.{_CLIENT}"

    def as_in_a_pod(self, text: str) -> str:
        """A text with the addresses of applications behind sidecars put back to their pods'."""
        pods = f"{self.network}."
        return text.replace(shadow(pods), pods)

    def _completed(self, key: Key, entry: _Entry) -> Object:
        item = copy.deepcopy(entry.item)
        item["metadata"].setdefault("creationTimestamp", _time(entry.created))
        if key.kind == "Service":
            self._complete_service(key, item)
        if key.kind == "Secret":
            _complete_secret(item)
        return item

    def _complete_service(self, key: Key, item: Object) -> None:
        spec = item["spec"]
        if spec.get("type") == "ExternalName":
            return
        for host, service in self.outside.items():
            if service == f"{key.name}.{key.namespace}":
                item["metadata"].setdefault("annotations", {})[OUTSIDE] = host
                spec["clusterIP"] = "None"
        if "clusterIP" not in spec:
            spec["clusterIP"] = f"10.96.0.{10 + self._hand_out('service', key)}"
        for port in spec.get("ports", []):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
        if spec.get("type") == "LoadBalancer":
            number = _FIRST_BALANCER + self._hand_out("balancer", key)
            item["status"] = {"loadBalancer": {"ingress": [{"ip": f"{self.network}.{number}"}]}}

    def _hand_out(self, what: str, key: Key, index: int = 0, turn: int = 0) -> int:
        """A number that this object keeps; numbers of deleted objects are not used again."""
        used = sum(1 for kind, *_ in self._handed_out if kind == what)
        return self._handed_out.setdefault((what, key, index, turn), used)

    def _pods(self, deployment: Object) -> Iterator[Pod]:
        key = key_of(deployment)
        for index in range(deployment["spec"].get("replicas", 1)):
            leaving = self._terminating.get((key, index))
            yield Pod(leaving) if leaving else self._pod(key, deployment, index)

    def _pod(self, key: Key, deployment: Object, index: int) -> Pod:
        template = deployment["spec"]["template"]
        digest = hashlib.sha256(repr(template).encode()).hexdigest()
        turn = self._replaced.get((key, index), 0)
        address = f"{self.network}.{_FIRST_POD + self._hand_out('pod', key, index, turn)}"
        seed = f"{digest}{index}" + (f".{turn}" if turn else "")
        suffix = hashlib.sha256(seed.encode()).hexdigest()
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{key.name}-{_letters(digest, 9)}-{_letters(suffix, 5)}",
                "namespace": key.namespace,
                "labels": template["metadata"].get("labels", {}),
                "annotations": template["metadata"].get("annotations", {}),
                "creationTimestamp": deployment["metadata"]["creationTimestamp"],
                "ownerReferences": [_owner(deployment)],
            },
            "spec": {"serviceAccountName": "default", **copy.deepcopy(template["spec"])},
            "status": {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for port in (p for c in pod["spec"]["containers"] for p in c.get("ports", [])):
            port.setdefault("protocol", "TCP")
        namespace = self._entries.get(Key("", "Namespace", "", key.namespace))
        inject(pod, namespace.item if namespace else None)
        return Pod(pod)


def _complete_secret(secret: Object) -> None:
    """Moves what is given as text to where all is kept, as the API server does."""
    secret.setdefault("type", "Opaque")
    for name, text in secret.pop("stringData", {}).items():
        secret.setdefault("data", {})[name] = base64.b64encode(str(text).encode()).decode()


def _owner(deployment: Object) -> dict[str, Any]:
    name = deployment["metadata"]["name"]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": name}


def _time(event: int) -> str:
    return (_EPOCH + datetime.timedelta(seconds=event)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _letters(digest: str, count: int) -> str:
    """Part of a digest, in the letters that Kubernetes uses for names of its own making."""
    alphabet = "bcdfghjklmnpqrstvwxz2456789"
    numbers = hashlib.sha256(digest.encode()).digest()
    return "".join(alphabet[n % len(alphabet)] for n in numbers[:count])


def select(pods: Iterable[Pod], namespace: str, labels: dict[str, str]) -> list[Pod]:
    """The pods of a namespace that carry all of these labels; not those that are about to end."""
    return [
        pod
        for pod in pods
        if pod.namespace == namespace
        and labels.items() <= pod.labels.items()
        and not pod.terminating
    ]


def pods_in(snapshot: Iterable[Object]) -> list[Pod]:
    return [Pod(item) for item in snapshot if item["kind"] == "Pod"]


def _endpoint_slice(service: Object, pods: list[Pod]) -> Object:
    metadata, spec = service["metadata"], service["spec"]
    # Kubernetes keeps a pod that ends as `terminating`; for istiod that is as good as gone.
    chosen = select(pods, metadata["namespace"], spec["selector"])
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{metadata['name']}-{_letters(metadata['name'], 5)}",
            "namespace": metadata["namespace"],
            "labels": {"kubernetes.io/service-name": metadata["name"]},
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": [pod.address],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod.name, "namespace": pod.namespace},
            }
            for pod in chosen
        ],
        "ports": [
            {
                "name": port.get("name", ""),
                "protocol": port["protocol"],
                "port": chosen[0].port(port["targetPort"]) if chosen else port["port"],
            }
            for port in spec.get("ports", [])
        ],
    }
