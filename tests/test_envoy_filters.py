"""EnvoyFilters take effect on the proxies that they are for, and on no other.

`examples/lab/envoy-filters` beside this file has one for each context and each way to select
proxies. Each marks the answers that pass it.
"""

from __future__ import annotations

import json
import re

import pytest
from conftest import turn
from lab import recordings
from lab.example import load
from lab.istiod import Source
from lab.play import playing, replay

EXAMPLE = "lab/envoy-filters"


def test_every_mark_comes_out_again() -> None:
    with turn(EXAMPLE) as example, playing(example, Source.RECORDED) as running:
        replay(running, lambda _: None)


CONTEXTS, SELECTED = "contexts.yaml", "selected.yaml"


@pytest.mark.parametrize(
    ("file", "proxy", "marks"),
    [
        (CONTEXTS, "istio-ingressgateway.istio-system", {"gateway", "any"}),
        (CONTEXTS, "edge.near", {"gateway", "any"}),
        (CONTEXTS, "server.near", {"sidecar-inbound", "sidecar-outbound", "any"}),
        (CONTEXTS, "client.near", {"sidecar-inbound", "sidecar-outbound", "any"}),
        (SELECTED, "istio-ingressgateway.istio-system", set()),
        (SELECTED, "edge.near", {"targeted"}),
        (SELECTED, "server.near", {"labelled"}),
        (SELECTED, "client.near", set()),
        (SELECTED, "server.far", {"namespaced"}),
    ],
)
def test_a_filter_is_in_the_listeners_of_its_proxies_only(
    file: str, proxy: str, marks: set[str]
) -> None:
    (state,) = (s for s in recordings.load(load(EXAMPLE).recordings) if file in s.inputs)
    name, namespace = proxy.split(".")
    (resources,) = (
        found
        for pod, found in state.proxies.items()
        if pod.startswith(f"{name}-") and pod.endswith(f".{namespace}")
    )
    assert set(re.findall(r'"mark-([\w-]+)"', json.dumps(resources["listeners"]))) == marks
