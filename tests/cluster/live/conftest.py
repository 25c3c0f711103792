"""A cluster for the tests that need one, in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.paths import ROOT
from lab.versions import ISTIO, ISTIOS

from cluster.world import World

FOLDER = ROOT / "build" / "check-cluster"

Kubectl = Callable[..., str]


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A cluster with Istio, which is the one of the variable ISTIO, and the sample in it."""
    world = World(FOLDER)
    world.down()
    world.up(ISTIOS[os.environ.get("ISTIO") or ISTIO.label], say=print)
    try:
        sample = str(Path(__file__).with_name("sample.yaml"))
        world.run(["kubectl", "apply", "-f", sample], check=True)
        waiting = ["kubectl", "rollout", "status", "deploy/echo", "deploy/client", "--timeout=120s"]
        world.run(waiting, check=True)
        yield world
    finally:
        world.down()


@pytest.fixture
def kubectl(world: World) -> Kubectl:
    """Runs kubectl on the node and gives what it prints; it must succeed."""

    def run(*words: str, stdin: str = "") -> str:
        return world.run(["kubectl", *words], check=True, timeout=120, stdin=stdin).stdout

    return run
