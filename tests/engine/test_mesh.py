"""A mesh with sidecars: what runs in it, what listens, and how it follows from state to state."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import eventually, listening_places, play_first
from lab.files.example import load
from lab.objects.pod import Pod, shadow
from lab.plays.play import Playing, playing
from lab.proxy.envoy import Proxy

TEA = "cluster/tea"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Playing]:
    """The mesh as its first transcript leaves it."""
    with playing(load(TEA)) as running:
        play_first(running, 1)
        yield running


def run(mesh: Playing, command: str) -> list[str]:
    lines = mesh.shell.run(command)
    assert mesh.server.failures == []
    return lines


def pod(mesh: Playing, deployment: str) -> Pod:
    return next(pod for pod in mesh.mesh.pods() if pod.deployment == deployment)


def test_sidecars_and_what_is_behind_them_listen_on_their_own_addresses(mesh: Playing) -> None:
    places = listening_places(os.getpid())
    green = pod(mesh, "leaves-green").address
    own = {f"{green}:15001", f"{green}:15006", f"{green}:8080", f"{shadow(green)}:8080"}
    assert own <= places
    assert [place for place in places if place.startswith(("0.0.0.0:", "[::]:"))] == []


CALL_ASYNC = """
import asyncio
async def main():
    reader, writer = await asyncio.open_connection("leaves-pods.tea", 8080)
    writer.write(b"GET / HTTP/1.1\\r\\nhost: leaves-pods:8080\\r\\n\\r\\n")
    print((await reader.readline()).decode().strip())
    writer.close()
asyncio.run(main())
"""
LISTEN = """
import os, socket
server = socket.create_server(("", 9000))
print(server.getsockname())
for host in "localhost", server.getsockname()[0]:
    print(host, socket.socket().connect_ex((host, 9000)))
"""
RESOLVE = """
import socket
for host in "leaves-pods", "leaves-pods.tea.svc.cluster.local", "nowhere":
    try:
        print(socket.gethostbyname(host))
    except socket.gaierror as error:
        print(error.strerror)
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (CALL_ASYNC, ["HTTP/1.1 200 OK"]),
        (LISTEN, ["('{pot}', 9000)", "localhost 0", "{pot} 0"]),
        (RESOLVE, ["{green}", "{green}", "Name or service not known"]),
    ],
    ids=["call", "listen", "resolve"],
)
def test_a_program_in_a_pod_finds_its_network_as_on_a_cluster(
    mesh: Playing, tmp_path: Path, program: str, printed: list[str]
) -> None:
    (tmp_path / "program.py").write_text(program)
    command = f"kubectl -n tea exec -i deploy/pot -c pot -- python3 - < {tmp_path}/program.py"
    places = {"pot": pod(mesh, "pot").address, "green": pod(mesh, "leaves-green").address}
    assert run(mesh, command) == [line.format(**places) for line in printed]


def test_what_leaves_the_mesh_through_a_sidecar_stays_on_the_machine(mesh: Playing) -> None:
    # The address is one for documentation: that nothing is there makes no difference to the test,
    # which is that the kernel lets nothing out.
    run(mesh, "kubectl -n tea exec deploy/guest -- curl -sS -m 5 http://192.0.2.1/")
    (line,) = run(mesh, "kubectl -n tea logs deploy/guest -c istio-proxy --tail=1")
    assert " 503 UF " in line
    assert re.search(r"immediate_connect_error:_\w+\|remote_address:192\.0\.2\.1:80", line)


def test_an_address_that_curl_is_given_for_a_name_is_reached_by_the_sidecar(mesh: Playing) -> None:
    given = "--resolve outside.example:80:192.0.2.1 http://outside.example/"
    run(mesh, f"kubectl -n tea exec deploy/guest -- curl -sS -m 5 {given}")
    (line,) = run(mesh, "kubectl -n tea logs deploy/guest -c istio-proxy --tail=1")
    assert '"outside.example" "192.0.2.1:80" PassthroughCluster ' in line


def test_a_config_map_that_a_transcript_makes_is_there_in_the_next_state(mesh: Playing) -> None:
    number = mesh.mesh.number
    mesh.shell.run("kubectl -n tea create configmap made --from-literal=ca.crt=R")
    mesh.server.failures.clear()  # the cluster was not asked
    mesh.mesh.move_to(number)
    (made,) = [one for one in mesh.mesh.objects if one["metadata"]["name"] == "made"]
    assert (made["kind"], made["data"]) == ("ConfigMap", {"ca.crt": "R"})


@pytest.fixture
def guest(mesh: Playing) -> Proxy:
    return mesh.mesh.proxies[pod(mesh, "guest").id]


def test_a_log_is_read_when_the_proxy_is_at_rest(
    mesh: Playing, guest: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [False, False, True, False, True]
    monkeypatch.setattr(guest, "_is_at_rest", lambda: states.pop(0))
    run(mesh, "kubectl -n tea logs deploy/guest -c istio-proxy")
    assert states == []


@pytest.mark.parametrize(
    ("code", "expected"), [("while True: pass", False), ("input()", True)], ids=["busy", "idle"]
)
def test_a_proxy_is_at_rest_when_it_wants_no_processor(
    guest: Proxy, monkeypatch: pytest.MonkeyPatch, code: str, expected: bool
) -> None:
    command = [sys.executable, "-IS", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        monkeypatch.setattr(guest, "_process", other)
        assert eventually(lambda: guest._is_at_rest() is expected)
        other.kill()
