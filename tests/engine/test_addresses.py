"""The cluster's addresses: what they are in the lab, and that labs do not share them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path

import pytest
from lab.errors import LabError
from lab.machine import addresses, isolation
from lab.machine.addresses import Addresses
from lab.objects.names import BRIDGE, CLIENT, NODE
from lab.objects.pod import shadow
from lab.programs.call import Call

LABS = [Addresses.mapped(number) for number in range(2, 10)]
OF_THE_CLUSTER = [NODE, CLIENT, BRIDGE, "10.96.0.1", "10.96.167.246", "172.18.255.200"]


@pytest.mark.parametrize("lab", LABS)
def test_each_address_has_one_on_loopback_as_long_and_comes_back(lab: Addresses) -> None:
    inside = [lab.inside(address) for address in OF_THE_CLUSTER]
    assert {len(here) - len(there) for here, there in zip(inside, OF_THE_CLUSTER, strict=True)} == {
        0
    }
    assert all(address.startswith("127.") for address in inside)
    assert lab.shown(" ".join(inside).encode()).decode().split() == OF_THE_CLUSTER


def test_no_two_labs_share_a_network_and_none_has_that_of_localhost() -> None:
    own = ["127.0"]
    for lab in LABS:
        pod = lab.inside(BRIDGE)
        mine = [lab.inside("10.96.0.1"), pod, shadow(pod), lab.inside(NODE)]
        own += [".".join(address.split(".")[:2]) for address in mine]
    assert len(set(own)) == 4 * len(LABS) + 1


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("http://10.96.1.2:80/", "http://127.3.1.2:80/"),
        ("10.96.0.1_443 outbound|80||10.244.0.5", "127.3.0.1_443 outbound|80||127.13.0.5"),
        ('"10.244.0.0/16"', '"127.13.0.0/16"'),
        ("::ffff:10.244.0.5", "::ffff:127.13.0.5"),
        ("10.244.0.5.", "127.13.0.5."),
        *(
            (same, same)
            for same in ("110.96.1.2", "1.10.96.1.2", "10.96.1", "10.96.1.2000", "v10.96")
        ),
    ],
)
def test_addresses_are_found_wherever_they_are_whole(text: str, inside: str) -> None:
    lab = Addresses.mapped(3)
    assert lab.inside(text) == inside
    assert lab.shown(inside.encode()) == text.encode()


@pytest.mark.parametrize("lab", [Addresses(), *LABS])
def test_applications_behind_sidecars_are_shown_at_the_address_of_their_pod(lab: Addresses) -> None:
    application = shadow(lab.inside("10.244.0.7"))
    assert lab.shown(f"to {application}:8080".encode()) == b"to 10.244.0.7:8080"


def test_bytes_that_are_no_text_pass_through() -> None:
    data = bytes(range(256))
    assert Addresses.mapped(2).shown(data) == data
    assert Addresses.mapped(2).inside(os.fsdecode(data)) == os.fsdecode(data)


# Taking them


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network of a machine in which there are no other labs."""
    monkeypatch.setenv("LAB_NETWORK", isolation.MACHINE)
    monkeypatch.setattr(addresses, "_GUARD_PORT", 10000 + os.getpid() % 10000)
    monkeypatch.setattr(addresses, "_PATIENCE", 0)


@contextlib.contextmanager
def taken() -> Iterator[Addresses]:
    lab, guard = addresses.take()
    with guard:
        yield lab


@pytest.mark.usefixtures("network")
def test_labs_in_one_network_have_addresses_of_their_own() -> None:
    with taken() as one, taken() as other:
        assert one.inside(NODE) != other.inside(NODE)


@pytest.mark.usefixtures("network")
def test_a_lab_too_many_is_refused() -> None:
    with contextlib.ExitStack() as labs:
        for _ in LABS:
            labs.enter_context(taken())
        with pytest.raises(LabError, match="other labs in this network have all addresses"):
            addresses.take()


def test_without_a_network_of_its_own_the_lab_uses_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(isolation, "isolated", lambda: False)
    monkeypatch.delenv("LAB_NETWORK", raising=False)
    with taken() as lab:
        assert lab.inside(NODE).startswith("127.")
    monkeypatch.setenv("LAB_NETWORK", isolation.OWN)
    with pytest.raises(LabError, match="the cluster's addresses need a network namespace"):
        addresses.take()


# What programs write


SAY = "echo to 127.12.0.4; echo from 127.12.0.5 >&2"


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Call]:
    """A call whose outputs are files in a folder, `out` and `err`."""
    with contextlib.ExitStack() as files:
        stdin = files.enter_context(FileIO("/dev/null"))
        out, err = (files.enter_context(FileIO(tmp_path / n, "wb")) for n in ("out", "err"))
        caller = os.pidfd_open(os.getpid())
        files.callback(os.close, caller)
        yield Call([], tmp_path, stdin, out, err, caller, Addresses.mapped(2).shown)


def test_both_outputs_of_a_program_have_the_addresses_of_the_cluster(call: Call) -> None:
    assert call.run(["sh", "-c", f"{SAY}; exit 3"], {}, {b"0.5": b"0.6"}) == 3
    call.print("and 127.2.0.1")
    call.write("as it is: 127.2.0.1")
    assert (call.cwd / "out").read_text() == "to 10.244.0.4\nand 10.96.0.1\nas it is: 127.2.0.1"
    assert (call.cwd / "err").read_text() == "from 10.244.0.6\n"


def test_outputs_that_go_to_one_place_keep_their_order(call: Call) -> None:
    assert replace(call, stderr=call.stdout).run(["sh", "-c", SAY], {}) == 0
    assert (call.cwd / "out").read_text() == "to 10.244.0.4\nfrom 10.244.0.5\n"


def test_a_program_ends_when_nobody_reads_on(call: Call) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with FileIO(writes, "wb") as pipe:
        code = replace(call, stdout=pipe).run(["yes"], {})
    assert code == 128 + signal.SIGPIPE
