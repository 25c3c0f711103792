"""Ways through a sidecar for programs that write no PROXY header themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from lab.mesh import network
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
