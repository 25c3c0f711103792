"""The programs of a transcript's shell: how they are called, and what they reach."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import play_first
from lab.files.example import load
from lab.files.masks import mask
from lab.machine.addresses import Addresses
from lab.paths import ROOT
from lab.plays.play import Playing, playing
from lab.programs import server
from lab.programs.control_plane import READER

ORDERS = "cluster/orders"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Playing]:
    """Orders behind the ingress gateway, and their client, as the first transcript leaves them."""
    with playing(load(ORDERS)) as running:
        play_first(running, 1)
        running.server.answers.step = READER
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


CLIENT = "kubectl exec deploy/client -c curl -- "
SERVER = "kubectl exec deploy/orders -c orders -- "


# kubectl


@pytest.mark.parametrize(
    ("command", "printed", "code"),
    [
        (f"{CLIENT}curl -sS http://orders/1", "order /1", 0),
        (f"{SERVER}python3 -c 'print(6 * 7)'", "42", 0),
        (f"{SERVER}python3 -c 'raise SystemExit(3)'", "", 3),
        (
            "echo in | kubectl exec -i deploy/orders -c orders -- python3 -c 'print(input())'",
            "in",
            0,
        ),
        ("kubectl exec deploy/client -c istio-proxy -- pilot-agent request GET ready", "LIVE", 0),
    ],
)
def test_what_asks_a_workload_or_a_proxy_is_run(
    sh: Sh, command: str, printed: str, code: int
) -> None:
    said, exited = sh(f"{command} 2>/dev/null")
    assert (said, exited) == (printed, code)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("kubectl patch svc orders", "the cluster was not asked: kubectl patch svc orders (only "),
        ("istioctl analyze -A", "the cluster was not asked: istioctl analyze -A (only a cluster "),
        (f"{SERVER}sh -c true", "the lab does not play: kubectl exec … -- sh -c true (it runs "),
        ("kubectl logs deploy/orders --previous", "the lab does not play: --previous of kubectl "),
        ("kubectl logs deploy/nope", "no pod runs for deploy/nope in namespace default"),
    ],
)
def test_what_the_lab_does_not_play_it_refuses_by_name(
    mesh: Playing, command: str, said: str
) -> None:
    printed = mesh.shell.run(command)
    failures, mesh.server.failures = mesh.server.failures, []
    assert [f"lab: {failure}" for failure in failures] == printed
    assert printed[0].startswith(f"lab: {said}")


def test_logs_are_those_of_the_proxy_and_of_the_program(sh: Sh) -> None:
    path = f"/log-{random.getrandbits(32)}"
    sh(f"{CLIENT}curl -sS http://orders{path}")
    proxy, _ = sh("kubectl logs deploy/client -c istio-proxy --tail=1")
    assert f'"GET {path} HTTP/1.1" 200 - via_upstream' in proxy
    assert sh("kubectl logs deploy/orders -c orders") == ("", 0)


# Commands as callers of the lab

NAMED = "kubectl get pods -o custom-columns=NAME:.metadata.name,ADDRESS:.status.podIP --no-headers"


def test_output_comes_between_that_of_others_in_a_file_and_in_a_pipe(sh: Sh) -> None:
    pods, _ = sh(NAMED)
    assert pods.count("\n") == 1
    all_three = (f"one\n{pods}\ntwo", 0)
    group = f"{{ echo one; {NAMED}; echo two; }}"
    assert sh(f"{group} > $TMPDIR/three; cat $TMPDIR/three") == all_three
    assert sh(f"{group} | cat") == all_three


READ = "kubectl exec -i deploy/orders -c orders -- python3 -c 'import sys; print(sys.stdin.read())'"


def test_input_goes_on_where_another_command_has_read(sh: Sh) -> None:
    read = f"{{ read -r first; {READ}; echo $first; }}"
    both = ("second\n\nfirst", 0)
    assert sh(f"printf 'first\\nsecond\\n' > $TMPDIR/two; {read} < $TMPDIR/two") == both
    assert sh(f"printf 'first\\nsecond\\n' | {read}") == both


def test_a_kernel_that_gives_no_files_away_still_opens_them(
    sh: Sh, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = sh(NAMED)
    monkeypatch.setattr("lab.programs.server._PIDFD_GETFD", -1)
    assert sh(f"{{ {NAMED}; }} | cat") == pods
    assert sh(f"echo in | {READ}") == ("in", 0)


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
    monkeypatch.setitem(server._PROGRAMS, "curl", lambda *_: called.set() or over.wait())  # type: ignore[func-returns-value]
    recording = SimpleNamespace(calls=[])
    mesh: Any = SimpleNamespace(folder=tmp_path, recording=recording, addresses=Addresses())
    with server.serve(mesh) as serving:
        env = os.environ | serving.environment()
        caller = subprocess.Popen([serving.commands / "curl"], env=env)
        assert called.wait(20)
    assert caller.wait(20) == 1
    over.set()


def test_what_a_transcript_makes_with_mktemp_ends_with_the_lab(mesh: Playing) -> None:
    (place,) = mesh.shell.run("mktemp -d")
    assert Path(place).parent == mesh.mesh.folder


# curl, and nothing outside of the lab


def test_curl_reaches_a_load_balancer_from_outside_and_no_service(sh: Sh, mesh: Playing) -> None:
    resolve = "--resolve orders.example.com:80:$GATEWAY"
    assert sh(f"curl -sS {resolve} http://orders.example.com/7") == ("order /7", 0)
    assert sh("curl -sS http://orders.default/") == (
        "curl: (6) Could not resolve host: orders.default",
        6,
    )
    for address in (cluster_ip(mesh), pod_address(mesh, "orders") + ":8080"):
        assert_refused(sh, f"curl -sS http://{address}/")


def test_curl_in_a_pod_knows_the_names_that_its_proxy_answers_for(
    sh: Sh, mesh: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"{CLIENT}curl -sS -H 'host: orders' http://orders.example.com/9 2>/dev/null"
    assert sh(command) == ("", 6)
    (client,) = (pod for pod in mesh.mesh.pods() if pod.deployment == "client")
    known = {"name": "orders.example.com", "addresses": ["240.240.0.1"]}
    monkeypatch.setitem(mesh.mesh.state.proxies[client.id], "names", [known])
    assert sh(command) == ("order /9", 0)


def test_curl_takes_the_callers_own_connect_to(sh: Sh) -> None:
    option = "--connect-to orders.example.com:80:$GATEWAY:80"
    assert sh(f"curl -sS {option} http://orders.example.com/8") == ("order /8", 0)
    assert sh(f"curl -sS {option}1 http://orders.example.com/8")[1] == 7


def test_an_unmapped_port_is_refused_and_named_as_the_caller_named_it(sh: Sh) -> None:
    gateway, _ = sh("echo $GATEWAY")
    said, code = sh("curl -sS http://$GATEWAY:81/")
    assert (mask(said), code) == (
        f"curl: (7) Failed to connect to {gateway} port 81 after <duration>: "
        "Could not connect to server",
        7,
    )


def test_an_unknown_host_is_not_resolved(sh: Sh) -> None:
    said = "curl: (6) Could not resolve host: nowhere.example"
    assert sh("curl -sS http://nowhere.example/") == (said, 6)
    in_pod = f"{said}\ncommand terminated with exit code 6"
    assert sh(f"{CLIENT}curl -sS http://nowhere.example/") == (in_pod, 6)


def test_a_pod_reaches_a_service_by_each_of_its_names_and_by_its_address(
    sh: Sh, mesh: Playing
) -> None:
    names = ["orders", "orders.default", "orders.default.svc", "orders.default.svc.cluster.local"]
    for host in [*names, cluster_ip(mesh), pod_address(mesh, "orders") + ":8080"]:
        assert sh(f"{CLIENT}curl -sS http://{host}/") == ("order /", 0)


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://192.0.2.1:8443/", "192.0.2.1", "http://[2001:db8::1]/"]
)
def test_an_address_outside_of_the_mesh_is_refused(sh: Sh, url: str) -> None:
    assert_refused(sh, f"curl -sS --max-time 5 {url}")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/", "127.0.0.1:{}", "localhost:{}"])
def test_a_server_outside_of_the_mesh_is_not_even_dialled(sh: Sh, url: str) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert_refused(sh, f"curl -sS --max-time 5 {url.format(server.getsockname()[1])}")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def assert_refused(sh: Sh, command: str) -> None:
    said, code = sh(command)
    assert code == 7, said
    assert mask(said).endswith("after <duration>: Could not connect to server")


def cluster_ip(mesh: Playing) -> str:
    services = (item for item in mesh.mesh.objects if item["kind"] == "Service")
    return str(next(s["spec"]["clusterIP"] for s in services if s["metadata"]["name"] == "orders"))


def pod_address(mesh: Playing, deployment: str) -> str:
    return next(pod.address for pod in mesh.mesh.pods() if pod.deployment == deployment)


# The shell

ONE_COMMAND = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from lab.programs.shell import Shell

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
