"""The parts of the lab, from reading a file to a running mesh."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import Traces, eventually, listening_places, turn
from lab import play, recordings, server, transcript, xds
from lab.cluster import Cluster, Key, Pod, pods_in
from lab.discovery import Discovery
from lab.discovery import Key as Subscribed
from lab.envoy import Proxy
from lab.errors import LabError
from lab.example import Example, find_all, load
from lab.istiod import Istiod, Source
from lab.manifests import Object, read_manifest
from lab.masks import keep_recorded, mask
from lab.paths import EXAMPLES, ROOT, TEST_EXAMPLES
from lab.play import Playing, playing
from lab.recordings import Recording, Verdict, digest_of

SHOP = "lab/shop"

# Transcripts

TRANSCRIPTS = [path for example in find_all() for path in example.transcripts]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_a_transcript_that_is_read_and_written_is_the_same_file(path: Path) -> None:
    assert transcript.read(path).text() == path.read_text()


def test_a_transcript_is_a_header_and_commands_with_their_lines_and_outputs(tmp_path: Path) -> None:
    path = tmp_path / "1-test.console"
    path.write_text(
        "# A title.\n"
        "\n"
        "$ echo one \\\n"
        "    two\n"
        "one two\n"
        "\n"
        "$ cat <<'END' | wc -l\n"
        "$ not a command\n"
        "END\n"
        "1\n"
        "\n"
        "  an indented line, and an empty one before it\n"
        "\n"
        "$ cat <<< END\n"
        "$ true\n"
    )
    script = transcript.read(path)
    assert script.header == ("# A title.",)
    assert [(step.line, step.command, step.output) for step in script.steps] == [
        (3, "echo one \\\n    two", ("one two",)),
        (
            7,
            "cat <<'END' | wc -l\n$ not a command\nEND",
            ("1", "", "  an indented line, and an empty one before it"),
        ),
        (14, "cat <<< END", ()),
        (15, "true", ()),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# A title.\nhello\n", ":2: output before the first command (a transcript starts with "),
        ("$ true\n\n$ cat << EOF\nhello\n", ":3: the here-document EOF has no end"),
        ("# A title.\n", ":1: no command in this transcript (commands start with $ )"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "1-test.console"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        transcript.read(path)
    assert str(caught.value).startswith(f"{path}{said}")


# Masks


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("[2026-11-22T23:28:36.837Z] x", "[<time>] x"),
        ("2026-11-22T23:28:35.481170Z\twarn\tx", "<time>\twarn\tx"),
        ("date: Sun, 22 Nov 2026 23:28:37 GMT", "date: <http-date>"),
        ('- - [22/Nov/2026 23:45:19] "GET', '- - [<date>] "GET'),
        ('"8bdb9f96-2520-4ba5-87b6-0f889a05a098"', '"<request-id>"'),
        ("127.0.0.1:32768 127.0.0.1:60999", "127.0.0.1:<port> 127.0.0.1:<port>"),
        ('"-" 0 23 17 4 "x"', '"-" 0 23 <duration>  "x"'),
        ('"-" 0 23 17 - "x"', '"-" 0 23 <duration> - "x"'),
        ("x-envoy-upstream-service-time: 3", "x-envoy-upstream-service-time: <duration>"),
        (
            "after 12 ms: Couldn't connect to server",
            "after <duration>: Could not connect to server",
        ),
        ('"curl/8.16.0"', '"curl/<version>"'),
        ("curl: (35) Recv failure: Connection reset by peer", "curl: (35) <reset>"),
        (
            "curl: (35) OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to a.example.com:443 ",
            "curl: (35) <reset>",
        ),
        (
            "tls   CA   true   9b04138b472464ac62482078fb3b6be359687   2026-11-24T02:17:04Z",
            "tls   CA   true   <serial> <time>",
        ),
        ("shop   1/1   Running   5m10s", "shop   1/1   Running   <age>"),
        ("Running   0   9s    10.244.0.5   node-1", "Running   0   <age>    10.244.0.5   node-1"),
        ("trailing blanks   ", "trailing blanks"),
    ],
)
def test_what_differs_from_run_to_run_is_masked(line: str, masked: str) -> None:
    assert mask(line) == masked


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1 503 Service Unavailable",
        "content-length: 57",
        "retry-after: 900",
        "503 UF,URX upstream_reset_before_response_started{connection_termination}",
        '404 NR route_not_found - "-" 0 0',
        "outbound|9000||ledger.ledger.svc.cluster.local",
        "outbound|32768|v1|ledger.ledger.svc.cluster.local",
        "127.111.200.11:8080 127.111.200.12:9000",
        "10.96.0.12:32767",
        "ISTIO_META_PORT=40000 port 40000",
        "Warning [IST0162] (Gateway ledger/audit) The gateway is listening on port 9001",
        "curl: (7) Failed to connect to 127.111.200.3 port 9000",
        "istio-ingressgateway-ltjdh2vkr-4wxvs",
        "curl: (35) OpenSSL/3.0.17: error:0A000458:SSL routines::tlsv1 unrecognized name",
        "curl: (56) Recv failure: Connection reset by peer",
        "digest 9b04138b472464ac62482078fb3b6be359687 of it",
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    ],
)
def test_statuses_flags_clusters_addresses_and_messages_are_never_masked(line: str) -> None:
    assert mask(line) == line


def test_a_request_id_does_not_hide_a_status_beside_it() -> None:
    line = '[2026-11-22T23:28:37.405Z] "GET / HTTP/1.1" {} {} route_not_found - "-" 0 0 0 - "-"'
    assert mask(line.format(404, "NR")) != mask(line.format(503, "NR"))
    assert mask(line.format(404, "NR")) != mask(line.format(404, "UH"))


def test_recording_again_keeps_the_lines_that_differ_in_what_is_masked_only() -> None:
    old = ["at 2026-01-01T00:00:00Z", "200", "at 2026-01-02T00:00:00Z"]
    new = ["at 2026-06-01T00:00:00Z", "503", "at 2026-06-02T00:00:00Z", "more"]
    assert keep_recorded(old, new) == (old[0], "503", old[2], "more")


@pytest.mark.parametrize("status", ["200", "503"])
def test_recording_again_keeps_a_transcript_as_it_is_or_takes_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    old, new = "at 2026-01-01T00:00:00Z", "at 2026-06-01T00:00:00Z"
    path = tmp_path / "part" / "page" / "1-first.console"
    path.parent.mkdir(parents=True)
    path.write_text(f"$ date\n{old}\n\n$ status\n200\n")
    outputs = {"date": (new,), "status": (status,)}
    mesh = SimpleNamespace(istiod=SimpleNamespace(used=[]))
    played = SimpleNamespace(mesh=mesh, step=lambda _, step, __: outputs[step.command])
    monkeypatch.setattr(play, "playing", lambda *_: contextlib.nullcontext(played))
    ((script,), _) = play.record(load(str(path.parent)), lambda _: None)
    kept = old if status == "200" else new
    assert [step.output for step in script.steps] == [(kept,), (status,)]


# Manifests and the cluster


def test_objects_are_read_in_order_and_lists_are_taken_apart() -> None:
    text = (
        "# A comment, and an empty document.\n---\n"
        "{apiVersion: v1, kind: Service, metadata: {name: a}}\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n"
        "  - {apiVersion: v1, kind: Service, metadata: {name: b}}\n"
        "  - {apiVersion: v1, kind: Service, metadata: {name: c}}\n"
    )
    names = [item["metadata"]["name"] for item in read_manifest(text, Path("test.yaml"))]
    assert names == ["a", "b", "c"]


def test_a_date_in_a_manifest_is_text_as_it_is_to_kubernetes() -> None:
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {until: 2026-11-23}}"
    (item,) = read_manifest(text, Path("test.yaml"))
    assert item["data"] == {"until": "2026-11-23"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Service\n\tmetadata: {}\n", "test.yaml:2: not valid YAML: "),
        ("kind: !!python/name:os.system\n", "test.yaml:1: not valid YAML: "),
        ("---\n- kind: Service\n", "test.yaml:2: not a Kubernetes object"),
        ("# nothing set\n\nkind: Gateway\n", "test.yaml:3: apiVersion not set"),
        ("apiVersion: v1\nkind: [a]\n", "test.yaml:1: kind not set"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}\n", "test.yaml:1: metadata.name not set"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(LabError) as caught:
        read_manifest(text, Path("test.yaml"))
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "network: 10.1.2\n",
            ":1: network is not in 127.64.0 to 127.127.255 (such as network: 127.80.3)",
        ),
        ("# why\n- network\n", ":2: not a mapping of settings"),
        (
            "frogs: 1\n",
            ":1: unknown setting 'frogs' "
            "(known: meshConfig, network, outside, agent, differs, held)",
        ),
    ],
)
def test_wrong_settings_of_the_lab_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lab.yaml").write_text(text)
    with pytest.raises(LabError) as caught:
        assert Example("problems/new", tmp_path, tmp_path).network
    assert str(caught.value) == f"{tmp_path}/lab.yaml{said}"


def test_the_network_of_an_example_follows_from_its_name_or_its_settings(tmp_path: Path) -> None:
    example = Example("problems/new", tmp_path, tmp_path)
    assert example.network == replace(example).network != load(SHOP).network
    (tmp_path / "lab.yaml").write_text("network: 127.80.3\n")
    assert replace(example).network == "127.80.3"


def service(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "shop"}
    spec = {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def deployment(name: str, replicas: int = 1) -> Object:
    ports = [{"name": "web", "containerPort": 8080}]
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": name, "image": "python:3.13-slim", "ports": ports}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
        },
    }


def cluster_of(*items: Object) -> Cluster:
    cluster = Cluster("127.80.3")
    for item in items:
        cluster.apply(item, None)
    return cluster


def of_kind(cluster: Cluster, kind: str) -> list[Object]:
    return [item for item in cluster.snapshot() if item["kind"] == kind]


def addresses(cluster: Cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pod in pods_in(cluster.snapshot()):
        found.setdefault(pod.labels["app"], []).append(pod.address)
    return found


def test_a_pod_for_each_replica_has_an_address_in_order_of_creation() -> None:
    cluster = cluster_of(deployment("shop", replicas=2), deployment("client"))
    assert addresses(cluster) == {
        "shop": ["127.80.3.10", "127.80.3.11"],
        "client": ["127.80.3.12"],
    }


def test_an_address_is_kept_for_good_and_never_given_to_another() -> None:
    cluster = cluster_of(deployment("shop"), deployment("client"))
    cluster.snapshot()
    cluster.delete(Key("apps", "Deployment", "shop", "shop"))
    cluster.apply(deployment("late"), None)
    assert addresses(cluster) == {"client": ["127.80.3.11"], "late": ["127.80.3.12"]}


def test_equal_events_give_equal_clusters() -> None:
    items = [deployment("shop", 2), service("shop"), service("edge", type="LoadBalancer")]
    assert cluster_of(*items).snapshot() == cluster_of(*items).snapshot()


def test_a_service_gets_an_address_and_a_load_balancer_one_from_outside() -> None:
    inside, edge = of_kind(
        cluster_of(service("shop"), service("edge", type="LoadBalancer")), "Service"
    )
    assert ipaddress.ip_address(inside["spec"]["clusterIP"]) in ipaddress.ip_network("10.96.0.0/16")
    assert inside["spec"]["clusterIP"] != edge["spec"]["clusterIP"]
    assert "status" not in inside
    assert edge["status"] == {"loadBalancer": {"ingress": [{"ip": "127.80.3.2"}]}}


def test_a_service_leads_to_the_pods_that_it_selects_by_the_number_of_a_named_port() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    cluster = cluster_of(
        deployment("shop", replicas=2), deployment("client"), service("shop", ports=ports)
    )
    (endpoints,) = of_kind(cluster, "EndpointSlice")
    assert endpoints["metadata"]["labels"] == {"kubernetes.io/service-name": "shop"}
    assert endpoints["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert [place["addresses"] for place in endpoints["endpoints"]] == [
        ["127.80.3.10"],
        ["127.80.3.11"],
    ]


def test_a_service_by_a_port_name_that_no_pod_has_is_refused() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "grpc"}]
    cluster = cluster_of(deployment("shop"), service("shop", ports=ports))
    with pytest.raises(LabError, match="has no port named 'grpc'"):
        cluster.snapshot()


def test_applying_says_what_became_of_the_object() -> None:
    cluster = Cluster("127.80.3")
    assert cluster.apply(service("shop"), None) == "created"
    assert cluster.apply(service("shop"), None) == "unchanged"
    assert cluster.apply(service("shop", type="LoadBalancer"), None) == "configured"


def test_a_copy_of_a_cluster_is_independent() -> None:
    cluster = cluster_of(service("shop"))
    cluster.copy().apply(service("other"), None)
    assert len(of_kind(cluster, "Service")) == 1


# Recordings


def recording(**changed: Any) -> Recording:
    first = Recording(
        digest="d",
        istio="1.31",
        module="v0",
        envoy="1.39.3",
        recorded="2026-01-01",
        inputs={"shop.yaml": "e"},
        verdicts=[Verdict("VirtualService shop/shop", denied="", warnings=["beware"])],
        log=["2026-01-01T00:00:00.000001Z\twarn\tno virtual service"],
        statuses=[{"kind": "Gateway", "name": "shop", "status": {"conditions": []}}],
        metrics=["pilot_no_ip 0"],
        proxies={"gateway.istio-system": {"listeners": [{"name": "0.0.0.0_8080"}]}},
    )
    return replace(first, **changed)


def test_recordings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    states = [recording(), recording(digest="f", recorded="2026-02-02")]
    recordings.save(tmp_path, states)
    assert recordings.load(tmp_path) == states


def test_a_resource_that_an_earlier_file_has_is_recorded_by_its_name(tmp_path: Path) -> None:
    shop = {"name": "outbound|80||shop", "type": "EDS"}
    load_of_shop = {"clusterName": "outbound|80||shop", "endpoints": []}
    first = {"clusters": [shop], "endpoints": [load_of_shop], "secrets": ["as", "tls"]}
    other = {"clusters": [shop | {"type": "STATIC"}], "endpoints": [load_of_shop], "secrets": []}
    states = [
        recording(proxies={"a.shop": first, "b.shop": other}),
        recording(digest="f", proxies={"b.shop": other}),
    ]
    recordings.save(tmp_path, states)
    assert recordings.load(tmp_path) == states
    assert json.loads((tmp_path / "02" / "b.shop.json").read_text()) == {
        "clusters": [{"as": "01/b.shop", "name": "outbound|80||shop"}],
        "endpoints": [{"as": "01/a.shop", "name": "outbound|80||shop"}],
        "secrets": [],
    }


def test_a_state_that_differs_in_what_is_masked_only_stays_as_it_is_on_file(tmp_path: Path) -> None:
    recordings.save(tmp_path, [recording()])
    later = recording(
        recorded="2026-02-02", log=["2026-02-02T11:11:11.000002Z\twarn\tno virtual service"]
    )
    recordings.save(tmp_path, [later])
    assert recordings.load(tmp_path) == [recording()]


def test_a_state_of_which_istio_says_something_else_is_replaced(tmp_path: Path) -> None:
    recordings.save(tmp_path, [recording()])
    other = recording(
        recorded="2026-02-02", proxies={"gateway.istio-system": {"listeners": [{"name": "x"}]}}
    )
    recordings.save(tmp_path, [other])
    assert recordings.load(tmp_path) == [other]


def test_a_digest_is_of_values_and_not_of_layout() -> None:
    text = "# Why.\nkind: Service\nmetadata:\n  name: a  # what\n"
    same_values = "{metadata: {name: 'a'}, kind: Service}"
    other = "{metadata: {name: 'b'}, kind: Service}"
    assert digest_of(yaml.safe_load(text)) == digest_of(yaml.safe_load(same_values))
    assert digest_of(yaml.safe_load(text)) != digest_of(yaml.safe_load(other))


def test_the_contents_of_secrets_are_no_part_of_a_state(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(_: object, digest: str, __: object) -> Recording:
        asked.append(digest)
        return recording(digest=digest)

    monkeypatch.setattr("lab.istiod._run", run)
    istiod = Istiod(load(SHOP), Source.LIVE)
    for data in ({"key": "one"}, {"key": "two"}, {"key": "one", "cert": "three"}):
        cluster = Cluster.installed("127.80.3", "{}")
        metadata = {"name": "tls", "namespace": "default"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        cluster.apply(secret, None)
        istiod.configure(cluster)
    assert len(asked) == 2
    assert [state.digest for state in istiod.used] == asked


# xDS


GATEWAY_POD = Pod({"spec": {"containers": []}, "status": {"podIP": "127.80.3.11"}})


def served(**resources: Any) -> dict[Subscribed, str]:
    """What a proxy on 127.80.3.11 is served."""
    kinds = ("listeners", "routes", "clusters", "endpoints", "secrets")
    everything = {kind: [] for kind in kinds} | resources
    return xds.responses(everything, [{"name": "ROOTCA"}], GATEWAY_POD)


def test_each_route_configuration_endpoints_and_secret_is_served_by_its_name() -> None:
    responses = served(
        routes=[{"name": "http.8080"}, {"name": "https.8443"}],
        endpoints=[{"clusterName": "outbound|80||shop"}, {"clusterName": "outbound|81||shop"}],
        clusters=[{"name": "a"}, {"name": "b"}],
    )
    assert {key: len(xds.resources(content)) for key, content in responses.items()} == {
        ("clusters", ""): 2,
        ("listeners", ""): 0,
        ("endpoints", "outbound|80||shop"): 1,
        ("endpoints", "outbound|81||shop"): 1,
        ("routes", "http.8080"): 1,
        ("routes", "https.8443"): 1,
        ("secrets", "ROOTCA"): 1,
    }


def test_a_listener_on_all_addresses_listens_on_its_pods_alone() -> None:
    def listener(address: str) -> Object:
        socket = {"address": address, "portValue": 8080}
        return {"name": address, "address": {"socketAddress": socket}}

    listeners = [listener("0.0.0.0"), listener("127.80.3.99")]  # noqa: S104
    fitted = xds.resources(served(listeners=listeners)["listeners", ""])
    addresses = [item["address"]["socketAddress"]["address"] for item in fitted]
    assert addresses == ["127.80.3.11", "127.80.3.99"]


def test_what_a_proxy_would_fetch_from_istiod_it_fetches_from_the_lab() -> None:
    ads: dict[str, Any] = {"ads": {}}
    rds = {"routeConfigName": "http.8080", "configSource": ads}
    tls = {"tlsCertificateSdsSecretConfigs": [{"name": "default", "sdsConfig": ads}]}
    listener = {
        "name": "0.0.0.0_8080",
        "address": {"socketAddress": {}},
        "filterChains": [{"filters": [{"typedConfig": {"rds": rds}}], "transportSocket": tls}],
    }
    cluster = {"name": "c", "type": "EDS", "edsClusterConfig": {"edsConfig": ads}}
    text = "".join(served(listeners=[listener], clusters=[cluster]).values())
    assert '"ads"' not in text
    assert text.count(xds.CLUSTER) == 3


def test_a_proxy_asks_no_dns_server_but_that_of_its_bootstrap() -> None:
    resolver = {"name": "envoy.network.dns_resolver.cares", "typedConfig": {}}
    cluster = {"name": "c", "type": "STRICT_DNS", "typedDnsResolverConfig": resolver}
    (cluster,) = xds.resources(served(clusters=[cluster])["clusters", ""])
    assert (cluster["type"], "typedDnsResolverConfig" in cluster) == ("STRICT_DNS", False)


def test_the_version_of_a_response_follows_from_its_content() -> None:
    def version(name: str) -> str:
        return xds.version(served(clusters=[{"name": name}])["clusters", ""])

    assert version("a") == version("a") != version("b")


# Starts processes as fast as it can, and is killed at some moment.
DYING_LAB = """
import os, signal, sys, threading, time
from subprocess import DEVNULL
from lab import processes
def start():
    while True:
        processes.spawn(["sleep", "31"], stdout=DEVNULL, stderr=DEVNULL)
