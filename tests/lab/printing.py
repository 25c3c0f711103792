"""How `kubectl get` prints objects: tables, YAML, JSON, names and JSONPath."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import yaml
from jsonpath_ng.ext import parser as jsonpath

from lab.cluster import Pod, key_of
from lab.errors import LabError
from lab.kinds import GATEWAY_API, resource
from lab.manifests import Object

Column = Callable[[Object], Any]


def formatted(output: str, shown: Any, found: list[Object], namespaces: bool) -> str:
    """The text for `-o output`.

    `shown` is one object or a List of them, `found` the objects; `namespaces` adds their column to
    a table. Raises LabError for a format that the lab does not print.
    """
    if output == "yaml":
        return str(yaml.safe_dump(shown, sort_keys=True))
    if output == "json":
        return json.dumps(shown, indent=4, sort_keys=True) + "\n"
    if output == "name":
        return "".join(f"{resource(key_of(item))}\n" for item in found)
    if output.startswith("jsonpath="):
        return _jsonpath(output.removeprefix("jsonpath="), shown)
    if output not in ("", "wide"):
        raise LabError(f"the lab does not play: kubectl get -o {output}")
    key = key_of(found[0])
    own = _GATEWAY_API_COLUMNS if key.group == GATEWAY_API else _COLUMNS
    columns = _NAME | own.get(key.kind, {})
    if output == "wide":
        columns |= _WIDE.get(found[0]["kind"], {})
    return _table(found, (_NAMESPACE if namespaces else {}) | columns)


def _jsonpath(template: str, value: Any) -> str:
    """A template such as `{.status.podIP}`: text, and expressions in braces."""

    def expand(match: re.Match[str]) -> str:
        text = match.group(1).strip()
        if text.startswith('"'):
            return str(json.loads(text))
        matches = path_of(text).find(value)
        return " ".join(
            m.value if isinstance(m.value, str) else json.dumps(m.value) for m in matches
        )

    return re.sub(r"\{([^}]*)\}", expand, template)


def path_of(text: str) -> Any:
    """A JSONPath such as `.status.podIP`, with or without braces."""
    return jsonpath.parse("$" + text.removeprefix("{").removesuffix("}"))


def _table(found: list[Object], columns: dict[str, Column]) -> str:
    rows = [list(columns), *([str(cell(item)) for cell in columns.values()] for item in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"


def _balancer(service: Object) -> str:
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return ",".join(place["ip"] for place in ingress) or "<none>"


def _ports(service: Object) -> str:
    ports = service["spec"].get("ports", [])
    return ",".join(f"{port['port']}/{port['protocol']}" for port in ports)


_NAME: dict[str, Column] = {"NAME": lambda item: item["metadata"]["name"]}
_NAMESPACE: dict[str, Column] = {"NAMESPACE": lambda item: item["metadata"].get("namespace", "")}


def _condition(name: str) -> Column:
    """A column with the status of a condition; nothing where it has none."""

    def status(item: Object) -> str:
        conditions = item.get("status", {}).get("conditions", [])
        return next((str(c["status"]) for c in conditions if c["type"] == name), "")

    return status


def _addresses(gateway: Object) -> str:
    return ",".join(place["value"] for place in gateway.get("status", {}).get("addresses", []))


# kubectl's columns but for age and restarts, which mean nothing here.
_COLUMNS: dict[str, dict[str, Column]] = {
    "Pod": {
        "READY": lambda item: "{0}/{0}".format(len(Pod(item).containers)),
        "STATUS": lambda item: "Terminating" if Pod(item).terminating else item["status"]["phase"],
    },
    "Deployment": {
        "READY": lambda item: "{0}/{0}".format(item["spec"].get("replicas", 1)),
    },
    "Service": {
        "TYPE": lambda item: item["spec"].get("type", "ClusterIP"),
        "CLUSTER-IP": lambda item: item["spec"].get("clusterIP", "<none>"),
        "EXTERNAL-IP": _balancer,
        "PORT(S)": _ports,
    },
    "Secret": {
        "TYPE": lambda item: item["type"],
        "DATA": lambda item: len(item.get("data", {})),
    },
    "VirtualService": {
        "GATEWAYS": lambda item: json.dumps(item["spec"].get("gateways", [])),
        "HOSTS": lambda item: json.dumps(item["spec"].get("hosts", [])),
    },
}

_GATEWAY_API_COLUMNS: dict[str, dict[str, Column]] = {
    "Gateway": {
        "CLASS": lambda item: item["spec"]["gatewayClassName"],
        "ADDRESS": _addresses,
        "PROGRAMMED": _condition("Programmed"),
    },
    "GatewayClass": {
        "CONTROLLER": lambda item: item["spec"]["controllerName"],
        "ACCEPTED": _condition("Accepted"),
    },
    "HTTPRoute": {"HOSTNAMES": lambda item: json.dumps(item["spec"].get("hostnames", []))},
    "ListenerSet": {
        "ACCEPTED": _condition("Accepted"),
        "PROGRAMMED": _condition("Programmed"),
    },
}

_WIDE: dict[str, dict[str, Column]] = {"Pod": {"IP": lambda item: item["status"]["podIP"]}}
