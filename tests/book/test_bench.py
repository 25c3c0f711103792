"""The last rows of `make bench`: the scores of pages, where Lighthouse is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import bench
import pytest

Commands = list[list[str]]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The commands that are run, in place of running them."""
    run: Commands = []

    def note(command: list[str], **_: Any) -> None:
        run.append(command)

    monkeypatch.setattr(subprocess, "run", note)
    return run


def test_lighthouse_rates_the_pages_where_it_is_installed(
    commands: Commands, tmp_path: Path
) -> None:
    tool = tmp_path / "lighthouse"
    tool.touch()
    bench.print_ratings(tool)
    assert [command[-1] for command in commands] == ["html", "tests/browser/lighthouse.py"]


def test_without_lighthouse_one_line_says_how_to_get_it(
    commands: Commands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.print_ratings(tmp_path / "none")
    assert commands == []
    [line] = capsys.readouterr().out.split("\n")[1:-1]
    assert "`make lighthouse`" in line
