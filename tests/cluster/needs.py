"""What this machine must have for a cluster, asked before anything is done."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster import groups
from cluster.errors import ClusterError
from cluster.parts import SUITE
from cluster.paths import cache

MEMORY = 4  # GiB that must be free
DISK = 12  # GiB for builds and images, of which 6 stay
DISK_BUILT = 2  # GiB for a cluster whose parts are built

CAPABILITIES = {  # by their number in <linux/capability.h>
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_ADMIN": 12,
    "SYS_CHROOT": 18,
    "SYS_PTRACE": 19,
    "SYS_ADMIN": 21,
    "MKNOD": 27,
}

TOOLS = {  # and the Debian package that has them
    "apt-get": "apt",
    "dpkg": "dpkg",
    "gpgv": "gpgv",
    "ip": "iproute2",
    "mount": "mount",
    "mvn": "maven",
    "nsenter": "util-linux",
    "perl": "perl",
    "unshare": "util-linux",
    "wget": "wget",
}

_BUILD_ONLY = {"apt-get", "dpkg", "gpgv", "mvn", "perl", "wget"}

_NFTABLES = "from pyroute2.nftables.main import NFTables; NFTables().get_tables()"
_TRIED = f"""
refused() {{ echo "$1" >&2; exit 1; }}
mount --make-rprivate / &&
mount -t tmpfs tried /mnt && mkdir /mnt/upper /mnt/work || exit 1
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work tried /etc ||
  refused overlay
ip link add tried0 type veth peer name tried1 || refused veth
"$0" -c '{_NFTABLES}' || refused nft
"""


@dataclass(frozen=True)
class Machine:
    """What is asked of a machine, so that tests can make up others."""

    system: str
    processor: str
    release: str  # the text of /etc/os-release
    capabilities: int  # the effective ones, as a mask
    memory: float  # GiB that are available
    disk: float  # GiB that are free where parts are kept
    tools: frozenset[str]
    controllers: frozenset[str]  # of cgroups
    tried: str  # what the kernel refused; empty if it allows all


def missing(machine: Machine, *, built: bool) -> list[str]:
    """A line for each thing that is missing, with its remedy; `built` if all parts are there."""
    if machine.system != "Linux":
        return [f"a cluster needs Linux, this is {machine.system} (run it in a virtual machine)"]
    lines = []
    if machine.processor != "x86_64":
        lines.append(f"a cluster needs an x86_64 processor, this is {machine.processor}")
    if not built and f"VERSION_CODENAME={SUITE}" not in machine.release.splitlines():
        lines.append(f"the parts are built on Debian {SUITE} (use such a machine or container)")
    lacks = [name for name, bit in CAPABILITIES.items() if not machine.capabilities >> bit & 1]
    if lacks:
        lines.append(
            f"not allowed: CAP_{', CAP_'.join(lacks)} (run it as root, in a container with "
            "--privileged)"
        )
    for tool in sorted(TOOLS.keys() - machine.tools - (_BUILD_ONLY if built else set())):
        lines.append(f"there is no program {tool} (apt-get install {TOOLS[tool]})")
    if machine.memory < MEMORY:
        lines.append(
            f"{machine.memory:.1f} GiB of memory are free, {MEMORY} are needed (end other programs)"
        )
    disk = DISK_BUILT if built else DISK
    if machine.disk < disk:
        lines.append(
            f"{machine.disk:.1f} GiB are free in {cache()}, {disk} are needed "
            "(free some, or name another folder by XDG_CACHE_HOME)"
        )
    for name in sorted(groups.NEEDED - machine.controllers):
        lines.append(
            f"the cgroup controller {name} is not given to groups "
            f"(echo +{name} > /sys/fs/cgroup/cgroup.subtree_control)"
        )
    if not lacks and machine.tried:
        lines.append(machine.tried)
    return lines


def check(*, built: bool) -> None:
    """Raises ClusterError with all that this machine lacks."""
    lines = missing(this(), built=built)
    if lines:
        raise ClusterError("this machine cannot run a cluster", log=tuple(lines))


def this() -> Machine:
    """The machine that this runs on."""
    system = platform.system()
    if system != "Linux":
        return Machine(system, "", "", 0, 0, 0, frozenset(), frozenset(), "")
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^CapEff:\s*(\w+)$", status, re.M)
    release = Path("/etc/os-release")
    return Machine(
        system=system,
        processor=platform.machine(),
        release=release.read_text() if release.exists() else "",
        capabilities=int(found[1], 16) if found else 0,
        memory=psutil.virtual_memory().available / 2**30,
        disk=shutil.disk_usage(_existing(cache())).free / 2**30,
        tools=frozenset(tool for tool in TOOLS if shutil.which(tool)),
        controllers=_controllers(),
        tried=_tried(),
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in [path, *path.parents] if folder.exists())


def _controllers() -> frozenset[str]:
    found = groups.here("any")
    if not found:
        return frozenset()
    if found[0].unified:
        given = found[0].path.parent / "cgroup.subtree_control"
        return frozenset(given.read_text().split())
    return frozenset(name for group in found for name in group.options.split(","))


_REFUSED: dict[str, Callable[[], str]] = {
    "overlay": lambda: "the kernel has no overlayfs here (modprobe overlay)",
    "veth": lambda: "the kernel has no veth interfaces (modprobe veth)",
    "nft": lambda: "the kernel has no nftables (modprobe nf_tables)",
}


def _tried() -> str:
    """Tries what cannot be asked for, in namespaces that end with it."""
    spaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork"]
    command = ["unshare", *spaces, "sh", "-c", _TRIED, sys.executable]
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            command, env=os.environ | {"PATH": path}, capture_output=True, text=True
        )
    except OSError:
        return ""  # there is no such program, which has a line of its own
    if not done.returncode:
        return ""
    said = (done.stderr.strip().splitlines() or [""])[-1]
    refused = _REFUSED.get(said)
    if refused:
        return refused()
    return f"the kernel refuses namespaces: {said} (in a container: run it with --privileged)"
