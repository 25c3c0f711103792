"""Every example: replayed on real Envoy, valid, complete, and sensitive to change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from conftest import turn
from lab import recordings, states, transcript
from lab.errors import LabError
from lab.example import REJECTED, Example, find_all, load
from lab.istiod import Source
from lab.manifests import Object, read_manifest
from lab.play import playing, replay
from lab.recordings import digest_of
from lab.versions import ISTIO

EXAMPLES = find_all()
MANIFESTS = [path for example in EXAMPLES for path in example.manifests]
KUBERNETES = "1.36"

# The newest version of each group's kinds that Istio 1.31 serves, and Kubernetes 1.36.
CURRENT = {
    "v1",
    "apps/v1",
    "networking.istio.io/v1",
    "networking.istio.io/v1alpha3",  # of EnvoyFilter, which has no other
    "security.istio.io/v1",
    "telemetry.istio.io/v1",
    "gateway.networking.k8s.io/v1",
    "install.istio.io/v1alpha1",  # of IstioOperator, which has no other
}

LEDGER_CLUSTER = "outbound|9000||ledger.ledger.svc.cluster.local"
LEDGER, SHOP = "problems/gateway-tcp-port", "tricks/direct-response"
NAMES = "tricks/udp-listener"


def play(example: Example) -> list[str]:
    """Replays an example and gives the digests of the states that it went through, if known."""
    with playing(example, Source.RECORDED) as running:
        replay(running, lambda _: None)
        return [] if example.on_cluster else [s.digest for s in running.mesh.istiod.used]


def name(value: Example | Path) -> str:
    if isinstance(value, Example):
        return value.name
    return f"{value.parent.name}/{value.name}"


each_example = pytest.mark.parametrize("example", EXAMPLES, ids=name)
each_played = pytest.mark.parametrize("example", [e for e in EXAMPLES if not e.held], ids=name)
each_held = pytest.mark.parametrize("example", [e for e in EXAMPLES if e.held], ids=name)
each_on_cluster = pytest.mark.parametrize(
    "example", [load("cluster/orders"), *(e for e in EXAMPLES if e.on_cluster)], ids=name
)
each_of_lab = pytest.mark.parametrize(
    "example", [e for e in EXAMPLES if not e.on_cluster], ids=name
)
each_manifest = pytest.mark.parametrize("manifest", MANIFESTS, ids=name)


@each_played
def test_every_output_comes_out_again_and_every_recording_is_played_in_order(
    example: Example,
) -> None:
    with turn(example.name):
        if example.on_cluster:
            play(example)
        else:
            assert play(example) == [state.digest for state in recordings.load(example.recordings)]


@each_held
def test_what_the_cluster_run_holds_is_as_it_was_recorded(example: Example) -> None:
    recording = states.current(example)
    assert recording.held == example.held
    assert recording.kubernetes.removeprefix("v").startswith(f"{KUBERNETES}.")


@each_on_cluster
def test_the_cluster_takes_every_manifest_but_those_named_rejected(example: Example) -> None:
    recording = states.load(example.recordings)
    assert recording
    for path in example.manifests:
        codes = {call.exit for call in recording.calls if path.name in call.args}
        rejected = 1 in codes or rejected_by_envoy(path, example)
        assert rejected == path.name.startswith(REJECTED), path.name
        assert path.name.startswith(REJECTED) or codes <= {0}, path.name


@each_of_lab
def test_istio_accepts_every_manifest_but_those_named_rejected(example: Example) -> None:
    validation = recordings.load_validation(example.recordings)
    assert validation.keys() == {path.name for path in example.manifests}
    for path in example.manifests:
        said = validation[path.name]["said"]
        assert validation[path.name]["digest"] == digest_of(read_manifest(path.read_text(), path))
        rejected = said.startswith("Error: ") or rejected_by_envoy(path, example)
        assert rejected == path.name.startswith(REJECTED), said
        assert re.search(r" is valid$| has warnings: |^Error: ", said, re.M), said


def rejected_by_envoy(manifest: Path, example: Example) -> bool:
    """Whether a transcript applies this manifest, and then shows that Envoy counts a rejection."""
    texts = (
        path.read_text().partition(f"apply -f {manifest.name}")[2] for path in example.transcripts
    )
    return any("update_rejected: 1" in text for text in texts)


@each_example
def test_every_manifest_is_used_in_a_transcript(example: Example) -> None:
    steps = chain.from_iterable(transcript.read(path).steps for path in example.transcripts)
    words = " ".join(step.command for step in steps)
    assert [path.name for path in example.manifests if path.name not in words] == []


@each_example
def test_every_recording_is_of_the_pinned_istio_and_envoy(example: Example) -> None:
    recording = states.load(example.recordings)
    made = [recording] if recording else recordings.load(example.recordings)
    made_of = {(r.istio, r.module, r.envoy) for r in made}
    assert made_of == {(ISTIO.label, ISTIO.module, ISTIO.envoy)}


def test_no_two_examples_share_a_network() -> None:
    assert len({example.network for example in EXAMPLES}) == len(EXAMPLES)


@each_manifest
def test_kinds_of_kubernetes_have_no_unknown_and_no_wrong_field(manifest: Path) -> None:
    for item in read_manifest(manifest.read_text(), manifest):
        if item["apiVersion"] in ("v1", "apps/v1"):
            kubernetes_validate.validate(item, KUBERNETES, strict=True)


@each_manifest
def test_api_versions_are_current(manifest: Path) -> None:
    for item in read_manifest(manifest.read_text(), manifest):
        assert item["apiVersion"] in CURRENT
        assert (item["apiVersion"] == "networking.istio.io/v1alpha3") == (
            item["kind"] == "EnvoyFilter"
        )


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


@pytest.mark.parametrize(
    ("example", "file", "old", "new"),
    [
        (SHOP, "health-check.yaml", "status: 200", "status: 204"),
        (SHOP, "health-check.yaml", "number: 80", "number: 8080"),
        (SHOP, "maintenance.yaml", 'retry-after: "900"', 'retry-after: "600"'),
        (SHOP, "maintenance.yaml", "status: 503", "status: 502"),
        (SHOP, "gateway.yaml", "- shop.example.com", "- www.example.com"),
        (SHOP, "shop.yaml", "istio-injection: disabled", "istio-injection: enabled"),
        (SHOP, "shop.yaml", "targetPort: http", "targetPort: 8081"),
        (SHOP, "large-body.yaml", "status: 200", "status: 201"),
        (SHOP, "envoy-filter.yaml", "status: 200", "status: 404"),
        (LEDGER, "gateway.yaml", "number: 9000", "number: 9009"),
        (LEDGER, "ledger.yaml", "containerPort: 9000", "containerPort: 9009"),
        (LEDGER, "service.yaml", "targetPort: 9000", "targetPort: 9009"),
        (LEDGER, "service.yaml", "type: LoadBalancer", "type: ClusterIP"),
        (LEDGER, "virtual-service.yaml", "host: ledger.ledger.svc", "host: ledger.default.svc"),
        (LEDGER, "http-gateway.yaml", "web.example.com", "www.example.com"),
        (NAMES, "names.yaml", "clusterIP: None", "type: ClusterIP"),
        (NAMES, "service.yaml", "protocol: UDP", "protocol: TCP"),
        (NAMES, "envoy-filter.yaml", "port_value: 10053", "port_value: 10054"),
    ],
)
def test_a_changed_value_in_a_manifest_is_refused_by_file(
    copy_of: Callable[[str], Example], example: str, file: str, old: str, new: str
) -> None:
    copy = copy_of(example)
    replace_in(copy.folder / file, old, new)
    with pytest.raises(LabError, match="has changed since ") as caught:
        play(copy)
    assert caught.value.where == copy.folder / file
    assert f"record EXAMPLE={example}" in caught.value.remedy


def test_comments_may_change(copy_of: Callable[[str], Example]) -> None:
    copy = copy_of(SHOP)
    for path in copy.manifests:
        path.write_text("# Another comment.\n" + path.read_text())
    for path in copy.transcripts[1:]:
        path.unlink()
    play(copy)


@pytest.mark.parametrize(
    ("example", "key", "old", "new", "noticed"),
    [
        (SHOP, "status", 503, 502, "-HTTP/1.1 503 Service Unavailable\n+HTTP/1.1 502 Bad Gateway"),
        (SHOP, "inlineString", "ok\n", "fine\n", "-ok\n+fine"),
        (SHOP, "value", "900", "600", "-retry-after: 900\n+retry-after: 600"),
        (SHOP, "path", "/healthz", "/health", "+the shop answers /healthz"),
        (SHOP, "responseCode", "FOUND", "SEE_OTHER", "+HTTP/1.1 303 See Other"),
        (SHOP, "name", "maintenance", "closed", "- closed"),
        (LEDGER, "portValue", 9000, 9009, "+curl: (7) Failed to connect"),
        (LEDGER, "cluster", LEDGER_CLUSTER, "BlackHoleCluster", "-booked 9 bytes"),
        (NAMES, "portValue", 10053, 10054, "#53: connection refused"),
    ],
)
def test_the_transcripts_notice_when_istio_says_something_else(
    copy_of: Callable[[str], Example], example: str, key: str, old: Any, new: Any, noticed: str
) -> None:
    copy = copy_of(example)
    assert set_in_recordings(copy.recordings, key, old, new)
    with pytest.raises(LabError, match=r"the output of `.*` differs\n") as caught:
        play(copy)
    assert caught.value.where in copy.transcripts
    assert noticed in caught.value.cause


def replace_in(path: Path, old: str, new: str) -> None:
    """Replaces the first occurrence of a text, which must be there."""
    before, found, after = path.read_text().partition(old)
    assert found
    path.write_text(before + new + after)


def set_in_recordings(folder: Path, key: str, old: Any, new: Any) -> int:
    """Changes a value of the recorded xDS wherever it stands under a key; gives how often."""
    count = 0

    def changed(item: Object) -> Object:
        nonlocal count
        if item.get(key) == old:
            count += 1
            item[key] = new
        return item

    for path in folder.glob("*/*.json"):
        if path.name != "state.json":
            path.write_text(json.dumps(json.loads(path.read_text(), object_hook=changed)))
    return count
