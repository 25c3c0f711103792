"""How `kubectl get` prints objects: tables, YAML, JSON, names and JSONPath."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import yaml
from jsonpath_ng.ext import parser as jsonpath

from lab.cluster import key_of
from lab.errors import LabError
from lab.kinds import resource
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
    columns = _NAME | _COLUMNS.get(found[0]["kind"], {})
    if output == "wide":
        columns |= _WIDE.get(found[0]["kind"], {})
    return _table(found, (_NAMESPACE if namespaces else {}) | columns)


def _jsonpath(template: str, value: Any) -> str:
    """A template such as `{.status.podIP}`: text, and expressions in braces."""

    def expand(match: re.Match[str]) -> str:
        text = match.group(1).strip()
        if text.startswith('"'):
            return str(json.loads(text))
        matches = jsonpath.parse("$" + text).find(value)
        return " ".join(
            m.value if isinstance(m.value, str) else json.dumps(m.value) for m in matches
        )

    return re.sub(r"\{([^}]*)\}", expand, template)


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

# kubectl's columns but for age and restarts, which mean nothing here.
_COLUMNS: dict[str, dict[str, Column]] = {
    "Pod": {
        "READY": lambda item: "{0}/{0}".format(len(item["spec"]["containers"])),
        "STATUS": lambda item: item["status"]["phase"],
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
    "VirtualService": {
        "GATEWAYS": lambda item: json.dumps(item["spec"].get("gateways", [])),
        "HOSTS": lambda item: json.dumps(item["spec"].get("hosts", [])),
    },
}

_WIDE: dict[str, dict[str, Column]] = {"Pod": {"IP": lambda item: item["status"]["podIP"]}}