threading.Thread(target=start, daemon=True).start()
time.sleep(float(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1])
def test_what_a_lab_starts_as_it_dies_does_not_outlive_it(seconds: float, traces: Traces) -> None:
    lab = [sys.executable, "-c", DYING_LAB, str(seconds)]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    assert subprocess.run(lab, env=env, check=False).returncode == -signal.SIGKILL
    traces.assert_nothing_left()


def test_a_lab_that_is_killed_does_not_take_another_one_along(traces: Traces) -> None:
    env = os.environ | {"LAB_PROCESS": "1"}
    lab, program = [sys.executable, "-c", DYING_LAB, "0.02"], ["sleep", "31"]
    other = subprocess.Popen(program, env=env)
    subprocess.run(lab, env=env | {"PYTHONPATH": str(ROOT / "tests")}, check=False)
    assert eventually(lambda: len(traces.processes()) == 1)
    assert other.poll() is None
    other.kill()
    other.wait()


# Serving xDS


@pytest.fixture
def discovery(tmp_path: Path) -> Iterator[Discovery]:
    made = Discovery(tmp_path)
    yield made
    made.close()


CLUSTERS, ROUTE = ("clusters", ""), ("routes", "http.8080")


def test_a_subscription_waits_for_what_is_not_there_yet(discovery: Discovery) -> None:
    answers: list[str | None] = []
    asking = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "")))
    asking.start()
    discovery.publish({CLUSTERS: "one"})
    assert answers == []
    discovery.publish({CLUSTERS: "one", ROUTE: "here"})
    asking.join()
    assert answers == ["here"]


