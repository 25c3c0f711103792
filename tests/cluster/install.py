"""How Istio is installed: by its own istioctl, with the settings of `conf/istio.yaml`."""

from __future__ import annotations

from typing import Any

import yaml
from lab.versions import Istio

from cluster.paths import CONF


def operator(istio: Istio, mesh: dict[str, Any] | None = None) -> dict[str, Any]:
    """What `istioctl install` reads; `mesh` is what an example sets in the mesh's configuration.

    A mapping in `mesh` adds to the one of the same name, any other value takes its place.
    """
    text = (CONF / "istio.yaml").read_text()
    wanted: dict[str, Any] = yaml.safe_load(text)
    spec = wanted["spec"]
    spec["tag"] = istio.release
    spec["meshConfig"] = merged(spec["meshConfig"], mesh or {})
    return wanted


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both mappings; where both have a value, the new one counts."""
    both = {
        key: merged(old[key], new[key])
        for key in old.keys() & new.keys()
        if isinstance(old[key], dict) and isinstance(new[key], dict)
    }
    return old | new | both
