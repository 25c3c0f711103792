"""Names of Services, the DNS server that knows them, and what listens on UDP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dnslib import QTYPE, RCODE, DNSQuestion, DNSRecord  # type: ignore[import-untyped]
from lab.errors import LabError
from lab.files.manifests import Object
from lab.mesh import container as module
from lab.mesh import dns
from lab.mesh.container import Container
from lab.objects.names import reach, resolve, search, zone
from lab.objects.pod import Pod


def service(name: str, cluster_ip: str, **spec: Any) -> Object:
    """A Service of namespace shop; its ports are TCP where they do not say else."""
    ports = [{"protocol": "TCP"} | port for port in spec.pop("ports", [])]
    spec = {"selector": {"app": "shop"}, "clusterIP": cluster_ip, "ports": ports} | spec
    metadata = {"name": name, "namespace": "shop"}
    balancer = {"ingress": [{"ip": "127.80.3.2"}]} if spec.get("type") == "LoadBalancer" else {}
    status = {"loadBalancer": balancer}
    return {"kind": "Service", "metadata": metadata, "spec": spec, "status": status}


def pod(address: str) -> Object:
    ports = [{"name": "web", "containerPort": 8080}]
    return {
        "kind": "Pod",
        "metadata": {"name": f"shop-{address[-1]}", "namespace": "shop", "labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "shop", "image": "python:3.13-slim", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address},
    }


def alias(name: str, target: str) -> Object:
    """A Service of type ExternalName, which has no address."""
    spec = {"type": "ExternalName", "externalName": target}
    return {"kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


# Namespace shop: a Service, a headless one, one without pods, and a load balancer with two ports
# of one number; an alias, one of that one, one of a name that is not there, and a ring of two.
WEB = {"name": "http", "port": 80, "targetPort": "web"}
SNAPSHOT = [
    pod("127.80.3.10"),
    pod("127.80.3.11"),
    service("shop", "10.96.0.10", ports=[WEB]),
    service("each", "None", ports=[WEB]),
    service("none", "None", selector={"app": "nope"}),
    service(
        "edge",
        "10.96.0.11",
        type="LoadBalancer",
        ports=[
            {"name": "dns", "port": 53, "targetPort": 10053, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "targetPort": 10054},
        ],
    ),
    alias("second", "first.shop.svc.cluster.local."),
    alias("first", "Each.shop.svc.cluster.local"),
    alias("nowhere", "nowhere.example.com"),
    alias("ring", "round.shop.svc.cluster.local"),
    alias("round", "ring.shop.svc.cluster.local"),
]
POD = "127.80.3.10"


@pytest.mark.parametrize(
    ("name", "namespace", "addresses"),
    [
        ("shop", "shop", ["10.96.0.10"]),
        ("shop.shop", "other", ["10.96.0.10"]),
        ("shop.shop.svc", "other", ["10.96.0.10"]),
        ("shop.shop.svc.cluster.local", "other", ["10.96.0.10"]),
        ("shop.shop.svc.cluster.local.", "other", ["10.96.0.10"]),
        ("each", "shop", [POD, "127.80.3.11"]),
        ("shop", "other", []),
        ("none", "shop", []),
        ("first.shop", "other", [POD, "127.80.3.11"]),
        ("second", "shop", [POD, "127.80.3.11"]),
        ("nowhere", "shop", []),
        ("ring", "shop", []),
        ("shop.example.com", "shop", []),
    ],
)
def test_a_name_means_what_it_means_in_a_pod_of_the_namespace(
    name: str, namespace: str, addresses: list[str]
) -> None:
    assert resolve(zone(SNAPSHOT), name, search(namespace)) == addresses


def test_from_outside_a_load_balancer_leads_to_the_port_of_the_same_protocol() -> None:
    assert dict(reach(SNAPSHOT, "UDP", None)) == {("127.80.3.2", 53): (POD, 10053)}
    assert dict(reach(SNAPSHOT, "TCP", None)) == {("127.80.3.2", 53): (POD, 10054)}


def test_from_a_pod_names_and_addresses_of_services_lead_to_a_pod() -> None:
    inside = dict(reach(SNAPSHOT, "TCP", "shop"))
    for host in ("shop", "shop.shop", "shop.shop.svc.cluster.local", "10.96.0.10"):
        assert inside[host, 80] == (POD, 8080)
    assert ("shop", 80) not in dict(reach(SNAPSHOT, "TCP", "other"))
    assert [place for place in inside if place[0].startswith("none")] == []


def test_the_port_of_a_headless_service_is_that_of_its_pods() -> None:
    inside = dict(reach(SNAPSHOT, "TCP", "shop"))
    assert inside["each", 8080] == (POD, 8080)
    assert ("each", 80) not in inside


# The DNS server


@pytest.fixture
def server() -> Iterator[dns.Server]:
    running = dns.Server(("127.80.3.1", dns.PORT))
    running.zone = zone(SNAPSHOT)
    yield running
    running.stop()


def ask(name: str, kind: str = "A", *before: bytes) -> Any:
    """The answer to a question, after datagrams that are none."""
    query = DNSRecord(q=DNSQuestion(name, getattr(QTYPE, kind)))
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.80.3.1", dns.PORT))
        for datagram in (*before, query.pack()):
            client.send(datagram)
        answer = DNSRecord.parse(client.recv(512))
    assert answer.header.id == query.header.id
    return answer


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("name", "kind", "code", "addresses"),
    [
        ("each.shop.svc.cluster.local", "A", RCODE.NOERROR, [POD, "127.80.3.11"]),
        ("SHOP.shop.svc.cluster.local", "A", RCODE.NOERROR, ["10.96.0.10"]),
        ("shop.shop.svc.cluster.local", "AAAA", RCODE.NOERROR, []),
        ("none.shop.svc.cluster.local", "A", RCODE.NXDOMAIN, []),
        ("shop.shop.svc", "A", RCODE.NOERROR, ["10.96.0.10"]),
        ("shop.shop", "A", RCODE.NOERROR, ["10.96.0.10"]),
        ("shop", "A", RCODE.NXDOMAIN, []),
    ],
)
def test_the_dns_server_knows_names_of_services(
    name: str, kind: str, code: int, addresses: list[str]
) -> None:
    answer = ask(name, kind)
    assert (answer.header.rcode, [str(r.rdata) for r in answer.rr]) == (code, addresses)


def test_the_dns_server_follows_the_cluster(server: dns.Server) -> None:
    server.zone = {"late.shop.svc.cluster.local": ["127.80.3.99"]}
    assert [str(r.rdata) for r in ask("late.shop.svc.cluster.local").rr] == ["127.80.3.99"]


@pytest.mark.usefixtures("server")
def test_what_is_no_question_gets_no_answer_and_does_no_harm() -> None:
    assert ask("shop.shop.svc.cluster.local", "A", b"", b"hello").rr


def test_a_dns_server_whose_place_is_taken_says_so() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.80.3.1", dns.PORT))
        with pytest.raises(LabError) as caught:
            dns.Server(("127.80.3.1", dns.PORT))
    assert str(caught.value) == f"no DNS on 127.80.3.1:{dns.PORT}: Address already in use"


# Containers that listen on UDP


def container(folder: Path, script: str) -> Container:
    """A container with one UDP port, that runs a script."""
    (item,) = (i for i in SNAPSHOT if i["kind"] == "Pod" and i["status"]["podIP"] == POD)
    ports = [{"containerPort": 5300, "protocol": "UDP"}]
    command = ["python3", "-c", f"import socket, time\n{script}\ntime.sleep(60)"]
    spec = {"name": "names", "image": "python:3.13-slim", "command": command, "ports": ports}
    return Container(Pod(item), spec, folder / "names", folder / "services.json")


BIND = "server = socket.socket(type=socket.SOCK_DGRAM); server.bind(('', 5300))"


def test_a_container_that_listens_on_udp_is_ready_when_it_does(tmp_path: Path) -> None:
    # A datagram that came too early would be lost, and this one gets none to find that out.
    late = container(tmp_path, f"time.sleep(0.3)\n{BIND}\nserver.recv(9)\nprint('asked')")
    late.start({})
    try:
        late.settle()
        assert late.log.read_text() == ""
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect((POD, 5300))
            client.send(b"hello")  # raises ConnectionRefusedError where nobody listens
            client.send(b"hello")
    finally:
        late.stop()


def test_a_container_that_does_not_listen_on_its_udp_port_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", 0.2)
    silent = container(tmp_path, "")
    silent.start({})
    try:
        with pytest.raises(
            LabError, match=r"container names of .* does not listen on port 5300 \(cont"
        ):
            silent.settle()
    finally:
        silent.stop()


def test_a_udp_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind((POD, 5300))
        with pytest.raises(LabError, match=rf"cannot listen: {POD}:5300 is in use \(end what"):
            container(tmp_path, BIND).start({})
