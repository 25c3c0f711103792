"""The cluster's DNS: a server in the lab that knows the names of Services."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from dnslib import QTYPE, RCODE, RR, A, DNSError, DNSRecord  # type: ignore[import-untyped]

from lab.errors import LabError
from lab.objects.names import Place, Zone, resolve, search

PORT = 65053
"""Where the server listens; 53 is not for everyone to bind."""

# c-ares, Envoy's resolver, takes one search domain from its environment. The proxy gets that of its
# namespace, and the server completes names by the others.
_SHARED = search("")[1:]

_LONGEST = 65535  # bytes of a datagram

_TTL = 5  # seconds, as CoreDNS gives by default


@dataclass
class Server:
    """Answers at a place over UDP with the addresses that `zone` has for each full name."""

    place: Place
    zone: Zone = field(default_factory=dict, init=False)
    _socket: socket.socket = field(init=False)
    _thread: threading.Thread = field(init=False)
    _stopped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        try:
            self._socket.bind(self.place)
        except OSError as error:
            self._socket.close()
            raise LabError(f"no DNS on {self.place[0]}:{self.place[1]}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._socket:
            while True:
                query, client = self._socket.recvfrom(_LONGEST)
                if self._stopped:
                    return
                if reply := _reply(query, self.zone):
                    with contextlib.suppress(OSError):  # of a client that is gone
                        self._socket.sendto(reply, client)

    def stop(self) -> None:
        self._stopped = True
        with contextlib.suppress(OSError):  # stopped before
            self._socket.sendto(b"", self.place)  # wakes the thread
        self._thread.join()


def _reply(query: bytes, zone: Zone) -> bytes | None:
    """The answer to a query, or None to what is none. Only A has records; there is no IPv6."""
    try:
        asked = DNSRecord.parse(query)
    except DNSError:
        return None
    reply = asked.reply()
    addresses = resolve(zone, str(asked.q.qname).rstrip("."), _SHARED)
    if not addresses:
        reply.header.rcode = RCODE.NXDOMAIN
    elif asked.q.qtype == QTYPE.A:
        reply.add_answer(*(RR(asked.q.qname, rdata=A(a), ttl=_TTL) for a in addresses))
    return bytes(reply.pack())
