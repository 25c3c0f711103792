"""Examples that no replay plays: the cluster run holds their outputs, and edits are noticed."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cluster.recording import keeping
from cluster.recording.record import Played
from lab.errors import LabError
from lab.files import example, transcript
from lab.files import recording as states
from lab.files.example import Example
from lab.files.recording import Recording
from lab.plays import commands, matrix
from lab.plays.play import playing

ORDERS = "cluster/orders"
WHY = "the kubelet ends its pods"
CALL, SCRIPT = "1-call.console", "end.sh"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an example of the cluster, recorded as one that no replay plays."""
    root = tmp_path_factory.mktemp("held")
    original = example.load(ORDERS)
    folder = root / ORDERS
    shutil.copytree(original.folder, folder, ignore=shutil.ignore_patterns("recordings"))
    (folder / "lab.yaml").write_text(f"held: {WHY}\n")
    (folder / SCRIPT).write_text("kubectl delete pod --all\n")
    copy = Example(ORDERS, folder, root / "recordings")
    states.save(copy.recordings, recording(copy, original))
    return root


@pytest.fixture
def held(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    """A copy of it, with a script."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    copy = Example(ORDERS, tmp_path / ORDERS, tmp_path / "recordings")
    monkeypatch.setattr(commands, "load", lambda _: copy)
    return copy


def recording(copy: Example, original: Example) -> Recording:
    known = states.load(original.recordings)
    assert known
    return replace(known, inputs=states.digests(copy), held=WHY)


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_an_example_is_held_if_it_says_why(held: Example) -> None:
    assert (held.held, example.load(ORDERS).held) == (WHY, "")
    assert [path.name for path in held.scripts] == [SCRIPT]


def test_its_recording_says_so_and_has_the_digest_of_every_file(held: Example) -> None:
    kept = states.current(held)
    files = [path.name for path in held.folder.iterdir() if path.name != "lab.yaml"]
    assert (kept.held, sorted(kept.inputs)) == (WHY, sorted(files))


def test_other_recordings_have_digests_of_manifests_alone() -> None:
    orders = example.load(ORDERS)
    kept = states.current(orders)
    assert (kept.held, sorted(kept.inputs)) == ("", [path.name for path in orders.manifests])


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (CALL, "order", "odrer"),
        ("2-subset.console", "istioctl analyze", "istioctl analyze -A"),
        ("apps.yaml", "8080", "8081"),
        (SCRIPT, "--all", "--force"),
    ],
)
def test_an_edited_file_is_named_with_what_to_do(
    held: Example, capsys: pytest.CaptureFixture[str], file: str, old: str, new: str
) -> None:
    day = states.current(held).recorded
    change(held.folder / file, old, new)
    assert commands.run(["play", ORDERS]) == 1
    assert capsys.readouterr().err == (
        f"lab: {held.folder / file}:1: has changed since {day} (make record EXAMPLE={ORDERS})\n"
    )


def test_a_new_file_and_one_that_is_gone_are_noticed(held: Example) -> None:
    (held.folder / SCRIPT).rename(held.folder / "other.sh")
    with pytest.raises(LabError, match=r"/end.sh:1: has changed since"):
        states.current(held)
    (held.folder / SCRIPT).write_bytes((held.folder / "other.sh").read_bytes())
    with pytest.raises(LabError, match=r"/other.sh:1: has changed since"):
        states.current(held)


def test_what_a_transcript_says_of_itself_may_change(held: Example) -> None:
    for path in (held.folder / CALL, *held.manifests):
        path.write_text("# Another comment.\n" + path.read_text())
    states.current(held)


def test_one_that_was_never_recorded_is_named(held: Example) -> None:
    shutil.rmtree(held.recordings)
    with pytest.raises(LabError, match=f"has no recording of a cluster .*EXAMPLE={ORDERS}"):
        states.current(held)


def test_a_play_says_who_holds_it_and_starts_nothing(
    held: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.run(["play", ORDERS]) == 0
    day = states.current(held).recorded
    assert capsys.readouterr().out == f"{ORDERS}: as held by the cluster run of {day}\n"


def test_to_try_it_needs_a_cluster(held: Example, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["try", ORDERS]) == 1
    assert capsys.readouterr() == ("", f"lab: {ORDERS} needs a cluster: {WHY} (make cluster)\n")
    with pytest.raises(LabError, match="needs a cluster"), playing(held):
        pass


def test_the_matrix_leaves_it_out_and_says_whose_it_is(
    held: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: dict[str, matrix.Row] = {}
    monkeypatch.setattr(matrix, "install", lambda _: None)
    monkeypatch.setattr(matrix, "save", rows.update)
    assert commands.run(["matrix", ORDERS]) == 0
    kept = states.current(held)
    row = {"digest": matrix.digest(held), "played": kept.recorded, "cluster": kept.envoy}
    assert rows == {ORDERS: row}
    assert capsys.readouterr().out == f"{ORDERS}: held by the cluster run\n"


# Recording


def printed_again(example: Example, old: str, new: str) -> tuple[Played, Recording]:
    """A run that printed a text in the place of another."""
    scripts = [transcript.read(path) for path in example.transcripts]
    for number, script in enumerate(scripts):
        outputs = [tuple(line.replace(old, new) for line in s.output) for s in script.steps]
        pairs = zip(script.steps, outputs, strict=True)
        steps = tuple(replace(step, output=output) for step, output in pairs)
        scripts[number] = replace(script, steps=steps)
    inputs = states.digests(example, scripts)
    return Played(scripts, [], [], {}), replace(states.current(example), inputs=inputs)


def printed_again_as_edited(example: Example) -> tuple[Played, Recording]:
    """A run of what is on file now, that printed the same."""
    known = states.load(example.recordings)
    assert known
    scripts = [transcript.read(path) for path in example.transcripts]
    inputs = states.digests(example, scripts)
    return Played(scripts, [], [], {}), replace(known, inputs=inputs)


def test_another_output_is_kept_with_its_digest(held: Example) -> None:
    played, new = printed_again(held, "order /2", "order /9")
    (found,) = keeping.compare(held, played, new)
    assert re.match(rf"{ORDERS}: {CALL}:\d+: the output differs\n", found)
    assert found.splitlines()[-2:] == ["-order /2", "+order /9"]
    keeping.save(held, played, new)
    assert states.current(held) == new
    assert "order /9" in (held.folder / CALL).read_text()


def test_another_time_is_no_difference_and_changes_no_file(held: Example) -> None:
    played, new = printed_again(held, "T18:", "T19:")
    assert keeping.compare(held, played, new) == []
    keeping.save(held, played, new)
    assert states.current(held) != new
    assert "T19:" not in (held.folder / CALL).read_text()


def test_a_new_reason_is_a_difference(held: Example) -> None:
    played, new = printed_again(held, "T18:", "T19:")
    new = replace(new, held="another")
    assert keeping.compare(held, played, new) == [f"{ORDERS}: why no replay plays it has changed"]


def test_a_command_that_was_taken_away_is_a_difference(held: Example) -> None:
    played, new = printed_again(held, "T18:", "T19:")
    last = new.calls[-1].step
    new = replace(new, calls=[call for call in new.calls if call.step != last])
    found = keeping.compare(held, played, new)
    assert found == [f"{ORDERS}: other commands ask the control plane"]


def test_a_command_that_was_taken_out_of_a_transcript_is_a_difference(held: Example) -> None:
    script = transcript.read(held.folder / CALL)
    script.path.write_text(replace(script, steps=script.steps[:-1]).text())
    played, new = printed_again_as_edited(held)
    assert keeping.compare(held, played, new) == [f"{ORDERS}: {CALL} has changed"]
    keeping.save(held, played, new)
    assert states.current(held) == new


def test_a_script_that_has_changed_is_a_difference(held: Example) -> None:
    change(held.folder / SCRIPT, "--all", "--force")
    found = keeping.compare(held, *printed_again_as_edited(held))
    assert found == [f"{ORDERS}: {SCRIPT} has changed"]
