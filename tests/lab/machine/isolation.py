"""A network of its own for the lab.

No rule of the machine's firewall is there, the cluster's addresses are free, and what listens there
nobody else can reach. LAB_NETWORK says which network to use: `own`, or `machine` for the machine's,
as where no other is allowed. If it says nothing, the lab has its own if it can.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError
from lab.machine import tracking

# Of <linux/sched.h>, <linux/sockios.h> and <linux/if.h>.
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_REQUEST = struct.Struct("16sh")  # name and flags of an interface

# Of <linux/netlink.h> and <linux/rtnetlink.h>. The flags are REQUEST, ACK, REPLACE and CREATE; the
# route is in table LOCAL, of protocol STATIC, scope HOST and type LOCAL.
_MESSAGE, _RTM_NEWROUTE, _REPLACE = struct.Struct("IHHII"), 24, 0x505
_ROUTE, _LOCAL = struct.Struct("8BI"), (255, 4, 254, 2)
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7

# Of <linux/capability.h> and <linux/prctl.h>: two times effective, permitted and inheritable.
_CAPABILITY_VERSION, _CAPABILITIES = 0x20080522, struct.Struct("6I")
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2

OWN, MACHINE = "own", "machine"
"""What LAB_NETWORK may say."""

_REMEDY = (
    "allow it, on Ubuntu by sysctl kernel.apparmor_restrict_unprivileged_userns=0, in a container "
    "by the option --security-opt seccomp=unconfined"
)


def isolate() -> None:
    """Moves this process into a new network namespace, in which there is loopback alone.

    What it starts from now on is there too, and may use each port. It must not have started a
    thread yet. Root is not needed: the user keeps their number, in a user namespace. Raises
    LabError where that is not allowed.
    """
    try:
        try:
            _unshare(_CLONE_NEWNET)
        except PermissionError:
            _isolate_as_user()
        _bring_up(b"lo")
        with contextlib.suppress(OSError):  # where it is not allowed, root alone has low ports
            Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    except OSError as error:
        raise LabError(
            f"this machine allows no network namespace ({error.strerror}): "
            "the lab plays on the machine's loopback, and a port under 1024 there needs root",
            remedy=_REMEDY,
        ) from None


def wanted() -> str:
    """Which network the lab is to use: what LAB_NETWORK says, or nothing."""
    said = os.environ.get("LAB_NETWORK", "")
    if said not in ("", OWN, MACHINE):
        raise LabError(f"LAB_NETWORK is {said!r}", remedy=f"it is {OWN} or {MACHINE}, or not set")
    return said


def isolate_if_possible() -> None:
    """As `isolate`, unless it is done, or LAB_NETWORK wants the machine's network.

    Where that is not allowed, a line says what follows; raises LabError if LAB_NETWORK wants it.
    """
    if isolated():
        return
    if wanted() != MACHINE:
        try:
            isolate()
        except LabError as error:
            if wanted() == OWN:
                raise
            print(f"lab: {error}", file=sys.stderr)
    if not isolated():
        tracking.hide()


def take_networks(networks: Iterable[str]) -> None:
    """Makes all addresses of networks, each such as `10.244.0.0/16`, local to this network.

    Raises LabError where that is not allowed, or where this is the machine's own network.
    """
    if not isolated():
        raise LabError("the cluster's addresses need a network namespace", remedy=_REMEDY)
    for network in networks:
        _route(network)


def call_from(address: str, network: str) -> None:
    """Whoever calls into a network that was taken, and names no address, comes from this one."""
    _route(network, address)


def _route(network: str, source: str = "") -> None:
    """Sets a local route to loopback, as `ip route replace local NETWORK dev lo src SOURCE`.

    No library does it here: pyroute2 takes half a second to import, in each process of the lab.
    """
    to, length = network.split("/")
    attributes = [(_RTA_DST, socket.inet_aton(to))]
    attributes.append((_RTA_OIF, struct.pack("I", socket.if_nametoindex("lo"))))
    if source:
        attributes.append((_RTA_PREFSRC, socket.inet_aton(source)))
    body = _ROUTE.pack(socket.AF_INET, int(length), 0, 0, *_LOCAL, 0)
    body += b"".join(struct.pack("HH", 4 + len(value), kind) + value for kind, value in attributes)
    head = _MESSAGE.pack(_MESSAGE.size + len(body), _RTM_NEWROUTE, _REPLACE, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
            kernel.send(head + body)
            (code,) = struct.unpack_from("i", kernel.recv(4096), _MESSAGE.size)
    except OSError as error:
        code = -(error.errno or errno.EIO)
    if code:
        raise LabError(f"cannot use the cluster's addresses here: {os.strerror(-code)}")


def isolated() -> bool:
    """Whether there is no network here but loopback."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def _isolate_as_user() -> None:
    user, group = os.getuid(), os.getgid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _pass_on_rights()


def _pass_on_rights() -> None:
    """Lets what is started from here keep the rights that this process has in its user namespace.

    Else a program that is not root's has none: workers of the tests could take no network of their
    own, since a process with threads gets no user namespace. See capabilities(7), ambient set.
    """
    libc = ctypes.CDLL(None)
    head = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION, 0))
    sets = ctypes.create_string_buffer(_CAPABILITIES.size)
    libc.capget(head, sets)
    effective, permitted, _, *upper = _CAPABILITIES.unpack(sets.raw)
    upper[2] = upper[1]  # here as there, what may be passed on is all that is permitted
    sets.raw = _CAPABILITIES.pack(effective, permitted, permitted, *upper)
    libc.capset(head, sets)
    for capability in range(64):
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _bring_up(interface: bytes) -> None:
    with socket.socket() as any_socket:
        found = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _REQUEST.pack(interface, 0))
        flags = _REQUEST.unpack(found)[1] | _IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _REQUEST.pack(interface, flags))
