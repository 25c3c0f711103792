"""Recording several examples on clusters: which, how they share the machine, and how they end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from cluster import commands, needs, ready
from cluster.errors import ClusterError
from cluster.recording import choosing, keeping, record, several, watching
from cluster.recording.record import Played
from cluster.recording.several import Job
from cluster.world import World
from conftest import eventually
from lab.errors import LabError
from lab.files import recording as states
from lab.files import transcript
from lab.files.example import Example
from lab.files.recording import Call, Recording, State
from lab.files.transcript import Transcript
from lab.paths import ROOT

# Which examples a run of CI plays


def git(root: Path, *words: str) -> str:
    names = {
        f"GIT_{who}_{key}": "a" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    # Ids of commits are the same each time.
    names |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-02T12:00:00Z")
    command = ["git", "-C", str(root), *words]
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


def commit(root: Path, *files: str) -> str:
    """Changes these files in a commit, and gives its id."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.read_text() if path.exists() else ''}x")
    git(root, "add", ".")
    git(root, "commit", "-m", "a change", "--allow-empty")
    return git(root, "rev-parse", "HEAD")


NAMES = [f"part/{letter}" for letter in "abcde"]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with five examples of one minute each, which no recent commit touched."""
    root = tmp_path_factory.mktemp("history")
    git(root, "init")
    for name in NAMES:
        (root / "recordings" / name).mkdir(parents=True)
        (root / "recordings" / name / "recording.json").write_text('{"seconds": 60}')
    commit(root, *(f"examples/{name}/1-a.console" for name in NAMES))
    for number in range(choosing.RECENT):
        commit(root, f"engine-{number}.py")
    return root


@pytest.fixture
def repository(history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Example]:
    """The examples of a copy of that repository, for the test to go on with."""
    shutil.copytree(history, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(choosing, "ROOT", tmp_path)
    return [Example(n, tmp_path / "examples" / n, tmp_path / "recordings" / n) for n in NAMES]


def played(examples: list[Example], minutes: float, since: str | None = None) -> list[str]:
    chosen = choosing.choose(examples, minutes, since)
    return [one.example.name[-1] for one in chosen if one.played]


def test_what_commits_touched_comes_first_and_the_newest_before_the_rest(
    tmp_path: Path, repository: list[Example]
) -> None:
    commit(tmp_path, "recordings/part/d/01/state.json")
    commit(tmp_path, "examples/part/b/apps.yaml")
    assert played(repository, 20)[:2] == ["b", "d"]
    assert sorted(played(repository, 20)) == [*"abcde"]
    why = [one.why for one in choosing.choose(repository, 20)]
    assert [text.split()[0] for text in why] == ["touched", "touched", "its", "its", "its"]


def test_the_others_follow_in_turn_from_one_that_the_commit_decides(
    tmp_path: Path, repository: list[Example]
) -> None:
    last = git(tmp_path, "rev-parse", "HEAD")
    ring = "abcdeabcde"
    start = int(last, 16) % 5
    assert "".join(played(repository, 3)) == ring[start : start + 3]
    assert "".join(played(repository, 0.5)) == ring[start]
    seen = set()
    for _ in range(20):
        commit(tmp_path)
        seen.update(played(repository, 1))
    assert seen == {*"abcde"}


def test_touched_examples_may_take_half_as_long_again_and_the_rest_is_named(
    tmp_path: Path, repository: list[Example]
) -> None:
    newest = commit(tmp_path, *(f"examples/part/{letter}/a.yaml" for letter in "abcde"))
    chosen = choosing.choose(repository, 2)
    assert [one.played for one in chosen] == [True] * 3 + [False] * 2
    assert choosing.described(chosen)[2:4] == [
        f"part/c: touched by {newest[:12]}, 60 s",
        f"part/d: touched by {newest[:12]}, 60 s; no time: make check-recordings EXAMPLE=part/d",
    ]


def test_a_commit_may_be_named_since_which_they_were_touched(
    tmp_path: Path, repository: list[Example]
) -> None:
    since = commit(tmp_path, "examples/part/b/apps.yaml")
    commit(tmp_path, "examples/part/c/apps.yaml")
    why = {o.example.name: o.why for o in choosing.choose(repository, 20, since)}
    assert [name for name in why if why[name] != "its turn"] == ["part/c"]


def test_side_by_side_there_is_time_for_more(repository: list[Example]) -> None:
    assert [len(choosing.choose(repository, 2, at_once=n)) for n in (1, 2)] == [2, 4]


def test_an_example_without_a_time_counts_as_a_slow_one(repository: list[Example]) -> None:
    (repository[0].recordings / "recording.json").write_text("{}")
    assert choosing.seconds_of(repository[0]) == choosing.UNKNOWN
    assert choosing.seconds_of(repository[1]) == 60


def test_a_commit_that_is_not_there_is_told(repository: list[Example]) -> None:
    with pytest.raises(ClusterError, match=r"git log: fatal: .*nowhere.* \(name the examples"):
        choosing.choose(repository, 20, "nowhere")


# How they share the machine. A program stands in for the cluster.

STAND_IN = """\
import json, os, pathlib, signal, sys, time

