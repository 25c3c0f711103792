"""A mesh with sidecars: how connections find their way through them, and how pushes reach them.

`examples/lab/mesh` beside this file is an example that the lab was not made for: two services, a
gateway, a route with weights and a fault, and policies.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import listening_places, turn
from lab import network, recordings, xds
from lab.cluster import Pod, shadow
from lab.example import load
from lab.injector import inject
from lab.istiod import Source
from lab.manifests import Object
from lab.network import Forwarders
from lab.play import Playing, playing, replay

MESH = "lab/mesh"
NETWORK = load(MESH).network


def test_a_mesh_that_nobody_prepared_for_plays() -> None:
    with turn(MESH) as example, playing(example, Source.RECORDED) as running:
        replay(running, lambda _: None)
        played = [state.digest for state in running.mesh.istiod.used]
    assert played == [state.digest for state in recordings.load(example.recordings)]


# A running mesh


@pytest.fixture(scope="module")
def mesh() -> Iterator[Playing]:
    """The mesh as its first transcript leaves it."""
    with turn(MESH) as example, playing(example, Source.RECORDED) as running:
        running.shell.run("kubectl apply -f tea.yaml")
        yield running


def run(mesh: Playing, command: str) -> list[str]:
    lines = mesh.shell.run(command)
    assert mesh.server.failures == []
    return lines


@pytest.mark.usefixtures("mesh")
def test_sidecars_and_what_is_behind_them_listen_on_loopback_alone() -> None:
    places = listening_places(os.getpid())
    pod = f"{NETWORK}.13"
    assert {f"{pod}:15001", f"{pod}:15006", f"{pod}:8080", f"{shadow(pod)}:8080"} <= places
    assert [place for place in places if not place.startswith("127.")] == []


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
        (LISTEN, [f"('{NETWORK}.12', 9000)", "localhost 0", f"{NETWORK}.12 0"]),
        (RESOLVE, [f"{NETWORK}.13", f"{NETWORK}.13", "Name or service not known"]),
    ],
)
def test_a_program_in_a_pod_finds_its_network_as_on_a_cluster(
    mesh: Playing, tmp_path: Path, program: str, printed: list[str]
) -> None:
    (tmp_path / "program.py").write_text(program)
    pod = "kubectl -n tea exec -i deploy/pot -c pot"
    assert run(mesh, f"{pod} -- python3 - < {tmp_path}/program.py") == printed


def test_what_leaves_the_mesh_through_a_sidecar_stays_on_the_machine(mesh: Playing) -> None:
    # The address is one for documentation: that nothing is there makes no difference to the test,
    # which is that the kernel lets nothing out that comes from a loopback address.
    run(mesh, "kubectl -n tea exec deploy/guest -- curl -sS -m 5 http://192.0.2.1/")
    (line,) = run(mesh, "kubectl -n tea logs deploy/guest -c istio-proxy --tail=1")
    assert " 503 UF " in line
    assert re.search(
        "immediate_connect_error:_(Invalid_argument|Network_is_unreachable)"
        r"\|remote_address:192\.0\.2\.1:80",
        line,
    )


def test_a_push_reaches_proxies_that_keep_running(mesh: Playing) -> None:
    proxies = dict(mesh.mesh.proxies)
    broken = "curl -sS -o /dev/null -w '%{http_code}' -H 'x-broken: yes' http://leaves/"
    assert run(mesh, f"kubectl -n tea exec deploy/guest -- {broken}") == ["200"]
    run(mesh, "kubectl apply -f routes.yaml")
    assert run(mesh, f"kubectl -n tea exec deploy/guest -- {broken}") == ["418"]
    run(mesh, "kubectl delete -f routes.yaml")
    assert run(mesh, f"kubectl -n tea exec deploy/guest -- {broken}") == ["200"]
    assert mesh.mesh.proxies == proxies
    assert all(proxy.pid in mesh_processes() for proxy in proxies.values())


def mesh_processes() -> set[int]:
    return {int(path.name) for path in Path("/proc").glob("[0-9]*")}


# Forwarders


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that listens where a sidecar would."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(network, "OUTBOUND_PORT", server.getsockname()[1])
        server.settimeout(5)
        yield server


@pytest.fixture
def forwarders() -> Iterator[Forwarders]:
    made = Forwarders("127.0.0.1")
    yield made
    made.close()


POD = Pod({"spec": {"containers": []}, "status": {"podIP": "127.0.0.1"}})


def test_a_forwarder_says_where_a_connection_was_to_go_and_passes_on_both_ends(
    sidecar: socket.socket, forwarders: Forwarders
) -> None:
    place = forwarders.to(POD, ("10.96.0.10", 80))
    with socket.create_connection(place, 5) as client:
        client.sendall(b"ping")
        client.shutdown(socket.SHUT_WR)
        server, _ = sidecar.accept()
        with server, server.makefile("rb") as stream:
            source = client.getsockname()[1]
            assert stream.readline() == f"PROXY TCP4 127.0.0.1 10.96.0.10 {source} 80\r\n".encode()
            assert stream.read() == b"ping"
            server.sendall(b"pong")
        assert client.recv(9) == b"pong"
        assert client.recv(9) == b""
    assert forwarders.to(POD, ("10.96.0.10", 80)) == place


def test_a_forwarder_passes_on_a_reset(sidecar: socket.socket, forwarders: Forwarders) -> None:
    with socket.create_connection(forwarders.to(POD, ("10.96.0.10", 80)), 5) as client:
        server, _ = sidecar.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(9)


def test_a_forwarder_without_a_sidecar_resets(
    sidecar: socket.socket, forwarders: Forwarders
) -> None:
    sidecar.close()
    place = forwarders.to(POD, ("10.96.0.10", 80))
    # On a busy machine the reset comes before the connection is there to be read.
    with pytest.raises(ConnectionResetError), socket.create_connection(place, 5) as client:
        client.recv(9)


# The injector


def pod(address: str, **spec: Any) -> Object:
    metadata: dict[str, Any] = {"name": "pot-1", "namespace": "tea", "annotations": {}}
    metadata["labels"] = {"app": "pot"}
    metadata["ownerReferences"] = [{"name": "pot-1"}]
    spec = {"containers": [{"name": "pot", "image": "python:3.13"}]} | spec
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"podIP": address}}


@pytest.mark.parametrize(
    ("namespace", "label", "injected"),
    [
        ({"istio-injection": "enabled"}, None, True),
        ({"istio-injection": "enabled"}, "false", False),
        ({"istio.io/rev": "default"}, None, True),
        ({}, None, False),
        ({}, "true", True),
        ({"istio-injection": "disabled"}, "true", False),
    ],
)
def test_a_pod_gets_a_sidecar_where_istio_would_add_one(
    namespace: dict[str, str], label: str | None, injected: bool
) -> None:
    item = pod("127.80.3.10")
    if label:
        item["metadata"]["labels"]["sidecar.istio.io/inject"] = label
    inject(item, {"metadata": {"labels": namespace}})
    assert Pod(item).proxy_type == ("sidecar" if injected else None)
    assert ("security.istio.io/tlsMode" in item["metadata"]["labels"]) == injected


@pytest.mark.parametrize(
    ("annotations", "where"),
    [({}, "initContainers"), ({"sidecar.istio.io/nativeSidecar": "false"}, "containers")],
)
def test_a_sidecar_is_native_unless_the_pod_says_no(
    annotations: dict[str, str], where: str
) -> None:
    item = pod("127.80.3.10")
    item["metadata"]["annotations"] = annotations
    inject(item, {"metadata": {"labels": {"istio-injection": "enabled"}}})
    assert "istio-proxy" in [container["name"] for container in item["spec"][where]]


def test_the_proxys_settings_of_a_pod_reach_istiod() -> None:
    item = pod("127.80.3.10")
    config = 'concurrency: 2\nproxyMetadata:\n  ISTIO_META_DNS_CAPTURE: "true"\n'
    item["metadata"]["annotations"] = {"proxy.istio.io/config": config}
    inject(item, {"metadata": {"labels": {"istio-injection": "enabled"}}})
    metadata = Pod(item).proxy_metadata
    assert metadata["DNS_CAPTURE"] == "true"
    assert metadata["PROXY_CONFIG"]["concurrency"] == 2


# xDS of a sidecar


def test_a_sidecar_listens_on_the_ports_of_its_pod_and_passes_on_to_the_application() -> None:
    item = pod("127.80.3.10", containers=[{"name": "a", "ports": [{"containerPort": 9090}]}])
    item["spec"]["initContainers"] = [{"image": "istio/proxyv2:1", "name": "istio-proxy"}]
    item["spec"]["containers"][0]["image"] = "python:3.13"
    chains: list[Any] = [
        {"filters": [{"name": "tcp"}], "filterChainMatch": {"destinationPort": port}}
        for port in (15006, 8080)
    ]
    listeners = [
        {
            "name": name,
            "address": {"socketAddress": {"address": "0.0.0.0", "portValue": port}},  # noqa: S104
            "bindToPort": bind,
            "listenerFilters": [{"name": f"envoy.filters.listener.{listener_filter}"}],
            "filterChains": chains,
        }
        for name, port, bind, listener_filter in (
            ("virtualInbound", 15006, True, "original_dst"),
            ("virtualOutbound", 15001, True, "http_inspector"),
            ("0.0.0.0_80", 80, False, "http_inspector"),
        )
    ]
    kinds = ("routes", "clusters", "endpoints", "secrets")
    everything = {"listeners": listeners} | {kind: [] for kind in kinds}
    text = xds.responses(everything, [], Pod(item))["listeners", ""]
    inbound, outbound, http = xds.resources(text)
    assert inbound["address"]["socketAddress"]["address"] == "127.80.3.10"
    ports = [a["address"]["socketAddress"]["portValue"] for a in inbound["additionalAddresses"]]
    assert ports == [8080, 9090]
    assert inbound["listenerFilters"] == []
    assert "127.144.3.10:%DOWNSTREAM_LOCAL_PORT%" in str(inbound["filterChains"][0]["filters"][0])
    names = [item["name"].rpartition(".")[2] for item in outbound["listenerFilters"]]
    assert names == ["proxy_protocol", "http_inspector"], "an inspector would look at the header"
    assert http["address"]["socketAddress"]["address"] == "0.0.0.0"  # noqa: S104
