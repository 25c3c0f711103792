"""Takes down one state of the cluster: its objects as the lab needs them, and each proxy's xDS.

Configuration comes from istiod's own dump, which shows what it sent, also where a proxy rejects
it; private keys are redacted there, and of Secrets only the names are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cluster.recording.asking import Object, ask_istiod, get
from cluster.recording.settling import has_proxy, is_running, name

SYSTEM = frozenset({"kube-system", "kube-public", "kube-node-lease"})

# The part of istiod's dump, the list in it, and the way to a resource.
_PARTS = {
    "clusters": ("ClustersConfigDump", "dynamicActiveClusters", ("cluster",)),
    "endpoints": ("EndpointsConfigDump", "dynamicEndpointConfigs", ("endpointConfig",)),
    "listeners": ("ListenersConfigDump", "dynamicListeners", ("activeState", "listener")),
    "extensions": ("EcdsConfigDump", "ecdsFilters", ("ecdsFilter",)),
    "routes": ("RoutesConfigDump", "dynamicRouteConfigs", ("routeConfig",)),
}
BOOTSTRAP = "/etc/istio/proxy/envoy-rev.json"
"""Where a proxy has its bootstrap."""

_FROM_BOOTSTRAP = ("layered_runtime", "stats_config", "stats_eviction_interval")
_OWN_CONFIG = "proxy.istio.io/config"
"""The annotation by which a pod's bootstrap may differ from all others'."""

_DNS_PROXY = {"name": "ISTIO_META_DNS_CAPTURE", "value": "true"}
"""The variable by which pilot-agent answers a pod's questions for names."""

_CERTIFICATES = frozenset({"istio-ca-root-cert", "istio-ca-crl", "kube-root-ca.crt"})
"""ConfigMaps that istiod and Kubernetes fill anew on each cluster; a replay makes its own."""


def state(*, proxies: bool = True) -> dict[str, Any]:
    """`objects` of the state, and by POD.NAMESPACE what each proxy was sent as `proxies`.

    Where pilot-agent answers for names, `names` among it are those that are no Services.
    `bootstraps` are those of proxies that have a configuration of their own. Without `proxies`,
    none of them is asked for.
    """
    pods = get("pods")
    mounted = {(p["metadata"]["namespace"], name) for p in pods for name in _config_maps(p)}
    objects = [pruned(pod) for pod in pods if not _is_system(pod)]
    objects += [pruned(item) for item in get("services") if not _is_system(item)]
    objects += [
        pruned(item)
        for item in get("configmaps")
        if (item["metadata"]["namespace"], item["metadata"]["name"]) in mounted
    ]
    running = [pod for pod in pods if proxies and has_proxy(pod) and is_running(pod)]
    own = [pod for pod in running if _OWN_CONFIG in pod["metadata"].get("annotations", {})]
    sent = {name(pod): resources(name(pod)) for pod in running}
    for proxy in map(name, filter(has_dns_proxy, running)):
        sent[proxy]["names"] = names(proxy)
    return {
        "objects": objects,
        "proxies": sent,
        "bootstraps": {name(pod): _bootstrap(pod) for pod in own},
    }


def of_bootstrap(text: str) -> dict[str, Any]:
    """What a bootstrap has, and a replay must have too."""
    whole = json.loads(text)
    return {name: whole[name] for name in _FROM_BOOTSTRAP if name in whole}


def _bootstrap(pod: Object) -> dict[str, Any]:
    """That of a pod, which is asked for it once."""
    kept = Path(os.environ["RECORDING_FOLDER"]) / f"bootstrap-{pod['metadata']['uid']}.json"
    if not kept.exists():
        words = ["-n", pod["metadata"]["namespace"], "exec", pod["metadata"]["name"]]
        command = ["kubectl", *words, "-c", "istio-proxy", "--", "cat", BOOTSTRAP]
        done = subprocess.run(command, capture_output=True, check=True)
        kept.write_bytes(done.stdout)
    return of_bootstrap(kept.read_text())


def resources(proxy: str) -> dict[str, Any]:
    """What istiod sent to one proxy, by kind and sorted by name; `secrets` are names alone."""
    dump = ask_istiod(f"config_dump?proxyID={proxy}&include_eds=true")
    parts = {part["@type"].rpartition(".")[2]: part for part in dump["configs"]}
    found: dict[str, Any] = {}
    for kind, (part, items, way) in _PARTS.items():
        found[kind] = []
        for item in parts.get(part, {}).get(items, []):
            for step in way:
                item = item[step]
            found[kind].append({key: value for key, value in item.items() if key != "@type"})
        found[kind].sort(key=lambda one: str(one.get("name", one.get("clusterName"))))
    sent = parts.get("SecretsConfigDump", {}).get("dynamicActiveSecrets", [])
    names = {item["secret"]["name"] for item in sent} - {"default", "ROOTCA"}
    found["secrets"] = sorted(names)
    return in_use(found)