folder, name = pathlib.Path(sys.argv[2]), "/".join(sys.argv[-1].split("/")[-2:])
folder.mkdir(exist_ok=True)
print("   1.0 s  $ kubectl apply", flush=True)
def end(*_):
    (folder / "ended").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
if name == "part/long":
    (folder / "began").touch()
    time.sleep(600)
if name == "part/bad":
    print(f"cluster: {name}: 1-a.console:3: the output differs", file=sys.stderr)
    print(f"   2.0 s  {name}: differs")
    sys.exit(1)
if name == "part/dead":
    print("cluster: etcd ended", file=sys.stderr)
    sys.exit(1)
print(f"   2.0 s  {name}: nothing differs")
"""

Stand = Callable[[str], Path]


@pytest.fixture
def stand_in(tmp_path: Path) -> dict[str, str]:
    package = tmp_path / "stand-in" / "cluster"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(STAND_IN)
    return {**os.environ, "PYTHONPATH": str(package.parent)}


def jobs_called(*names: str) -> list[Job]:
    return [Job(f"part/{name}", ("record", f"/nowhere/part/{name}")) for name in names]


def test_each_has_a_line_and_what_differs_is_told(
    tmp_path: Path,
    stand_in: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(several, "python_environment", lambda: stand_in)
    lines: list[str] = []
    crew = several.Crew([tmp_path / "1"], tmp_path / "plays", lines.append)
    done = crew.run(jobs_called("good", "bad", "dead"))
    assert [line.rpartition(",")[0] or line for line in lines] == [
        "part/good: begins",
        "part/good: nothing differs",
        "part/bad: begins",
        "part/bad: differs",
        "part/dead: begins",
        "part/dead: failed",
    ]
    assert capsys.readouterr().err.splitlines() == [
        "cluster: part/bad: 1-a.console:3: the output differs",
        "cluster: etcd ended",
    ]
    assert several.summary(done, 61.2).splitlines() == [
        "cluster: part/bad: 1-a.console:3: the output differs",
        "cluster: etcd ended",
        "3 examples: 1 differs, 1 failed, 1 nothing differs (part/bad, part/dead), 61 s",
    ]
    assert "kubectl apply" in (tmp_path / "plays" / "part-good.log").read_text()


def test_several_run_side_by_side_each_at_its_own_place(
    tmp_path: Path, stand_in: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "python_environment", lambda: stand_in)
    lines: list[str] = []
    places = [tmp_path / "1", tmp_path / "2"]
    crew = several.Crew(places, tmp_path / "plays", lines.append)
    assert [one.code for one in crew.run(jobs_called("a", "b", "c"))] == [0, 0, 0]
    assert lines[:2] == ["part/a: begins", "part/b: begins"]
    assert all(place.exists() for place in places)


def test_what_is_printed_goes_to_files_whose_names_the_system_takes(tmp_path: Path) -> None:
    crew = several.Crew([tmp_path / "1"], tmp_path, print)
    titles = [f"part/a/{'spec.' * 80}{end}" for end in ("one", "two")]
    files = {path for title in titles for path in crew._files(Job(title, ()))}
    for path in files:
        path.touch()
    assert len(files) == 4


def test_no_other_begins_when_the_time_is_over(
    tmp_path: Path, stand_in: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "python_environment", lambda: stand_in)
    lines: list[str] = []
    crew = several.Crew([tmp_path / "1"], tmp_path / "plays", lines.append, 0.01)
    assert [one.title for one in crew.run(jobs_called("a", "b"))] == ["part/a"]
    assert lines[-1] == "part/b: not played, the time is over"


INTERRUPTED = """
import sys
from pathlib import Path
from cluster import __main__, commands
from cluster.recording import several

