"""Keeps containerd's own folder with the images in it: a new cluster then has them at once.

To import them takes containerd twenty seconds; to copy its folder takes one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from lab.versions import Istio

from cluster import images
from cluster.errors import ClusterError, last_lines
from cluster.kept import Part, run
from cluster.mounts import mount
from cluster.paths import CONF, CONTAINERD, python_environment

_PATIENCE = 30.0  # seconds
_BLOCK = 2**20  # bytes that are read at once


def part(istio: Istio, debian: Part, made: Part) -> Part:
    """containerd's folder with the images of one Istio."""

    def make(folder: Path) -> None:
        log = folder.parent / f"{folder.name}.log"
        world = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        program = [sys.executable, "-m", "cluster.store"]
        where = [str(debian.folder), str(made.folder), str(folder)]
        try:
            run([*world, *program, *where], log, "importing the images", env=python_environment())
        finally:
            log.unlink(missing_ok=True)

    name = f"store-{istio.label}"
    return Part(
        name, f"containerd's store for Istio {istio.label}", (made.digest, debian.digest), make
    )


def copy(store: Path, folder: Path) -> None:
    """Gives a cluster a folder of its own: files that containerd never changes are shared.

    Where both are not on one disk, all is copied.
    """
    for option in ("--link", "--reflink=auto"):
        command = ["cp", "--archive", option, str(store), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if not done.returncode:
            break
        shutil.rmtree(folder, ignore_errors=True)
    else:
        raise ClusterError(f"cannot copy containerd's store: {done.stderr.strip()}")
    _read(folder)
    for database in folder.rglob("*.db"):
        content = database.read_bytes()
        database.unlink()
        database.write_bytes(content)


def _read(folder: Path) -> None:
    """Reads the programs of the images, so that this machine holds them in memory.

    So does a node that has just pulled them. Else they count as memory of the first proxy, and one
    near its limit reads its own program again and again for minutes before the kernel kills it:
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (2.3, shared page accounting).
    """
    for program in folder.glob("*.overlayfs/snapshots/*/fs/usr/local/bin/*"):
        if program.is_symlink() or not program.is_file():
            continue  # a link leads out of the image
        with program.open("rb", buffering=0) as file:
            while file.read(_BLOCK):
                pass


def main(debian: Path, layout: Path, folder: Path) -> None:
    """Runs containerd in new namespaces until it has the images, and leaves its folder."""
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "run", "/run")
    programs = debian / "usr" / "bin"
    Path("/run/log").touch()
    config = Path("/run/containerd.toml")
    text = (CONF / "containerd.toml").read_text()
    config.write_text(text.replace('"/run/cluster/containerd"', f'"{folder}"'))
    with Path("/run/log").open("ab") as log:
        containerd = subprocess.Popen(
            [str(programs / "containerd"), f"--config={config}"], stdout=log, stderr=log
        )
    _await_socket(containerd)
    command = [str(programs / "ctr"), f"--address={CONTAINERD}", "--namespace=k8s.io"]
    ctr = subprocess.Popen([*command, "images", "import", "-"], stdin=subprocess.PIPE)
    assert ctr.stdin is not None
    with ctr.stdin as out:
        images.stream(layout, out)
    if ctr.wait():
        raise ClusterError("containerd does not take the images", log=last_lines(Path("/run/log")))
    containerd.terminate()
    containerd.wait(_PATIENCE)


def _await_socket(containerd: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not Path(CONTAINERD).exists():
        if containerd.poll() is not None or time.monotonic() > deadline:
            raise ClusterError("containerd does not start", log=last_lines(Path("/run/log")))
        time.sleep(0.05)


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except ClusterError as error:
        sys.exit(str(error))
