"""A network of its own for the lab.

No rule of the machine's firewall is there. Where one tracks connections (Docker, ufw and many
others have such rules), a sidecar would be told the destination that the kernel has tracked, and
not the one in the PROXY header. And what listens on all addresses there, nobody else can reach.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

from lab.errors import LabError
from lab.states import PODS, SHADOW

# Of <linux/sched.h>, <linux/sockios.h> and <linux/if.h>.
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_REQUEST = struct.Struct("16sh")  # name and flags of an interface

ADDRESSES = (f"{PODS}0.0/16", f"{SHADOW}0.0/16", "172.18.0.0/16")
"""Of pods, of applications behind sidecars in the lab, and of node, client and load balancers."""

_REMEDY = (
    "allow it, on Ubuntu by sysctl kernel.apparmor_restrict_unprivileged_userns=0, in a container "
    "by the option --security-opt seccomp=unconfined"
)


def isolate() -> None:
    """Moves this process into a new network namespace, in which there is loopback alone.

    What it starts from now on is there too. It must not have started a thread yet. Root is not
    needed: the user keeps their number, in a user namespace. Raises LabError where that is not
    allowed.
    """
    try:
        try:
            _unshare(_CLONE_NEWNET)
        except PermissionError:
            _isolate_as_user()
        _bring_up(b"lo")
    except OSError as error:
        raise LabError(
            f"this machine allows no network namespace ({error.strerror}): "
            "where a firewall tracks connections, examples with sidecars fail",
            remedy=_REMEDY,
        ) from None


def isolate_if_possible() -> None:
    """As `isolate`, unless it is done; where that is not allowed, a line says what follows."""
    if not isolated():
        try:
            isolate()
        except LabError as error:
            print(f"lab: {error}", file=sys.stderr)


def take_addresses() -> None:
    """Makes the cluster's addresses local to this network: pods, their shadows, node and client.

    Raises LabError where that is not allowed, or where this is the machine's own network.
    """
    if not isolated():
        raise LabError("the cluster's addresses need a network namespace", remedy=_REMEDY)
    # Imported here because it takes a fifth of a second.
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as routes:
            (loopback,) = routes.link_lookup(ifname="lo")
            for network in ADDRESSES:
                routes.route(
                    "replace", dst=network, type="local", scope="host", table=255, oif=loopback
                )
    except NetlinkError as error:
        raise LabError(f"cannot use the cluster's addresses here: {error}") from None


def isolated() -> bool:
    """Whether there is no network here but loopback."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def _isolate_as_user() -> None:
    user, group = os.getuid(), os.getgid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _bring_up(interface: bytes) -> None:
    with socket.socket() as any_socket:
        found = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _REQUEST.pack(interface, 0))
        flags = _REQUEST.unpack(found)[1] | _IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _REQUEST.pack(interface, flags))
