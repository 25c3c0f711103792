"""Recordings: what Istio's control plane said of each state of an example's cluster.

A state is the set of objects in the cluster, those of the lab's own included. Its folder
`tests/recordings/part/name/NN` holds `state.json` and one file of xDS per proxy; NN counts the
states in the order in which the transcripts reach them. A recording is bound by digest to what it
was made from, and is never used for anything else.

Of a resource that several proxies or states have, only the first file has the content. The others
say `{"as": "NN/PROXY", "name": …}`: so a state shows what is new in it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.masks import keep_recorded, mask

Resources = dict[str, list[Any]]
"""The xDS of one proxy: lists of `listeners`, `routes`, `clusters` and `endpoints`.

`secrets` lists those of the Secrets it names that istiod would send, in a recording by name alone.
"""


@dataclass(frozen=True)
class Verdict:
    """What was said of one object: that it has a field or version which its kind does not know
    (`malformed`), or why Istio's validating webhook denied it, or its warnings."""

    object: str
    malformed: str = ""
    denied: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        return bool(self.malformed or self.denied)


@dataclass(frozen=True)
class Answer:
    """What one call of istioctl printed, as lines. `files` are the digests of the files it read.

    `posts` are the requests by which it changed proxies: each a proxy, a method and a path.
    """

    args: list[str]
    files: dict[str, str]
    stdout: list[str]
    stderr: list[str]
    exit: int
    posts: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Recording:
    """One state. `inputs` gives the digest of each file's objects, to name the one that changed.

    `statuses` are what istiod writes: `group`, `kind`, `namespace`, `name` and `status` of each
    object that gets one. `metrics` are lines of its /metrics.
    """

    digest: str
    istio: str
    module: str
    envoy: str
    recorded: str
    inputs: dict[str, str]
    verdicts: list[Verdict]
    log: list[str]
    statuses: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    istioctl: list[Answer] = field(default_factory=list)
    proxies: dict[str, Resources] = field(default_factory=dict)

    def answer(self, args: list[str], files: dict[str, str]) -> Answer | None:
        """The recorded output of an istioctl call, if it was made in this state."""
        found = (a for a in self.istioctl if a.args == args and a.files == files)
        return next(found, None)


def digest_of(value: Any) -> str:
    """A digest of values alone: order of keys, comments and layout do not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(folder: Path) -> list[Recording]:
    """The recordings of an example, in order; none if it was never recorded."""
    known: dict[tuple[str, str, str], Any] = {}
    return [_read(path.parent, known) for path in sorted(folder.glob("*/state.json"))]


def load_validation(folder: Path) -> dict[str, dict[str, str]]:
    """What `istioctl validate` said of each manifest, by its name, when it was last recorded.

    `digest` is that of the manifest's objects, `said` what was printed.
    """
    path = folder / "validation.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def save(folder: Path, states: list[Recording]) -> None:
    """Replaces the recordings of an example.

    A state that differs from the one on file only in what is masked stays as it is on file.
    """
    old = {recording.digest: recording for recording in load(folder)}
    if folder.exists():
        shutil.rmtree(folder)
    written: dict[tuple[str, str], str] = {}
    for number, state in enumerate(states, 1):
        _write(folder / f"{number:02}", _settled(state, old.get(state.digest)), written)


def differs(left: Recording, right: Recording) -> bool:
    """Whether two recordings of one state differ in more than what is masked."""
    return _masked(left) != _masked(right)


def _settled(new: Recording, old: Recording | None) -> Recording:
    if old is None:
        return new
    if not differs(old, new):
        return old
    new.log = list(keep_recorded(old.log, new.log))
    return new


def _masked(recording: Recording) -> str:
    fields = _masked_lines(asdict(recording) | {"recorded": ""})
    # istiod visits gateways and clusters in no fixed order, and logs as it goes; istioctl sets the
    # levels of loggers in no fixed order.
    for answer in fields["istioctl"]:
        answer["posts"] = sorted(answer["posts"])
    return json.dumps(fields | {"log": sorted(fields["log"])}, sort_keys=True)


def _masked_lines(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_masked_lines(item) for item in value]
    if isinstance(value, dict):
        return {key: _masked_lines(item) for key, item in value.items()}
    return value


def _read(folder: Path, known: dict[tuple[str, str, str], Any]) -> Recording:
    """One state; `known` are the resources of those before, by file, kind and name."""
    state = json.loads((folder / "state.json").read_text())
    state["verdicts"] = [Verdict(**v) for v in state["verdicts"]]
    state["istioctl"] = [Answer(**a) for a in state["istioctl"]]
    proxies = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == "state.json":
            continue
        place = f"{folder.name}/{path.stem}"
        proxies[path.stem] = json.loads(path.read_text())
        for kind, items, at, item in _contents(proxies[path.stem]):
            if "as" in item:
                items[at] = known[item["as"], kind, item["name"]]
            else:
                known[place, kind, resource_name(item)] = item
    return Recording(**state, proxies=proxies)


def _write(folder: Path, recording: Recording, written: dict[tuple[str, str], str]) -> None:
    """One state; `written` says of the resources of those before which file has them."""
    folder.mkdir(parents=True)
    state = asdict(recording)
    for proxy, resources in state.pop("proxies").items():
        place = f"{folder.name}/{proxy}"
        for kind, items, at, item in _contents(resources):
            first = written.setdefault((kind, json.dumps(item, sort_keys=True)), place)
            if first != place:
                items[at] = {"as": first, "name": resource_name(item)}
        _dump(folder / f"{proxy}.json", resources)
    for answer in state["istioctl"]:
        if not answer["posts"]:
            del answer["posts"]
    _dump(folder / "state.json", state)


def _contents(resources: Resources) -> Iterator[tuple[str, list[Any], int, dict[str, Any]]]:
    """Each resource that has contents, with its kind and its place in a list."""
    for kind, items in resources.items():
        for at, item in enumerate(items):
            if not isinstance(item, str):  # the name of a Secret
                yield kind, items, at, item


def resource_name(resource: Any) -> str:
    """The name by which a proxy asks for a resource; a Secret is recorded by that alone."""
    if isinstance(resource, str):
        return resource
    return str(resource.get("name", resource.get("clusterName")))


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
