"""Gives each Service of type LoadBalancer an address, as a cloud or MetalLB would.

Traffic to it needs nothing more: kube-proxy has rules for it, and the client outside a route.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from cluster.addresses import API, BALANCED
from cluster.tls import speaking_as

Key = tuple[str, str]  # namespace and name

_FIRST = 200  # of the addresses in the network
_PAUSE = 1.0  # seconds until the API server is asked again


class Balancer:
    """Which Service has which address."""

    def __init__(self) -> None:
        self._given: dict[Key, str] = {}
        self._free = [str(address) for address in ipaddress.ip_network(BALANCED)][_FIRST:-1]

    def decide(self, service: dict[str, Any], *, deleted: bool = False) -> str | None:
        """The address that a Service is to get, if it needs one and has none.

        An address that is free is given again, the lowest first.
        """
        key = service["metadata"]["namespace"], service["metadata"]["name"]
        if deleted or service["spec"].get("type") != "LoadBalancer":
            self._given.pop(key, None)
            return None
        has = service.get("status", {}).get("loadBalancer", {}).get("ingress")
        if has:
            self._given[key] = has[0]["ip"]
            return None
        taken = set(self._given.values()) - {self._given.get(key)}
        self._given[key] = next(address for address in self._free if address not in taken)
        return self._given[key]


class Api:
    """The API server, as the balancer may ask it."""

    def services(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each Service there is and each change of one, with what happened to it."""
        listed = json.load(self._ask("GET", "/api/v1/services"))
        # First those that have an address: it must not be given to another.
        for service in sorted(listed["items"], key=lambda s: not s["status"]["loadBalancer"]):
            yield "ADDED", service
        version = listed["metadata"]["resourceVersion"]
        for line in self._ask("GET", f"/api/v1/services?watch=1&resourceVersion={version}"):
            event = json.loads(line)
            yield event["type"], event["object"]

    def give(self, service: dict[str, Any], address: str) -> None:
        """Writes an address into the status of a Service."""
        meta = service["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}/status"
        self._ask("PATCH", path, {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}})

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 (the address is a constant)
            API + path,
            method=method,
            data=json.dumps(body).encode() if body else None,
            headers={"content-type": "application/merge-patch+json"},
        )
        return urllib.request.urlopen(request, context=speaking_as("balancer"), timeout=3600)  # noqa: S310


def main() -> None:
    """Watches Services for ever; what fails is told and tried again."""
    while True:
        balancer, api = Balancer(), Api()
        try:
            for kind, service in api.services():
                if kind not in ("ADDED", "MODIFIED", "DELETED"):
                    break  # the watch is too old: begin anew
                address = balancer.decide(service, deleted=kind == "DELETED")
                if address:
                    api.give(service, address)
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr, flush=True)
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
