"""A reader's shell on a cluster: what it begins with, and how it ends. This machine stands in."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import commands
from cluster.recording import keeping, record
from cluster.world import World
from conftest import Traces, eventually
from lab.paths import ROOT

TRANSCRIPT = """\
# Sets a variable and a function.

$ GATEWAY=172.18.0.5; hello() { echo "hello $1"; }

$ hello you
hello you
"""

# Runs what is for a cluster on this machine, where no istiod is.
STAND_IN = """
import contextlib, sys
from pathlib import Path
from cluster import __main__
from cluster.recording import keeping, plays, record
from cluster.world import World

folder, example = Path(sys.argv[1]), sys.argv[2]

@contextlib.contextmanager
def up(*_):
    (folder / "cluster-try").mkdir(parents=True)
    (folder / "up").touch()
    try:
        yield
    finally:
        (folder / "up").unlink()

nothing = folder / "calls.py"
nothing.write_text("import os; open(os.environ['RECORDING_FOLDER'] + '/calls.jsonl', 'w')")
record._CALLS = nothing
record._forwarded = lambda _: contextlib.nullcontext()
World.command = lambda self, argv, **_: list(argv)
keeping.up = up
plays.ready = lambda *_: None
sys.exit(__main__.main(["--folder", str(folder / "cluster"), "try", example]))
"""


@dataclass
class Terminal:
    """A try in a terminal of its own."""

    process: subprocess.Popen[bytes]
    keyboard: int
    shown: str = ""

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    def shows(self, text: str) -> bool:
        """Whether a text comes up on the screen, in time."""
        deadline = time.monotonic() + 30
        while text not in self.shown and time.monotonic() < deadline:
            try:
                self.shown += os.read(self.keyboard, 4096).decode(errors="replace")
            except OSError:  # the program has ended
                break
        return text in self.shown


@contextmanager
def tried(folder: Path) -> Iterator[Terminal]:
    example = folder / "part" / "a"
    example.mkdir(parents=True)
    (example / "1-a.console").write_text(TRANSCRIPT)
    pid, keyboard = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_IN, str(folder), str(example)],
        stdin=keyboard,
        stdout=keyboard,
        stderr=keyboard,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        start_new_session=True,
    )
    os.close(keyboard)
    try:
        yield Terminal(process, pid)
    finally:
        process.kill()
        process.wait()
        os.close(pid)


def test_the_shell_has_what_the_transcripts_set_and_ends_with_its_cluster(tmp_path: Path) -> None:
    with tried(tmp_path) as terminal:
        assert terminal.shows("hello you")
        assert terminal.shows("(cluster) $ ")
        assert (tmp_path / "up").exists()
        terminal.type("hello $GATEWAY; pwd\n")
        assert terminal.shows("hello 172.18.0.5\r\n" + str(tmp_path / "part" / "a"))
        terminal.type("exit 3\n")
        assert terminal.process.wait(20) == 3
    assert "It ends with this shell." in terminal.shown
    assert not (tmp_path / "up").exists()


def test_a_signal_ends_the_shell_and_its_cluster(tmp_path: Path, traces: Traces) -> None:
    with tried(tmp_path) as terminal:
        assert terminal.shows("(cluster) $ ")
        terminal.type("sleep 654\n")
        assert eventually(lambda: traces.processes("sleep 654"))
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.shows("cluster: interrupted; everything that it started has ended")
        assert terminal.process.wait(20) == 130
    assert not (tmp_path / "up").exists()
    traces.assert_nothing_left()


def test_a_cluster_that_is_up_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(World, "first", 1)
    monkeypatch.setattr(keeping, "up", lambda *_: pytest.fail("starts another cluster"))
    monkeypatch.setattr(World, "down", lambda *_: pytest.fail("ends the cluster"))
    monkeypatch.setattr(record, "play", lambda *_, **__: None)
    monkeypatch.setattr("cluster.recording.trying.shell", lambda *_: 0)
    assert commands.run(["--folder", str(tmp_path), "try", "cluster/orders"]) == 0
    assert "until make cluster-down" in capsys.readouterr().out


def test_a_cluster_without_the_examples_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "part" / "a"
    folder.mkdir(parents=True)
    (folder / "1-a.console").write_text(TRANSCRIPT)
    (folder / "lab.yaml").write_text("meshConfig: {accessLogEncoding: JSON}\n")
    monkeypatch.setattr(World, "first", 1)
    assert commands.run(["--folder", str(tmp_path), "try", str(folder)]) == 1
    assert capsys.readouterr().err == (
        "cluster: the cluster that is up has not the meshConfig of this example "
        "(end it, and try again: make cluster-down)\n"
    )
