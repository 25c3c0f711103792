"""Changes of manifests: which values change to what, and what counts as noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Traces, eventually
from lab import commands, tools
from lab import mutations as subject
from lab.errors import LabError
from lab.example import Example, find_all, load
from lab.manifests import read_manifest, read_yaml
from lab.matrix import digest
from lab.mutations import (
    Mutation,
    Outcome,
    counted,
    judge,
    load_accepted,
    mutations,
    run,
    share,
    summary,
)
from lab.paths import ROOT
from lab.recordings import Verdict

SHOP = "lab/shop"
CHAPTER = "tricks/direct-response"  # one that the table has
EXAMPLES = [example for example in find_all() if not example.on_cluster]

Copy = Callable[[str], Example]


@cache
def every_mutation() -> list[Mutation]:
    return [m for example in EXAMPLES for path in example.manifests for m in mutations(path)]


def of_spec(tmp_path: Path, spec: str, kind: str = "VirtualService") -> list[Mutation]:
    """The changes of an object with this spec, given without indentation."""
    path = tmp_path / "test.yaml"
    lines = "".join(f"  {line}\n" for line in spec.splitlines())
    version = "networking.istio.io/v1"
    path.write_text(
        f"# A test.\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n{lines}"
    )
    return list(mutations(path))


# Which values change, and to what


@pytest.mark.parametrize(
    ("spec", "new"),
    [
        ("number: 80", "81"),
        ("status: 503", "504"),
        ("enabled: true", "false"),
        ("enabled: false", "true"),
        ("weight: 90", "0"),
        ("weight: 0", "100"),
        ("maxEjectionPercent: 100", "0"),
        ("percentage: {value: 50.0}", "0"),
        ("timeout: 3s", '"30s"'),
        ("timeout: 0s", '"10s"'),
        ("timeout: 250ms", '"2500ms"'),
        ('retry-after: "900"', '"901"'),
        ("address: 127.0.0.1", '"127.0.0.2"'),
        ("host: shop.example.com", '"shop.example.com-other"'),
        ('host: "*"', '"other.example.com"'),
        ("exact: /healthz", '"/healthz-other"'),
        ("subset: ''", '"-other"'),
        ("protocol: HTTPS", '"TLS"'),
        ("mode: STRICT", '"PERMISSIVE"'),
        ("context: GATEWAY", '"SIDECAR_OUTBOUND"'),
        ("from: All", '"Same"'),
        ("until: 2026-01-01", '"2026-01-01-other"'),
        ("body: 'it is ''ok'''", "\"it is 'ok'-other\""),
    ],
)
def test_a_value_becomes_another_of_its_kind(tmp_path: Path, spec: str, new: str) -> None:
    (change,) = of_spec(tmp_path, spec)
    assert change.new == new


def test_a_mode_of_tls_becomes_one_that_its_kind_has(tmp_path: Path) -> None:
    found = {
        kind: of_spec(tmp_path, "mode: SIMPLE", kind)[0].new
        for kind in ("Gateway", "DestinationRule")
    }
    assert found == {"Gateway": '"PASSTHROUGH"', "DestinationRule": '"DISABLE"'}


def test_every_other_word_is_another() -> None:
    words = subject._OTHER_WORDS
    assert [word for word, other in words.items() if word.rpartition(" ")[2] == other] == []


def test_null_does_not_change(tmp_path: Path) -> None:
    assert of_spec(tmp_path, "fault: null\nretries: ~") == []


def test_names_of_headers_and_labels_are_values_and_fields_are_not(tmp_path: Path) -> None:
    spec = """\
