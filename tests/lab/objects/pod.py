"""Pods as the lab runs them, from the objects that were recorded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

import yaml

from lab.errors import LabError
from lab.files.manifests import Object

_SHADOW = 64  # from the second number of a pod's address to that of its application
_SIDECAR_IMAGE = "istio/proxyv2"


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

    def excluded(self, what: str) -> list[str]:
        """What its sidecar is not to see, by annotation: `OutboundIPRanges` or `OutboundPorts`."""
        annotations = self.item["metadata"].get("annotations", {})
        listed = str(annotations.get(f"traffic.sidecar.istio.io/exclude{what}", ""))
        return [item.strip() for item in listed.split(",") if item.strip()]

    def goes_past_sidecar(self, address: str, port: int) -> bool:
        """Whether a connection of this pod to a place does not go through its sidecar."""
        ranges = map(ip_network, self.excluded("OutboundIPRanges"))
        return str(port) in self.excluded("OutboundPorts") or any(
            ip_address(address) in network for network in ranges
        )

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

    @property
    def drain_seconds(self) -> int:
        """How long its proxy lets old connections be when their listener changes."""
        annotations = self.item["metadata"].get("annotations", {})
        config = yaml.safe_load(annotations.get("proxy.istio.io/config", "{}"))
        return int(str(config.get("drainDuration", "45s")).removesuffix("s"))

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

    Pods of a cluster have addresses that begin with 10.244: 64 makes of the second number, within
    eight bits, one that nobody else has.
    """
    first, second, rest = address.split(".", 2)
    return f"{first}.{(int(second) + _SHADOW) % 256}.{rest}"


def select(pods: Iterable[Pod], namespace: str, labels: dict[str, str]) -> list[Pod]:
    """The pods of a namespace that carry all of these labels."""
    return [
        pod for pod in pods if pod.namespace == namespace and labels.items() <= pod.labels.items()
    ]


def pods_in(snapshot: Iterable[Object]) -> list[Pod]:
    return [Pod(item) for item in snapshot if item["kind"] == "Pod"]
