"""Fits istiod's xDS to proxies on loopback.

What istiod says stays as it is, with three changes. A listener on all addresses listens on its
pod's address. What a proxy would fetch from istiod over ADS it fetches over REST, one resource at a
time (module `discovery`). And where iptables would redirect a connection to a sidecar, the sidecar
learns in another way where it was to go:

- Outbound, a PROXY header in front says so (module `network`).
- Inbound, `virtualInbound` listens on each port of the pod itself, and passes on to the application
  on an address of its own, by the filter state that ORIGINAL_DST clusters ask first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from lab.files.recording import Resources, resource_name
from lab.objects.pod import Pod
from lab.proxy.discovery import Key

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_PROXY_PROTOCOL = {
    "name": "envoy.filters.listener.proxy_protocol",
    "typedConfig": {"@type": f"{_FILTERS}.listener.proxy_protocol.v3.ProxyProtocol"},
}
_ORIGINAL_DST = "envoy.filters.listener.original_dst"
_FILE = "file-root:"  # how the name of a secret begins that pilot-agent makes of a file
_INBOUND, _OUTBOUND = "virtualInbound", "virtualOutbound"

_TYPES = {
    "listeners": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "routes": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "endpoints": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "extensions": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
    "secrets": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
}

# What a proxy asks for one by one, and how it calls that.
_ONE_BY_ONE = {"endpoints": "endpoints", "routes": "routes", "extensions": "extension_configs"}

CLUSTER = "xds-grpc"
"""The cluster of a proxy's bootstrap from which it fetches; on a cluster, the way to istiod."""


def _source(refresh_delay: str) -> dict[str, Any]:
    """From where a proxy fetches; as with istiod, it waits for what it does not get."""
    return {
        "apiConfigSource": {
            "apiType": "REST",
            "transportApiVersion": "V3",
            "clusterNames": [CLUSTER],
            "refreshDelay": refresh_delay,
            "requestTimeout": "86400s",
        },
        "resourceApiVersion": "V3",
        "initialFetchTimeout": "0s",
    }


SOURCE = _source("0.005s")
"""Of what may change: once Envoy has been answered, it asks again, and waits for what is new."""
LASTING = _source("86400s")
"""Of what stays the same: in each request Envoy says of itself what takes longest to answer it."""


@dataclass(frozen=True)
class Fitted:
    """A recorded resource, the JSON that its proxy is served for it, and the secrets it asks for.

    To make that JSON takes long, and most resources stay from one recorded state to the next.
    """

    resource: dict[str, Any]
    text: str
    asked: set[str]


def responses(
    configured: Resources,
    identity: list[dict[str, Any]],
    pod: Pod,
    known: dict[int, Fitted] | None = None,
    lasting: Collection[Key] = (),
) -> dict[Key, str]:
    """What one proxy is served: DiscoveryResponses, with digests of their content as versions.

    `identity` are the secrets that pilot-agent would give; those of files, only if they are asked
    for. A Secret of the cluster that is not there is answered with nothing, as istiod does: then a
    listener that needs it opens, and the connections to it are reset. `known` keeps what is made
    here for the next time: a resource that stays is the same object. What is `lasting` a proxy
    fetches only once.
    """
    known = {} if known is None else known

    def fitted(kind: str) -> list[Fitted]:
        for item in configured.get(kind, []):
            if id(item) not in known:
                known[id(item)] = _fitted(kind, item, pod, lasting)
        return [known[id(item)] for item in configured.get(kind, [])]

    clusters, listeners = fitted("clusters"), fitted("listeners")
    out = {
        ("clusters", ""): _response([item.text for item in clusters]),
        ("listeners", ""): _response([item.text for item in listeners]),
    }
    for kind, called in _ONE_BY_ONE.items():
        for one in fitted(kind):
            out[called, resource_name(one.resource)] = _response([one.text])
    asked = set[str]().union(*(item.asked for item in [*clusters, *listeners]))
    for name in asked:
        out["secrets", name] = _response([])
    for secret in [*identity, *configured["secrets"]]:
        if not secret["name"].startswith(_FILE) or secret["name"] in asked:
            out["secrets", secret["name"]] = _response([_typed("secrets", secret)])
    return out


def _response(typed: list[str]) -> str:
    """A response with these resources, each as JSON."""
    content = f"[{', '.join(typed)}]"
    version = hashlib.sha256(content.encode()).hexdigest()[:16]
    return f'{{"version_info": "{version}", "resources": {content}}}'


