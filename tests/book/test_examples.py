"""Every example: replayed on real Envoy, valid, and complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from conftest import front_matter
from lab.files import transcript
from lab.files.example import REJECTED, Example, find_all
from lab.files.manifests import read_manifest
from lab.files.recording import current
from lab.paths import ROOT
from lab.plays.play import playing, replay
from lab.versions import ISTIO

EXAMPLES = find_all()
MANIFESTS = [path for example in EXAMPLES for path in example.manifests]
CHAPTERS = {e: front_matter(ROOT / "book" / f"{e.name}.md") for e in EXAMPLES}
FIXES = [e.folder / head["fix"] for e, head in CHAPTERS.items() if "fix" in head]
KUBERNETES = "1.36"
ROW = 101  # columns that a row of the PDF has in its smallest type
WORD = re.compile(r"'[^']*'|\"[^\"]*\"|\S+")

# The newest version of each group's kinds that Istio 1.31 serves, and Kubernetes 1.36.
CURRENT = {
    "v1",
    "apps/v1",
    "batch/v1",
    "admissionregistration.k8s.io/v1",
    "networking.istio.io/v1",
    "networking.istio.io/v1alpha3",
    "networking.istio.io/v1beta1",
    "security.istio.io/v1",
    "telemetry.istio.io/v1",
    "rbac.authorization.k8s.io/v1",
    "gateway.networking.k8s.io/v1",
    "install.istio.io/v1alpha1",  # of IstioOperator, which has no other
}

# Kinds of Istio that are not served as v1.
ONLY = {
    "EnvoyFilter": "networking.istio.io/v1alpha3",
    "ProxyConfig": "networking.istio.io/v1beta1",
}

# Keys whose values are a reader's own.
OWN = {"namespace", "host", "hosts", "gateways", "credentialName"}


def name(value: Example | Path) -> str:
    if isinstance(value, Example):
        return value.name
    return f"{value.parent.name}/{value.name}"


each_example = pytest.mark.parametrize("example", EXAMPLES, ids=name)
each_played = pytest.mark.parametrize("example", [e for e in EXAMPLES if not e.held], ids=name)
each_held = pytest.mark.parametrize("example", [e for e in EXAMPLES if e.held], ids=name)
each_manifest = pytest.mark.parametrize("manifest", MANIFESTS, ids=name)


@each_played
def test_every_output_comes_out_again(example: Example) -> None:
    with playing(example) as running:
        replay(running, lambda _: None)


@each_held
def test_what_the_cluster_run_holds_is_as_it_was_recorded(example: Example) -> None:
    recording = current(example)
    assert recording.held == example.held
    assert recording.kubernetes.removeprefix("v").startswith(f"{KUBERNETES}.")


@each_example
def test_the_cluster_takes_every_manifest_but_those_named_rejected(example: Example) -> None:
    calls = current(example).calls
    for path in example.manifests:
        codes = {call.exit for call in calls if path.name in call.args}
        rejected = 1 in codes or rejected_by_envoy(path, example)
        assert rejected == path.name.startswith(REJECTED), path.name


def rejected_by_envoy(manifest: Path, example: Example) -> bool:
    """Whether a transcript applies this manifest, and then shows that a rejection was counted.

    Envoy counts those of listeners and clusters; a proxy of Istio shows no counter of routes, and
    istiod counts what it is told.
    """
    texts = (
        path.read_text().partition(f"apply -f {manifest.name}")[2] for path in example.transcripts
    )
    counted = ("update_rejected: 1", 'pilot_total_xds_rejects{type="')
    return any(count in text for text in texts for count in counted)


@each_example
def test_every_manifest_is_used_in_a_transcript(example: Example) -> None:
    steps = chain.from_iterable(transcript.read(path).steps for path in example.transcripts)
    words = " ".join(step.command for step in steps)
    assert [path.name for path in example.manifests if path.name not in words] == []


@each_example
def test_every_recording_is_of_the_pinned_istio_and_envoy(example: Example) -> None:
    recording = current(example)
    made_of = (recording.istio, recording.module, recording.envoy)
    assert made_of == (ISTIO.label, ISTIO.module, ISTIO.envoy)


@each_manifest
def test_kinds_of_kubernetes_have_no_unknown_and_no_wrong_field(manifest: Path) -> None:
    for item in read_manifest(manifest.read_text(), manifest):
        if item["apiVersion"] in ("v1", "apps/v1", "batch/v1"):
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


@each_manifest
def test_api_versions_are_current(manifest: Path) -> None:
    for item in read_manifest(manifest.read_text(), manifest):
        assert item["apiVersion"] in CURRENT
        only = ONLY.get(item["kind"])
        assert only == item["apiVersion"] if only else item["apiVersion"] not in ONLY.values()


@each_manifest
def test_every_image_has_a_version(manifest: Path) -> None:
    for item in read_manifest(manifest.read_text(), manifest):
        for image in nodes(item, "image"):
            _, _, tag = image.rpartition("/")[2].partition(":")
            # The injector fills in `auto`.
            assert tag not in ("", "latest") or image == "auto", image


def nodes(value: Any, key: str) -> list[Any]:
    """Every value under a key, however deep."""
    if isinstance(value, dict):
        inner = chain.from_iterable(nodes(item, key) for item in value.values())
        return [*([value[key]] if key in value else []), *inner]
    if isinstance(value, list):
        return list(chain.from_iterable(nodes(item, key) for item in value))
    return []


@pytest.mark.parametrize("fix", FIXES, ids=name)
def test_what_a_reader_changes_in_a_fix_is_marked(fix: Path) -> None:
    unmarked = [line for line in first_places(fix.read_text().splitlines()) if "#" not in line]
    assert unmarked == []


@pytest.mark.parametrize("fix", FIXES, ids=name)
def test_comments_of_a_fix_fit_beside_the_short_answer(fix: Path) -> None:
    """Its block has 57 columns on a screen of 1,440 pixels, and no line of a manifest wraps."""
    commented = [line for line in fix.read_text().splitlines() if "#" in line]
    assert commented
    assert [line for line in commented if len(line) > 57] == []


def first_places(lines: list[str]) -> Iterator[str]:
    """Where each kind of place that is a reader's own first stands, with the line around it.

    A list's comment may be at its first item, and a comment may be a line of its own above.
    """
    found: set[str] = set()
    for above, line, below in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        key = line.strip().removeprefix("- ").partition(":")[0]
        if key in OWN - found:
            found.add(key)
            is_comment = above.strip().startswith("#")
            yield " ".join([above if is_comment else "", line, below if line.endswith(":") else ""])


@each_example
def test_commands_are_short_enough_for_a_row_of_print(example: Example) -> None:
    steps = chain.from_iterable(transcript.read(path).steps for path in example.transcripts)
    lines = [line for step in steps for line in f"$ {step.command}".splitlines()]
    # A longer one is all but one quoted word, which has no backslash.
    long = (line for line in lines if len(line) > ROW)
    assert [line for line in long if max(map(len, WORD.findall(line))) < ROW / 2] == []
