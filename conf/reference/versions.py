"""Prints on which versions of Envoy and of Istio each example gave the recorded outputs.

The table is `tests/recordings/versions.json`, beside the source folder, made by `make matrix`:
`envoys` has the versions as keys, `examples` a row by `part/name`, with the date `played` and, by
version, a list of `differences`: each has `transcript`, `reason`, and `stops` if the play ended so.
An example that no replay plays has the Envoy of the `cluster` that holds its outputs instead.
`istio` has the same of a cluster, by the label of its Istio; it is missing until one was tried.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")


class Versions(SphinxDirective):
    """`{versions}` shows the table, and under it the reason of every difference."""

    def run(self) -> list[nodes.Node]:
        """The nodes to put in the directive's place."""
        path = Path(self.env.srcdir).parent / "tests" / "recordings" / "versions.json"
        self.env.note_dependency(path)
        return self.parse_text_to_nodes(markdown(json.loads(path.read_text(encoding="utf-8"))))


def markdown(table: dict[str, Any]) -> str:
    """The table and the list of differences, in Markdown whose links start at the source folder."""
    envoys = list(table["envoys"])
    istios = sorted({label for row in table["examples"].values() for label in row.get("istio", {})})
    heads = [*envoys, *(f"Istio {label}" for label in istios)]
    rows = [[_("Example"), *heads, _("Played")], ["---"] * (len(heads) + 2)]
    reasons: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for name, row in table["examples"].items():
        found = row.get("differences", {})
        on_istio = {label: one["differences"] for label, one in row.get("istio", {}).items()}
        cells = [verdict(found[e]) if found else on_cluster(row["cluster"] == e) for e in envoys]
        cells += [verdict(on_istio[label]) if label in on_istio else "–" for label in istios]
        rows.append([f"[](/{name}.md)", *cells, row["played"]])
        for what, versions in {"Envoy": found, "Istio": on_istio}.items():
            for version, differing in versions.items():
                for transcript, reason in {(d["transcript"], d["reason"]) for d in differing}:
                    places = reasons.setdefault((name, transcript, reason), {})
                    places.setdefault(what, []).append(version)
    lines = [f":::{{table}} {_('Whether the outputs held')}"]
    lines += [f"| {' | '.join(map(str, cells))} |" for cells in rows]
    items = [
        _("[](/{name}.md), `{transcript}`, {places}: {reason}").format(
            name=name, transcript=transcript, places=_named(places), reason=reason
        )
        for (name, transcript, reason), places in sorted(reasons.items(), key=lambda one: one[0])
    ]
    return "\n".join([*lines, ":::", "", *(f"- {item}" for item in items)])


def _named(places: dict[str, list[str]]) -> str:
    """Such as `Envoy 1.36.4, 1.37.0 and Istio 1.30`."""
    return _(" and ").join(f"{what} {', '.join(names)}" for what, names in places.items())


def verdict(differences: list[dict[str, Any]]) -> str:
    """What the table says of one example on one Envoy or Istio."""
    if any("stops" in difference for difference in differences):
        return _("stops")
    return _("differs") if differences else _("held")


def on_cluster(run: bool) -> str:
    """What the table says of an example that no replay plays, of one Envoy."""
    return _("cluster") if run else "–"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("versions", Versions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
