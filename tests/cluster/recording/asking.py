"""Asks the API server, as the administrator, and istiod, each over a connection that stays open.

A program such as kubectl costs a tenth of a second of CPU and more each time that it starts.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
from typing import Any

from cluster.addresses import API_PORT, NODE
from cluster.tls import speaking_as

Object = dict[str, Any]

PORT = 25014
"""Where the recorder has forwarded istiod's port 15014 to, on the client's loopback."""

_TIMEOUT = 30.0  # seconds
_KINDS = {
    "pods": ("v1", "Pod", "/api/v1/pods"),
    "services": ("v1", "Service", "/api/v1/services"),
    "configmaps": ("v1", "ConfigMap", "/api/v1/configmaps"),
    "deployments": ("apps/v1", "Deployment", "/apis/apps/v1/deployments"),
    "gateways": (
        "gateway.networking.k8s.io/v1",
        "Gateway",
        "/apis/gateway.networking.k8s.io/v1/gateways",
    ),
}


def get(kind: str) -> list[Object]:
    """The objects of all namespaces, as `kubectl get` gives them; of an unknown kind none."""
    version, name, path = _KINDS[kind]
    head = {"apiVersion": version, "kind": name}  # which a list tells once
    with contextlib.suppress(FileNotFoundError):
        return [head | item for item in _ask(_api(), path)["items"]]
    return []


def ask_istiod(path: str) -> Any:
    """One of istiod's debug pages."""
    return _ask(_istiod(), f"/debug/{path}")


def _ask(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status == http.HTTPStatus.NOT_FOUND:
        raise FileNotFoundError(path)
    if answer.status != http.HTTPStatus.OK:
        raise OSError(f"{path}: {answer.status} {text.decode(errors='replace')}")
    return json.loads(text)


@functools.cache
def _api() -> http.client.HTTPConnection:
    tls = speaking_as("admin")
    return http.client.HTTPSConnection(NODE, API_PORT, timeout=_TIMEOUT, context=tls)


@functools.cache
def _istiod() -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", PORT, timeout=_TIMEOUT)
