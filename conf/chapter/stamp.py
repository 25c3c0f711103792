"""Stamps each page that shows recorded outputs with what they were recorded on, and when.

The recordings of page `part/name` are in `tests/recordings/part/name/`, beside the source folder:
a `recording.json`, or folders with a `state.json`, with the keys `istio`, `envoy` and `recorded`;
`held` says why no replay plays the page's example, if none does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from data_files import Fault
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")


def add_stamp(app: Sphinx, document: nodes.document) -> None:
    """Put the stamp of a page that was just read under its title, if it has recordings."""
    files = recordings_of(app.env, app.env.docname)
    for path in files:
        app.env.note_dependency(path)
    title = next(document.findall(nodes.title), None)
    if files and title is not None:
        section = title.parent
        stamp = nodes.paragraph("", stamp_text(files), classes=["stamp"])
        section.insert(section.index(title) + 1, stamp)


def recordings_of(env: BuildEnvironment, docname: str) -> list[Path]:
    """The files that tell of what the recordings of a page were made; none if it has none."""
    return recorded(Path(env.srcdir).parent / "tests" / "recordings" / docname)


def recorded(folder: Path) -> list[Path]:
    """The files that tell of what the recordings in a folder were made."""
    head = folder / "recording.json"
    return [head] if head.exists() else sorted(folder.glob("*/state.json"))


def stamp_text(files: Iterable[Path]) -> str:
    """The stamp for some recordings: every version in them, the newest date, and who holds them.

    Raises Fault, with the name of the file, for one that is not as agreed.
    """
    files = list(files)
    istio, envoy, dates = versions(files)
    said = _("Outputs in this chapter: Istio {istio}, Envoy {envoy}, recorded {date}.").format(
        istio=", ".join(istio), envoy=", ".join(envoy), date=dates[-1]
    )
    if is_held(files):
        said += " " + _("They are held by the cluster run: no replay plays them.")
    return said


def is_held(files: Iterable[Path]) -> bool:
    """Whether the cluster run holds what some recordings are of, and no replay plays it."""
    return any(json.loads(path.read_text(encoding="utf-8")).get("held") for path in files)


def versions(files: Iterable[Path]) -> tuple[list[str], list[str], list[str]]:
    """The versions of Istio and of Envoy, and the dates, in some `state.json` files, sorted."""
    states = [read_state(path) for path in files]
    istio, envoy, dates = (sorted(set(values)) for values in zip(*states, strict=True))
    return istio, envoy, dates


def read_state(path: Path) -> tuple[str, str, str]:
    """The versions of Istio and Envoy, and the date as YYYY-MM-DD, of one recorded state."""
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return state["istio"], state["envoy"], state["recorded"]
    except (ValueError, KeyError, TypeError) as error:
        raise Fault(f"{path}: not a recorded state: {error!r}") from None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("doctree-read", add_stamp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
