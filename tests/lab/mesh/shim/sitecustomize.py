"""Gives a Python program that runs as a pod the network of a pod.

Python imports this module at start. On a cluster a pod has addresses of its own, iptables that hand
its connections to the sidecar, and a DNS that knows the Services. All pods of the lab share one
loopback: here a program is told which address is its own, what a name means, and who takes its
connections.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket

# What a program may do without is imported where it is used: each program of a transcript starts
# with this module, and most of them make one connection.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_POD = os.environ["LAB_POD_ADDRESS"]
_OWN = os.environ["LAB_OWN_ADDRESS"]  # where this program listens: another one behind a sidecar
_NAMESPACE = os.environ["LAB_NAMESPACE"]
_HAS_SIDECAR = _OWN != _POD
_EXCLUDED_RANGES, _EXCLUDED_PORTS = (
    [item for item in os.environ[name].split(",") if item]
    for name in ("LAB_EXCLUDED_RANGES", "LAB_EXCLUDED_PORTS")
)
_OUTBOUND_PORT = 15001
_TIMEOUT = 5.0  # seconds for the sidecar, which is near

_bind, _connect, _getsockname = (
    socket.socket.bind,
    socket.socket.connect,
    socket.socket.getsockname,
)
_getaddrinfo = socket.getaddrinfo
_turn = itertools.count()


def _pod_bind(self: socket.socket, address: Any) -> None:
    if self.family == socket.AF_INET and address[0] in ("", "0.0.0.0", _POD):  # noqa: S104
        address = (_OWN, address[1])
    _bind(self, address)


def _pod_getsockname(self: socket.socket) -> Any:
    name = _getsockname(self)
    return (_POD, *name[1:]) if name and name[0] == _OWN else name


def _pod_connect(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_INET:
        return _connect(self, address)
    host = _pod_getaddrinfo(address[0], address[1], socket.AF_INET)[0][4][0]
    if _getsockname(self)[1] == 0:
        _bind(self, (_OWN, 0))
    if host in ("127.0.0.1", _POD):
        return _connect(self, (_OWN, address[1]))
    if _HAS_SIDECAR and self.type == socket.SOCK_STREAM and not _is_excluded(host, address[1]):
        return _connect_by_sidecar(self, host, address[1])
    protocol = "TCP" if self.type == socket.SOCK_STREAM else "UDP"
    return _connect(self, _endpoint(protocol, host, address[1]))


def _pod_connect_ex(self: socket.socket, address: Any) -> int:
    try:
        self.connect(address)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _connect_by_sidecar(self: socket.socket, host: str, port: int) -> None:
    """Connects to the sidecar, and tells it by a PROXY header where the program wants to go."""
    timeout = self.gettimeout()
    self.settimeout(_TIMEOUT)
    try:
        _connect(self, (_POD, _OUTBOUND_PORT))
        source = _getsockname(self)[1]
        self.sendall(f"PROXY TCP4 {_POD} {host} {source} {port}\r\n".encode())
    finally:
        self.settimeout(timeout)


def _is_excluded(host: str, port: int) -> bool:
    """Whether the pod's annotations keep connections to a place away from its sidecar."""
    if str(port) in _EXCLUDED_PORTS or not _EXCLUDED_RANGES:
        return str(port) in _EXCLUDED_PORTS
    import ipaddress

    networks = map(ipaddress.ip_network, _EXCLUDED_RANGES)
    return any(ipaddress.ip_address(host) in network for network in networks)


def _endpoint(protocol: str, host: str, port: int) -> tuple[str, int]:
    """A pod behind a Service's address, each in its turn; any other place as it is."""
    found = _services()["endpoints"][protocol].get(f"{host}:{port}")
    return tuple(found[next(_turn) % len(found)]) if found else (host, port)


def _pod_getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name == "localhost" or _is_address(name):
        return _getaddrinfo(host, port, *args, **kwargs)
    zone = _services()["zone"]
    for suffix in ("", f".{_NAMESPACE}.svc.cluster.local", ".svc.cluster.local", ".cluster.local"):
        if addresses := zone.get(name.rstrip(".") + suffix):
            return [e for a in addresses for e in _getaddrinfo(a, port, *args, **kwargs)]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _gethostbyname(host: str) -> Any:
    return _pod_getaddrinfo(host, None, socket.AF_INET)[0][4][0]


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False


def _services() -> Any:
    import json

    with open(os.environ["LAB_SERVICES"]) as file:  # noqa: PTH123 (pathlib takes its time)
        return json.load(file)


socket.socket.bind = _pod_bind  # type: ignore[assignment]
socket.socket.connect = _pod_connect  # type: ignore[assignment]
socket.socket.connect_ex = _pod_connect_ex  # type: ignore[assignment]
socket.socket.getsockname = _pod_getsockname  # type: ignore[assignment]
socket.getaddrinfo = _pod_getaddrinfo
socket.gethostbyname = _gethostbyname