def test_what_was_sent_is_not_sent_again_even_if_it_was_rejected(discovery: Discovery) -> None:
    discovery.publish({CLUSTERS: "bad"})
    assert discovery.await_news(CLUSTERS, "") == "bad"
    answers: list[str | None] = []
    asking = Thread(target=lambda: answers.append(discovery.await_news(CLUSTERS, "")))
    asking.start()
    discovery.publish({CLUSTERS: "good"})
    asking.join()
    assert answers == ["good"]


def test_a_new_subscription_gets_what_an_older_one_had(discovery: Discovery) -> None:
    discovery.publish({ROUTE: "here"})
    assert discovery.await_news(ROUTE, "") == discovery.await_news(ROUTE, "") == "here"


def test_a_subscription_that_is_gone_leaves_the_news_to_the_one_in_its_place(
    discovery: Discovery,
) -> None:
    discovery.publish({ROUTE: "one"})
    assert discovery.await_news(ROUTE, "") == "one"
    answers: list[str | None] = []
    gone = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "1", lambda: True)))
    gone.start()
    discovery.publish({ROUTE: "two"})
    gone.join()
    assert answers == [None]
    assert discovery.await_news(ROUTE, "1") == "two"


def test_a_subscription_ends_with_its_server(discovery: Discovery) -> None:
    answers: list[str | None] = ["none yet"]
    asking = Thread(target=lambda: answers.append(discovery.await_news(ROUTE, "")))
    asking.start()
    discovery.close()
    asking.join()
    assert answers == ["none yet", None]


