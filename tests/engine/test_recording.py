"""Recordings of a cluster: files, what is compared of them, and answers out of them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster.recording import call, dump, shim
from cluster.recording.comparing import Roles, differing, differing_states
from cluster.recording.dump import in_use, of_bootstrap, pruned
from cluster.recording.settling import is_rolled_out, is_starting
from lab.errors import LabError
from lab.files import recording
from lab.files.recording import Call, Recording, State
from lab.files.transcript import Step, Transcript
from lab.objects.names import BRIDGE, CLIENT, client_address
from lab.programs.control_plane import Answers


def pod(name: str, address: str, owner: str = "ledger-5d9f6c7b8") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ledger",
            "ownerReferences": [{"kind": "ReplicaSet", "name": owner}],
        },
        "spec": {"containers": [], "serviceAccountName": "default", "volumes": []},
        "status": {"phase": "Running", "podIP": address},
    }


def service(address: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "ledger", "namespace": "ledger"},
        "spec": {"clusterIP": address, **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": "172.18.255.200"}]}},
    }


def state(name: str, address: str, cluster_ip: str, node_port: int = 30900) -> State:
    place = {"address": {"socketAddress": {"address": address, "portValue": 9000}}}
    listener = {"name": f"{cluster_ip}_9000", "address": {"portValue": 9000}}
    resources: dict[str, list[Any]] = {
        "listeners": [listener],
        "endpoints": [{"clusterName": "ledger", "endpoints": [{"lbEndpoints": [place]}]}],
        "secrets": ["kubernetes://ledger"],
    }
    ports = [{"port": 9000, "nodePort": node_port}]
    objects = [pod(name, address), service(cluster_ip, ports=ports)]
    return State(objects, {f"{name}.ledger": resources})


ONE = Recording(
    istio="1.31",
    module="v0",
    kubernetes="v1.36.3",
    envoy="1.39.3",
    recorded="2026-11-29",
    inputs={"ledger.yaml": "d"},
    bootstrap={"layered_runtime": {"layers": []}},
    calls=[
        Call(("1-a.console", 1), "kubectl", ("apply", "-f", "a.yaml"), "created\n", 0, state=2),
        Call(("1-a.console", 2), "kubectl", ("get", "pods"), "one\n", 0, err="beware\n"),
        Call(("1-a.console", 2), "kubectl", ("get", "pods"), "two\n", 1),
    ],
    states=[state("ledger-5d9f6c7b8-aaaaa", "10.244.0.4", "10.96.7.7")] * 2,
)
OTHER = replace(
    ONE, states=[state("ledger-5d9f6c7b8-zzzzz", "10.244.0.9", "10.96.1.2", node_port=30901)] * 2
)


def test_a_recording_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    recording.save(tmp_path, ONE)
    assert recording.load(tmp_path) == ONE


def test_what_an_earlier_state_has_is_not_written_again(tmp_path: Path) -> None:
    recording.save(tmp_path, ONE)
    second = json.loads((tmp_path / "02" / "state.json").read_text())
    assert second[1] == {"as": "01", "name": "Service ledger/ledger"}
    (proxy,) = (tmp_path / "02").glob("ledger-*.json")
    assert json.loads(proxy.read_text())["listeners"] == [
        {"as": f"01/{proxy.stem}", "name": "10.96.7.7_9000"}
    ]


def test_an_example_without_recording_has_none(tmp_path: Path) -> None:
    assert recording.load(tmp_path) is None


def test_only_pods_that_run_are_in_a_state() -> None:
    pending = pod("waits", "10.244.0.5") | {"status": {"phase": "Pending"}}
    state = State([pending, *ONE.states[0].objects], {})
    assert state.running() == ONE.states[0].objects


@pytest.mark.parametrize(("policy", "seen"), [("Cluster", BRIDGE), ("Local", CLIENT)])
def test_pods_see_the_node_as_client_unless_the_service_keeps_the_address(
    policy: str, seen: str
) -> None:
    objects = [service("10.96.7.7", externalTrafficPolicy=policy)]
    assert client_address(objects, "172.18.255.200") == seen
    assert client_address(objects, "172.18.255.201") == BRIDGE


# Comparing


def transcript(*outputs: str) -> Transcript:
    steps = (Step(f"echo {n}", tuple(o.splitlines()), n) for n, o in enumerate(outputs, 1))
    return Transcript(Path("1-a.console"), (), tuple(steps))


def roles(of: Recording) -> Roles:
    return Roles.of(of.states)


def test_addresses_names_of_pods_and_node_ports_may_differ() -> None:
    old = transcript("ledger-5d9f6c7b8-aaaaa   10.244.0.4:9000 via 10.96.7.7")
    new = transcript("ledger-5d9f6c7b8-zzzzz 10.244.0.9:9000 via 10.96.1.2")
    assert differing(old, new, roles(ONE), roles(OTHER)) == {}
    assert differing_states(ONE, OTHER) == []


def test_the_template_of_a_restarted_deployment_may_differ() -> None:
    def restarted(template: str) -> Recording:
        item = pod(f"ledger-{template}-aaaaa", "10.244.0.4", owner=f"ledger-{template}")
        item["metadata"]["labels"] = {"pod-template-hash": template}
        return replace(ONE, states=[State([item], {})])

    assert differing_states(restarted("559c858d9d"), restarted("59d9d79578")) == []


@pytest.mark.parametrize("other", ["10.244.0.8:9000", "10.244.0.9:9001", "10.96.1.2:9000"])
def test_another_pod_port_or_service_is_a_difference(other: str) -> None:
    found = differing(
        transcript("", "10.244.0.4:9000"), transcript("", other), roles(ONE), roles(OTHER)
    )
    assert list(found) == [2]
    now = roles(OTHER).named(other)
    assert found[2].splitlines()[3:] == ["-<pod ledger/ledger>:9000", f"+{now}"]


def test_other_commands_are_a_difference() -> None:
    old, new = transcript("a"), transcript("a", "b")
    assert differing(old, new, roles(ONE), roles(OTHER)) == {
        1: "other commands",
        2: "other commands",
    }


def test_a_changed_resource_and_a_missing_state_are_named() -> None:
    (proxy,) = OTHER.states[0].proxies.values()
    changed = {"ledger-5d9f6c7b8-zzzzz.ledger": proxy | {"secrets": []}}
    second = replace(OTHER.states[1], proxies=changed)
    assert differing_states(ONE, replace(OTHER, states=[OTHER.states[0], second])) == [
        "state 2: secrets of <id of ledger/ledger> differs"
    ]
    assert differing_states(ONE, replace(OTHER, states=OTHER.states[:1])) == [
        "2 states have become 1"
    ]


# Answers


def test_answers_come_in_order_and_the_last_one_again() -> None:
    answers = Answers(ONE.calls, step=("1-a.console", 2))
    said = [answers.to("kubectl", ["get", "pods"], 2).out for _ in range(3)]
    assert (said, answers.taken) == (["one\n", "two\n", "two\n"], 3)


def test_a_reader_gets_what_was_said_in_the_state_that_runs_and_changes_nothing() -> None:
    answers = Answers(ONE.calls)
    assert answers.to("kubectl", ["get", "pods"], 2).out == "one\n"
    for args, within in ((["get", "pods"], 1), (["apply", "-f", "a.yaml"], 1)):
        with pytest.raises(LabError, match="the cluster was not asked"):
            answers.to("kubectl", args, within)


@pytest.mark.parametrize(
    ("step", "program", "args"),
    [
        (("1-a.console", 1), "kubectl", ["get", "pods"]),
        (("1-a.console", 2), "istioctl", ["get", "pods"]),
        (("1-a.console", 2), "kubectl", ["get", "services"]),
    ],
)
def test_what_the_cluster_was_not_asked_in_this_step_is_refused(
    step: tuple[str, int], program: str, args: list[str]
) -> None:
    with pytest.raises(LabError, match=f"the cluster was not asked: {program}") as caught:
        Answers(ONE.calls, step=step).to(program, args, 2)
    assert caught.value.remedy == "only a cluster can answer: make cluster"


def test_a_folder_that_mktemp_has_made_has_one_name_in_all_plays() -> None:
    for folder in ("/var/lab-abc", "/var/recording/"):
        made = folder.rstrip("/") + "/" + "tmp.Ab12Cd34Ef"
        args = ["create", f"--cert={made}/shop.crt", "-f", folder]
        found = recording.without_temporary(args, folder)
        assert found == ("create", "--cert=$TMPDIR/shop.crt", "-f", folder)


# Calls while recording


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["get", "pods"], "get"),
        (["-n", "shop", "logs", "deploy/shop"], "logs"),
        (["--namespace=shop", "apply", "-f", "a"], "apply"),
        ([], ""),
    ],
)
def test_the_verb_of_a_call_is_found(words: list[str], verb: str) -> None:
    assert shim.verb_of(words)[0] == verb


@pytest.mark.parametrize(
    ("program", "verb", "rest", "changing"),
    [
        ("kubectl", "apply", ["-f", "a"], True),
        ("kubectl", "rollout", ["restart", "deploy/a"], True),
        ("kubectl", "rollout", ["status", "deploy/a"], False),
        ("kubectl", "get", ["pods"], False),
        ("istioctl", "analyze", [], False),
        ("istioctl", "install", ["-y"], True),
    ],
)
def test_calls_that_change_the_cluster_are_known(
    program: str, verb: str, rest: list[str], changing: bool
) -> None:
    assert call.changes(program, verb, rest) is changing


def test_logs_of_istiod_are_an_answer_of_the_control_plane() -> None:
    assert shim.asks_istiod(["deploy/istiod"])
    assert not shim.asks_istiod(["deploy/ledger", "-c", "istio-proxy"])


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])
def test_no_key_that_kubectl_prints_is_kept(kind: str) -> None:
    key = f"-----BEGIN {kind}-----\nabc\n-----END {kind}-----"
    encoded = base64.b64encode(f"{key}\n".encode()).decode()
    certificate = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nabc\n").decode()
    printed = f"  tls.crt: {certificate}\n  tls.key: {encoded}\n{key}\n"
    kept = f"  tls.crt: {certificate}\n  tls.key: <private key>\n<private key>\n"
    assert call.without_keys(printed) == kept


def test_a_deployment_is_rolled_out_when_all_replicas_are_of_its_template() -> None:
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 2}}
    status = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2}
    assert is_rolled_out(deployment | {"status": status})
    for other in ({"observedGeneration": 1}, {"replicas": 3}, {"updatedReplicas": 1}):
        assert not is_rolled_out(deployment | {"status": status | other})


def test_of_a_bootstrap_is_kept_what_a_replay_needs() -> None:
    kept = {
        "stats_config": {"stats_matcher": {}},
        "stats_eviction_interval": "10s",
        "layered_runtime": {"layers": []},
    }
    assert of_bootstrap(json.dumps(kept | {"node": {}, "admin": {}})) == kept


def test_a_pod_is_asked_for_its_own_bootstrap_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(command: list[str], **_: Any) -> SimpleNamespace:
        asked.append(command[1:5])
        return SimpleNamespace(stdout=b'{"stats_config": {}, "node": {}}')

    monkeypatch.setenv("RECORDING_FOLDER", str(tmp_path))
    monkeypatch.setattr("subprocess.run", answer)
    pods = [pod("ledger-1", "10.244.0.4"), pod("ledger-1", "10.244.0.5")]  # one after the other
    for item, uid in zip(pods, "ab", strict=True):
        item["metadata"]["uid"] = uid
        assert [dump._bootstrap(item) for _ in range(2)] == [{"stats_config": {}}] * 2
    assert asked == [["-n", "ledger", "exec", "ledger-1"]] * 2


def test_a_pod_that_fails_again_and_again_does_not_start() -> None:
    waiting: dict[str, Any] = {
        "metadata": {},
        "status": {"phase": "Running", "containerStatuses": [{"state": {}}]},
    }
    assert is_starting(waiting)
    waiting["status"]["containerStatuses"][0]["restartCount"] = 1
    assert not is_starting(waiting)


def test_what_only_a_drained_listener_needs_is_not_kept() -> None:
    tls = {"name": "kubernetes://shop", "sdsConfig": {"ads": {}}}
    listener = {"filterChains": [{"rds": {"routeConfigName": "http.8080"}, "tls": [tls]}]}
    found = {
        "listeners": [listener],
        "clusters": [],
        "routes": [{"name": "http.8080"}, {"name": "http.8081"}],
        "secrets": ["kubernetes://blog", "kubernetes://shop"],
    }
    assert in_use(found) == found | {
        "routes": [{"name": "http.8080"}],
        "secrets": ["kubernetes://shop"],
    }


def test_names_are_kept_of_a_pod_whose_proxy_answers_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.31.0", "env": []}
    capture = {"name": "ISTIO_META_DNS_CAPTURE", "value": "true"}
    pods = [pod("plain-1", "10.244.0.4"), pod("asks-1", "10.244.0.5")]
    pods[0]["spec"]["containers"] = [proxy]
    pods[1]["spec"] |= {"containers": [], "initContainers": [proxy | {"env": [capture]}]}
    table = {
        "pay.example.com": {"ips": ["240.240.0.2", "240.240.0.1"], "registry": "External"},
        "ledger.ledger.svc.cluster.local": {"ips": ["10.96.7.7"], "registry": "Kubernetes"},
    }
    asked = {
        "config_dump?proxyID=plain-1.ledger&include_eds=true": {"configs": []},
        "config_dump?proxyID=asks-1.ledger&include_eds=true": {"configs": []},
        "ndsz?proxyID=asks-1.ledger": {"configs": [{"table": table}]},
    }
    found = {"pods": pods, "services": [], "configmaps": []}
    monkeypatch.setattr(dump, "get", found.__getitem__)
    monkeypatch.setattr(dump, "ask_istiod", asked.__getitem__)
    sent = dump.state()["proxies"]
    assert "names" not in sent["plain-1.ledger"]
    assert sent["asks-1.ledger"]["names"] == [
        {"name": "pay.example.com", "addresses": ["240.240.0.1", "240.240.0.2"]}
    ]


def test_an_object_is_kept_without_what_others_add_to_it() -> None:
    item = pod("ledger-1", "10.244.0.4")
    item["metadata"] |= {"uid": "u", "managedFields": [], "annotations": {"a": "b"}}
    item["spec"] |= {"nodeName": "node-1", "tolerations": []}
    kept = pruned(item)
    assert kept == pod("ledger-1", "10.244.0.4") | {"metadata": kept["metadata"]}
    assert kept["metadata"]["annotations"] == {}


def test_without_waiting_the_names_are_taken_down_and_no_proxy_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = [pod("ledger-1", "10.244.0.4")]
    found = {"pods": objects, "services": [service("10.96.7.7")], "configmaps": []}
    monkeypatch.setattr(dump, "get", found.__getitem__)
    monkeypatch.setattr(dump, "ask_istiod", lambda _: pytest.fail("asked istiod"))
    monkeypatch.setattr("cluster.recording.settling.settle", lambda: pytest.fail("waited"))
    monkeypatch.setenv("RECORDING_FOLDER", str(tmp_path))
    monkeypatch.setenv(call.NAMES_ONLY, "1")
    assert (call.take_state(), call.take_state()) == (1, 1)
    taken = json.loads((tmp_path / "state-001.json").read_text())
    assert [item["kind"] for item in taken["objects"]] == ["Pod", "Service"]
    assert taken["proxies"] == {}
