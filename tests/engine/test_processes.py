"""What a lab starts does not outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from conftest import Traces, eventually
from lab.paths import ROOT

# Starts processes as fast as it can, and is killed at some moment.
DYING_LAB = """
import os, signal, sys, threading, time
from subprocess import DEVNULL
from lab.machine import processes
def start():
    while True:
        processes.spawn(["sleep", "31"], stdout=DEVNULL, stderr=DEVNULL)
threading.Thread(target=start, daemon=True).start()
time.sleep(float(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1])
def test_what_a_lab_starts_as_it_dies_does_not_outlive_it(seconds: float, traces: Traces) -> None:
    lab = [sys.executable, "-c", DYING_LAB, str(seconds)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    assert subprocess.run(lab, env=env, check=False).returncode == -signal.SIGKILL
    traces.assert_nothing_left()


def test_a_lab_that_is_killed_does_not_take_another_one_along(traces: Traces) -> None:
    env = os.environ | {"LAB_PROCESS": "1"}
    lab, program = [sys.executable, "-c", DYING_LAB, "0.02"], ["sleep", "31"]
    other = subprocess.Popen(program, env=env)
    subprocess.run(lab, env=env | {"PYTHONPATH": str(ROOT / "tests")}, check=False)
    assert eventually(lambda: len(traces.processes()) == 1)
    assert other.poll() is None
    other.kill()
    other.wait()