match: [{headers: {x-user: {exact: me}}}]
headers: {response: {set: {x-a: b}}}
selector: {matchLabels: {app: shop}}
"""
    assert [(change.path, change.new) for change in of_spec(tmp_path, spec)] == [
        ("spec.match[0].headers.x-user~", '"x-user-other"'),
        ("spec.match[0].headers.x-user.exact", '"me-other"'),
        ("spec.headers.response.set.x-a~", '"x-a-other"'),
        ("spec.headers.response.set.x-a", '"b-other"'),
        ("spec.selector.matchLabels.app~", '"app-other"'),
        ("spec.selector.matchLabels.app", '"shop-other"'),
    ]


def test_only_specs_of_istio_and_of_the_gateway_api_change(tmp_path: Path) -> None:
    path = tmp_path / "test.yaml"
    versions = ["v1", "security.istio.io/v1", "apps/v1", "gateway.networking.k8s.io/v1"]
    item = "apiVersion: {}\nkind: A\nmetadata: {{name: a, namespace: b}}\nspec: {{n: 1}}\n"
    path.write_text("---\n".join(item.format(version) for version in versions))
    assert [(m.name, m.line) for m in mutations(path)] == [
        ("test.yaml A b/a spec.n", 9),
        ("test.yaml A b/a spec.n", 19),
    ]


LITERAL = """\
code: |
  one
  two
after: 1"""


def test_a_block_of_text_changes_and_what_follows_it_does_not(tmp_path: Path) -> None:
    change, _ = of_spec(tmp_path, LITERAL)
    change.apply(tmp_path)
    (item,) = read_manifest(change.file.read_text(), change.file)
    assert item["spec"] == {"code": "one\ntwo\n-other", "after": 1}


def leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in [key, *leaves(inner)]]
    if isinstance(value, list | tuple):
        return [leaf for inner in value for leaf in leaves(inner)]
    return [value]


def test_each_change_of_the_examples_changes_one_value_and_no_other_byte(tmp_path: Path) -> None:
    for change in every_mutation():
        change.apply(tmp_path)
        before, after = change.file.read_text(), (tmp_path / change.file.name).read_text()
        assert after[: change.start] == before[: change.start]
        assert after[len(after) - len(before) + change.end :] == before[change.end :]
        old, new = (leaves(read_yaml(text, change.file)) for text in (before, after))
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1, change


def test_a_change_is_known_by_a_name_of_its_own() -> None:
    names = [(m.file.parent, m.name) for m in every_mutation()]
    assert len({*names}) == len(names) > 100


# What counts as noticed. A manifest that a transcript only reads needs no control plane.

READS = """\
# Prints one value, and neither applies nor prints the others.

$ grep status health-check.yaml
        status: 200
"""


def with_one_manifest(example: Example, transcript: str) -> Example:
    """The example with health-check.yaml and this transcript alone."""
    for path in [*example.transcripts, *example.manifests]:
        if path.name != "health-check.yaml":
            path.unlink()
    (example.folder / "1-test.console").write_text(transcript)
    return example


def test_a_change_that_an_output_shows_is_noticed_and_another_is_not(copy_of: Copy) -> None:
    example = with_one_manifest(copy_of(SHOP), READS)
    before = example.manifests[0].read_bytes()
    lines: list[str] = []
    found = run([example], lines.append)[SHOP]
    noticed = [change.path for change, outcome in found.items() if outcome is Outcome.NOTICED]
    assert noticed == ["spec.http[0].directResponse.status"]
    assert {*found.values()} == {Outcome.NOTICED, Outcome.IDLE}
    assert len(lines) == len(found) == 9
    assert lines[4] == (
        f"5/9 {SHOP}/health-check.yaml:18: spec.http[0].directResponse.status: 200 -> 201: "
        "noticed by 1-test.console:3"
    )
    assert example.manifests[0].read_bytes() == before


@pytest.mark.parametrize("times", [1, 2])
def test_what_may_be_chance_must_come_twice_to_count_as_noticed(
    copy_of: Copy, tmp_path: Path, times: int
) -> None:
    # The lab cannot play `kubectl frogs`, which comes in plays of the changed status alone.
    count = f"echo >> {tmp_path}/count; [ $(wc -l < {tmp_path}/count) -gt {times} ]"
    unplayed = f"grep -q 'status: 200' health-check.yaml || {{ {count}; }} || kubectl frogs"
    example = with_one_manifest(copy_of(SHOP), f"$ {unplayed}\n")
    found = run([example], lambda _: None)[SHOP]
    noticed = [change.path for change, outcome in found.items() if outcome is Outcome.NOTICED]
    assert noticed == ["spec.http[0].directResponse.status"][: times - 1]


def test_an_example_that_does_not_hold_as_it_is_says_so(copy_of: Copy) -> None:
    example = copy_of(SHOP)
    for path in example.transcripts:
        path.write_text(path.read_text().replace("ok\n", "fine\n"))
    with pytest.raises(LabError, match="the output of `curl"):
        run([example], lambda _: None)


INTERRUPTIBLE = """
import sys
from lab import __main__, tools