# A running mesh

ONE_COMMAND = """
import os, sys
from pathlib import Path
from subprocess import DEVNULL
from types import SimpleNamespace
from lab.shell import Shell

folder = Path(sys.argv[1])
mesh = SimpleNamespace(folder=folder)
server = SimpleNamespace(commands=folder, environment=dict, mesh=mesh)
for held in range(6):
    with Shell(server, folder) as shell:
        print(held, *shell.run("echo heard"))
    os.open(os.devnull, os.O_RDONLY)
"""


def test_a_shell_works_whichever_descriptors_it_gets(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_COMMAND, str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
    )
    heard = [f"{held} heard" for held in range(6)]
    assert (done.stdout.splitlines(), done.stderr) == (heard, "")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Playing]:
    """The shop behind the ingress gateway, and its client, as the first transcript leaves them."""
    with turn(SHOP) as example, playing(example, Source.RECORDED) as running:
        running.shell.run("kubectl apply -f shop.yaml -f gateway.yaml -f health-check.yaml")
        yield running


Sh = Callable[[str], tuple[str, int]]


@pytest.fixture
def sh(mesh: Playing) -> Sh:
    """Runs a command in the mesh's shell; gives what it printed, and its exit code."""

    def run(command: str) -> tuple[str, int]:
        *lines, code = mesh.shell.run(f"{command}\nprintf '\\n%s' $?")
        failures, mesh.server.failures = mesh.server.failures, []
        assert [str(failure) for failure in failures] == []
        return "\n".join(lines).rstrip("\n"), int(code)

    return run


