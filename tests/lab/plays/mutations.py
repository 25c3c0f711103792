"""Changes the values of manifests, one at a time: would a transcript notice?

Each value in the spec of each object of Istio and of the Gateway API becomes another, in a copy of
the example: another port, host, status, time, mode. Then the transcripts are played on a cluster
(`cluster.recording.mutating`). A change that no output shows is a value about which the chapter
proves nothing, unless Istio makes of it what it made before.

A play takes a minute, so a sample of an example's values stands for all: the few whose names have
the smallest SHA-256. So nobody chooses them, and they stay the same while other values change.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError
from lab.files import transcript
from lab.files.example import Example, find_all
from lab.files.manifests import Loader, read_yaml
from lab.files.recording import object_name
from lab.paths import RECORDINGS, ROOT
from lab.versions import ISTIO

ACCEPTED = ROOT / "tests" / "mutations.yaml"
"""The changes that no transcript need notice: by example, lists of `survivors` with a `reason`."""

TABLE = RECORDINGS / "mutations.json"
"""What `make mutate` found: for each example the outcomes of the `sample`, of how many `values`,
the `changes` by outcome, the `seconds` that all took, and the `digest` of what that depends on."""

SAMPLE = 3  # values of an example

# Not what istioctl installs Istio by: no example does that.
_GROUPS = re.compile(r"(?!install\.)[a-z.]*\.istio\.io/|gateway\.networking\.k8s\.io/")
_SHARE = re.compile(r"(weight|percent|percentage|percentage\.value)$", re.I)
_DURATION = re.compile(r"(\d+)((?:\.\d+)?(?:ms|s|m|h))")

# Mappings whose keys are values too, such as names of headers; and keys by which one is known not
# to be such a mapping, although it has the same name.
_NAMING = {"set", "add", "headers", "withoutHeaders", "queryParams"}
_NAMING |= {"labels", "matchLabels", "selector"}
_NAMED = {"request", "response", "matchLabels", "matchExpressions"}

# Words for which only some others may stand. Where kinds differ, the kind stands before the word.
_OTHER_WORDS = {
    # protocols of ports
    "HTTP": "TCP",
    "HTTP2": "TCP",
    "GRPC": "TCP",
    "TCP": "HTTP",
    "UDP": "TCP",
    "HTTPS": "TLS",
    "TLS": "HTTPS",
    # methods of requests
    "GET": "POST",
    "POST": "GET",
    # modes of TLS
    "SIMPLE": "PASSTHROUGH",
    "PASSTHROUGH": "SIMPLE",
    "MUTUAL": "SIMPLE",
    "DestinationRule SIMPLE": "DISABLE",
    "ISTIO_MUTUAL": "DISABLE",
    "DISABLE": "ISTIO_MUTUAL",
    "PeerAuthentication DISABLE": "STRICT",
    "STRICT": "PERMISSIVE",
    "PERMISSIVE": "STRICT",
    "Terminate": "Passthrough",
    "Passthrough": "Terminate",
    # actions of policies
    "ALLOW": "DENY",
    "DENY": "ALLOW",
    "AUDIT": "DENY",
    # services outside of the mesh
    "MESH_EXTERNAL": "MESH_INTERNAL",
    "MESH_INTERNAL": "MESH_EXTERNAL",
    "DNS": "NONE",
    "STATIC": "NONE",
    "NONE": "DNS",
    # load balancing
    "ROUND_ROBIN": "RANDOM",
    "RANDOM": "ROUND_ROBIN",
    "LEAST_REQUEST": "ROUND_ROBIN",
    # where a patch applies, and how
    "GATEWAY": "SIDECAR_OUTBOUND",
    "SIDECAR_OUTBOUND": "SIDECAR_INBOUND",
    "SIDECAR_INBOUND": "SIDECAR_OUTBOUND",
    "ANY": "SIDECAR_INBOUND",
    "LISTENER": "CLUSTER",
    "CLUSTER": "LISTENER",
    "FILTER_CHAIN": "LISTENER",
    "NETWORK_FILTER": "HTTP_FILTER",
    "HTTP_FILTER": "NETWORK_FILTER",
    "ROUTE_CONFIGURATION": "VIRTUAL_HOST",
    "VIRTUAL_HOST": "HTTP_ROUTE",
    "HTTP_ROUTE": "VIRTUAL_HOST",
    "ADD": "MERGE",
    "MERGE": "ADD",
    "REPLACE": "MERGE",
    "REMOVE": "MERGE",
    "INSERT_FIRST": "ADD",
    "INSERT_BEFORE": "ADD",
    "INSERT_AFTER": "ADD",
    # Envoy's own
    "STRICT_DNS": "STATIC",
    "LOGICAL_DNS": "STATIC",
    # conditions of retries
    "reset": "gateway-error",
    "reset-before-request": "gateway-error",
    "connect-failure": "gateway-error",
    # Gateway API
    "All": "Same",
    "Same": "All",
    "Exact": "PathPrefix",
    "PathPrefix": "Exact",
    "Hostname": "IPAddress",
    "IPAddress": "Hostname",
}


@dataclass(frozen=True)
class Mutation:
    """One value of a manifest, and the text that stands for it from `start` to `end` instead."""

    file: Path
    line: int
    object: str
    path: str
    old: str
    new: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """What it changes, such as `gateway.yaml Gateway shop/shop spec.servers[0].port.number`."""
        return f"{self.file.name} {self.object} {self.path}"

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}: {self.path}: {self.old} -> {self.new.strip()}"

    def apply(self, folder: Path) -> None:
        """Changes the copy of its file in a folder, and no other character of it."""
        text = self.file.read_text()
        (folder / self.file.name).write_text(text[: self.start] + self.new + text[self.end :])


class Outcome(Enum):
    """What became of a change."""

    NOTICED = "noticed"
    REFUSED = "refused"  # noticed, because the API server or a webhook did not take the object
    IDLE = "without effect"  # all is as recorded, and so is the configuration of each proxy
    SURVIVED = "not noticed"


Outcomes = dict[Mutation, Outcome]


def mutations(path: Path) -> Iterator[Mutation]:
    """One change for each value in the specs of a manifest, in order; the same ones every time."""
    text = path.read_text()
    nodes = [node for node in yaml.compose_all(text, Loader) if node.value]
    for node, (_, item) in zip(nodes, read_yaml(text, path), strict=True):
        if not _GROUPS.match(item["apiVersion"]):
            continue
        spec = next((value for key, value in node.value if key.value == "spec"), None)
        for place, scalar in _scalars(spec, "spec"):
            new = _other(scalar, place, item["kind"])
            if new is not None:
                start, end = scalar.start_mark, scalar.end_mark
                title, old = object_name(item), text[start.index : end.index].strip()
                line = start.line + 1
                yield Mutation(path, line, title, place, old, new, start.index, end.index)


def _scalars(node: yaml.Node | None, path: str) -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Each value below a node with its path; keys that are values have a `~` at the end of it."""
    if isinstance(node, yaml.ScalarNode):
        yield path, node
    elif isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            yield from _scalars(inner, f"{path}[{index}]")
    elif isinstance(node, yaml.MappingNode):
        names = path.rpartition(".")[2] in _NAMING
        names = names and not _NAMED & {key.value for key, _ in node.value}
        for key, value in node.value:
            inner = f"{path}.{key.value}"
            if names:
                yield f"{inner}~", key
            yield from _scalars(value, inner)


