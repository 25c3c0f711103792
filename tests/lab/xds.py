"""Fits istiod's xDS to proxies on loopback that read it from files.

What istiod says stays as it is, with two changes: a listener on all addresses listens on its pod's
address, and what a proxy would fetch from istiod over ADS it reads from a file instead, one file
for each route configuration, each cluster's endpoints and each secret (Envoy takes no more than one
in a file).
"""

from __future__ import annotations

import copy
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.recordings import Resources, digest_of

_TYPES = {
    "listeners": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "routes": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "endpoints": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "secrets": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
}


def files(resources: Resources, address: str, folder: Path) -> dict[Path, str]:
    """The files for one proxy, by path in `folder`, in the order in which they must be written.

    Each is a DiscoveryResponse whose version is a digest of its content.
    """
    out = _secrets(resources, folder)
    for resource in resources["endpoints"]:
        path = _path(folder, "endpoints", resource["clusterName"])
        out[path] = _response("endpoints", [resource])
    clusters = [_cluster(item, folder) for item in resources["clusters"]]
    out[folder / "clusters.json"] = _response("clusters", clusters)
    for resource in resources["routes"]:
        out[_path(folder, "routes", resource["name"])] = _response("routes", [resource])
    listeners = [_listener(item, address, folder) for item in resources["listeners"]]
    out[folder / "listeners.json"] = _response("listeners", listeners)
    return out


def _secrets(resources: Resources, folder: Path) -> dict[Path, str]:
    """A file for each Secret that istiod sends, and an empty one for each that it does not have.

    Without a file a listener would wait for the Secret without end. istiod says that there is none:
    then the listener opens, and the connections that need the Secret are reset. Envoy does the same
    when it rejects the empty file.
    """
    found = {resource["name"]: resource for resource in resources["secrets"]}
    out = {}
    for node in _nodes([resources["listeners"], resources["clusters"]], "sdsConfig"):
        name = node["name"]
        if name in found:
            out[_secret(folder, name)] = _response("secrets", [found[name]])
        elif "://" in name:  # others are pilot-agent's to give
            empty = {"version_info": digest_of(name)[:16], "resources": []}
            out[_secret(folder, name)] = json.dumps(empty)
    return out


def version(content: str) -> str:
    """The version that a proxy reports once it has taken this file."""
    return str(json.loads(content)["version_info"])


def _path(folder: Path, kind: str, name: str) -> Path:
    return folder / kind / f"{digest_of(name)[:16]}.json"


def _secret(folder: Path, name: str) -> Path:
    return folder / "secrets" / f"{urllib.parse.quote(name, safe='')}.json"


def _response(kind: str, resources: list[dict[str, Any]]) -> str:
    typed = [{"@type": _TYPES[kind], **resource} for resource in resources]
    return json.dumps({"version_info": digest_of(typed)[:16], "resources": typed})


def _listener(listener: dict[str, Any], address: str, folder: Path) -> dict[str, Any]:
    listener = copy.deepcopy(listener)
    for place in [listener, *listener.get("additionalAddresses", [])]:
        socket = place["address"].get("socketAddress", {})
        if socket.get("address") in ("0.0.0.0", "::"):  # noqa: S104
            socket["address"] = address
    for http in _nodes(listener, "routeConfigName"):
        path = _path(folder, "routes", http["routeConfigName"])
        http["configSource"] = _file_source(path)
    _read_secrets_from_files(listener, folder)
    return listener


def _cluster(cluster: dict[str, Any], folder: Path) -> dict[str, Any]:
    cluster = copy.deepcopy(cluster)
    _read_secrets_from_files(cluster, folder)
    cluster.pop("typedDnsResolverConfig", None)  # what the bootstrap says of DNS applies to all
    if cluster.get("type") != "EDS":
        return cluster
    eds = cluster["edsClusterConfig"]
    name = eds.get("serviceName", cluster["name"])
    eds["edsConfig"] = _file_source(_path(folder, "endpoints", name))
    return cluster


def _read_secrets_from_files(resource: dict[str, Any], folder: Path) -> None:
    for secret in _nodes(resource, "sdsConfig"):
        secret["sdsConfig"] = _file_source(_secret(folder, secret["name"]))


def _file_source(path: Path) -> dict[str, Any]:
    return {
        "pathConfigSource": {"path": str(path), "watchedDirectory": {"path": str(path.parent)}},
        "resourceApiVersion": "V3",
    }


def _nodes(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """Every mapping inside a value that has this key."""
    if isinstance(value, dict):
        if key in value:
            yield value
        for inner in value.values():
            yield from _nodes(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner, key)