tools.path = lambda name: name
sys.exit(__main__.main(["mutate", sys.argv[1]]))
"""


def test_ctrl_c_ends_the_plays_in_other_threads_too(copy_of: Copy, traces: Traces) -> None:
    example = copy_of(SHOP)
    for path in example.transcripts:
        path.write_text("$ sleep 600\n")
    lab = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, str(example.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
    )
    assert eventually(lambda: traces.processes("sleep 600"))
    lab.send_signal(signal.SIGINT)
    stdout, stderr = lab.communicate()
    assert (lab.returncode, stdout) == (130, "")
    assert stderr == "lab: interrupted; everything that it started has ended\n"
    traces.assert_nothing_left()


@dataclass
class Played:
    """Stands for a mesh in which one state came up."""

    listeners: list[str]
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def mesh(self) -> SimpleNamespace:
        state = SimpleNamespace(proxies={"a": self.listeners}, verdicts=self.verdicts, statuses=[])
        return SimpleNamespace(istiod=SimpleNamespace(used=[state]))


REFUSED = [Verdict("VirtualService default/a", denied="no")]


@pytest.mark.parametrize(
    ("file", "changed", "noticed", "outcome"),
    [
        ("test.yaml", Played(["b"]), True, Outcome.NOTICED),
        ("test.yaml", Played(["b"]), False, Outcome.SURVIVED),
        ("test.yaml", Played(["a"]), False, Outcome.IDLE),
        ("test.yaml", Played(["a"], REFUSED), True, Outcome.REJECTED),
        ("test.yaml", Played(["a"], REFUSED), False, Outcome.SURVIVED),
        ("rejected-test.yaml", Played(["a"], REFUSED), True, Outcome.NOTICED),
    ],
)
def test_an_outcome_follows_from_what_was_seen_and_from_what_istio_said(
    tmp_path: Path, file: str, changed: Played, noticed: bool, outcome: Outcome
) -> None:
    (change,) = of_spec(tmp_path, "number: 80")
    change = replace(change, file=tmp_path / file)
    before: Any = subject._said(Played(["a"]))  # type: ignore[arg-type]
    assert subject._outcome(change, before, changed, noticed=noticed) is outcome  # type: ignore[arg-type]


# What is reported

ACCEPTED = """\
tricks/test:
  - reason: Nothing depends on it.
    survivors:
      - test.yaml VirtualService default/a spec.b
      - test.yaml VirtualService default/a spec.d
