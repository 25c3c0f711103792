"""Makes a machine ready for clusters: asks for what it lacks, and builds what is missing."""

from __future__ import annotations

import os

import psutil
from lab.versions import ISTIOS, Istio

from cluster import needs
from cluster.errors import ClusterError
from cluster.kept import Say
from cluster.world import build, components


def istio_called(label: str) -> Istio:
    """The Istio of this label. Raises ClusterError if there is none."""
    try:
        return ISTIOS[label]
    except KeyError:
        known = " and ".join(ISTIOS)
        raise ClusterError(
            f"there is no Istio {label!r} here", remedy=f"known are {known}"
        ) from None


def built(istio: Istio) -> bool:
    """Whether all parts are there."""
    return all(part.folder.exists() for part in components(istio).values())


def ready(istio: Istio, say: Say) -> None:
    """Builds what is missing. Raises ClusterError if this machine cannot run a cluster."""
    needs.check(built=built(istio))
    build(istio, say)


def side_by_side() -> int:
    """How many clusters this machine takes at once: two, if it has cores and memory for them.

    A play mostly waits, so that two cores are enough.
    """
    memory = psutil.virtual_memory().available / 2**30
    return max(1, min(2, os.cpu_count() or 1, int(memory / needs.MEMORY)))
