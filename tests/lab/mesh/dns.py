"""The cluster's DNS: a server in the lab that knows the names of Services."""

from __future__ import annotations

import socketserver
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

_TTL = 5  # seconds, as CoreDNS gives by default


@dataclass
class Server:
    """Answers at a place over UDP with the addresses that `zone` has for each full name."""

    place: Place
    zone: Zone = field(default_factory=dict, init=False)
    _listener: socketserver.UDPServer = field(init=False)

    def __post_init__(self) -> None:
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                query, listener = self.request
                if reply := _reply(query, server.zone):
                    listener.sendto(reply, self.client_address)

        try:
            self._listener = socketserver.UDPServer(self.place, Handler)
        except OSError as error:
            raise LabError(f"no DNS on {self.place[0]}:{self.place[1]}: {error.strerror}") from None
        target = self._listener.serve_forever
        threading.Thread(target=target, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()


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
