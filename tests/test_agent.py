"""How pods with pilot-agent start and end.

The real agent runs in `make check-recordings`. Here a script stands in for it, which needs no Go
tools and no network of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Traces
from lab import agent, envoy, tools
from lab.certificates import Authority
from lab.cluster import Pod
from lab.errors import LabError
from lab.example import Example
from lab.injector import inject
from lab.istiod import Source
from lab.play import Playing, playing
from lab.processes import spawn
from lab.termination import Running, terminate

GRACEFUL = "practices/graceful-termination"
APPLY = "kubectl apply -f reports.yaml -f client.yaml -f route.yaml -f gateway.yaml"

Copy = Callable[[str], Example]
Put = Callable[[str], None]

# Starts Envoy, answers the kubelet, and ends at once when it is told to.
STAND_IN = """
import http.server, json, os, signal, subprocess, sys

def end(*_):
    print("told to end", flush=True)
    envoy.kill()
    os._exit(0)

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/healthz/ready" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass

config = json.loads(os.environ["PROXY_CONFIG"])
if sys.argv[1] != "proxy":
    print(os.environ["POD_NAMESPACE"], *sys.argv[1:])
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
command = [config["binaryPath"], "-c", config["customConfigFile"], "--disable-hot-restart"]
envoy = subprocess.Popen(command)
print("started", flush=True)
http.server.HTTPServer(("127.0.0.1", 15020), Ready).serve_forever()
"""


@pytest.fixture
def pilot_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a script in the place of pilot-agent."""

    def put(script: str) -> None:
        path = tmp_path / "tools" / "pilot-agent"
        path.parent.mkdir()
        path.write_text(f"#!{sys.executable} -I\n{script}")
        path.chmod(0o755)
        monkeypatch.setattr(tools, "TOOLS", path.parent)
        monkeypatch.setattr(agent, "isolated", lambda: True)

    return put


@pytest.fixture
def mesh(copy_of: Copy, pilot_agent: Put, traces: Traces) -> Iterator[Playing]:
    """The mesh of the example as its first command leaves it."""
    pilot_agent(STAND_IN)
    with playing(copy_of(GRACEFUL), Source.RECORDED) as running:
        run(running, APPLY)
        yield running
    traces.assert_nothing_left()


def run(mesh: Playing, command: str) -> list[str]:
    lines = mesh.shell.run(command)
    assert mesh.server.failures == []
    return lines


def edge(mesh: Playing) -> Pod:
    """The pod of the gateway."""
    (pod,) = [pod for pod in mesh.mesh.pods() if pod.deployment == "edge"]
    return pod


# A pod


def test_a_deleted_pod_ends_and_then_another_takes_its_place(mesh: Playing) -> None:
    old = edge(mesh)
    name = f"pod/{old.name}"
    run(mesh, f"kubectl -n shop logs -f {name} > $TMPDIR/log &")
    run(mesh, "until grep -q started $TMPDIR/log; do sleep 0.05; done")
    assert run(mesh, f"kubectl -n shop delete {name}; wait; tail -n 1 $TMPDIR/log") == [
        f'pod "{old.name}" deleted from shop namespace',
        "told to end",
    ]
    new = edge(mesh)
    assert (new.name != old.name, new.address != old.address, new.terminating) == (
        True,
        True,
        False,
    )
    assert [pod.name for pod in mesh.mesh.pods()].count(new.name) == 1
    assert run(mesh, "kubectl -n shop get pod -l app=edge -o name") == [f"pod/{new.name}"]
    host = "-H host:reports.example.com"
    curl = f"kubectl -n shop exec deploy/client -- curl -sS {host} http://{new.address}:8080/"
    assert run(mesh, curl) == ["done"]


def test_a_pod_that_ends_takes_no_new_connections_from_its_service(mesh: Playing) -> None:
    """Between the two recorded states, the deployment has one pod, which is on its way out."""
    states = []
    move, pods = mesh.mesh._move_to, mesh.mesh.pods

    def watch(*args: Any) -> None:
        move(*args)
        ends = [pod.terminating for pod in pods() if pod.deployment == "edge"]
        slices = [i for i in mesh.mesh.cluster.snapshot() if i["kind"] == "EndpointSlice"]
        places = [
            endpoint["addresses"]
            for item in slices
            if item["metadata"]["labels"]["kubernetes.io/service-name"] == "edge"
            for endpoint in item["endpoints"]
        ]
        states.append((ends, places))

    mesh.mesh._move_to = watch  # type: ignore[assignment,method-assign]
    run(mesh, "kubectl -n shop delete pod -l app=edge")
    assert states == [([True], []), ([False], [[edge(mesh).address]])]


