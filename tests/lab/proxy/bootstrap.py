"""The configuration with which a proxy starts, before istiod has said anything."""

from __future__ import annotations

from typing import Any

from lab.objects.names import Place
from lab.objects.pod import Pod
from lab.proxy.discovery import SOCKET
from lab.proxy.xds import CLUSTER, SOURCE

ADMIN_PORT = 15000
READY_PORT = 15021  # of Envoy, for the probe

# As pilot-agent starts Envoy, so that a log line of a proxy looks as on a cluster.
LOG_FORMAT = "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t"

# Without a limit Envoy warns at every start; Istio sets this one.
_OVERLOAD = {
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typedConfig": {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
        "downstream_connections.v3.DownstreamConnectionsConfig",
        "maxActiveDownstreamConnections": 2147483647,
    },
}
_HCM = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
    "HttpConnectionManager"
)
_RESOLVER = (
    "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def bootstrap(pod: Pod, dns: Place) -> dict[str, Any]:
    """Envoy's bootstrap for a pod: its listeners and clusters come from the lab.

    Names are those that the server at `dns` knows, and connections come from the pod's address.

    As on a cluster, two listeners and their clusters are there from the start, for Prometheus and
    for the kubelet's probe, which Envoy's own `/ready` answers in pilot-agent's place.
    """
    service = pod.labels.get("app", pod.name)
    admin = _address(pod.address, ADMIN_PORT)
    source = _address(pod.address, 0)["socketAddress"]
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
        # A cluster that names another source, as those to the application do, keeps it.
        "clusterManager": {"upstreamBindConfig": {"sourceAddress": source}},
        "overloadManager": {"resourceMonitors": [_OVERLOAD]},
        # As Istio has it: `runtime_modify` of the admin interface writes into this layer.
        "layeredRuntime": {"layers": [{"name": "admin", "adminLayer": {}}]},
        "dynamicResources": {
            "cdsConfig": SOURCE,
            "ldsConfig": SOURCE,
        },
        "staticResources": {
            "clusters": [
                _cluster("prometheus_stats", admin),
                _cluster("agent", admin),
                # On a busy machine the lab may take a moment to accept; what Envoy fetches only
                # once, it would ask for no second time.
                _cluster(CLUSTER, {"pipe": {"path": SOCKET}}, "20s"),
            ],
            "listeners": [
                _listener(pod, 15090, "stats", "/stats/prometheus", "prometheus_stats"),
                _listener(pod, READY_PORT, "agent", "/healthz/ready", "agent", "/ready"),
            ],
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socketAddress": {"address": host, "portValue": port}}


def _cluster(name: str, address: dict[str, Any], timeout: str = "0.25s") -> dict[str, Any]:
    endpoint = {"lbEndpoints": [{"endpoint": {"address": address}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connectTimeout": timeout,
        "loadAssignment": {"clusterName": name, "endpoints": [endpoint]},
    }


def _listener(
    pod: Pod,
    port: int,
    stats: str,
    prefix: str,
    cluster: str,
    rewrite: str | None = None,
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
        "statPrefix": f"0.0.0.0_{port}",
        "address": _address(pod.address, port),
        "filterChains": [{"filters": [{"name": name, "typedConfig": manager}]}],
    }
