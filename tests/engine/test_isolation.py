"""The lab's own network: what a firewall tracks outside of it does not matter."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from conftest import Copy, only_transcript
from lab.errors import LabError
from lab.machine import isolation
from lab.paths import ROOT

# A machine with a network, and rules as Docker, ufw and kube-proxy have them: they translate what
# comes from containers, ask for the state of each connection, and lead the address of a Service to
# a pod. Each lets the kernel track all connections. It runs the commands that it is told.
MACHINE_WITH_RULES = """
import json
import os
import socket
import subprocess
import sys
from lab.machine import isolation
from lab.errors import LabError
from pyroute2 import IPRoute
from pyroute2.nftables.expressions import genex, ipv4addr, masq
from pyroute2.nftables.main import NFTables

try:
    isolation.isolate()
except LabError as error:
    sys.exit(f"no such machine: {error}")
with IPRoute() as machine:
    machine.link("add", ifname="eth0", kind="veth", peer="eth1")
pod = {"attrs": [("NFTA_DATA_VALUE", socket.inet_aton("10.244.0.2"))]}
to_pod = {"TYPE": 1, "FAMILY": socket.AF_INET, "REG_ADDR_MIN": 1}
with NFTables(nfgen_family=socket.AF_INET) as firewall:
    firewall.table("add", name="test")
    for hook, kind, rule in (
        ("postrouting", "nat", [*ipv4addr(src="172.17.0.0/16"), *masq()]),
        ("input", "filter", [genex("ct", {"KEY": 0, "DREG": 1})]),
        (
            "output",
            "nat",
            [
                *ipv4addr(dst="10.96.0.1"),
                genex("immediate", {"DREG": 1, "DATA": pod}),
                genex("nat", to_pod),
            ],
        ),
    ):
        firewall.chain("add", table="test", name=hook, hook=hook, type=kind, policy=1)
        firewall.rule("add", table="test", chain=hook, expressions=(rule,))
with socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(server.getsockname()):
        connection, _ = server.accept()
        connection.getsockopt(socket.SOL_IP, 80, 16)  # SO_ORIGINAL_DST fails if nothing tracks
        connection.close()
for line in sys.stdin:
    command, variables = json.loads(line)
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | variables)
    print(json.dumps([command, done.returncode, done.stdout, done.stderr]), flush=True)
"""
# What a sidecar asks of a connection, before and after it is hidden, and in a process that follows.
ASKS_THE_KERNEL = """
import errno
import socket
import subprocess
import sys
from lab.machine import tracking

def ask():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            connection, _ = server.accept()
            with connection:
                try:
                    place = connection.getsockopt(socket.SOL_IP, tracking.SO_ORIGINAL_DST, 16)
                    return socket.inet_ntoa(place[4:8])
                except OSError as error:
                    return errno.errorcode[error.errno]

if sys.argv[1:]:
    print(ask(), end="")
else:
    print(ask(), tracking.hide(), ask(), end=" ", flush=True)
    subprocess.run([*sys.orig_argv, "child"])
