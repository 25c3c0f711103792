"""What the world of a cluster sees of this machine's files: all of them, and it changes none.

Each mount is in the mount namespace of the world alone, and ends with it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.addresses import CLIENT, NODE, NODE_NAME
from cluster.errors import ClusterError
from cluster.groups import MOUNTED_AT
from cluster.paths import INSIDE

WRITABLE = ("/etc", "/opt", "/usr/libexec", "/var/lib", "/var/log")
"""Where components write at paths that cannot be told them; what they write stays in memory."""

SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
"""What a kubelet sets for the whole machine, where it finds another value: here it finds these."""


def mount(*arguments: str) -> None:
    """Calls mount(8). Raises ClusterError with its words if it fails."""
    command = ["mount", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"cannot mount: {done.stderr.strip()}")


def mount_all(world: Path, keep: list[Path], cgroups: list[str]) -> None:
    """Makes the view of the world, whose folder on this machine is `world`.

    What the folders in `keep` have, and what is written there, is the machine's as before.
    `cgroups` are the options of the hierarchies of the older kind; without any it is the newer.
    """
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    _mount_run(world, keep)
    _mount_cgroups(cgroups)
    faked = Path("/run/sysctl")
    faked.mkdir()
    for name, value in SYSCTLS.items():
        file = faked / name.replace("/", ".")
        file.write_text(f"{value}\n")
        mount("--bind", str(file), f"/proc/sys/{name}")
    _names()


def _mount_run(world: Path, keep: list[Path]) -> None:
    """Covers /run, and lays a layer in memory over the folders that must be writable."""
    mount("-t", "tmpfs", "-o", "mode=755", "world", "/run")
    INSIDE.mkdir()
    mount("--bind", str(world), str(INSIDE))
    aside = Path("/run/layers")
    aside.mkdir()
    covered = [keep_at for keep_at in keep if any(map(keep_at.is_relative_to, WRITABLE))]
    for number, path in enumerate(covered):
        (aside / f"keep-{number}").mkdir()
        mount("--rbind", str(path), str(aside / f"keep-{number}"))
    for number, folder in enumerate(WRITABLE):
        if Path(folder).is_dir():
            upper, work = aside / f"upper-{number}", aside / f"work-{number}"
            upper.mkdir()
            work.mkdir()
            layers = f"lowerdir={folder},upperdir={upper},workdir={work}"
            mount("-t", "overlay", "-o", layers, "world", folder)
    for number, path in enumerate(covered):
        mount("--rbind", str(aside / f"keep-{number}"), str(path))


def _mount_cgroups(cgroups: list[str]) -> None:
    if not cgroups:
        mount("-t", "cgroup2", "cgroup", str(MOUNTED_AT))
        return
    mount("-t", "tmpfs", "-o", "mode=755", "cgroup", str(MOUNTED_AT))
    for options in cgroups:
        folder = MOUNTED_AT / options.removeprefix("name=")
        folder.mkdir()
        named = f"none,{options}" if options.startswith("name=") else options
        mount("-t", "cgroup", "-o", named, "cgroup", str(folder))
        if "," in options:
            for name in options.split(","):
                (MOUNTED_AT / name).symlink_to(folder.name)


def _names() -> None:
    """No name is asked of this machine's servers; that of the client's address refuses at once."""
    for name, text in {
        "hosts": f"127.0.0.1 localhost\n{NODE} {NODE_NAME}\n",
        "resolv.conf": f"nameserver {CLIENT}\n",
    }.items():
        path = Path("/etc") / name
        path.unlink(missing_ok=True)
        path.write_text(text)
