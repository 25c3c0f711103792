"""What was recorded on a cluster is replayed by the lab: an example that no chapter has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Traces, play_first
from lab.errors import LabError
from lab.files.example import Example, load
from lab.files.transcript import Step, Transcript
from lab.machine.isolation import MACHINE, OWN, isolated
from lab.objects.names import BRIDGE
from lab.plays.play import Playing, differences, playing, replay
from lab.programs.control_plane import set_levels

ORDERS = "cluster/orders"
TAKEN = 9  # so many answers of its play are taken from its recording


# Both ways to have the cluster's addresses, or the one that this machine allows.
NETWORKS = (OWN, MACHINE) if isolated() else (MACHINE,)


@pytest.fixture(autouse=True, scope="module", params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Iterator[str]:
    """The network in which a test replays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_NETWORK", request.param)
        yield str(request.param)


def play(example: Example) -> int:
    """Replays an example and gives how many answers were taken from its recording."""
    with playing(example) as running:
        replay(running, lambda _: None)
        return running.server.answers.taken


def copied(folder: Path, *changes: tuple[str, str, str]) -> Example:
    """A copy of the example, with texts replaced: each in a file, an old and a new one."""
    shutil.copytree(load(ORDERS).folder, folder)
    for file, old, new in changes:
        (path,) = folder.glob(file)
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    return Example(ORDERS, folder, folder / "recordings")


def test_two_replays_at_a_time_share_no_address_and_leave_nothing(
    network: str, tmp_path: Path, traces: Traces
) -> None:
    # Comments may have changed since it was recorded.
    example = copied(tmp_path / ORDERS, ("apps.yaml", "# Two", "# Another comment.\n# Two"))
    with playing(example) as one:
        if network == MACHINE:
            assert play(load(ORDERS)) == TAKEN
        else:
            with pytest.raises(LabError, match="other labs in this network have all addresses"):
                play(load(ORDERS))
        replay(one, lambda _: None)
        assert one.server.answers.taken == TAKEN
    traces.assert_nothing_left()


def test_the_pages_addresses_are_those_of_the_cluster() -> None:
    said = (load(ORDERS).folder / "1-call.console").read_text()
    assert f'"{BRIDGE}"' in said
    assert "10.52." not in said


def test_each_change_is_noticed_and_nothing_else_differs(tmp_path: Path) -> None:
    example = copied(
        tmp_path / ORDERS,
        # What istiod sent decides what the proxies do.
        ("recordings/02/client-*.json", '"portValue": 8080', '"portValue": 8079'),
        ("recordings/02/istio-*.json", '"orders.example.com"', '"o.example.com"'),
        ("2-subset.console", "503 NC", "503 NR"),
    )
    with playing(example) as running:
        found = list(differences(running, lambda _: None))
    where = [(d.transcript, d.error.cause.partition("`")[2].partition("`")[0]) for d in found]
    assert where == [
        ("1-call.console", "kubectl exec deploy/client -c curl -- curl -s http://orders/1"),
        ("1-call.console", "kubectl logs deploy/client -c istio-proxy --tail=1"),
        ("1-call.console", "kubectl logs deploy/orders -c istio-proxy --tail=1"),
        ("1-call.console", "curl -s -H 'host: orders.example.com' http://$GATEWAY/2"),
        (
            "1-call.console",
            "kubectl -n istio-system logs deploy/istio-ingressgateway --tail=1",
        ),
        (
            "1-call.console",
            "curl -s -H 'host: orders.example.com' --request-target '/3#part' http://$GATEWAY/",
        ),
        ("2-subset.console", "kubectl logs deploy/client -c istio-proxy --tail=1"),
        # The port that was changed is that of the later states too.
        ("2-subset.console", "kubectl exec deploy/client -c curl -- curl -s http://orders/5"),
    ]


def test_a_manifest_whose_values_have_changed_is_not_played(tmp_path: Path) -> None:
    change = ("apps.yaml", "order {self.path}", "order {self.path}!")
    with pytest.raises(LabError, match="has changed since"):
        play(copied(tmp_path / ORDERS, change))


def own_layer(answer: int) -> dict[str, Any]:
    return {"name": "own", "static_layer": {"answer": answer}}


def runtime(running: Playing, pod: str) -> Any:
    """The values of Envoy's runtime beside a pod, whose name begins so."""
    (name,) = (name for name in running.mesh.proxies if name.startswith(pod))
    _, body = running.mesh.proxies[name].admin("GET", "/runtime")
    return json.loads(body)["entries"]