def test_pilot_agent_of_a_pod_runs_with_the_pods_own_environment(mesh: Playing) -> None:
    command = "kubectl -n shop exec deploy/edge -c istio-proxy -- pilot-agent wait --url=x; echo $?"
    assert run(mesh, command) == ["shop wait --url=x", "3"]


def test_a_proxy_without_pilot_agent_is_not_ended_gracefully(mesh: Playing) -> None:
    mesh.shell.run("kubectl -n istio-system delete pod -l app=istio-ingressgateway")
    (failure,) = mesh.server.failures
    assert str(failure).endswith(
        " has no pilot-agent to end its proxy "
        "(lab.yaml names the Deployment: agent: [istio-ingressgateway])"
    )


def injected(annotations: dict[str, str], container: dict[str, Any]) -> Pod:
    owner = {"kind": "Deployment", "name": "edge"}
    labels = {"sidecar.istio.io/inject": "true"}
    metadata = {"labels": labels, "annotations": annotations, "ownerReferences": [owner]}
    item: dict[str, Any] = {"metadata": metadata, "spec": {"containers": [container]}}
    inject(item, None)
    return Pod(item)


def test_a_gateway_by_injection_is_a_router_with_the_settings_of_its_annotation() -> None:
    config = "proxyMetadata:\n  ISTIO_META_IDLE_TIMEOUT: 3s\n"
    annotations = {"inject.istio.io/templates": "gateway", "proxy.istio.io/config": config}
    gateway = injected(annotations, {"name": "istio-proxy", "image": "auto"})
    assert gateway.proxy_type == "router"
    assert gateway.proxy_metadata["IDLE_TIMEOUT"] == "3s"
    assert gateway.proxy_metadata["UNPRIVILEGED_POD"] == "true"


@pytest.mark.parametrize(("native", "hook"), [("true", ["POST", "drain"]), ("false", None)])
def test_a_native_sidecar_begins_to_drain_when_its_pod_ends(
    tmp_path: Path, container: Callable[..., Running], native: str, hook: list[str] | None
) -> None:
    app = {"name": "app", "image": "python:3.13-slim"}
    pod = injected({"sidecar.istio.io/nativeSidecar": native}, app)
    proxy = agent.Agent(pod, tmp_path, ("127.0.0.1", 53), Authority())
    proxy._process = container("proxy", LISTENS).process
    (running,) = proxy.running()
    assert running.stays == (native == "true")
    command = running.spec.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
    assert (command and command[-2:]) == hook
    running.process.kill()
    running.process.wait()


# What the kubelet does


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a container that notes in a file what happens to it."""
    story = tmp_path / "story"
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, program: str, **spec: Any) -> Running:
        lines = f"import signal, sys, time\ndef note(text):\n  open({str(story)!r}, 'a').write("
        lines += f"'{name} ' + text + '\\n')\n{program}\nnote('runs')\ntime.sleep(60)"
        command = [sys.executable, "-c", lines]
        process = spawn(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        while not story.exists() or f"{name} runs" not in story.read_text():
            assert process.poll() is None
        return Running({"name": name, **spec}, process, hook)

    def hook(words: list[str]) -> subprocess.Popen[bytes]:
        with story.open("a") as file:
            file.write(f"hook {' '.join(words)}\n")
        return spawn(["true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    yield start
    for process in started:
        process.kill()
        process.wait()


LISTENS = "signal.signal(signal.SIGTERM, lambda *_: (note('is told'), sys.exit()))"
LINGERS = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), note('is told'), sys.exit()))"


def pod(**spec: Any) -> Pod:
    return Pod({"metadata": {"name": "shop"}, "spec": spec})


def story(tmp_path: Path) -> list[str]:
    lines = (tmp_path / "story").read_text().splitlines()
    return [line for line in lines if not line.endswith(" runs")]


def test_a_native_sidecar_is_told_after_the_application_has_ended(
    container: Callable[..., Running], tmp_path: Path
) -> None:
    exec_drain = {"preStop": {"exec": {"command": ["drain"]}}}
    proxy = container("proxy", LISTENS, restartPolicy="Always", lifecycle=exec_drain)
    terminate(pod(), [proxy, container("app", LINGERS)])
    assert story(tmp_path) == ["hook drain", "app is told", "proxy is told"]


def test_a_classic_sidecar_is_told_together_with_the_application(
    container: Callable[..., Running], tmp_path: Path
) -> None:
    terminate(pod(), [container("proxy", LISTENS), container("app", LINGERS)])
    assert story(tmp_path) == ["proxy is told", "app is told"]


def test_a_hook_ends_before_the_container_is_told(
    container: Callable[..., Running], tmp_path: Path
) -> None:
    waits = {"preStop": {"sleep": {"seconds": 1}}}
    terminate(pod(), [container("app", LISTENS, lifecycle=waits), container("other", LINGERS)])
    assert story(tmp_path) == ["other is told", "app is told"]


def test_what_has_no_handler_or_takes_too_long_is_killed(
    container: Callable[..., Running], tmp_path: Path
) -> None:
    deaf = container("deaf", "")
    slow = container("slow", LISTENS.replace("sys.exit()", "time.sleep(60)"))
    terminate(pod(terminationGracePeriodSeconds=1), [deaf, slow])
    assert story(tmp_path) == ["slow is told"]
    assert [one.process.returncode for one in (deaf, slow)] == [-signal.SIGKILL, -signal.SIGKILL]


def test_a_hook_that_the_lab_does_not_play_is_refused(container: Callable[..., Running]) -> None:
    one = container("app", LISTENS, lifecycle={"preStop": {"httpGet": {"port": 80}}})
    with pytest.raises(LabError, match=r"container app: the lab does not play preStop \['httpGet'"):
        terminate(pod(), [one])
    one.process.kill()


# Bad input


def refused(example: Example) -> str:
    """What the lab says when it cannot play the example's first command."""
    with playing(example, Source.RECORDED) as running:
        running.shell.run(APPLY)
        (failure,) = running.server.failures
        return str(failure)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import time\nprint('no istiod here', flush=True)\ntime.sleep(60)", "did not take its "),
        ("print('no istiod here')", "Envoy of edge-xgsjvk82m-ldnz8 stopped: no istiod here"),
        (STAND_IN.replace("200 if", "print('no istiod here', flush=True) or 503 if"), "says no"),
    ],
)
def test_an_agent_that_does_not_become_ready_is_named_with_its_last_lines(
    copy_of: Copy,
    pilot_agent: Put,
    traces: Traces,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    why: str,
) -> None:
    pilot_agent(script)
    for module in (agent, envoy):
        monkeypatch.setattr(module, "_TIMEOUT", 6.0)
    said = refused(copy_of(GRACEFUL))
    assert said.startswith("pod edge-xgsjvk82m-ldnz8 did not become ready: ")
    assert why in said.splitlines()[0]
    assert re.fullmatch(r"no istiod here \(mend what the log names: .*\)", said.splitlines()[-1])
    traces.assert_nothing_left()


