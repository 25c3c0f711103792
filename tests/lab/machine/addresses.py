"""The cluster's addresses, and what they are in the lab.

In a network of its own the lab uses them as they are. In the machine's own it must not: there they
may belong to others, or lead out. There each network of the cluster has a loopback one in its
place, with the rest of each address as it was, and of the same length, so that columns and counts
of bytes stay. Each lab has a number N of its own, and so shares no address with another:

    10.96   Services                          127.N     such as 127.2
    10.244  pods                              127.1N            127.12
    172.18  node, load balancers and client   127.N5            127.25

What comes into the lab (recordings, words of commands) passes through `inside`, and what comes out
(outputs, logs) through `shown`. Between the two, nothing knows of the difference.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from dataclasses import dataclass, field

from lab.errors import LabError
from lab.machine import isolation
from lab.objects.names import NODE

SERVICES, PODS, MACHINES = "10.96", "10.244", "172.18"
"""How addresses of the cluster begin; `MACHINES` are the node, load balancers and the client."""

SHADOW = "10.52"
"""The same of applications behind sidecars, in the lab alone: see `pod.shadow`."""

# Linux and Istio use 127.0. The shadows of 127.1N are 127.(74 + N), among networks that examples of
# no cluster have; but none of those has an address in 127.A.0.
_NUMBERS = range(2, 10)
_GUARD_PORT = 65000
_PATIENCE = 60.0  # seconds in which one of the labs that run will have ended
_POLL = 0.1  # seconds


@dataclass(frozen=True)
class Addresses:
    """What the networks of the cluster are in a lab, and those of the lab on a page."""

    _inside: dict[str, str] = field(default_factory=dict)
    _shown: dict[str, str] = field(default_factory=lambda: {SHADOW: PODS})

    @classmethod
    def mapped(cls, number: int) -> Addresses:
        """Those of the lab with that number, on loopback."""
        networks = {SERVICES: f"127.{number}", PODS: f"127.1{number}", MACHINES: f"127.{number}5"}
        shown = {here: there for there, here in networks.items()}
        return cls(networks, shown | {f"127.{74 + number}": PODS})

    @property
    def as_they_are(self) -> bool:
        """Whether the lab has the addresses of the cluster themselves."""
        return not self._inside

    def inside(self, text: str) -> str:
        """A text of the cluster, with its addresses as the lab has them."""
        return os.fsdecode(_replaced(self._inside, os.fsencode(text)))

    def shown(self, text: bytes) -> bytes:
        """A text of the lab, with the addresses of the cluster."""
        return _replaced(self._shown, text)


def take() -> tuple[Addresses, socket.socket]:
    """The cluster's addresses as they are, if this network is for this lab alone, or loopback ones.

    And the socket that keeps other labs away from them until it is closed. Raises LabError if they
    have them all, or if LAB_NETWORK wants what cannot be had.
    """
    wanted = isolation.wanted()
    if wanted != isolation.MACHINE:
        try:
            isolation.take_networks(f"{network}.0.0/16" for network in (PODS, SHADOW, MACHINES))
            return _first_free([Addresses()], 0)
        except LabError:
            if wanted == isolation.OWN:
                raise
    return _first_free([Addresses.mapped(number) for number in _NUMBERS], _PATIENCE)


def _first_free(possible: list[Addresses], patience: float) -> tuple[Addresses, socket.socket]:
    deadline = time.monotonic() + patience
    while True:
        for addresses in possible:
            guard = socket.socket()
            with contextlib.suppress(OSError):
                guard.bind((addresses.inside(NODE), _GUARD_PORT))
                return addresses, guard
            guard.close()
        if time.monotonic() > deadline:
            raise LabError(
                "other labs in this network have all addresses",
                remedy="wait for one to end, or leave its shell",
            )
        time.sleep(_POLL)


def _replaced(networks: dict[str, str], text: bytes) -> bytes:
    """A text in which addresses of these networks are in others, all of them in one pass."""
    if not networks:
        return text
    begin = "|".join(map(re.escape, networks))
    pattern = rf"(?<![\d.])(?:{begin})(?=\.\d{{1,3}}\.\d{{1,3}}(?!\d))"
    return re.sub(pattern.encode(), lambda found: networks[found[0].decode()].encode(), text)