def has_dns_proxy(pod: Object) -> bool:
    containers = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return any(_DNS_PROXY in container.get("env", []) for container in containers)


def names(proxy: str) -> list[dict[str, Any]]:
    """The names that pilot-agent answers for itself, each with its addresses.

    Those of Services are as the cluster's DNS has them, and left out.
    """
    table = ask_istiod(f"ndsz?proxyID={proxy}")["configs"][0].get("table", {})
    return [
        {"name": host, "addresses": sorted(known["ips"])}
        for host, known in sorted(table.items())
        if known["registry"] != "Kubernetes"
    ]


def in_use(found: dict[str, Any]) -> dict[str, Any]:
    """What a proxy was sent, without routes and secrets of listeners that it was sent before.

    It asks for those until it has drained the old listener, 45 seconds with Istio: whether they
    are in a dump depends on the moment.
    """
    routes, secrets = set(), set()
    left: list[Any] = [found["listeners"], found["clusters"]]
    while left:
        inner = left.pop()
        if isinstance(inner, dict):
            routes.add(inner.get("routeConfigName"))
            secrets.add(inner.get("name") if "sdsConfig" in inner else None)
            left += inner.values()
        elif isinstance(inner, list):
            left += inner
    return found | {
        "routes": [route for route in found["routes"] if route["name"] in routes],
        "secrets": [name for name in found["secrets"] if name in secrets],
    }


def pruned(item: Object) -> Object:
    """An object without what the API server, controllers and the injector add for themselves."""
    metadata, kind = item["metadata"], item["kind"]
    kept = {
        key: metadata[key]
        for key in ("name", "namespace", "labels", "annotations")
        if key in metadata
    }
    kept["annotations"] = {
        key: value
        for key, value in kept.get("annotations", {}).items()
        if key.endswith("istio.io/config") or key.partition("/")[0].endswith("sidecar.istio.io")
    }
    if kind == "Pod":
        owners = metadata.get("ownerReferences", [])[:1]
        kept["ownerReferences"] = [{"kind": o["kind"], "name": o["name"]} for o in owners]
    head = {"apiVersion": item["apiVersion"], "kind": kind, "metadata": kept}
    return head | _CONTENTS[kind](item)


def _pod(pod: Object) -> Object:
    spec, status = pod["spec"], pod["status"]
    volumes = [
        {key: volume[key] for key in ("name", "configMap", "secret") if key in volume}
        for volume in spec.get("volumes", [])
        if "secret" in volume or _config_map_of(volume)
    ]
    kept = {volume["name"] for volume in volumes}
    lists = {
        key: [_container(one, kept) for one in spec[key]]
        for key in ("initContainers", "containers")
        if key in spec
    }
    addresses = {key: status[key] for key in ("podIP", "hostIP") if key in status}
    return {
        "spec": lists | {"serviceAccountName": spec["serviceAccountName"], "volumes": volumes},
        "status": {"phase": status["phase"], **addresses},
    }


def _container(container: dict[str, Any], volumes: set[str]) -> dict[str, Any]:
    keys = ("name", "image", "command", "args", "ports", "restartPolicy")
    kept = {key: container[key] for key in keys if key in container}
    if container["name"] != "istio-proxy" and "env" in container:
        kept["env"] = container["env"]
    mounts = [one for one in container.get("volumeMounts", []) if one["name"] in volumes]
    return kept | ({"volumeMounts": mounts} if mounts else {})


def _service(service: Object) -> Object:
    spec = service["spec"]
    keys = ("type", "clusterIP", "externalName", "externalTrafficPolicy", "ports", "selector")
    return {
        "spec": {key: spec[key] for key in keys if key in spec},
        "status": {"loadBalancer": service.get("status", {}).get("loadBalancer", {})},
    }


def _config_map(item: Object) -> Object:
    return {"data": item.get("data", {})}


_CONTENTS = {"Pod": _pod, "Service": _service, "ConfigMap": _config_map}


def _config_maps(pod: Object) -> list[str]:
    return [name for volume in pod["spec"].get("volumes", []) if (name := _config_map_of(volume))]


def _config_map_of(volume: dict[str, Any]) -> str:
    """The ConfigMap that a volume shows; nothing if it shows none, or certificates."""
    name = str(volume.get("configMap", {}).get("name", ""))
    return "" if name in _CERTIFICATES else name


def _is_system(item: Object) -> bool:
    return item["metadata"]["namespace"] in SYSTEM