def with_own_bootstraps(folder: Path) -> Example:
    """A copy in which the client has a bootstrap by annotation, and the orders by configuration."""
    example = copied(folder)
    path = example.recordings / "02" / "state.json"
    objects = json.loads(path.read_text())
    pods = [item for item in objects if item.get("kind") == "Pod"]
    (client,) = (pod for pod in pods if pod["metadata"]["labels"].get("app") == "client")
    client["metadata"]["annotations"]["sidecar.istio.io/bootstrapOverride"] = "own"
    data = {"custom_bootstrap.json": json.dumps({"layered_runtime": {"layers": [own_layer(42)]}})}
    metadata = {"name": "own", "namespace": "default"}
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    path.write_text(json.dumps(objects))
    (orders,) = (path.stem for path in example.recordings.glob("02/orders-*.json"))
    path = example.recordings / "recording.json"
    bootstraps = {orders: {"layered_runtime": {"layers": [own_layer(43)]}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bootstraps": bootstraps}))
    return example


@pytest.fixture(scope="class")
def running(network: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playing]:
    """A mesh for all tests of a class, in which the example's pods run."""
    with playing(with_own_bootstraps(tmp_path_factory.mktemp(network) / ORDERS)) as running:
        running.mesh.move_to(2)
        yield running


class TestARunningMesh:
    """What is asked of one mesh, which takes its time to start."""

    def test_proxies_keep_running_from_state_to_state(self, running: Playing) -> None:
        play_first(running, 1)
        before = {name: proxy.pid for name, proxy in running.mesh.proxies.items()}
        state = running.mesh.number
        play_first(running, 2)
        assert running.mesh.number > state
        assert {name: proxy.pid for name, proxy in running.mesh.proxies.items()} == before
        assert all(Path(f"/proc/{pid}").exists() for pid in before.values())

    def test_a_pod_has_its_own_bootstrap_by_an_annotation_or_by_its_configuration(
        self, running: Playing
    ) -> None:
        assert runtime(running, "client-")["answer"]["final_value"] == "42"
        assert runtime(running, "orders-")["answer"]["final_value"] == "43"
        assert "answer" not in runtime(running, "istio-")

    def test_kubectl_says_which_exit_code_a_command_in_a_pod_had(self, running: Playing) -> None:
        call = "kubectl exec deploy/client -c curl -- curl -sS http://nowhere/"
        assert running.shell.run(call) == [
            "curl: (6) Could not resolve host: nowhere",
            "command terminated with exit code 6",
        ]
        assert running.server.failures == []

    def test_a_listener_on_all_addresses_is_shown_as_such(self, running: Playing) -> None:
        call = "kubectl exec deploy/client -- pilot-agent request GET listeners"
        assert "virtualOutbound::0.0.0.0:15001" in running.shell.run(call)

    def test_levels_that_istioctl_sets_are_set(self, running: Playing) -> None:
        mesh = running.mesh
        (client,) = (proxy for name, proxy in mesh.proxies.items() if name.startswith("client-"))

        def levels(*words: str) -> set[str]:
            set_levels(mesh, "default", ["deploy/client", *words])
            lines = client.admin("POST", "/logging")[1].splitlines()
            return {line.strip() for line in lines} & {"http: debug", "router: info", "pool: info"}

        assert levels("--level", "http:debug,router:info") == {"http: debug", "router: info"}
        assert levels() == {"http: debug", "router: info"}
        assert levels("-r") == set()
        assert levels("--level", "info") == {"router: info", "pool: info"}

    def test_a_question_that_the_cluster_was_not_asked_is_refused(self, running: Playing) -> None:
        script = Transcript(Path("3.console"), (), (Step("istioctl analyze -A", (), 1),))
        with pytest.raises(LabError, match="the cluster was not asked: istioctl analyze -A"):
            list(running.outputs(script, lambda _: None))


def test_a_recording_has_no_key() -> None:
    texts = [path.read_text() for path in load(ORDERS).recordings.rglob("*.json")]
    assert texts
    assert not [text for text in texts if "PRIVATE KEY" in text or "privateKey" in text]
    heads = [json.loads(path.read_text()) for path in load(ORDERS).recordings.glob("*.json")]
    assert [head["istio"] for head in heads] == ["1.31"]
