"""The configuration with which a proxy starts, before istiod has said anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.cluster import Pod
from lab.names import Place

ADMIN_PORT = 15000

_HCM = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)
_RESOLVER = (
    "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def bootstrap(pod: Pod, folder: Path, dns: Place) -> dict[str, Any]:
    """Envoy's bootstrap for a pod: its listeners and clusters come from files in `folder`.

    Names are those that the server at `dns` knows, and connections come from the pod's address.

    As on a cluster, two listeners and their clusters are there from the start, for Prometheus and
    for the kubelet's probe. pilot-agent, which would answer the probe, is missing: Envoy's own
    `/ready` stands in.
    """
    service = pod.labels.get("app", pod.name)
    admin = _address(pod.address, ADMIN_PORT)
    return {
        "node": {
            "id": f"{pod.proxy_type}~{pod.address}~{pod.name}.{pod.namespace}"
            f"~{pod.namespace}.svc.cluster.local",
            "cluster": f"{service}.{pod.namespace}",
        },
        "admin": {"address": admin},
        "typedDnsResolverConfig": {
            "name": "envoy.network.dns_resolver.cares",
            "typedConfig": {"@type": _RESOLVER, "resolvers": [_address(*dns)]},
        },
        "clusterManager": {
            "upstreamBindConfig": {"sourceAddress": {"address": pod.address, "portValue": 0}}
        },
        "dynamicResources": {
            "cdsConfig": _file(folder, "clusters.json"),
            "ldsConfig": _file(folder, "listeners.json"),
        },
        "staticResources": {
            "clusters": [_cluster("prometheus_stats", admin), _cluster("agent", admin)],
            "listeners": [
                _listener(pod.address, 15090, "stats", "/stats/prometheus", "prometheus_stats"),
                _listener(pod.address, 15021, "agent", "/healthz/ready", "agent", "/ready"),
            ],
        },
    }


def _file(folder: Path, name: str) -> dict[str, Any]:
    source = {"path": str(folder / name), "watchedDirectory": {"path": str(folder)}}
    return {"pathConfigSource": source, "resourceApiVersion": "V3"}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socketAddress": {"address": host, "portValue": port}}


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    endpoint = {"lbEndpoints": [{"endpoint": {"address": address}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connectTimeout": "0.25s",
        "loadAssignment": {"clusterName": name, "endpoints": [endpoint]},
    }


def _listener(
    host: str, port: int, stats: str, prefix: str, cluster: str, rewrite: str | None = None
) -> dict[str, Any]:
    action = {"cluster": cluster} | ({"prefixRewrite": rewrite} if rewrite else {})
    route = {"match": {"prefix": prefix}, "route": action}
    manager = {
        "@type": _HCM,
        "statPrefix": stats,
        "routeConfig": {"virtualHosts": [{"name": "backend", "domains": ["*"], "routes": [route]}]},
        "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": {"@type": _ROUTER}}],
    }
    name = "envoy.filters.network.http_connection_manager"
    return {
        "name": f"0.0.0.0_{port}",
        "address": _address(host, port),
        "filterChains": [{"filters": [{"name": name, "typedConfig": manager}]}],
    }
