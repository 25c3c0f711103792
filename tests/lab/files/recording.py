"""Recordings: what the cluster said while an example was played on it.

`tests/recordings/part/name/` holds

- `recording.json`: the versions, the day, the `seconds` that it took, the digest of each manifest,
  what all proxies' bootstraps add, and those of pods that have a configuration of their own; and
  the `calls`: what kubectl and istioctl answered, in order, where the control plane did.
- `NN/state.json`, the objects of a state: NN counts the states in the order in which the
  transcripts reach them. And `NN/POD.NAMESPACE.json`, what istiod had sent to that proxy.

An object or resource that an earlier state has is not written again: its place has the number of
that state (`"as": "NN"`, or `"as": "NN/POD.NAMESPACE"`), so that a state shows what is new in it.
No private key is in a recording.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files import transcript
from lab.files.example import Example
from lab.files.manifests import Object, read_manifest
from lab.files.transcript import Transcript

Resources = dict[str, list[Any]]
"""The xDS of one proxy: lists of `listeners`, `routes`, `clusters`, `endpoints` and `extensions`.

`secrets` lists those of the Secrets it names that istiod would send, in a recording by name alone.
"""

_HEAD = "recording.json"


@dataclass(frozen=True)
class Call:
    """One call of `program` (kubectl or istioctl) that the control plane answered.

    `step` is the transcript, and which of its commands made the call. `args` name a folder that
    `mktemp -d` has made as `$TMPDIR`. `out` has standard output; if `err` is None it has standard
    error too, in their order. `state` is the number of the state that the cluster was in after a
    call that changed it.
    """

    step: tuple[str, int]
    program: str
    args: tuple[str, ...]
    out: str
    exit: int
    err: str | None = None
    state: int | None = None


@dataclass(frozen=True)
class State:
    """The cluster after one change: pods, Services and what pods mount, and each proxy's xDS."""

    objects: list[Object]
    proxies: dict[str, Resources]  # by POD.NAMESPACE

    def running(self) -> list[Object]:
        """All objects but pods that do not run."""
        return [
            item
            for item in self.objects
            if item["kind"] != "Pod"
            or (item["status"]["phase"] == "Running" and "podIP" in item["status"])
        ]


@dataclass(frozen=True)
class Recording:
    """All of one example. `inputs` gives the digests that `digests` gives.

    `bootstraps` has by POD.NAMESPACE what takes the place of `bootstrap` in some proxies. `held` is
    why no replay plays it; then its states have no proxies.
    """

    istio: str
    module: str
    kubernetes: str
    envoy: str
    recorded: str  # the day
    inputs: dict[str, str]
    bootstrap: dict[str, Any]
    calls: list[Call]
    states: list[State] = field(default_factory=list)
    bootstraps: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: str = ""
    seconds: int = 0  # from the start of its cluster to the end of it; 0 if it was not measured


def load(folder: Path, inside: Callable[[str], str] = str) -> Recording | None:
    """The recording of an example, or None if there is none.

    `inside` gives the lab's addresses for those of the cluster in all that is to run. What was
    answered stays as it was said.
    """
    told = head(folder)
    if not told:
        return None
    calls = [
        Call(**call | {"step": tuple(call["step"]), "args": tuple(call["args"])})
        for call in told.pop("calls")
    ]
    for part in ("bootstrap", "bootstraps"):
        told[part] = json.loads(inside(json.dumps(told.get(part, {}))))
    known: dict[tuple[str, str, str], Any] = {}
    states = [_read(path.parent, inside, known) for path in sorted(folder.glob("*/state.json"))]
    return Recording(**told, calls=calls, states=states)


def head(folder: Path) -> dict[str, Any]:
    """All of a recording but its states; empty if there is none."""
    path = folder / _HEAD
    return dict(json.loads(path.read_text())) if path.exists() else {}


def current(example: Example, inside: Callable[[str], str] = str) -> Recording:
    """The recording of an example that is still what was recorded; `inside` as in `load`.

    Raises LabError with the file that has changed since, or if there is no recording.
    """
    recording = load(example.recordings, inside)
    remedy = f"make record EXAMPLE={example.name}"
    if recording is None:
        raise LabError("has no recording of a cluster", where=example.folder, remedy=remedy)
    now, then = digests(example), recording.inputs
    for name in now if not example.held else sorted(now.keys() | then.keys()):
        if now.get(name) != then.get(name):
            raise LabError(
                f"has changed since {recording.recorded}",
                where=example.folder / name,
                line=1,
                remedy=remedy,
            )
    return recording


