"""Gives a Python program that runs as a pod the pod's own address.

Python imports this module at start. On a cluster a pod has a network of its own, so that a server
on 0.0.0.0 has the pod's address and a client comes from it. All pods of the lab share one
loopback: here both are told which address is theirs.
"""

import os
import socket
from typing import Any

_ADDRESS = os.environ["LAB_POD_ADDRESS"]
_bind, _connect = socket.socket.bind, socket.socket.connect


def _pod_bind(self: socket.socket, address: Any) -> None:
    if self.family == socket.AF_INET and address[0] in ("", "0.0.0.0"):  # noqa: S104
        address = (_ADDRESS, address[1])
    _bind(self, address)


def _pod_connect(self: socket.socket, address: Any) -> None:
    if self.family == socket.AF_INET and self.getsockname()[1] == 0:
        _bind(self, (_ADDRESS, 0))
    _connect(self, address)


socket.socket.bind = _pod_bind  # type: ignore[assignment]
socket.socket.connect = _pod_connect  # type: ignore[assignment]