folder = Path(sys.argv[1])
jobs = [several.Job("part/long", ("record", "/nowhere/part/long"))] * 2
places = [folder / "1", folder / "2"]
several.python_environment = lambda: __import__("os").environ | {"PYTHONPATH": sys.argv[2]}
commands.run = lambda _: several.Crew(places, folder / "plays", print).run(jobs)
sys.exit(__main__.main([]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_of_them_and_their_clusters(
    tmp_path: Path, stand_in: dict[str, str], number: signal.Signals
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path), stand_in["PYTHONPATH"]]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )
    places = [tmp_path / "1", tmp_path / "2"]
    assert eventually(lambda: all((place / "began").exists() for place in places))
    process.send_signal(number)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert said == "cluster: interrupted; everything that it started has ended\n"
    assert all((place / "ended").exists() for place in places)


def test_as_many_run_side_by_side_as_the_machine_has_cores_and_memory_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = []
    for cores, free in [(1, 32), (2, 32), (16, 32), (2, 7), (2, 1)]:
        memory = SimpleNamespace(available=free * 2**30)
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        found.append(ready.side_by_side())
    assert found == [1, 2, 2, 1, 1]


# What is written


@pytest.fixture
def recorded(tmp_path: Path) -> Example:
    folder = tmp_path / "part" / "a"
    folder.mkdir(parents=True)
    (folder / "1-a.console").write_text(
        "# A.\n\n$ date +%T\n12:00:00 at 2026-11-29T12:00:00.000Z\n"
    )
    example = Example("part/a", folder, tmp_path / "recordings")
    states.save(example.recordings, RECORDING)
    return example


RECORDING = Recording(
    istio="1.31",
    module="v0",
    kubernetes="1.36.3",
    envoy="1.39.3",
    recorded="2026-11-29",
    inputs={},
    bootstrap={},
    calls=[Call(("1-a.console", 1), "kubectl", ("get", "pods"), "one\n", 0)],
    seconds=60,
)


def play_that_says(example: Example, line: str) -> Played:
    script = transcript.read(example.transcripts[0])
    steps = tuple(replace(step, output=(line,)) for step in script.steps)
    return Played([Transcript(script.path, script.header, steps)], [], [], {})


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("12:00:00 at 2026-11-30T13:00:00.000Z", False),  # another day, which is masked
        ("12:00:01 at 2026-11-29T12:00:00.000Z", True),
    ],
)
def test_what_differs_in_masked_parts_alone_stays_as_it_is(
    recorded: Example, line: str, *, writes: bool
) -> None:
    before = {p: p.read_bytes() for p in recorded.folder.parent.parent.rglob("*") if p.is_file()}
    new = replace(RECORDING, seconds=70, recorded="2026-11-30")
    assert keeping.save(recorded, play_that_says(recorded, line), new) is writes
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == ({"1-a.console", "recording.json"} if writes else set())


@pytest.mark.parametrize(("then", "now", "kept"), [(60, 80, 60), (60, 91, 91), (60, 29, 29)])
def test_seconds_that_are_far_off_are_written_and_nothing_else_is(
    recorded: Example, then: int, now: int, kept: int
) -> None:
    before = states.load(recorded.recordings)
    new = replace(RECORDING, seconds=now, recorded="2026-11-30")
    line = "12:00:00 at 2026-11-30T13:00:00.000Z"
    assert not keeping.save(recorded, play_that_says(recorded, line), new)
    assert before == replace(RECORDING, seconds=then)
    assert states.load(recorded.recordings) == replace(RECORDING, seconds=kept)


