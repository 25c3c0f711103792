"""Plays what iptables would do for a sidecar: its pod's connections go to it first.

A connection of a pod with a sidecar reaches the sidecar with a PROXY header in front, which says
where the pod meant to go. Python programs write it themselves (`pod/sitecustomize.py`); for curl,
which cannot, `Forwarders` do.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.objects.names import Place
from lab.objects.pod import Pod

OUTBOUND_PORT = 15001
"""Where a sidecar takes the connections that leave its pod."""

_CHUNK = 65536


@dataclass
class Forwarders:
    """Listening sockets, one for each pod and place, whose connections go through its sidecar."""

    address: str  # on which they listen
    _listeners: dict[tuple[str, Place], socket.socket] = field(default_factory=dict)

    def to(self, pod: Pod, place: Place) -> Place:
        """Where to connect in order to reach a place (by address) from a pod with a sidecar."""
        key = (pod.address, place)
        if key not in self._listeners:
            listener = socket.create_server((self.address, 0))
            self._listeners[key] = listener
            threading.Thread(target=_accept, args=(listener, *key), daemon=True).start()
        host, port = self._listeners[key].getsockname()
        return host, port

    def close(self) -> None:
        for listener in self._listeners.values():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self._listeners.clear()


def _accept(listener: socket.socket, pod: str, place: Place) -> None:
    with contextlib.suppress(OSError):
        while True:
            downstream, (_, port) = listener.accept()
            header = f"PROXY TCP4 {pod} {place[0]} {port} {place[1]}\r\n".encode()
            args = (downstream, (pod, OUTBOUND_PORT), header)
            threading.Thread(target=_forward, args=args, daemon=True).start()


def _forward(downstream: socket.socket, sidecar: Place, header: bytes) -> None:
    with downstream:
        try:
            with socket.create_connection(sidecar) as upstream:
                upstream.sendall(header)
                back = threading.Thread(target=_pump, args=(upstream, downstream), daemon=True)
                back.start()
                _pump(downstream, upstream)
                back.join()
        except OSError:
            _reset(downstream)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Passes on bytes, then the end of them, in the way in which it came: FIN or reset."""
    try:
        for data in _chunks(source):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _reset(source)
        _reset(sink)


def _chunks(source: socket.socket) -> Iterator[bytes]:
    while data := source.recv(_CHUNK):
        yield data


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        end.shutdown(socket.SHUT_RD)  # wakes a thread that reads; the close that follows resets
        end.close()
