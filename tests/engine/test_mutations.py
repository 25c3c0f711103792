"""Changes of manifests: which values change to what, and what counts as noticed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cluster import commands
from cluster.recording import keeping, mutating, plays, record, watching
from cluster.recording.several import Crew, Done
from cluster.world import World
from lab.errors import LabError
from lab.files import recording as states
from lab.files.example import Example, find_all, load
from lab.files.manifests import read_manifest, read_yaml
from lab.plays import mutations as subject
from lab.plays.mutations import (
    SAMPLE,
    Mutation,
    Outcome,
    counted,
    digest,
    judge,
    load_accepted,
    mutations,
    sample,
    share,
    summary,
)
from lab.plays.play import Difference

SHOP = "tricks/direct-response"
EXAMPLES = find_all()


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
    def items(text: str, file: Path) -> list[Any]:
        """Without their lines: a block of text that becomes one line moves what follows it."""
        return [item for _, item in read_yaml(text, file)]

    values = cache(lambda file: leaves(items(file.read_text(), file)))
    for change in every_mutation():
        change.apply(tmp_path)
        before, after = change.file.read_text(), (tmp_path / change.file.name).read_text()
        assert after[: change.start] == before[: change.start]
        assert after[len(after) - len(before) + change.end :] == before[change.end :]
        old, new = values(change.file), leaves(items(after, change.file))
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 1, change


def test_a_change_is_known_by_a_name_of_its_own() -> None:
    names = [(m.file.parent, m.name) for m in every_mutation()]
    assert len({*names}) == len(names) > 100


# Which of them are tried


def test_a_sample_is_fair_and_stays_while_other_values_change(tmp_path: Path) -> None:
    example = Example("part/a", tmp_path, tmp_path / "recordings")
    of_spec(tmp_path, "".join(f"v{number}: {number}\n" for number in range(40)))
    before = {change.name for change in sample(example)}
    assert len(before) == SAMPLE
    of_spec(tmp_path, "".join(f"v{number}: {number + 7}\n" for number in range(41)))
    assert len(before & {change.name for change in sample(example)}) >= SAMPLE - 1
    other = {change.name for change in sample(replace(example, name="part/b"))}
    assert other != before
    assert len(sample(example, 100)) == 41
    lines = [change.line for change in sample(example)]
    assert lines == sorted(lines)


def test_a_row_is_void_when_a_command_or_a_value_changes_and_not_by_a_new_recording(
    tmp_path: Path,
) -> None:
    example = Example("part/a", tmp_path, tmp_path / "recordings")
    of_spec(tmp_path, "number: 80")
    script = tmp_path / "1-a.console"
    script.write_text("# A.\n\n$ kubectl get pods\norders-1\n")
    before = digest(example)
    script.write_text("# A.\n\n$ kubectl get pods\norders-2\n")
    manifest = tmp_path / "test.yaml"
    manifest.write_text("# Another comment.\n" + manifest.read_text())
    assert digest(example) == before
    script.write_text("# A.\n\n$ kubectl get pod\norders-2\n")
    after = digest(example)
    manifest.write_text(manifest.read_text().replace("80", "81"))
    assert len({before, after, digest(example)}) == 3


# What became of a change

REFUSED = (
    '+Error from server: error when creating "test.yaml": admission webhook '
    '"rev.validation.istio.io" denied the request: configuration is invalid',
    '+Error from server (BadRequest): error when creating "test.yaml": HTTPRoute in version "v1" '
    "cannot be handled",
    '+The HTTPRoute "a" is invalid: spec.rules[0].name: Invalid value',
)


@pytest.mark.parametrize(
    ("file", "said", "outcome"),
    [
        ("test.yaml", "-200\n+503", Outcome.NOTICED),
        *(("test.yaml", f"-created\n{line}", Outcome.REFUSED) for line in REFUSED),
        ("test.yaml", "-Error from server: denied\n+created", Outcome.NOTICED),
        ("rejected-test.yaml", f"-created\n{REFUSED[0]}", Outcome.NOTICED),
    ],
)
def test_an_object_that_nobody_took_is_refused_unless_that_is_meant(
    tmp_path: Path, file: str, said: str, outcome: Outcome
) -> None:
    (change,) = of_spec(tmp_path, "number: 80")
    change = replace(change, file=tmp_path / file)
    assert mutating.judged(change, Difference(LabError(said))) is outcome


PROXY: dict[str, Any] = {"listeners": [{"name": "a", "port": 80}], "secrets": []}
OTHER = {**PROXY, "listeners": [{"name": "a", "port": 81}]}


@pytest.mark.parametrize(
    ("differs", "proxies", "outcome", "where"),
    [
        (True, {"a.b": OTHER}, Outcome.NOTICED, "1-a.console:3"),
        (False, {"a.b": OTHER}, Outcome.SURVIVED, ""),
        (False, {"a.b": PROXY}, Outcome.IDLE, ""),
        (False, {}, Outcome.SURVIVED, ""),  # nobody knows how the proxies are configured
    ],
)
def test_an_outcome_follows_from_the_outputs_and_from_what_istiod_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    differs: bool,
    proxies: dict[str, Any],
    outcome: Outcome,
    where: str,
) -> None:
    example, change = recorded(tmp_path)
    written = []

    @contextlib.contextmanager
    def up(copy: Example, *_: object) -> Iterator[None]:
        written.append(copy.manifests[0].read_text())
        yield

    error = LabError("-200\n+503", where=Path("1-a.console"), line=3)
    found = [Difference(error)] if differs else []
    monkeypatch.setattr(keeping, "up", up)
    monkeypatch.setattr(watching, "differences", lambda *_, **__: found)
    monkeypatch.setattr(record, "states_of", lambda _: [{"objects": [], "proxies": proxies}])
    world = World(tmp_path / "world")
    assert mutating.outcome(example, change, world, print) == (outcome, where)
    assert "number: 81" in written[0]
    assert "number: 80" in example.manifests[0].read_text()


def recorded(tmp_path: Path) -> tuple[Example, Mutation]:
    folder = tmp_path / "part" / "a"
    folder.mkdir(parents=True)
    example = Example("part/a", folder, tmp_path / "recordings")
    (change,) = of_spec(folder, "number: 80")
    (folder / "1-a.console").write_text("# A.\n\n$ true\n")
    inputs = states.digests(example)
    head = states.Recording("1.31", "v0", "1.36.3", "1.39.3", "2026-11-29", inputs, {}, [])
    states.save(example.recordings, replace(head, states=[states.State([], {"a.b": PROXY})]))
    return example, change


def test_an_example_that_was_not_recorded_as_it_is_is_told(tmp_path: Path) -> None:
    example, change = recorded(tmp_path)
    example.manifests[0].write_text(example.manifests[0].read_text().replace("80", "82"))
    with pytest.raises(
        LabError, match=r"part/a was not recorded as it is \(record it: make record"
    ):
        mutating.outcome(example, change, World(tmp_path / "world"), print)


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
    outcomes = [survived, survived, Outcome.IDLE, noticed, noticed, Outcome.REFUSED]
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


def test_a_reason_for_a_value_that_was_not_tried_is_not_wrong(
    found: dict[str, subject.Outcomes],
) -> None:
    tried = {
        change: outcome
        for change, outcome in found["tricks/test"].items()
        if "d" not in change.path
    }
    assert [error.cause[:22] for error in judge({"tricks/test": tried})] == [
        "no transcript notices "
    ]


def test_the_summary_gives_reasons_and_counts(found: dict[str, subject.Outcomes]) -> None:
    counts = "6 changes: 2 noticed, 1 refused, 1 without effect, 2 not noticed (50% noticed)"
    assert list(summary(found)) == [
        "tricks/test/test.yaml:6: spec.a: 1 -> 2: no reason is given",
        "tricks/test/test.yaml:7: spec.b: 1 -> 2: Nothing depends on it.",
        "tricks/test/test.yaml:8: spec.c: 1 -> 2: Istio makes the same of it",
        f"tricks/test: {counts}",
        f"all: {counts}",
    ]


def test_what_is_refused_and_what_has_no_effect_is_no_part_of_the_share(
    found: dict[str, subject.Outcomes],
) -> None:
    assert share(counted(found["tricks/test"])) == 2 / 4
    assert share(Counter()) == 0


def test_the_table_has_what_was_found_of_examples_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, subject.Outcomes]
) -> None:
    monkeypatch.setattr(subject, "TABLE", tmp_path / "mutations.json")
    subject.TABLE.write_text('{"tricks/gone": {}}')
    example = load(SHOP)
    subject.save(example, found["tricks/test"], 301.4)
    row = subject.load()[SHOP]
    assert subject.load().keys() == {SHOP}
    assert row["sample"]["test.yaml VirtualService default/a spec.b"] == "not noticed"
    assert row["changes"] == {"noticed": 2, "not noticed": 2, "refused": 1, "without effect": 1}
    values = sum(1 for path in example.manifests for _ in mutations(path))
    assert (row["digest"], row["values"], row["seconds"]) == (digest(example), values, 301)


@pytest.mark.parametrize("example", find_all(), ids=lambda example: example.name)
def test_a_row_of_the_table_is_of_the_example_as_it_is(example: Example) -> None:
    row = subject.load()[example.name]
    assert row["digest"] == digest(example), f"run: make mutate EXAMPLE={example.name}"
    assert row["sample"].keys() == {change.name for change in sample(example)}


def test_nine_of_ten_changes_are_noticed() -> None:
    counts = sum((Counter(row["changes"]) for row in subject.load().values()), Counter[str]())
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


def test_the_command_fails_for_a_value_that_nobody_notices(
    found: dict[str, subject.Outcomes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = found["tricks/test"]
    ended = [
        Done(f"{SHOP}/{change}", 0, f"{outcome.value} by 1-a.console:3", [], 60.0)
        for change, outcome in outcomes.items()
    ]
    monkeypatch.setattr(plays, "ready", lambda *_: None)
    monkeypatch.setattr(subject, "sample", lambda *_: list(outcomes))
    monkeypatch.setattr(Crew, "run", lambda *_: ended)
    saved: list[Any] = []
    monkeypatch.setattr(subject, "save", lambda *given: saved.append(given))
    assert commands.run(["mutate", SHOP]) == 1
    assert [given[:2] for given in saved] == [(load(SHOP), outcomes)]
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == list(summary({SHOP: outcomes}))
    assert err.count(": no transcript notices") == 2


def test_a_play_that_failed_gives_no_outcome(
    found: dict[str, subject.Outcomes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change = next(iter(found["tricks/test"]))
    monkeypatch.setattr(plays, "ready", lambda *_: None)
    monkeypatch.setattr(subject, "sample", lambda *_: [change])
    failed = Done(f"{SHOP}/{change}", 1, "failed", ["cluster: etcd ended"], 60.0)
    monkeypatch.setattr(Crew, "run", lambda *_: [failed])
    monkeypatch.setattr(subject, "save", lambda *_: pytest.fail("keeps it"))
    assert commands.run(["mutate", SHOP]) == 1
    assert capsys.readouterr().err == f"cluster: no outcome of {SHOP}/{change}\n"


def test_one_change_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change = sample(load(SHOP))[0]
    monkeypatch.setattr(plays, "ready", lambda *_: None)
    said = (Outcome.NOTICED, "1-a.console:3")
    monkeypatch.setattr(mutating, "outcome", lambda _, tried, *__: said if tried == change else ())
    assert commands.run(["mutate", f"--change={change.name}", SHOP]) == 0
    assert capsys.readouterr().out.endswith(f"s  {SHOP}/{change}: noticed by 1-a.console:3\n")
    assert commands.run(["mutate", "--change=frogs", SHOP]) == 1
    assert f"cluster: {SHOP} has no value 'frogs'" in capsys.readouterr().err


def test_a_change_of_several_lines_is_told_in_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change = replace(sample(load(SHOP))[0], old="|\n  function a()\n  end")
    monkeypatch.setattr(plays, "ready", lambda *_: None)
    monkeypatch.setattr(mutating, "outcome", lambda *_: (Outcome.NOTICED, ""))
    monkeypatch.setattr(subject, "mutations", lambda _path: [change])
    assert commands.run(["mutate", f"--change={change.name}", SHOP]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert ": | function a() end -> " in line