@pytest.mark.parametrize(
    ("command", "printed", "code"),
    [
        ("kubectl apply -f gateway.yaml", "gateway.networking.istio.io/shop unchanged", 0),
        ("kubectl apply -f no.yaml", 'error: the path "no.yaml" does not exist', 1),
        (
            "kubectl create -f gateway.yaml",
            'Error from server (AlreadyExists): error when creating "gateway.yaml": '
            'gateways.networking.istio.io "shop" already exists',
            1,
        ),
        (
            "printf 'apiVersion: v1\\nkind: Service\\nmetadata: {name: a, namespace: nowhere}' "
            "| kubectl apply -f -",
            'Error from server (NotFound): error when creating "STDIN": '
            'namespaces "nowhere" not found',
            1,
        ),
        (
            "kubectl delete virtualservice nope -n shop",
            'Error from server (NotFound): virtualservices.networking.istio.io "nope" not found',
            1,
        ),
        ("kubectl get svc", "No resources found in default namespace.", 0),
        (
            "kubectl get service nope",
            'Error from server (NotFound): services "nope" not found',
            1,
        ),
        ("kubectl -n shop get deploy -o name", "deployment.apps/shop\ndeployment.apps/client", 0),
        (
            "kubectl get gatewayclass",
            "NAME    CONTROLLER                    ACCEPTED\n"
            "istio   istio.io/gateway-controller   True",
            0,
        ),
        (
            "kubectl wait --for=condition=Accepted gatewayclass/istio",
            "gatewayclass.gateway.networking.k8s.io/istio condition met",
            0,
        ),
        (
            "kubectl wait --for=condition=Accepted=False gatewayclass istio --timeout=5s",
            "error: timed out waiting for the condition on gatewayclasses/istio",
            1,
        ),
        (
            "kubectl get svc -A --sort-by=.spec.ports[0].port -o name",
            "service/shop\nservice/istiod\nservice/istio-ingressgateway",
            0,
        ),
        (
            "kubectl -n istio-system exec deploy/istiod -- pilot-discovery request GET /metrics "
            "| grep pilot_no_ip",
            "# HELP pilot_no_ip Pods not found in the endpoint table, possibly invalid.\n"
            "# TYPE pilot_no_ip gauge\npilot_no_ip 0",
            0,
        ),
        ("kubectl get gw/shop -n shop -o name", "gateway.networking.istio.io/shop", 0),
        ("kubectl get vs shop --namespace=shop -o jsonpath='{.spec.gateways[*]}'", "shop", 0),
        (
            "kubectl get service shop -n shop",
            "NAME   TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)\n"
            "shop   ClusterIP   10.96.0.12   <none>        80/TCP",
            0,
        ),
        (
            "kubectl -n shop rollout status deploy/shop",
            'deployment "shop" successfully rolled out',
            0,
        ),
        (
            "kubectl -n shop logs deploy/nope",
            'Error from server (NotFound): deployments.apps "nope" not found',
            1,
        ),
        (
            "kubectl -n shop exec deploy/client -- curl -sS http://shop/cart",
            "the shop answers /cart",
            0,
        ),
        ("kubectl -n shop exec deploy/shop -- python3 -c 'print(6 * 7)'", "42", 0),
        ("kubectl -n shop exec deploy/shop -- python3 -c 'raise SystemExit(3)'", "", 3),
        ("echo in | kubectl -n shop exec -i deploy/shop -- python3 -c 'print(input())'", "in", 0),
    ],
)
def test_kubectl_answers_in_its_own_words_and_exit_codes(
    sh: Sh, command: str, printed: str, code: int
) -> None:
    assert sh(command) == (printed, code)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("kubectl patch svc shop", "the lab does not play: kubectl patch svc shop (it plays "),
        ("kubectl get svc -w", "the lab does not play: kubectl get (unrecognized arguments: -w) "),
        ("kubectl get ns -o frogs", "the lab does not play: kubectl get -o frogs"),
        (
            "kubectl wait --for=delete gatewayclass/istio",
            "the lab does not play: kubectl wait (argument --for: the lab waits for condition=",
        ),
        (
            "kubectl -n shop wait --for=condition=Available deploy/shop",
            "the lab keeps no conditions of deployment.apps/shop",
        ),
        ("kubectl get frogs", "the lab does not know the resource type 'frogs'"),
        (
            "kubectl -n shop exec deploy/shop -- sh -c true",
            "the lab does not play: kubectl exec … -- sh -c true (it runs ",
        ),
        (
            "kubectl -n istio-system exec deploy/istiod -- pilot-discovery request GET /x",
            "the lab does not play: pilot-discovery request GET /x (it plays ",
        ),
        ("istioctl version", "the lab does not play: istioctl version (it plays "),
        ("istioctl analyze -n nowhere", "no recording of: istioctl analyze -n nowhere (record it "),
        (
            "printf 'apiVersion: v1\\nkind: Pod\\nmetadata: {name: a}' | kubectl apply -f -",
            "the lab does not play the kind Pod (it runs pods of Deployments)",
        ),
    ],
)
def test_what_the_lab_does_not_play_it_refuses_by_name(
    mesh: Playing, command: str, said: str
) -> None:
    printed = mesh.shell.run(command)
    failures, mesh.server.failures = mesh.server.failures, []
    assert [f"lab: {failure}" for failure in failures] == printed
    assert printed[0].startswith(f"lab: {said}")


