"""Plays Istio's sidecar injector: adds what its webhook adds to a Pod, as far as the lab reads it.

As on a cluster of Kubernetes 1.33 or later, the proxy is a native sidecar: an init container that
stays (`ENABLE_NATIVE_SIDECARS` is `auto` since Istio 1.27).
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from lab.manifests import Object
from lab.versions import ISTIO

IMAGE = f"docker.io/istio/proxyv2:{ISTIO.release}"


def inject(pod: Object, namespace: Object | None) -> None:
    """Adds the sidecar to a Pod, if its labels and those of its namespace ask for one."""
    metadata, spec = pod["metadata"], pod["spec"]
    if not _wanted(metadata["labels"], _labels(namespace)):
        return
    labels = metadata["labels"]
    app = labels.get("app.kubernetes.io/name", labels.get("app", _owner(metadata)))
    metadata["labels"] = {
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": app,
        "service.istio.io/canonical-revision": labels.get("version", "latest"),
        **labels,
    }
    environment = _environment(metadata["annotations"])
    if metadata["annotations"].get("inject.istio.io/templates") == "gateway":
        _fill_gateway(spec, environment)
        return
    proxy = {
        "name": "istio-proxy",
        "image": IMAGE,
        "args": ["proxy", "sidecar"],
        "env": environment,
    }
    if metadata["annotations"].get("sidecar.istio.io/nativeSidecar") == "false":
        spec["containers"] = [*spec["containers"], proxy]
    else:
        proxy["restartPolicy"] = "Always"
        spec["initContainers"] = [*spec.get("initContainers", []), proxy]


def _fill_gateway(spec: dict[str, Any], environment: list[dict[str, str]]) -> None:
    """Completes the container istio-proxy of a gateway, whose image is `auto`."""
    for container in spec["containers"]:
        if container["name"] == "istio-proxy":
            container |= {"image": IMAGE, "args": ["proxy", "router"]}
            unprivileged = {"name": "ISTIO_META_UNPRIVILEGED_POD", "value": "true"}
            container["env"] = [*container.get("env", []), unprivileged, *environment]


def _wanted(labels: dict[str, str], namespace: dict[str, str]) -> bool:
    """Istio's rule: the namespace may forbid it, else the pod decides, else the namespace asks."""
    if namespace.get("istio-injection") == "disabled":
        return False
    inject = labels.get("sidecar.istio.io/inject")
    if inject is not None:
        return inject == "true"
    return namespace.get("istio-injection") == "enabled" or "istio.io/rev" in namespace


def _labels(item: Object | None) -> dict[str, str]:
    return dict(item["metadata"].get("labels", {})) if item else {}


def _owner(metadata: dict[str, Any]) -> str:
    return str(metadata["ownerReferences"][0]["name"])


def _environment(annotations: dict[str, str]) -> list[dict[str, str]]:
    """What the annotation `proxy.istio.io/config` gives the proxy, and each `proxyMetadata`."""
    config = yaml.safe_load(annotations.get("proxy.istio.io/config", "")) or {}
    variables = {"PROXY_CONFIG": json.dumps(config), **config.get("proxyMetadata", {})}
    return [{"name": name, "value": str(value)} for name, value in variables.items()]
