"""The cgroups of a cluster: made below those of this machine, and removed with it.

Both kinds are served: the older with one hierarchy for each controller, and the newer, unified one.
https://man7.org/linux/man-pages/man7/cgroups.7.html
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

MOUNTED_AT = Path("/sys/fs/cgroup")
NEEDED = frozenset({"cpu", "cpuset", "memory", "pids"})
"""The controllers without which a kubelet does not start."""

LEAF = "node"
"""In the unified hierarchy, the group of all that is not in a pod."""

_PATIENCE = 10.0  # seconds until what was killed has left its groups


@dataclass(frozen=True)
class Group:
    """The cluster's group in one hierarchy, which is mounted with `options`."""

    path: Path
    options: str  # of the older kind, such as cpu,cpuacct or name=systemd; else empty

    @property
    def unified(self) -> bool:
        """Whether it is of the newer kind."""
        return not self.options


def plan(name: str, mounts: str, memberships: str) -> list[Group]:
    """Which groups a cluster of this name gets.

    `mounts` is /proc/self/mountinfo, `memberships` is /proc/self/cgroup.
    """
    ours: dict[frozenset[str], str] = {}
    for line in memberships.splitlines():
        _, names, path = line.split(":", 2)
        ours[frozenset(names.split(","))] = path
    older, newer = [], []
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        root, point = fields.split()[3:5]
        kind, _, given = rest.split()
        if kind == "cgroup2":
            # At its top, because only there processes and child groups may be side by side.
            newer.append(Group(Path(point) / name, ""))
        if kind == "cgroup":
            options = frozenset(given.split(","))
            for controllers, path in ours.items():
                if controllers <= options and controllers != {""}:
                    below = path.removeprefix(root.rstrip("/")).strip("/")
                    joined = ",".join(sorted(controllers))
                    older.append(Group(Path(point) / below / name, joined))
    return older or newer[:1]


def here(name: str) -> list[Group]:
    """The groups of a cluster of this name on this machine."""
    proc = Path("/proc/self")
    return plan(name, (proc / "mountinfo").read_text(), (proc / "cgroup").read_text())


def make(groups: list[Group]) -> None:
    """Makes the groups."""
    for group in groups:
        group.path.mkdir(exist_ok=True)
        if "cpuset" in group.options.split(","):
            for name in ("cpuset.cpus", "cpuset.mems"):
                (group.path / name).write_text((group.path.parent / name).read_text())


def join(groups: list[Group]) -> None:
    """Puts this process into the groups, and what it starts from now on."""
    for group in groups:
        (group.path / "cgroup.procs").write_text("0")


def leave(groups: list[Group], pid: int) -> None:
    """Takes a process out of the unified group, which otherwise cannot be divided."""
    for group in groups:
        if group.unified:
            (group.path.parent / "cgroup.procs").write_text(str(pid))


def divide(top: Path = MOUNTED_AT) -> None:
    """Of the unified kind, inside: moves this process to the leaf, and gives pods their share."""
    leaf = top / LEAF
    leaf.mkdir(exist_ok=True)
    (leaf / "cgroup.procs").write_text("0")
    wanted = " ".join(f"+{name}" for name in (top / "cgroup.controllers").read_text().split())
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            (top / "cgroup.subtree_control").write_text(wanted)
            return
        except OSError:
            # The process that called unshare is about to be taken out.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def remove(groups: list[Group]) -> None:
    """Removes the groups and those below, once their processes have ended."""
    deadline = time.monotonic() + _PATIENCE
    while any(group.path.exists() for group in groups):
        for group in groups:
            below = [path for path in group.path.rglob("*") if path.is_dir()]
            for path in [*reversed(below), group.path]:
                with contextlib.suppress(OSError):
                    path.rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
