"""Ways through a sidecar for programs that write no PROXY header themselves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.mesh import network
from lab.mesh.container import Container
from lab.mesh.network import Forwarders
from lab.objects.pod import Pod


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


# Connections that a pod's annotations keep away from its sidecar


def excluding(what: str, listed: str) -> Pod:
    """A pod with a sidecar, and an annotation."""
    annotations = {f"traffic.sidecar.istio.io/exclude{what}": listed}
    return Pod(
        {
            "metadata": {"name": "shop-1", "namespace": "shop", "annotations": annotations},
            "spec": {"containers": [{"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1"}]},
            "status": {"podIP": "127.80.5.1"},
        }
    )


@pytest.mark.parametrize(
    ("what", "listed", "address", "port", "past"),
    [
        ("OutboundIPRanges", "127.80.5.9/32", "127.80.5.9", 25, True),
        ("OutboundIPRanges", "10.0.0.0/8, 127.80.5.8/31", "127.80.5.9", 25, True),
        ("OutboundIPRanges", "127.80.5.9/32", "127.80.5.8", 25, False),
        ("OutboundPorts", "25,587", "127.80.5.9", 587, True),
        ("OutboundPorts", "25,587", "127.80.5.9", 58, False),
        ("InboundPorts", "25", "127.80.5.9", 25, False),
    ],
)
def test_annotations_keep_connections_away_from_the_sidecar(
    what: str, listed: str, address: str, port: int, past: bool
) -> None:
    assert excluding(what, listed).goes_past_sidecar(address, port) == past


@pytest.mark.parametrize(
    ("listed", "answer"), [("127.80.5.8/31", "hello"), ("10.0.0.0/8", "refused")]
)
def test_a_program_connects_past_its_sidecar_where_its_pod_says_so(
    listed: str, answer: str, tmp_path: Path
) -> None:
    script = """if True:
        import socket
        try:
            print(socket.create_connection(("127.80.5.8", 25), 5).recv(9).decode())
        except ConnectionRefusedError:  # by the sidecar, which does not run
            print("refused")
    """
    spec = {"name": "shop", "image": "python:3.13-slim"}
    services = tmp_path / "services.json"
    shop = Container(excluding("OutboundIPRanges", listed), spec, tmp_path, services)
    with socket.create_server(("127.80.5.9", 0)) as server:
        pods = {"127.80.5.8:25": [server.getsockname()]}
        services.write_text(json.dumps({"zone": {}, "endpoints": {"TCP": pods}}))
        command, env = shop.command(["python3", "-c", script]), os.environ | shop.environment()
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as client:
            if answer == "hello":
                server.settimeout(5)
                with server.accept()[0] as connection:
                    connection.sendall(b"hello")
            assert client.communicate(timeout=5)[0] == f"{answer}\n"
