"""What names and addresses of Services mean, from the cluster's objects alone.

On a cluster CoreDNS answers for the names, and rules on every node lead an address of a Service to
one of its pods. Here `dns` answers for the names, and `curl` and `dig` go where `reach` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lab.files.manifests import Object
from lab.objects.pod import Pod, pods_in, select

NODE, CLIENT, BRIDGE = "172.18.0.2", "172.18.0.1", "10.244.0.1"
"""The one node of the cluster, the client outside of it, and the node as its pods see it."""

Place = tuple[str, int]
"""A host, by name or address, and a port."""

Zone = dict[str, list[str]]
"""The addresses of full names."""

_DOMAIN = "cluster.local"


def search(namespace: str) -> list[str]:
    """The domains that complete a short name in a pod, in order, as in its /etc/resolv.conf.

    Only the first depends on the namespace.
    """
    return [f"{namespace}.svc.{_DOMAIN}", f"svc.{_DOMAIN}", _DOMAIN]


def zone(snapshot: list[Object]) -> Zone:
    """The addresses of each full name: a Service's own, or those of its pods if it is headless.

    A headless Service without pods has no name, as Kubernetes' DNS specification asks for
    (https://github.com/kubernetes/dns/blob/master/docs/specification.md). An ExternalName has the
    addresses of the name that it stands for. The lab makes no other records: none for single pods
    and ports.
    """
    known = {
        _full_name(service): addresses
        for service, pods in _services(snapshot)
        if (addresses := [pod.address for pod in pods] if _headless(service) else _own(service))
    }
    aliases = {
        _full_name(service): service["spec"]["externalName"].lower().rstrip(".")
        for service, _ in _services(snapshot)
        if service["spec"].get("type") == "ExternalName"
    }
    ends = {alias: _end(aliases, alias) for alias in aliases}
    return known | {alias: known[end] for alias, end in ends.items() if end in known}


def _end(aliases: dict[str, str], name: str) -> str:
    """The name at which a chain of aliases ends, or one of them if it is a ring."""
    for _ in aliases:
        name = aliases.get(name, name)
    return name


def resolve(known: Zone, name: str, domains: list[str]) -> list[str]:
    """The addresses that a name means where these domains complete it, or none.

    In a pod they are those of `search`.
    """
    name = name.lower()
    tried = [*(f"{name}.{domain}" for domain in domains), name.rstrip(".")]
    return next((known[full] for full in tried if full in known), [])


@dataclass(frozen=True)
class Front:
    """A port of a Service as it is seen from somewhere: `hosts` are names and addresses.

    `pods` are the places behind it, in order; `translated` says whether rules of a node lead there,
    or a client calls a pod itself.
    """

    hosts: list[str]
    port: int
    pods: list[Place]
    translated: bool


def fronts(snapshot: list[Object], protocol: str, namespace: str | None) -> Iterator[Front]:
    """The ports of all Services for a protocol, TCP or UDP.

    As seen from a pod of the namespace; or, if it is None, from outside of the mesh, where there
    are the addresses of load balancers and nothing else.
    """
    for service, pods in _services(snapshot):
        hosts = [*_names(service, namespace), *_own(service)] if namespace else []
        hosts += [place["ip"] for place in _balancers(service)]
        for port in service["spec"].get("ports", []):
            if port["protocol"] == protocol:
                places = [(pod.address, pod.port(port["targetPort"])) for pod in pods]
                # A headless Service is but a name for its pods: no rule translates its port.
                named = places[0][1] if places and _headless(service) else port["port"]
                yield Front(hosts, named, places, not _headless(service))


def reach(
    snapshot: list[Object], protocol: str, namespace: str | None
) -> Iterator[tuple[Place, Place]]:
    """Each place of a Service, and the place of the first pod behind it, as seen from there."""
    for front in fronts(snapshot, protocol, namespace):
        for host in front.hosts if front.pods else []:
            yield (host, front.port), front.pods[0]


def client_address(objects: Iterable[Object], balancer: str) -> str:
    """Whom a pod sees when the client outside calls the address of a load balancer.

    That is the node, which translates addresses, unless the Service forbids it.
    """
    for item in objects:
        if item["kind"] == "Service" and item["spec"].get("externalTrafficPolicy") == "Local":
            ingress = item["status"]["loadBalancer"].get("ingress", [])
            if balancer in [place.get("ip") for place in ingress]:
                return CLIENT
    return BRIDGE


def known(snapshot: list[Object]) -> dict[str, Any]:
    """What a program in a pod is told: the `zone`, and by protocol the pods behind ADDRESS:PORT."""
    endpoints: dict[str, dict[str, list[Place]]] = {}
    for protocol in ("TCP", "UDP"):
        endpoints[protocol] = {
            f"{host}:{front.port}": front.pods
            for front in fronts(snapshot, protocol, "default")
            for host in front.hosts
            if front.translated
        }
    return {"zone": zone(snapshot), "endpoints": endpoints}


def _services(snapshot: list[Object]) -> Iterator[tuple[Object, list[Pod]]]:
    """Each Service with its pods."""
    pods = pods_in(snapshot)
    for item in snapshot:
        if item["kind"] == "Service":
            selector = item["spec"].get("selector")
            yield item, select(pods, item["metadata"]["namespace"], selector) if selector else []


def _full_name(service: Object) -> str:
    return "{name}.{namespace}.svc.".format(**service["metadata"]) + _DOMAIN


def _names(service: Object, namespace: str) -> Iterator[str]:
    """Every spelling of a Service's name in a pod of the namespace."""
    full = _full_name(service)
    yield full
    yield from (
        full.removesuffix(f".{domain}")
        for domain in search(namespace)
        if full.endswith(f".{domain}")
    )


def _headless(service: Object) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def _own(service: Object) -> list[str]:
    """The address of a Service; a headless one has none, nor has an ExternalName."""
    address = service["spec"].get("clusterIP", "None")
    return [] if address == "None" else [address]


def _balancers(service: Object) -> list[dict[str, str]]:
    return list(service.get("status", {}).get("loadBalancer", {}).get("ingress", []))