def test_seconds_that_are_missing_are_written(recorded: Example) -> None:
    path = recorded.recordings / "recording.json"
    whole = path.read_bytes()
    path.write_text(json.dumps({k: v for k, v in json.loads(whole).items() if k != "seconds"}))
    line = "12:00:00 at 2026-11-30T13:00:00.000Z"
    assert not keeping.save(recorded, play_that_says(recorded, line), RECORDING)
    assert path.read_bytes() == whole


def test_a_recording_without_its_seconds_is_read(recorded: Example) -> None:
    path = recorded.recordings / "recording.json"
    told = json.loads(path.read_text())
    del told["seconds"]
    path.write_text(json.dumps(told))
    assert states.load(recorded.recordings) == replace(RECORDING, seconds=0)


# The command


def test_a_machine_that_cannot_run_clusters_is_told_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = replace(needs.this(), capabilities=0)
    monkeypatch.setattr(needs, "this", lambda: machine)
    monkeypatch.setattr(ready, "build", lambda *_: pytest.fail("builds"))
    assert commands.run(["record", "--check", "--minutes", "600"]) == 1  # time for all
    out, err = capsys.readouterr()
    assert "cluster/orders: " in out
    assert err.splitlines()[0] == "cluster: this machine cannot run a cluster"
    assert "not allowed: CAP_" in err


# Watching a play for what differs


def test_what_differs_is_found_by_roles_and_a_play_may_end_at_it(
    recorded: Example, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (recorded.folder / "1-a.console").write_text(
        "# A.\n\n$ one\nat 10.244.0.4\n\n$ two\nsee https://istio.io/v1.31/docs\n\n"
        "$ three\n3\n\n$ four\n4\n"
    )
    says = ["at 10.244.0.9", "see https://istio.io/v1.30/docs", "4", "5"]
    before, after = (state_with_pod(name, ip) for name, ip in (("a", "4"), ("b", "9")))
    states.save(recorded.recordings, replace(RECORDING, states=[State(before, {})]))
    monkeypatch.setattr(record, "states_of", lambda _: [{"objects": after, "proxies": {}}])
    seen = 0

    def play(example: Example, *_: object) -> None:
        nonlocal seen
        script = transcript.read(example.transcripts[0])
        for step, line in zip(script.steps, says, strict=True):
            seen += 1
            _[-1](script, step, replace(step, output=(line,)))  # type: ignore[operator]
        raise LabError("no end after 240 s: five", where=script.path, line=9)

    monkeypatch.setattr(record, "play", play)
    found = watching.differences(recorded, World(tmp_path), print)
    assert [(one.error.line, one.stops) for one in found] == [(9, False), (12, False), (9, True)]
    assert found[0].error.cause == (
        "the output of `three` differs\n--- recorded\n+++ now\n@@ -1 +1 @@\n-3\n+4"
    )
    seen = 0
    assert len(watching.differences(recorded, World(tmp_path), print, first=True)) == 1
    assert seen == 3


def state_with_pod(name: str, address: str) -> list[Any]:
    owner = {"kind": "ReplicaSet", "name": "shop-5d9f6c7b8"}
    metadata = {
        "name": f"shop-5d9f6c7b8-aaaa{name}",
        "namespace": "shop",
        "ownerReferences": [owner],
    }
    spec = {"containers": [], "serviceAccountName": "default"}
    status = {"phase": "Running", "podIP": f"10.244.0.{address}"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
    return [pod]


def test_an_example_that_was_never_recorded_cannot_be_compared(tmp_path: Path) -> None:
    example = Example("part/a", tmp_path, tmp_path / "recordings")
    with pytest.raises(LabError, match=r"was never recorded on a cluster \(record it: make record"):
        watching.differences(example, World(tmp_path), print)
