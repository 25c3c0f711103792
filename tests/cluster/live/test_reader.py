"""What a reader does on a cluster works: each command that the book may show."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
import time
from collections.abc import Callable

import pytest

from cluster.live.conftest import Kubectl
from cluster.world import World, end

LIMIT = 60.0  # seconds


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def pod(kubectl: Kubectl, app: str) -> str:
    words = ("get", "pod", "-l", f"app={app}", "-o", "jsonpath={.items[0].metadata.name}")
    return kubectl(*words)


def exec_curl(kubectl: Kubectl, *words: str) -> str:
    return kubectl("exec", "deploy/client", "-c", "curl", "--", "curl", "-sS", "-m5", *words)


def await_logged(kubectl: Kubectl, app: str, shown: str) -> None:
    """Envoy writes its log once a second."""
    until(lambda: shown in kubectl("logs", f"deploy/{app}", "-c", "istio-proxy"))


def istioctl(world: World, *words: str) -> str:
    done = world.run(["istioctl", *words], check=True, timeout=120)
    return done.stdout + done.stderr


# kubectl


def test_all_pods_run(kubectl: Kubectl) -> None:
    lines = kubectl("get", "pods", "-A", "--no-headers").splitlines()
    assert len(lines) >= 5
    assert all(" Running " in line for line in lines)


def test_describe_and_events(kubectl: Kubectl) -> None:
    told = kubectl("describe", "pod", "-l", "app=echo")
    assert "istio-proxy" in told
    assert re.search(r"Normal +Started +.*kubelet", told)
    assert "Scheduled" in kubectl("events", "--for", f"pod/{pod(kubectl, 'echo')}")


def test_logs_follow(world: World, kubectl: Kubectl) -> None:
    command = ["kubectl", "logs", "-f", "--tail=0", "deploy/echo", "-c", "echo"]
    with world.popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            time.sleep(1)
            exec_curl(kubectl, "http://echo/asked")
            lines = iter(process.stdout.readline, b"")
            assert any(b"/asked" in line for line in lines)
        finally:
            end(process)


def test_exec_gives_exit_codes_and_both_streams(world: World) -> None:
    script = "echo out; echo err >&2; exit 3"
    command = ["kubectl", "exec", "deploy/client", "-c", "curl", "--", "sh", "-c", script]
    done = world.run(command)
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert done.stderr == "err\ncommand terminated with exit code 3\n"


def test_port_forward(world: World) -> None:
    command = ["kubectl", "port-forward", "-n", "istio-system", "deploy/istiod", "15014"]
    with world.popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            ask = ["curl", "-sf", "http://localhost:15014/version"]
            until(lambda: world.run(ask).returncode == 0)
            assert "Clean" in world.run(ask).stdout
        finally:
            end(process)


def test_copy(kubectl: Kubectl, world: World) -> None:
    file = world.folder / "sent"
    file.write_text("there and back")
    name = pod(kubectl, "client")
    kubectl("cp", "-c", "curl", str(file), f"{name}:/tmp/sent")
    file.unlink()
    kubectl("cp", "-c", "curl", f"{name}:/tmp/sent", str(file))
    assert file.read_text() == "there and back"
    file.unlink()


def test_debug(kubectl: Kubectl) -> None:
    name = pod(kubectl, "echo")
    words = (
        "--image=curlimages/curl:8.16.0",
        "--target=echo",
        "--container=look",
        "--profile=general",
    )
    kubectl("debug", name, *words, "--", "curl", "-sS", "http://localhost:8080/")
    until(lambda: "Directory listing" in kubectl("logs", name, "-c", "look"))


def test_rollout(kubectl: Kubectl) -> None:
    before = pod(kubectl, "client")
    kubectl("rollout", "restart", "deploy/client")
    told = kubectl("rollout", "status", "deploy/client", "--timeout=60s")
    assert "successfully rolled out" in told
    kubectl("wait", "--for=delete", f"pod/{before}", "--timeout=60s")
    assert "2" in kubectl("rollout", "history", "deploy/client")


POD = """
apiVersion: v1
kind: Pod
metadata: {name: probed, labels: {sidecar.istio.io/inject: "false"}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: curlimages/curl:8.16.0
      command: [sleep, infinity]
      livenessProbe: {exec: {command: ["false"]}, periodSeconds: 1, failureThreshold: 1}
"""


def test_a_probe_that_fails_restarts_a_container(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=POD)
    path = "jsonpath={.status.containerStatuses[0].restartCount}"
    until(lambda: kubectl("get", "pod", "probed", "-o", path) not in ("", "0"))
    assert "Liveness probe failed" in kubectl("events", "--for", "pod/probed")
    kubectl("delete", "pod", "probed")


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: main
          image: curlimages/curl:8.16.0
          command: [curl, -sSf, -o, /dev/null, -w, "%{http_code}", "http://echo/"]
"""


def test_a_job_with_a_sidecar_ends(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=JOB)
    kubectl("wait", "--for=condition=Complete", "job/once", "--timeout=90s")
    assert kubectl("logs", "job/once", "-c", "main") == "200"


SET = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: numbered}
spec:
  serviceName: numbered
  replicas: 2
  selector: {matchLabels: {app: numbered}}
  template:
    metadata: {labels: {app: numbered}}
    spec:
      containers:
        - {name: main, image: "curlimages/curl:8.16.0", command: [sleep, infinity]}