"""


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, subject.Outcomes]:
    """Six changes, of which one survives with a reason, another without; d is noticed."""
    (tmp_path / "mutations.yaml").write_text(ACCEPTED)
    monkeypatch.setattr(subject, "ACCEPTED", tmp_path / "mutations.yaml")
    changes = of_spec(tmp_path, "a: 1\nb: 1\nc: 1\nd: 1\ne: 1\nf: 1")
    survived, noticed = Outcome.SURVIVED, Outcome.NOTICED
    outcomes = [survived, survived, Outcome.IDLE, noticed, noticed, Outcome.REJECTED]
    return {"tricks/test": dict(zip(changes, outcomes, strict=True))}


def test_a_survivor_without_a_reason_and_a_reason_without_a_survivor_are_wrong(
    tmp_path: Path, found: dict[str, subject.Outcomes]
) -> None:
    assert [str(error) for error in judge(found)] == [
        f"{tmp_path}/test.yaml:6: no transcript notices spec.a: 1 -> 2 (show it in a transcript, "
        "or say why not in mutations.yaml: test.yaml VirtualService default/a spec.a)",
        f"{tmp_path}/mutations.yaml: is noticed: test.yaml VirtualService default/a spec.d "
        "(remove it)",
    ]


def test_the_summary_gives_reasons_and_counts(found: dict[str, subject.Outcomes]) -> None:
    counts = "6 changes: 2 noticed, 1 rejected, 1 without effect, 2 not noticed (50% noticed)"
    assert list(summary(found)) == [
        "tricks/test/test.yaml:6: spec.a: 1 -> 2: no reason is given",
        "tricks/test/test.yaml:7: spec.b: 1 -> 2: Nothing depends on it.",
        "tricks/test/test.yaml:8: spec.c: 1 -> 2: Istio makes the same of it",
        f"tricks/test: {counts}",
        f"all: {counts}",
    ]


def test_what_istio_rejects_and_what_has_no_effect_is_no_part_of_the_share(
    found: dict[str, subject.Outcomes],
) -> None:
    assert share(counted(found["tricks/test"])) == 2 / 4
    assert share(Counter()) == 0


def test_the_table_has_what_was_found_of_examples_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, subject.Outcomes]
) -> None:
    monkeypatch.setattr(subject, "TABLE", tmp_path / "mutations.json")
    subject.TABLE.write_text('{"tricks/gone": {}}')
    subject.save([load(CHAPTER)], {CHAPTER: found["tricks/test"]})
    counts = {"noticed": 2, "not noticed": 2, "rejected": 1, "without effect": 1}
    assert subject.load() == {CHAPTER: {"digest": digest(load(CHAPTER)), "changes": counts}}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_was_tried_as_it_is_today(example: Example) -> None:
    row = subject.load().get(example.name, {"digest": "none"})
    assert row["digest"] == digest(example), f"run: make mutate EXAMPLE={example.name}"


def test_nine_of_ten_changes_are_noticed() -> None:
    counts = sum((Counter(row["changes"]) for row in subject.load().values()), Counter[str]())
    assert counts.total() > 500
    assert share(counts) >= 0.9


@pytest.mark.parametrize("text", ["[]", "a: b", "a: [b]", "a: [{reason: b}]", "1"])
def test_a_list_of_survivors_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "mutations.yaml").write_text(text)
    monkeypatch.setattr(subject, "ACCEPTED", tmp_path / "mutations.yaml")
    with pytest.raises(LabError, match="not examples, each with a list of reasons and their surv"):
        load_accepted()


def test_every_accepted_survivor_is_a_change_of_an_example() -> None:
    known = {
        example.name: {m.name for path in example.manifests for m in mutations(path)}
        for example in find_all()
    }
    for example, reasons in load_accepted().items():
        assert reasons.keys() - known.get(example, set()) == set(), example


def test_the_command_fails_where_transcripts_notice_too_little(
    found: dict[str, subject.Outcomes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tools, "path", Path)
    monkeypatch.setattr(subject, "run", lambda *_: found)
    saved: list[object] = []
    monkeypatch.setattr(subject, "save", lambda *given: saved.append(given))
    assert commands.run(["mutate", SHOP]) == 1
    assert saved == [([load(SHOP)], found)]
    out, err = capsys.readouterr()
    assert out.splitlines() == list(summary(found))
    assert err.splitlines() == [
        *(f"lab: {error}" for error in judge(found)),
        "lab: the transcripts notice 50% of the changes, 90% are due",
    ]


def test_the_command_fails_without_the_control_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    assert commands.run(["mutate"]) == 1
    said = "lab: the Go program controlplane is not built (build it: make controlplane)\n"
    assert capsys.readouterr() == ("", said)
