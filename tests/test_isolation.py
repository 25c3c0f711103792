"""The lab's own network: what a firewall tracks outside of it does not matter."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from lab import isolation
from lab.errors import LabError
from lab.paths import ROOT

# A machine with a network, and rules as Docker and ufw have them: one translates addresses, one
# asks for the state of a connection. Each lets the kernel track all connections.
BESIDE_A_FIREWALL = """
import socket
import sys
from lab import commands, isolation
from lab.errors import LabError
from pyroute2 import IPRoute
from pyroute2.nftables.expressions import genex, ipv4addr, masq
from pyroute2.nftables.main import NFTables

try:
    isolation.isolate()
except LabError as error:
    sys.exit(str(error))
with IPRoute() as machine:
    machine.link("add", ifname="eth0", kind="veth", peer="eth1")
with NFTables(nfgen_family=socket.AF_INET) as firewall:
    firewall.table("add", name="test")
    for hook, kind, rule in (
        ("postrouting", "nat", [*ipv4addr(src="172.17.0.0/16"), *masq()]),
        ("input", "filter", [genex("ct", {"KEY": 0, "DREG": 1})]),
    ):
        firewall.chain("add", table="test", name=hook, hook=hook, type=kind, policy=1)
        firewall.rule("add", table="test", chain=hook, expressions=(rule,))
if sys.argv[1] == "shared":
    commands.isolate_if_possible = lambda: None
sys.exit(commands.run(["play", "lab/mesh"]))
"""


@pytest.mark.parametrize("network", ["own", "shared"])
def test_sidecars_work_beside_a_firewall_that_tracks_connections(network: str) -> None:
    script = [sys.executable, "-W", "ignore", "-c", BESIDE_A_FIREWALL, network]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(script, capture_output=True, text=True, env=environment)
    if "allows no network namespace" not in done.stderr:
        assert (done.stderr, done.returncode) == ("", 0)


def test_where_namespaces_are_not_allowed_a_line_says_what_follows_and_how_to_allow_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(isolation, "_unshare", refuse)
    monkeypatch.setattr(isolation, "isolated", lambda: False)
    with pytest.raises(LabError) as caught:
        isolation.isolate()
    isolation.isolate_if_possible()
    said = "this machine allows no network namespace (Operation not permitted): "
    assert str(caught.value).startswith(said)
    assert capsys.readouterr().err == f"lab: {caught.value}\n"


def test_loopback_alone_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for interfaces, alone in (([(1, "lo")], True), ([(1, "lo"), (2, "eth0")], False)):
        monkeypatch.setattr(socket, "if_nameindex", lambda found=interfaces: found)
        assert isolation.isolated() == alone