"""


def test_a_stateful_set_is_numbered(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=SET)
    kubectl("rollout", "status", "statefulset/numbered", "--timeout=90s")
    assert "pod/numbered-1" in kubectl("get", "pods", "-o", "name")
    kubectl("delete", "statefulset", "numbered", "--wait=false")


def test_sidecars_are_native(kubectl: Kubectl) -> None:
    path = "jsonpath={.items[0].spec.initContainers[?(@.name=='istio-proxy')].restartPolicy}"
    assert kubectl("get", "pod", "-l", "app=echo", "-o", path) == "Always"


def test_permissions_are_asked_for(world: World) -> None:
    account = "--as=system:serviceaccount:default:default"
    done = world.run(["kubectl", "get", "secrets", account])
    assert "is forbidden" in done.stderr


def test_admission_refuses_what_the_schema_does_not_have(world: World) -> None:
    route = (
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: wrong}\n"
        "spec: {nonsense: true}\n"
    )
    done = world.run(["kubectl", "apply", "-f", "-"], stdin=route)
    assert "nonsense" in done.stderr


def test_the_runtime_can_be_looked_into(world: World) -> None:
    told = world.run(["ctr", "images", "list", "-q"], check=True).stdout
    assert "docker.io/library/python:3.13-slim" in told


# The mesh


def test_a_request_goes_through_both_sidecars(kubectl: Kubectl) -> None:
    assert exec_curl(kubectl, "-o", "/dev/null", "-w", "%{http_code}", "http://echo/") == "200"
    for app, shown in {"client": "outbound|80||echo.", "echo": "inbound|8080||"}.items():
        await_logged(kubectl, app, shown)


def test_the_sidecar_has_one_worker(kubectl: Kubectl) -> None:
    words = ("exec", "deploy/echo", "-c", "istio-proxy", "--", "pilot-agent", "request", "GET")
    info = json.loads(kubectl(*words, "server_info"))
    assert info["command_line_options"]["concurrency"] == 1


def test_plain_text_is_refused_where_it_must_be(world: World, kubectl: Kubectl) -> None:
    strict = (
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict}\n"
        "spec: {mtls: {mode: STRICT}}\n"
    )
    address = kubectl("get", "pod", "-l", "app=echo", "-o", "jsonpath={.items[0].status.podIP}")
    ask = ["curl", "-sS", "-m5", f"http://{address}:8080/"]
    assert world.run(ask).returncode == 0
    kubectl("apply", "-f", "-", stdin=strict)
    until(lambda: world.run(ask).returncode == 56)
    assert "Directory" in exec_curl(kubectl, "http://echo/")
    kubectl("delete", "peerauthentication", "strict")


def test_the_client_outside_reaches_the_gateway_alone(world: World, kubectl: Kubectl) -> None:
    path = "jsonpath={.status.addresses[0].value}"
    until(lambda: kubectl("get", "gateway", "way-in", "-o", path) != "")
    address = kubectl("get", "gateway", "way-in", "-o", path)
    ask = ["curl", "-sS", "-m5", "-o", "/dev/null", "-w", "%{http_code}"]
    until(lambda: world.run([*ask, f"http://{address}/"], outside=True).stdout == "200")
    inside = kubectl("get", "pod", "-l", "app=echo", "-o", "jsonpath={.items[0].status.podIP}")
    assert world.run([*ask, f"http://{inside}:8080/"], outside=True).returncode != 0


def test_dig_asks_the_clusters_own_server(world: World) -> None:
    # CoreDNS listens on the node, which the client outside reaches.
    command = ["dig", "+short", "@172.18.0.2", "echo.default.svc.cluster.local"]
    done = world.run(command, outside=True)
    assert re.fullmatch(r"10\.96\.\d+\.\d+\n", done.stdout), done


def test_names_outside_of_the_cluster_are_not_asked_for(world: World) -> None:
    for outside in (True, False):
        began = time.monotonic()
        assert world.run(["curl", "-sS", "http://example.com/"], outside=outside).returncode == 6
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["proxy-status"], "echo-"),
        (["proxy-config", "clusters", "deploy/client"], "echo.default.svc.cluster.local"),
        (["proxy-config", "all", "deploy/client", "-o", "json"], "configs"),
        (["version"], "data plane version"),
        (["x", "describe", "service", "echo"], "Service: echo"),
        (["x", "precheck"], "No issues"),
        (["analyze"], "No validation issues"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_istioctl(world: World, words: list[str], shown: str) -> None:
    assert shown in istioctl(world, *words)


def test_bug_report(world: World) -> None:
    # It takes its folder for its own: afterwards it is removed.
    command = ["istioctl", "bug-report", "--dir", str(world.folder / "report")]
    world.run(command, cwd=world.folder, check=True, timeout=120)
    archive = world.folder / "bug-report.tar.gz"
    with tarfile.open(archive) as tar:
        assert any("istiod" in name for name in tar.getnames())
    archive.unlink()
