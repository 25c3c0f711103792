"""An example: the folder of one chapter's manifests and transcripts."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files.manifests import read_yaml
from lab.paths import EXAMPLES, RECORDINGS, TEST_EXAMPLES

_SETTINGS = ("meshConfig", "outside", "differs", "held", "lacks")

REJECTED = "rejected-"
"""How the name of a manifest begins that Istio is meant to reject."""


@dataclass(frozen=True)
class Example:
    """One folder under examples/, known by its `part/name`."""

    name: str
    folder: Path = field(compare=False)
    recordings: Path = field(compare=False)

    @property
    def transcripts(self) -> list[Path]:
        """The numbered `.console` files, in the order in which they run."""
        return sorted(self.folder.glob("*.console"), key=lambda path: path.name)

    @property
    def scripts(self) -> list[Path]:
        """All other files but lab.yaml: what transcripts call or read."""
        rest = [p for p in self.folder.rglob("*") if p.is_file() and p.name != "lab.yaml"]
        return sorted({*rest} - {*self.transcripts, *self.manifests})

    @property
    def manifests(self) -> list[Path]:
        """The YAML files that a reader applies."""
        return sorted(p for p in self.folder.glob("*.yaml") if p.name != "lab.yaml")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What lab.yaml tells, all optional.

        `meshConfig` is a mapping that the cluster's mesh configuration gets, `outside` gives hosts
        outside of the mesh the SERVICE.NAMESPACE that stands for them, and `differs` tells what
        another Envoy does differently (see `matrix`), `held` and `lacks` are told below.
        """
        path = self.folder / "lab.yaml"
        if not path.exists():
            return {}
        documents = read_yaml(path.read_text(), path)
        line, settings = documents[0] if documents else (1, {})
        if not isinstance(settings, dict):
            raise LabError("not a mapping of settings", where=path, line=line)
        for key in settings.keys() - {*_SETTINGS}:
            raise LabError(
                f"unknown setting {key!r}",
                where=path,
                line=line,
                remedy=f"known: {', '.join(_SETTINGS)}",
            )
        return settings

    @property
    def held(self) -> str:
        """Why no replay plays it, as a sentence without full stop; nothing if one does.

        Its outputs are then held by the cluster run alone: elsewhere it only counts that nothing
        has changed since, neither manifests nor transcripts nor what those call.
        """
        return str(self.settings.get("held", ""))

    @property
    def shows_rejections(self) -> bool:
        """Whether a proxy may reject what it is sent, and go on with what it had before.

        So it is where a manifest shows that, and where `lacks` tells what this Envoy does not have
        of Istio's own.
        """
        rejected = any(path.name.startswith(REJECTED) for path in self.manifests)
        return rejected or "lacks" in self.settings


def load(name: str) -> Example:
    """The example called `part/name`, or the one in a folder that is a copy of it.

    A trailing slash and a leading `examples/` are forgiven. Raises LabError if there is none.
    """
    folder = Path(name)
    if folder.is_absolute():
        name = "/".join(folder.parts[-2:])
    else:
        name = name.strip("/").removeprefix("examples/")
        folder = EXAMPLES / name
        if not folder.exists():
            folder = TEST_EXAMPLES / name
    if name.count("/") != 1 or not any(folder.glob("*.console")):
        known = ", ".join(e.name for e in find_all()) or "none"
        raise LabError(f"there is no example {name!r}", remedy=f"known: {known}")
    return _example(folder)


def find_all(under: Path = EXAMPLES) -> list[Example]:
    """Every example of the guide, or of another folder, sorted by name."""
    folders = sorted({path.parent for path in under.glob("*/*/*.console")})
    return [_example(folder) for folder in folders]


def _example(folder: Path) -> Example:
    """One that only tests play has its recording beside it, and so has a copy of it."""
    name, beside = "/".join(folder.parts[-2:]), folder / "recordings"
    own = folder.is_relative_to(TEST_EXAMPLES) or beside.exists()
    return Example(name, folder, beside if own else RECORDINGS / name)
