"""What was recorded on a cluster is replayed by the lab: an example that no chapter has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Traces, play_first
from lab.errors import LabError
from lab.files.example import Example, load
from lab.machine.isolation import MACHINE, OWN, isolated
from lab.objects.names import BRIDGE
from lab.plays.play import playing, replay
from lab.programs.control_plane import set_levels

ORDERS = "cluster/orders"


# Both ways to have the cluster's addresses, or the one that this machine allows.
NETWORKS = (OWN, MACHINE) if isolated() else (MACHINE,)


@pytest.fixture(autouse=True, params=NETWORKS)
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The network in which a test replays."""
    monkeypatch.setenv("LAB_NETWORK", request.param)
    return str(request.param)


def play(example: Example) -> int:
    """Replays an example and gives how many answers were taken from its recording."""
    with playing(example) as running:
        replay(running, lambda _: None)
        return running.server.answers.taken


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[str, str, str], Example]:
    """A copy of the example, with a text in one of its files replaced."""

    def change(file: str, old: str, new: str) -> Example:
        original = load(ORDERS)
        folder = tmp_path / ORDERS
        shutil.copytree(original.folder, folder)
        (path,) = folder.glob(file)
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        return Example(ORDERS, folder, folder / "recordings")

    return change


def test_an_example_of_the_cluster_is_replayed_and_nothing_is_left(traces: Traces) -> None:
    assert play(load(ORDERS)) == 9
    traces.assert_nothing_left()


def test_the_pages_addresses_are_those_of_the_cluster() -> None:
    said = (load(ORDERS).folder / "1-call.console").read_text()
    assert f'"{BRIDGE}"' in said
    assert "10.52." not in said


@pytest.mark.parametrize(
    ("file", "old", "new", "differs"),
    [
        # what istiod sent decides what the proxies do
        ("recordings/02/client-*.json", '"portValue": 8080', '"portValue": 8079', "1-call.console"),
        ("recordings/02/istio-*.json", '"orders.example.com"', '"o.example.com"', "1-call.console"),
        ("2-subset.console", "503 NC", "503 NR", "2-subset.console"),
        ("apps.yaml", "order {self.path}", "order {self.path}!", "has changed since"),
    ],
)
def test_a_change_is_noticed(
    changed: Callable[[str, str, str], Example], file: str, old: str, new: str, differs: str
) -> None:
    with pytest.raises(LabError) as caught:
        play(changed(file, old, new))
    assert differs in str(caught.value)


OWN_LAYER = {"name": "own", "static_layer": {"answer": 42}}


def runtime_of_client(example: Example) -> Any:
    """The values of Envoy's runtime beside the client of the example."""
    with playing(example) as running:
        running.mesh.move_to(2)
        (name,) = (name for name in running.mesh.proxies if name.startswith("client-"))
        _, body = running.mesh.proxies[name].admin("GET", "/runtime")
        return json.loads(body)["entries"]


def test_a_pod_adds_to_its_bootstrap_what_its_annotation_names(
    changed: Callable[[str, str, str], Example],
) -> None:
    example = changed("recordings/02/state.json", '"kind": "Pod"', '"kind": "Pod"')
    path = example.recordings / "02" / "state.json"
    objects = json.loads(path.read_text())
    pods = [item for item in objects if item.get("kind") == "Pod"]
    (client,) = (pod for pod in pods if pod["metadata"]["labels"].get("app") == "client")
    client["metadata"]["annotations"]["sidecar.istio.io/bootstrapOverride"] = "own"
    data = {"custom_bootstrap.json": json.dumps({"layered_runtime": {"layers": [OWN_LAYER]}})}
    metadata = {"name": "own", "namespace": "default"}
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    path.write_text(json.dumps(objects))
    assert runtime_of_client(example)["answer"]["final_value"] == "42"


def test_a_pod_with_a_configuration_of_its_own_has_its_own_bootstrap(
    changed: Callable[[str, str, str], Example],
) -> None:
    example = changed("recordings/recording.json", '"bootstrap"', '"bootstrap"')
    (client,) = (path.stem for path in example.recordings.glob("02/client-*.json"))
    path = example.recordings / "recording.json"
    bootstraps = {client: {"layered_runtime": {"layers": [OWN_LAYER]}}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bootstraps": bootstraps}))
    assert runtime_of_client(example)["answer"]["final_value"] == "42"


def test_kubectl_says_which_exit_code_a_command_in_a_pod_had(
    changed: Callable[[str, str, str], Example],
) -> None:
    call = "$ kubectl exec deploy/client -c curl -- curl -sS http://nowhere/\n"
    said = "curl: (6) Could not resolve host: nowhere\ncommand terminated with exit code 6\n"
    last = "| wc -l\n1\n"
    assert play(changed("2-subset.console", last, f"{last}\n{call}{said}")) == 9


def test_proxies_keep_running_from_state_to_state() -> None:
    with playing(load("cluster/tea")) as running:
        play_first(running, 1)
        before = {name: proxy.pid for name, proxy in running.mesh.proxies.items()}
        play_first(running, 2)
        assert {name: proxy.pid for name, proxy in running.mesh.proxies.items()} == before
        assert all(Path(f"/proc/{pid}").exists() for pid in before.values())


def test_comments_may_change(changed: Callable[[str, str, str], Example]) -> None:
    assert play(changed("apps.yaml", "# Two", "# Another comment.\n# Two")) == play(load(ORDERS))


def test_a_listener_on_all_addresses_is_shown_as_such() -> None:
    with playing(load(ORDERS)) as running:
        running.mesh.move_to(2)
        lines = running.shell.run("kubectl exec deploy/client -- pilot-agent request GET listeners")
    assert "virtualOutbound::0.0.0.0:15001" in lines


def test_a_question_that_the_cluster_was_not_asked_is_refused(
    changed: Callable[[str, str, str], Example],
) -> None:
    example = changed("2-subset.console", "istioctl analyze\n", "istioctl analyze -A\n")
    with pytest.raises(LabError, match="the cluster was not asked: istioctl analyze -A"):
        play(example)


def test_levels_that_istioctl_sets_are_set() -> None:
    with playing(load(ORDERS)) as running:
        mesh = running.mesh
        mesh.move_to(2)
        (client,) = (proxy for name, proxy in mesh.proxies.items() if name.startswith("client-"))

        def levels(*words: str) -> set[str]:
            set_levels(mesh, "default", ["deploy/client", *words])
            lines = client.admin("POST", "/logging")[1].splitlines()
            return {line.strip() for line in lines} & {"http: debug", "router: info", "pool: info"}

        assert levels("--level", "http:debug,router:info") == {"http: debug", "router: info"}
        assert levels() == {"http: debug", "router: info"}
        assert levels("-r") == set()
        assert levels("--level", "info") == {"router: info", "pool: info"}


def test_a_recording_has_no_key() -> None:
    texts = [path.read_text() for path in load(ORDERS).recordings.rglob("*.json")]
    assert texts
    assert not [text for text in texts if "PRIVATE KEY" in text or "privateKey" in text]
    heads = [json.loads(path.read_text()) for path in load(ORDERS).recordings.glob("*.json")]
    assert [head["istio"] for head in heads] == ["1.31"]


def test_two_replays_at_a_time_share_no_address(network: str) -> None:
    example = load(ORDERS)
    with playing(example) as one:
        if network == MACHINE:
            with playing(example) as other:
                replay(other, lambda _: None)
        else:
            with pytest.raises(LabError, match="other labs in this network have all addresses"):
                play(example)
        replay(one, lambda _: None)