def save(folder: Path, recording: Recording) -> None:
    """Replaces the recording of an example."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told = asdict(recording)
    del told["states"]
    if not recording.held:
        del told["held"]
    told["calls"] = [
        {key: value for key, value in call.items() if value is not None} for call in told["calls"]
    ]
    _dump(folder / _HEAD, told)
    written: dict[tuple[str, str], str] = {}
    for number, state in enumerate(recording.states, 1):
        _write(folder / f"{number:02}", state, written)


def save_seconds(folder: Path, seconds: int) -> None:
    """Writes into a recording how long it took, and leaves all else as it is."""
    _dump(folder / _HEAD, head(folder) | {"seconds": seconds})


def digest_of(value: Any) -> str:
    """A digest of values alone: order of keys, comments and layout do not count."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digests(example: Example, transcripts: Iterable[Transcript] | None = None) -> dict[str, str]:
    """The digest of the objects of each manifest, by file name: comments may change.

    Of an example that no replay plays also those of its scripts and transcripts, as they are on
    file or as they are given.
    """
    found = {
        path.name: digest_of(read_manifest(path.read_text(), path)) for path in example.manifests
    }
    if example.held:
        found |= {
            str(path.relative_to(example.folder)): digest_of(path.read_text())
            for path in example.scripts
        }
        for script in transcripts or map(transcript.read, example.transcripts):
            steps = [[step.command, *step.output] for step in script.steps]
            found[script.path.name] = digest_of(steps)
    return found


def without_temporary(args: Sequence[str], folder: str) -> tuple[str, ...]:
    """Arguments without what `mktemp -d` has made of a folder: it differs from play to play."""
    made = re.compile(re.escape(folder.rstrip("/")) + "/" + r"tmp\.\w+")
    return tuple(made.sub("$TMPDIR", arg) for arg in args)


def object_name(item: Object) -> str:
    metadata = item["metadata"]
    return f"{item['kind']} {metadata.get('namespace', 'default')}/{metadata['name']}"


def resource_name(resource: Any) -> str:
    """The name by which a proxy asks for a resource; a Secret is recorded by that alone."""
    if isinstance(resource, str):
        return resource
    return str(resource.get("name", resource.get("clusterName")))


def _read(
    folder: Path, inside: Callable[[str], str], known: dict[tuple[str, str, str], Any]
) -> State:
    """One state; `known` are the contents of those before, by file, kind and name."""
    objects = json.loads(inside((folder / "state.json").read_text()))
    proxies = {
        path.stem: json.loads(inside(path.read_text()))
        for path in sorted(folder.glob("*.json"))
        if path.name != "state.json"
    }
    for stem, contents in [("", {"objects": objects}), *proxies.items()]:
        place = f"{folder.name}/{stem}".rstrip("/")
        for kind, items, at, item in _contents(contents):
            if "as" in item:
                items[at] = known[item["as"], kind, item["name"]]
            else:
                known[place, kind, _name(kind, item)] = item
    return State(objects, proxies)


def _write(folder: Path, state: State, written: dict[tuple[str, str], str]) -> None:
    """One state; `written` says of the contents of those before which file has them."""
    folder.mkdir()
    files = {"": {"objects": list(state.objects)}}
    files |= {
        name: {kind: list(items) for kind, items in resources.items()}
        for name, resources in state.proxies.items()
    }
    for stem, contents in files.items():
        place = f"{folder.name}/{stem}".rstrip("/")
        for kind, items, at, item in _contents(contents):
            first = written.setdefault((kind, json.dumps(item, sort_keys=True)), place)
            if first != place:
                items[at] = {"as": first, "name": _name(kind, item)}
        if stem:
            _dump(folder / f"{stem}.json", contents)
        else:
            _dump(folder / "state.json", contents["objects"])


def _name(kind: str, item: Any) -> str:
    return object_name(item) if kind == "objects" else resource_name(item)


def _contents(lists: dict[str, list[Any]]) -> Iterator[tuple[str, list[Any], int, dict[str, Any]]]:
    """Each item that has contents, with its kind and its place in a list."""
    for kind, items in lists.items():
        for at, item in enumerate(items):
            if not isinstance(item, str):  # the name of a Secret
                yield kind, items, at, item


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