def _other(scalar: yaml.ScalarNode, path: str, kind: str) -> str | None:
    """Another value, as YAML; None for null, for which there is none."""
    value = scalar.value if scalar.style else yaml.load(scalar.value, Loader)  # noqa: S506 (a safe one)
    if value is None:
        return None
    if isinstance(value, bool):
        return json.dumps(not value)
    if isinstance(value, int | float):
        share = _SHARE.search(path)
        return json.dumps((0 if value else 100) if share else value + 1)
    text = scalar.value
    word = _OTHER_WORDS.get(f"{kind} {text}") or _OTHER_WORDS.get(text) or _other_text(text)
    return json.dumps(word, ensure_ascii=False) + ("\n" if scalar.style in ("|", ">") else "")


def _other_text(text: str) -> str:
    if text == "*":
        return "other.example.com"
    if text.isdigit():
        return str(int(text) + 1)
    if duration := _DURATION.fullmatch(text):
        return f"{int(duration[1]) * 10 or 10}{duration[2]}"
    try:
        return str(ipaddress.ip_address(text) + 1)
    except ValueError:
        return f"{text}-other"


def sample(example: Example, size: int = SAMPLE) -> list[Mutation]:
    """The changes to try of an example: those whose names have the smallest digests, in order."""
    every = [change for path in example.manifests for change in mutations(path)]
    chosen = {change.name for change in sorted(every, key=lambda c: _rank(example, c))[:size]}
    return [change for change in every if change.name in chosen]