def test_a_missing_agent_is_named_with_the_command_that_builds_it(
    copy_of: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "TOOLS", tmp_path)
    said = refused(copy_of(GRACEFUL))
    assert said == "the Go program pilot-agent is not built (build it: make controlplane)"


def test_an_agent_older_than_its_sources_is_named(copy_of: Copy, pilot_agent: Put) -> None:
    pilot_agent(STAND_IN)
    os.utime(tools.path("pilot-agent"), (0, 0))
    said = refused(copy_of(GRACEFUL))
    assert said == (
        "the Go program pilot-agent is older than tests/lab/controlplane/go.mod "
        "(build it: make controlplane)"
    )


def test_an_agent_is_not_started_where_others_could_reach_it(
    copy_of: Copy, pilot_agent: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    pilot_agent(STAND_IN)
    monkeypatch.setattr(agent, "isolated", lambda: False)
    assert refused(copy_of(GRACEFUL)).startswith("pilot-agent needs a network namespace")


@pytest.mark.usefixtures("silent_istiod")
def test_a_second_agent_is_refused(copy_of: Copy, pilot_agent: Put) -> None:
    pilot_agent(STAND_IN)
    example = copy_of(GRACEFUL)
    gateway = example.folder / "gateway.yaml"
    gateway.write_text(gateway.read_text().replace("\nspec:\n", "\nspec:\n  replicas: 2\n", 1))
    with playing(example, Source.LIVE) as running:
        running.shell.run("kubectl apply -f reports.yaml -f gateway.yaml")
        (failure,) = running.server.failures
    assert str(failure).startswith("no second pilot-agent for edge-")
    remedy = "the lab plays one pod with pilot-agent at a time; nothing was changed"
    assert failure.remedy == remedy


@pytest.mark.usefixtures("silent_istiod")
def test_a_second_agent_leaves_the_first_as_it_is(copy_of: Copy, pilot_agent: Put) -> None:
    pilot_agent(STAND_IN)
    with playing(copy_of(GRACEFUL), Source.LIVE) as running:
        run(running, APPLY)
        pods = run(running, "kubectl -n shop get pods")
        running.shell.run("kubectl apply -f classic-sidecar.yaml")
        (failure,) = running.server.failures
        running.server.failures.clear()
        assert f": that of {edge(running).name} has its ports" in failure.cause
        assert run(running, "kubectl -n shop get pods") == pods
        run(running, f"kubectl -n shop logs -f {edge(running).name} > /dev/null & sleep 0.3")
        run(running, "kubectl -n shop delete pod -l app=edge; wait")