def lasting_keys(given: Iterable[Resources]) -> set[Key]:
    """The endpoints and routes that a proxy gets unchanged as long as it is given them at all.

    What stays from one recorded state to the next is the same object in both.
    """
    found: dict[Key, set[int]] = {}
    for resources in given:
        for kind in ("endpoints", "routes"):
            for item in resources.get(kind, []):
                found.setdefault((kind, resource_name(item)), set()).add(id(item))
    return {key for key, objects in found.items() if len(objects) == 1}


def _fitted(kind: str, resource: dict[str, Any], pod: Pod, lasting: Collection[Key]) -> Fitted:
    asked: set[str] = set()
    changed = resource
    if kind == "clusters":
        changed = _cluster(resource, lasting, asked)
    elif kind == "listeners":
        changed = _listener(resource, pod, lasting, asked)
    return Fitted(resource, _typed(kind, changed), asked)


def _typed(kind: str, resource: dict[str, Any]) -> str:
    return json.dumps({"@type": _TYPES[kind], **resource})


def _listener(
    listener: dict[str, Any], pod: Pod, lasting: Collection[Key], asked: set[str]
) -> dict[str, Any]:
    listener = _fetching(listener, lasting, asked)
    for place in [listener, *listener.get("additionalAddresses", [])]:
        socket = place["address"].get("socketAddress", {})
        if socket.get("address") in ("0.0.0.0", "::") and listener.get("bindToPort", True):  # noqa: S104
            socket["address"] = pod.address
    if listener["name"] == _OUTBOUND:
        listener["listenerFilters"] = [_PROXY_PROTOCOL, *listener.get("listenerFilters", [])]
    if listener["name"] == _INBOUND:
        _take_in(listener, pod)
    return listener


def _take_in(listener: dict[str, Any], pod: Pod) -> None:
    """Lets a sidecar answer on its pod's ports, and reach the application behind it."""
    filters = listener["listenerFilters"]
    listener["listenerFilters"] = [item for item in filters if item["name"] != _ORIGINAL_DST]
    listener["additionalAddresses"] = [
        {"address": {"socketAddress": {"address": pod.address, "portValue": port}}}
        for port in sorted(_ports(listener, pod))
    ]
    destination = {
        "@type": f"{_FILTERS}.network.set_filter_state.v3.Config",
        "onNewConnection": [
            {
                "objectKey": "envoy.network.transport_socket.original_dst_address",
                "formatString": {
                    "textFormatSource": {
                        "inlineString": f"{pod.own_address}:%DOWNSTREAM_LOCAL_PORT%"
                    }
                },
            }
        ],
    }
    state = {"name": "envoy.filters.network.set_filter_state", "typedConfig": destination}
    for chain in listener["filterChains"]:
        chain["filters"] = [state, *chain["filters"]]


def _ports(listener: dict[str, Any], pod: Pod) -> set[int]:
    """The pod's ports: those of its Services and those that its containers name."""
    matches = (chain.get("filterChainMatch", {}) for chain in listener["filterChains"])
    own = listener["address"]["socketAddress"]["portValue"]
    return ({match.get("destinationPort", own) for match in matches} | pod.tcp_ports()) - {own}


def _cluster(cluster: dict[str, Any], lasting: Collection[Key], asked: set[str]) -> dict[str, Any]:
    cluster = _fetching(cluster, lasting, asked)
    cluster.pop("typedDnsResolverConfig", None)  # what the bootstrap says of DNS applies to all
    if cluster.get("type") == "EDS":
        eds = cluster["edsClusterConfig"]
        eds["edsConfig"] = _from("endpoints", eds.get("serviceName", cluster["name"]), lasting)
    return cluster


def _from(kind: str, name: str, lasting: Collection[Key]) -> dict[str, Any]:
    return LASTING if (kind, name) in lasting else SOURCE


def _fetching(
    resource: dict[str, Any], lasting: Collection[Key], asked: set[str]
) -> dict[str, Any]:
    """A copy that fetches its routes and secrets from the lab.

    The names of the cluster's Secrets and of files that it asks for are added to `asked`.
    """

    def fetch(node: dict[str, Any]) -> dict[str, Any]:
        if "sdsConfig" in node:
            node["sdsConfig"] = _from("secrets", node["name"], lasting)
            if "://" in node["name"] or node["name"].startswith(_FILE):
                asked.add(node["name"])
        if "routeConfigName" in node:
            node["configSource"] = _from("routes", node["routeConfigName"], lasting)
        if "ads" in node.get("configSource", {}):  # of a filter that an EnvoyFilter lets discover
            given = node["configSource"].get("initialFetchTimeout", "15s")
            node["configSource"] = SOURCE | {"initialFetchTimeout": given}
        return node

    return dict(json.loads(json.dumps(resource), object_hook=fetch))