"""
PLAY = [sys.executable, "-m", "lab", "play"]
REFUSED = "allows no network namespace"
CANNOT_TELL = re.compile("no such machine|unshare failed")  # where not even this is allowed

# Commands that run another one as a user with no right but to files.
USERS = {"as-it-is": [], "ordinary": ["unshare", "--map-user=1000", "--map-group=1000"]}

# In which every new network namespace is refused.
WITHOUT_NAMESPACES = ["unshare", "--map-root-user", "sh", "-c"]
WITHOUT_NAMESPACES += ['echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"', "sh"]


Done = subprocess.CompletedProcess[str]


def variables(network: str) -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "tests"), "LAB_NETWORK": network}


def run(*command: str, network: str = "") -> Done:
    environment = os.environ | variables(network)
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@dataclass
class Machine:
    """A machine with rules, or why there is none. Use it as a context manager."""

    _process: subprocess.Popen[str] = field(init=False)
    _missing: Done | None = None

    def __enter__(self) -> Machine:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", MACHINE_WITH_RULES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | variables(""),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, *command: str, network: str = "") -> Done:
        """Runs a command on this machine."""
        assert self._process.stdin
        assert self._process.stdout
        if not self._missing:
            print(json.dumps([command, variables(network)]), file=self._process.stdin, flush=True)
            if answer := self._process.stdout.readline():
                return Done(*json.loads(answer))
            output, said = self._process.communicate()
            self._missing = Done(command, self._process.returncode, output, said)
        return self._missing


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture
def play(small: Copy) -> list[str]:
    """Plays a call through two sidecars, and what both say of it."""
    example = small("cluster/orders")
    calls = example.transcripts[0].read_text().partition("$ GATEWAY=")[0]
    assert calls.count(" logs ") == 2
    return [*PLAY, str(only_transcript(example, calls).parent)]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("network", [isolation.OWN, isolation.MACHINE])
def test_examples_play_beside_a_firewall_that_tracks_connections(
    machine: Machine, play: list[str], network: str, user: str
) -> None:
    done = machine.run(*USERS[user], *play, network=network)
    if not CANNOT_TELL.search(done.stderr):
        assert (done.stderr, done.returncode) == ("", 0)


def test_each_port_is_for_anyone_to_use_in_a_network_of_the_labs_own() -> None:
    says = "from lab.machine import isolation as i; i.isolate(); "
    says += "import os; os.execvp('sh', ['sh', '-c', "
    says += "'cat /proc/sys/net/ipv4/ip_unprivileged_port_start'])"
    done = run(*USERS["ordinary"], sys.executable, "-c", says)
    fixed = os.statvfs("/proc/sys").f_flag & os.ST_RDONLY  # as in most containers
    if REFUSED not in done.stderr and not CANNOT_TELL.search(done.stderr):
        assert (done.stderr, done.stdout) == ("", "1024\n" if fixed else "0\n")


def test_what_is_tracked_can_be_hidden_from_a_process_and_what_it_starts(
    machine: Machine,
) -> None:
    done = machine.run(sys.executable, "-c", ASKS_THE_KERNEL)
    if not CANNOT_TELL.search(done.stderr):
        assert (done.stderr, done.stdout) == ("", "127.0.0.1 None ENOENT ENOENT")


def test_examples_play_where_namespaces_are_refused_and_a_line_says_so(
    machine: Machine, play: list[str]
) -> None:
    done = machine.run(*WITHOUT_NAMESPACES, *play)
    if not CANNOT_TELL.search(done.stderr):
        assert REFUSED in done.stderr
        assert (len(done.stderr.splitlines()), done.returncode) == (1, 0)


def test_examples_play_where_there_is_loopback_alone_and_no_right_to_change_it(
    play: list[str],
) -> None:
    done = run(*WITHOUT_NAMESPACES, *play)
    if not CANNOT_TELL.search(done.stderr):
        assert (bool(done.stderr), done.returncode) == (not isolation.isolated(), 0)


def test_where_namespaces_are_not_allowed_a_line_says_what_follows_and_how_to_allow_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(isolation, "_unshare", refuse)
    monkeypatch.setattr(isolation, "isolated", lambda: False)
    monkeypatch.delenv("LAB_NETWORK", raising=False)
    with pytest.raises(LabError) as caught:
        isolation.isolate()
    isolation.isolate_if_possible()
    said = "this machine allows no network namespace (Operation not permitted): "
    assert str(caught.value).startswith(said)
    assert capsys.readouterr().err == f"lab: {caught.value}\n"
    monkeypatch.setenv("LAB_NETWORK", isolation.OWN)
    with pytest.raises(LabError, match=REFUSED):
        isolation.isolate_if_possible()


def test_the_machines_network_is_used_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "isolated", lambda: False)
    monkeypatch.setattr(isolation, "isolate", lambda: pytest.fail("a network of its own"))
    monkeypatch.setenv("LAB_NETWORK", isolation.MACHINE)
    isolation.isolate_if_possible()


def test_an_unknown_network_is_refused_with_those_that_there_are() -> None:
    done = run(*PLAY, "cluster/orders", network="owned")
    assert done.stderr == "lab: LAB_NETWORK is 'owned' (it is own or machine, or not set)\n"
    assert done.returncode == 1


def test_loopback_alone_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for interfaces, alone in (([(1, "lo")], True), ([(1, "lo"), (2, "eth0")], False)):
        monkeypatch.setattr(socket, "if_nameindex", lambda found=interfaces: found)
        assert isolation.isolated() == alone
