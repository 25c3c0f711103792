"""`dig` from outside of the mesh: it sends real datagrams, and prints in dig's words."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lab.errors import LabError
from lab.files.manifests import Object
from lab.mesh import dns
from lab.programs import dig
from lab.programs.call import Call

BALANCER, POD, CLIENT = "127.80.4.2", "127.80.4.10", "127.80.4.254"
OBJECTS: list[Object] = [
    {
        "kind": "Pod",
        "metadata": {"name": "names", "namespace": "names", "labels": {"app": "names"}},
        "spec": {"containers": []},
        "status": {"phase": "Running", "podIP": POD},
    },
    {
        "kind": "Service",
        "metadata": {"name": "names", "namespace": "names"},
        "spec": {
            "clusterIP": "10.96.0.10",
            "selector": {"app": "names"},
            "ports": [{"port": 53, "targetPort": dns.PORT, "protocol": "UDP"}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": BALANCER}]}},
    },
]

Dig = Callable[[str], tuple[str, int]]


@pytest.fixture
def mesh() -> Any:
    return SimpleNamespace(lock=threading.RLock(), objects=OBJECTS, client_address=lambda _: CLIENT)


@pytest.fixture
def run(mesh: Any, tmp_path: Path) -> Dig:
    """Runs dig; gives what it printed, and its exit code."""

    def call(words: str) -> tuple[str, int]:
        printed = tmp_path / "printed"
        with FileIO(printed, "w") as out, FileIO(os.devnull) as nothing:
            code = dig.run(mesh, Call(words.split(), tmp_path, nothing, out, out, -1))
        return printed.read_text().rstrip("\n"), code

    return call


@pytest.fixture
def names() -> Iterator[None]:
    """The DNS server behind the load balancer."""
    server = dns.Server((POD, dns.PORT))
    server.zone = {"shop.example.com": ["192.0.2.10"]}
    yield
    server.stop()


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (f"@{BALANCER} shop.example.com", "192.0.2.10"),
        (f"-p 53 shop.example.com. A @{BALANCER}", "192.0.2.10"),
        (f"@{BALANCER} nowhere.example.com", ""),
        (f"@{BALANCER} shop.example.com TXT", ""),
        (f"-b 0.0.0.0#20054 @{BALANCER} +tries=1 +time=9 shop.example.com", "192.0.2.10"),
    ],
)
def test_dig_prints_the_records_of_an_answer(run: Dig, words: str, printed: str) -> None:
    assert run(f"+short {words}") == (printed, 0)


def unreachable(server: str, why: str, tries: int) -> tuple[str, int]:
    """What dig prints of a server that does not answer, and its exit code."""
    lines = [f";; communications error to {server}: {why}"] * tries
    return "\n".join([*lines, ";; no servers could be reached"]), 9


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize("place", [f"{BALANCER}#54", f"{POD}#{dns.PORT}", "192.0.2.1#53"])
def test_a_port_that_no_service_has_for_udp_is_refused(run: Dig, place: str) -> None:
    address, _, port = place.partition("#")
    words = f"+short @{address} -p {port} shop.example.com"
    assert run(words) == unreachable(place, "connection refused", 3)
    assert run(f"{words} +tries=1") == unreachable(place, "connection refused", 1)


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
def test_what_dig_is_not_played_for_is_refused_by_name(run: Dig, words: str) -> None:
    with pytest.raises(LabError) as caught:
        run(words)
    assert str(caught.value) == f"the lab does not play: dig {words} (it plays {dig.PLAYED})"


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, int]]:
    """A server that gives this answer to the first datagram."""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: server.sendto(answer, server.recvfrom(512)[1]))
        thread.start()
        yield server.getsockname()
        thread.join()


def test_an_answer_that_is_not_dns_is_named(run: Dig, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"hello") as place:
        monkeypatch.setattr(dig, "reach", lambda *_: [((BALANCER, 53), place)])
        with pytest.raises(LabError, match=r"^dig got an answer that is not DNS: "):
            run(f"+short @{BALANCER} shop.example.com")


@pytest.mark.usefixtures("names")
def test_a_source_port_in_use_is_named(run: Dig) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((CLIENT, 20055))
        with pytest.raises(LabError, match=r"^dig cannot send from port 20055: "):
            run(f"+short -b 0.0.0.0#20055 @{BALANCER} shop.example.com")
