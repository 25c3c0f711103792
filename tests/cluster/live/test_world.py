"""The cluster begins and ends without a trace, beside others, and tells why it has died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from lab.paths import ROOT

from cluster import groups
from cluster.errors import ClusterError
from cluster.live.conftest import FOLDER
from cluster.mounts import SYSCTLS, WRITABLE
from cluster.world import World

SIDE = FOLDER.with_name("check-cluster-2")
LIMIT = 90.0  # seconds


def traces() -> dict[str, object]:
    """What a cluster could leave on this machine."""
    here = Path("/proc/self/mountinfo").read_text().splitlines()
    hierarchies = [group.path.parent for group in groups.here("any")]
    words = (str(FOLDER), str(SIDE))
    processes = {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(word in part for word in words for part in process.info["cmdline"] or [])
    }
    return {
        "mounts": sorted(line.split()[4] for line in here),
        "interfaces": sorted(os.listdir("/sys/class/net")),  # noqa: PTH208
        "cgroups": sorted(str(p) for h in hierarchies for p in h.glob("guide-*")),
        "files": sorted(str(path) for top in WRITABLE for path in Path(top).glob("*")),
        "sysctls": {name: Path(f"/proc/sys/{name}").read_text() for name in SYSCTLS},
        "processes": processes,
    }


def test_two_clusters_side_by_side_do_not_meet(world: World) -> None:
    side = World(SIDE)
    before = traces()
    side.up(install=False)
    try:
        ask = ["kubectl", "get", "namespaces", "-o", "name"]
        assert "namespace/istio-system" in world.run(ask, check=True).stdout
        assert "namespace/istio-system" not in side.run(ask, check=True).stdout
    finally:
        side.down()
    assert traces() == before
    assert side.first is None
    assert world.first is not None
    assert not (SIDE / "world" / "keys").exists()


def test_a_component_that_dies_ends_the_cluster_and_is_told(world: World) -> None:
    assert world.first
    side = World(SIDE)
    before = traces()
    side.up(install=False)
    assert side.first
    inside = psutil.Process(side.first).children(recursive=True)
    [etcd] = [process for process in inside if process.name() == "etcd"]
    etcd.kill()
    deadline = time.monotonic() + LIMIT
    while (SIDE / "state.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(ClusterError, match="the cluster has ended: etcd ended by signal 9"):
        side.run(["true"])
    side.down()
    assert traces() == before


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3, 5, 8, 12])
def test_ctrl_c_while_it_starts_ends_all(world: World, seconds: float) -> None:
    assert world.first
    before = traces()
    command = [sys.executable, "-m", "cluster", "--folder", str(SIDE), "up"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert "interrupted" in err
    assert traces() == before


def test_the_death_of_the_keeper_ends_all(world: World) -> None:
    assert world.first
    side = World(SIDE)
    before = traces()
    side.up(install=False)
    assert side._keeper
    side._keeper.kill()
    deadline = time.monotonic() + LIMIT
    while side.first:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    side.down()
    assert traces() == before


def test_memory_is_within_its_limit(world: World) -> None:
    assert world.memory() < 4 * 2**30
