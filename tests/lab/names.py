"""What names and addresses of Services mean, from the cluster's objects alone.

On a cluster CoreDNS answers for the names, and rules on every node lead an address of a Service to
one of its pods. Here `dns` answers for the names, and `curl` and `dig` go where `reach` says.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.cluster import Pod, pods_in, select
from lab.manifests import Object

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
    (https://github.com/kubernetes/dns/blob/master/docs/specification.md). The lab makes no other
    records: none for single pods and ports, none for Services of type ExternalName.
    """
    return {
        _full_name(service): addresses
        for service, pods in _services(snapshot)
        if (addresses := [pod.address for pod in pods] if _headless(service) else _own(service))
    }


def resolve(known: Zone, name: str, domains: list[str]) -> list[str]:
    """The addresses that a name means where these domains complete it, or none.

    In a pod they are those of `search`.
    """
    name = name.lower()
    tried = [*(f"{name}.{domain}" for domain in domains), name.rstrip(".")]
    return next((known[full] for full in tried if full in known), [])


def reach(
    snapshot: list[Object], protocol: str, namespace: str | None
) -> Iterator[tuple[Place, Place]]:
    """Each place of a Service, and the place of a pod to which it leads.

    As seen from a pod of the namespace; or, if it is None, from outside of the mesh, where there
    are the addresses of load balancers and nothing else. `protocol` is TCP or UDP.
    """
    for service, pods in _services(snapshot):
        hosts = [*_names(service, namespace), *_own(service)] if namespace else []
        hosts += [place["ip"] for place in _balancers(service)]
        for port in service["spec"].get("ports", []) if pods else []:
            if port["protocol"] == protocol:
                target = pods[0].port(port["targetPort"])
                # A headless Service is but a name for its pods: no rule translates its port.
                named = target if _headless(service) else port["port"]
                yield from (((host, named), (pods[0].address, target)) for host in hosts)


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