def _rank(example: Example, change: Mutation) -> str:
    return hashlib.sha256(f"{example.name} {change.name}".encode()).hexdigest()


def digest(example: Example) -> str:
    """Of what a row depends on: the objects of the manifests, and the transcripts' commands."""
    manifests = [[item for _, item in read_yaml(p.read_text(), p)] for p in example.manifests]
    commands = [[s.command for s in transcript.read(p).steps] for p in example.transcripts]
    text = json.dumps([ISTIO.label, manifests, commands], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def judge(found: dict[str, Outcomes]) -> Iterator[LabError]:
    """What is wrong: survivors that nobody accepted, and accepted ones that do not survive."""
    accepted = load_accepted()
    for example, outcomes in found.items():
        survivors = {m.name: m for m, outcome in outcomes.items() if outcome is Outcome.SURVIVED}
        reasons = accepted.get(example, {})
        for name in survivors.keys() - reasons:
            change = survivors[name]
            yield LabError(
                f"no transcript notices {change.path}: {change.old} -> {change.new.strip()}",
                where=change.file,
                line=change.line,
                remedy=f"show it in a transcript, or say why not in {ACCEPTED.name}: {name}",
            )
        tried = {change.name for change in outcomes}
        for name in (reasons.keys() & tried) - survivors.keys():
            yield LabError(f"is noticed: {name}", where=ACCEPTED, remedy="remove it")


def load_accepted() -> dict[str, dict[str, str]]:
    """The reasons by example and change. Raises LabError if the file is not as agreed."""
    (_, examples), *_ = read_yaml(ACCEPTED.read_text(), ACCEPTED)
    try:
        return {
            example: {name: str(e["reason"]) for e in entries for name in e["survivors"]}
            for example, entries in examples.items()
        }
    except (AttributeError, KeyError, TypeError):
        raise LabError(
            "not examples, each with a list of reasons and their survivors", where=ACCEPTED
        ) from None


def share(counts: Counter[str]) -> float:
    """How many of the changes that could be noticed the transcripts notice, from 0 to 1."""
    noticed, survived = counts[Outcome.NOTICED.value], counts[Outcome.SURVIVED.value]
    return noticed / max(noticed + survived, 1)


def counted(outcomes: Outcomes) -> Counter[str]:
    """How many changes had each outcome."""
    return Counter(outcome.value for outcome in outcomes.values())


def load() -> dict[str, dict[str, Any]]:
    """The table, by example."""
    return dict(json.loads(TABLE.read_text())) if TABLE.exists() else {}


def save(example: Example, found: Outcomes, seconds: float) -> None:
    """Puts what was found of an example into the table, and takes out those that are gone."""
    rows = load()
    rows[example.name] = {
        "digest": digest(example),
        "sample": {change.name: outcome.value for change, outcome in found.items()},
        "values": sum(1 for path in example.manifests for _ in mutations(path)),
        "changes": counted(found),
        "seconds": round(seconds),
    }
    names = {example.name for example in find_all()}
    rows = {name: row for name, row in rows.items() if name in names}
    TABLE.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")


def summary(found: dict[str, Outcomes]) -> Iterator[str]:
    """What was not noticed and why, then a line of counts for each example and for all."""
    accepted = load_accepted()
    for example, outcomes in found.items():
        reasons = accepted.get(example, {})
        for change, outcome in outcomes.items():
            if outcome is Outcome.IDLE:
                yield f"{example}/{change}: Istio makes the same of it"
            if outcome is Outcome.SURVIVED:
                yield f"{example}/{change}: {reasons.get(change.name, 'no reason is given')}"
    rows = {example: counted(outcomes) for example, outcomes in found.items()}
    for title, counts in [*rows.items(), ("all", sum(rows.values(), Counter[str]()))]:
        kinds = ", ".join(f"{counts[outcome.value]} {outcome.value}" for outcome in Outcome)
        yield f"{title}: {counts.total()} changes: {kinds} ({share(counts):.0%} noticed)"
