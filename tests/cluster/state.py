"""What is known of a cluster that runs: the file `state.json` in its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster import groups
from cluster.groups import Group

_LEFT = ("log", "died.json")  # of the world's folder, for those who ask why


@dataclass(frozen=True)
class State:
    """The processes and cgroups of a cluster; a process is known by its number and its birth."""

    folder: Path
    keeper: int
    keeper_born: float
    groups: tuple[Group, ...]
    first: int = 0
    first_born: float = 0.0

    def write(self) -> None:
        """Leaves it where `read` finds it, whole or not at all."""
        aside = self.folder / "state.json.new"
        kept = dataclasses.asdict(self) | {
            "folder": str(self.folder),
            "groups": [[str(group.path), group.options] for group in self.groups],
        }
        aside.write_text(json.dumps(kept))
        aside.rename(self.folder / "state.json")

    def with_first(self, pid: int, birth: float) -> State:
        """The same with the first process of the world."""
        return dataclasses.replace(self, first=pid, first_born=birth)


def read(folder: Path) -> State | None:
    """The state of the cluster in a folder, if it has been started and not been tidied up."""
    try:
        kept = json.loads((folder / "state.json").read_text())
    except FileNotFoundError:
        return None
    kept["groups"] = tuple(Group(Path(path), options) for path, options in kept["groups"])
    return State(**kept | {"folder": folder})


def name_of(folder: Path) -> str:
    """A name that no other folder has: it is the one of the cgroups."""
    return f"guide-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def born(pid: int) -> float | None:
    """When a process began, in seconds; None if there is none or it has ended."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def tidy(state: State) -> None:
    """Removes what a cluster leaves when its processes have ended, but for its logs."""
    groups.remove(list(state.groups))
    world = state.folder / "world"
    for path in world.iterdir() if world.exists() else []:
        if path.name in _LEFT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (state.folder / "state.json").unlink(missing_ok=True)