def test_objects_come_back_as_yaml_and_json(sh: Sh) -> None:
    as_yaml, _ = sh("kubectl get vs shop -n shop -o yaml")
    as_json, _ = sh("kubectl get vs shop -n shop -o json")
    (applied,) = read_manifest((TEST_EXAMPLES / SHOP / "health-check.yaml").read_text(), Path("x"))
    assert yaml.safe_load(as_yaml) == json.loads(as_json)
    assert json.loads(as_json)["spec"] == applied["spec"]


@pytest.fixture
def gateway(mesh: Playing) -> Proxy:
    (found,) = (proxy for name, proxy in mesh.mesh.proxies.items() if "ingress" in name)
    return found


def test_a_log_is_read_when_the_proxy_is_at_rest(
    gateway: Proxy, sh: Sh, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [False, False, True, False, True]
    monkeypatch.setattr(gateway, "_is_at_rest", lambda: states.pop(0))
    sh("kubectl -n istio-system logs deploy/istio-ingressgateway")
    assert states == []


@pytest.mark.parametrize(
    ("code", "expected"), [("while True: pass", False), ("input()", True)], ids=["busy", "idle"]
)
def test_a_proxy_is_at_rest_when_it_wants_no_processor(
    gateway: Proxy, monkeypatch: pytest.MonkeyPatch, code: str, expected: bool
) -> None:
    command = [sys.executable, "-IS", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        monkeypatch.setattr(gateway, "_process", other)
        assert eventually(lambda: gateway._is_at_rest() is expected)
        other.kill()


def test_logs_are_those_of_the_program_and_of_the_proxy(sh: Sh) -> None:
    path = f"/log-{random.getrandbits(32)}"
    sh(f"kubectl -n shop exec deploy/client -- curl -sS http://shop{path}")
    program, _ = sh("kubectl -n shop logs deploy/shop --tail=1")
    assert f'"GET {path} HTTP/1.1" 200 -' in program
    sh(f"curl -sS --resolve shop.example.com:80:{GATEWAY} http://shop.example.com{path}")
    proxy, _ = sh("kubectl -n istio-system logs deploy/istio-ingressgateway --tail=1")
    assert f'"GET {path} HTTP/1.1" 200 - via_upstream' in proxy


def test_pilot_agent_request_asks_the_proxy_itself(sh: Sh) -> None:
    request = "kubectl -n istio-system exec deploy/istio-ingressgateway -- pilot-agent request GET"
    assert sh(f"{request} ready") == ("LIVE", 0)
    assert sh(f"{request} 'stats?filter=^server.live$'") == ("server.live: 1", 0)


# curl, and nothing outside of loopback

GATEWAY = f"{load(SHOP).network}.2"


# Commands as callers of the lab

NAMED = "kubectl get namespace shop -o name"


def test_words_reach_the_lab_as_they_are(sh: Sh) -> None:
    said = """Error from server (NotFound): services "a 'b'\nc" not found"""
    assert sh("""kubectl get service "a 'b'"$'\\n'c""") == (said, 1)
    assert sh("kubectl get namespace shop -o ''") == sh("kubectl get namespace shop")


def test_output_comes_between_that_of_others_in_a_file_and_in_a_pipe(sh: Sh) -> None:
    all_three = ("one\nnamespace/shop\ntwo", 0)
    group = f"{{ echo one; {NAMED}; echo two; }}"
    assert sh(f"{group} > $TMPDIR/three; cat $TMPDIR/three") == all_three
    assert sh(f"{group} | cat") == all_three


def test_input_goes_on_where_another_command_has_read(sh: Sh) -> None:
    read = "{ read -r first; kubectl apply -f -; echo $first; }"
    said = ("gateway.networking.istio.io/shop unchanged\n# first", 0)
    assert sh(f"(echo '# first'; cat gateway.yaml) > $TMPDIR/two; {read} < $TMPDIR/two") == said
    assert sh(f"(echo '# first'; cat gateway.yaml) | {read}") == said


def test_a_kernel_that_gives_no_files_away_still_opens_them(
    sh: Sh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.server._PIDFD_GETFD", -1)
    assert sh(f"{{ echo one; {NAMED}; }} | cat") == ("one\nnamespace/shop", 0)
    assert sh("cat gateway.yaml | kubectl apply -f -") == sh("kubectl apply -f gateway.yaml")


def test_a_command_without_its_lab_says_so(mesh: Playing) -> None:
    program = mesh.server.commands / "kubectl"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    env = os.environ | mesh.server.environment() | {"LAB_PID": str(ended.pid)}
    done = subprocess.run([program, "get", "pods"], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "kubectl: the lab is not running\n")
    assert done.returncode == 1


def test_a_command_that_still_runs_ends_with_its_lab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called, over = Event(), Event()
    monkeypatch.setitem(server._COMMANDS, "kubectl", lambda *_: called.set() or over.wait())  # type: ignore[func-returns-value]
    mesh: Any = SimpleNamespace(folder=tmp_path)
    with server.serve(mesh) as serving:
        env = os.environ | serving.environment()
        caller = subprocess.Popen([serving.commands / "kubectl"], env=env)
        assert called.wait(20)
    assert caller.wait(20) == 1
    over.set()


def test_curl_reaches_a_load_balancer_from_outside_and_no_service(sh: Sh, mesh: Playing) -> None:
    resolve = f"--resolve shop.example.com:80:{GATEWAY}"
    assert sh(f"curl -sS {resolve} http://shop.example.com/healthz") == ("ok", 0)
    assert sh("curl -sS http://shop.shop/") == ("curl: (6) Could not resolve host: shop.shop", 6)
    for address in (cluster_ip(mesh), pod_address(mesh, "shop") + ":8080"):
        assert_refused(sh, f"curl -sS http://{address}/")


def test_an_unmapped_port_is_refused_and_named_as_the_caller_named_it(sh: Sh) -> None:
    said, code = sh(f"curl -sS http://{GATEWAY}:81/")
    assert (mask(said), code) == (
        f"curl: (7) Failed to connect to {GATEWAY} port 81 after <duration>: "
        "Could not connect to server",
        7,
    )


def test_an_unknown_host_is_not_resolved(sh: Sh) -> None:
    for where in ("", "kubectl -n shop exec deploy/client -- "):
        said = sh(f"{where}curl -sS http://nowhere.example/")
        assert said == ("curl: (6) Could not resolve host: nowhere.example", 6)


def test_a_pod_reaches_a_service_by_each_of_its_names_and_by_its_address(
    sh: Sh, mesh: Playing
) -> None:
    names = ["shop", "shop.shop", "shop.shop.svc", "shop.shop.svc.cluster.local", cluster_ip(mesh)]
    for host in [*names, pod_address(mesh, "shop") + ":8080"]:
        said = sh(f"kubectl -n shop exec deploy/client -- curl -sS http://{host}/")
        assert said == ("the shop answers /", 0)


def test_a_pod_calls_from_its_own_address(sh: Sh, mesh: Playing) -> None:
    sh("kubectl -n shop exec deploy/client -- curl -sS http://shop/from")
    log, _ = sh("kubectl -n shop logs deploy/shop --tail=1")
    assert log.startswith(pod_address(mesh, "client") + " ")


@pytest.mark.parametrize("where", ["", "kubectl -n shop exec deploy/client -- "])
@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://192.0.2.1:8443/", "192.0.2.1", "http://[2001:db8::1]/"]
)
def test_an_address_outside_of_the_mesh_is_refused(sh: Sh, where: str, url: str) -> None:
    assert_refused(sh, f"{where}curl -sS --max-time 5 {url}")


@pytest.mark.parametrize("where", ["", "kubectl -n shop exec deploy/client -- "])
@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "127.0.0.1:{}", "localhost:{}"])
def test_a_server_outside_of_the_mesh_is_not_even_dialled(sh: Sh, where: str, url: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert_refused(sh, f"{where}curl -sS --max-time 5 {url.format(server.getsockname()[1])}")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def assert_refused(sh: Sh, command: str) -> None:
    said, code = sh(command)
    assert code == 7, said
    assert mask(said).endswith("after <duration>: Could not connect to server")


def cluster_ip(mesh: Playing) -> str:
    services = of_kind(mesh.mesh.cluster, "Service")
    return str(next(s["spec"]["clusterIP"] for s in services if s["metadata"]["name"] == "shop"))


def pod_address(mesh: Playing, app: str) -> str:
    return next(pod.address for pod in mesh.mesh.pods() if pod.labels["app"] == app)


@pytest.mark.usefixtures("mesh")
def test_every_process_of_the_lab_listens_on_loopback_alone() -> None:
    found = listening_places(os.getpid())
    network = load(SHOP).network
    assert f"{network}.11:8080" in found  # the gateway
    assert f"{network}.12:8080" in found  # the shop
    assert [place for place in found if not place.startswith("127.")] == []
