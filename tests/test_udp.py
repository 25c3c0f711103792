"""UDP through a gateway, and the client that asks it: dig, played by the lab."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import turn
from lab import addresses, dig, isolation, states, transcript
from lab.example import load
from lab.istiod import Source
from lab.play import Playing, playing
from lab.replay import Replay

NAMES = "tricks/udp-listener"

Sh = Callable[[str], tuple[str, int]]


def balancer(service: str) -> str:
    """The address that the load balancer of a Service of the gateway had on the cluster."""
    recording = states.load(load(NAMES).recordings)
    assert recording
    for item in recording.states[-1].objects:
        if (item["kind"], item["metadata"]["name"]) == ("Service", service):
            return str(item["status"]["loadBalancer"]["ingress"][0]["ip"])
    raise AssertionError(service)


DNS, OTHER = balancer("names-ingress"), balancer("istio-ingressgateway")


@pytest.fixture(scope="module")
def mesh() -> Iterator[Playing]:
    """The names behind the ingress gateway, as the second transcript leaves them."""
    with turn(NAMES) as example, playing(example, Source.RECORDED) as running:
        play_to_envoy_filter(running)
        yield running


def play_to_envoy_filter(running: Playing) -> None:
    """Applies what the transcripts apply, in their order: a state is known by its history."""
    for path in running.example.transcripts[:2]:
        for number, step in enumerate(transcript.read(path).steps, 1):
            if step.command.startswith("kubectl "):
                running.server.answers.step = (path.name, number)
                running.shell.run(step.command)
    assert running.server.failures == []


@pytest.fixture
def sh(mesh: Playing) -> Sh:
    """Runs a command in the mesh's shell; gives what it printed, and its exit code."""

    def run(command: str) -> tuple[str, int]:
        *lines, code = mesh.shell.run(f"{command}\nprintf '\\n%s' $?")
        assert mesh.server.failures == []
        return "\n".join(lines).rstrip("\n"), int(code)

    return run


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("@{} shop.example.com", "192.0.2.10"),
        ("-p 53 shop.example.com. A @{}", "192.0.2.10"),
        ("@{} nowhere.example.com", ""),
        ("@{} shop.example.com TXT", ""),
        ("-b 0.0.0.0#20054 @{} +tries=1 +time=9 shop.example.com", "192.0.2.10"),
    ],
)
def test_dig_prints_the_records_of_an_answer(sh: Sh, words: str, printed: str) -> None:
    assert sh(f"dig +short {words.format(DNS)}") == (printed, 0)


def unreachable(server: str, why: str, tries: int) -> tuple[str, int]:
    """What dig prints of a server that does not answer, and its exit code."""
    lines = [f";; communications error to {server}: {why}"] * tries
    return "\n".join([*lines, ";; no servers could be reached"]), 9


@pytest.mark.parametrize("place", [f"{DNS}#54", f"{DNS}#10053", f"{OTHER}#53", "192.0.2.1#53"])
def test_a_port_that_no_service_has_for_udp_is_refused(sh: Sh, place: str) -> None:
    address, _, port = place.partition("#")
    command = f"dig +short @{address} -p {port} shop.example.com"
    assert sh(command) == unreachable(place, "connection refused", 3)
    assert sh(f"{command} +tries=1") == unreachable(place, "connection refused", 1)


def test_a_udp_port_of_a_load_balancer_is_closed_to_tcp(sh: Sh) -> None:
    said, code = sh(f"curl -sS telnet://{DNS}:53")
    assert (code, "Failed to connect" in said) == (7, True)


@pytest.mark.parametrize(
    "words",
    [
        "@1.2.3.4 a.example",
        "+short a.example",
        "+short @1.2.3.4",
        "+short @dns.example.com a.example",
        "+short @1.2.3.4 a.example MX",
        "+short @1.2.3.4 a.example b.example",
        "+short @1.2.3.4 -x 1.2.3.4",
        "+short @1.2.3.4 +tcp a.example",
        "+short @1.2.3.4 +tries=0 a.example",
        "+short @1.2.3.4 a.example -p",
        "+short @1.2.3.4 -b 192.0.2.1#20053 a.example",
        "",
    ],
)
def test_what_dig_is_not_played_for_is_refused_by_name(mesh: Playing, words: str) -> None:
    printed = mesh.shell.run(f"dig {words}")
    failures, mesh.server.failures = mesh.server.failures, []
    assert [f"lab: {failure}" for failure in failures] == printed
    assert printed == [f"lab: the lab does not play: dig {words} (it plays {dig.PLAYED})"]


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, int]]:
    """A server that gives this answer to the first datagram."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: server.sendto(answer, server.recvfrom(512)[1]))
        thread.start()
        yield server.getsockname()
        thread.join()


def failed(mesh: Playing, command: str) -> str:
    """What the lab says of a command that it cannot play."""
    mesh.shell.run(command)
    (failure,), mesh.server.failures = mesh.server.failures, []
    return str(failure)


def test_an_answer_that_is_not_dns_is_named(mesh: Playing, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"hello") as place:
        monkeypatch.setattr(dig, "reach", lambda *_: [((DNS, 53), place)])
        said = failed(mesh, f"dig +short @{DNS} shop.example.com")
    assert said.startswith("dig got an answer that is not DNS: ")


def test_a_source_port_in_use_is_named(mesh: Playing) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((mesh.mesh.cluster.client_address(DNS), 20055))
        said = failed(mesh, f"dig +short -b 0.0.0.0#20055 @{DNS} shop.example.com")
    assert said == "dig cannot send from port 20055: Address already in use"


def test_a_server_of_udp_sees_the_gateways_pod_and_the_log_shows_it(mesh: Playing, sh: Sh) -> None:
    (gateway,) = (pod for pod in mesh.mesh.pods() if pod.deployment == "istio-ingressgateway")
    sh(f"dig +short @{DNS} shop.example.com")
    said, _ = sh("kubectl -n names logs deploy/names --tail=1")
    assert said.startswith(f"shop.example.com for {gateway.address}:")


def test_the_log_shows_the_gateways_pod_also_where_the_machine_lends_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_NETWORK", isolation.MACHINE)
    with playing(load(NAMES), Source.RECORDED) as running:
        play_to_envoy_filter(running)
        running.shell.run(f"dig +short @{DNS} shop.example.com")
        said = running.shell.run("kubectl -n names logs deploy/names --tail=1")
        (gateway,) = (p for p in running.mesh.pods() if p.deployment == "istio-ingressgateway")
    assert isinstance(running.mesh, Replay)
    address = running.mesh.addresses.shown(gateway.address.encode()).decode()
    assert address.startswith(addresses.PODS)
    assert said[0].startswith(f"shop.example.com for {address}:")
