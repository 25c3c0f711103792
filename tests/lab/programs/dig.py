"""`dig` in the lab, played: it asks a DNS server behind a load balancer of the mesh.

Its words and exit codes are those of dig 9.18, as in Debian 12. The real one cannot be told where
the lab's load balancers lead, as curl can.
"""

from __future__ import annotations

import re
import socket
from typing import Any

from dnslib import QTYPE, DNSError, DNSQuestion, DNSRecord  # type: ignore[import-untyped]

from lab.errors import LabError
from lab.mesh.mesh import Mesh
from lab.objects.names import Place, reach
from lab.programs.call import Call

PLAYED = "dig +short @ADDRESS [-p PORT] [-b 0.0.0.0#PORT] [+time=S] [+tries=N] NAME [A|TXT]"
_WORD = re.compile(
    r"(?P<short>\+short)|@(?P<server>[\d.]+)|-p=(?P<port>\d+)|-b=0\.0\.0\.0#(?P<own>\d+)"
    r"|\+time=(?P<time>[1-9]\d*)|\+tries=(?P<tries>[1-9]\d*)|(?P<type>A|TXT)|(?P<name>[^-+@]\S*)"
)
_DEFAULTS = {"port": "53", "own": "0", "time": "5", "tries": "3", "type": "A"}
_DATAGRAM = 65535  # bytes, at most


def run(mesh: Mesh, call: Call) -> int:
    """dig from outside of the mesh. Gives its exit code: 9 if no server answers."""
    given = _parsed(call.args)
    server, port = given["server"], int(given["port"])
    with mesh.lock:
        to = dict(reach(mesh.objects, "UDP", None)).get((server, port))
    own = (mesh.client_address(server), int(given["own"]))
    query = DNSRecord(q=DNSQuestion(given["name"], getattr(QTYPE, given["type"])))
    for _ in range(int(given["tries"])):
        try:
            reply = _ask(to, query, own, float(given["time"]))
        except (ConnectionRefusedError, TimeoutError) as error:
            why = "timed out" if isinstance(error, TimeoutError) else "connection refused"
            call.print(f";; communications error to {server}#{port}: {why}")
            continue
        for record in reply.rr:
            call.print(str(record.rdata))
        return 0
    call.print(";; no servers could be reached")
    return 9


def _ask(to: Place | None, query: Any, own: Place, seconds: float) -> Any:
    """The answer of the server behind a place; nothing is there if `to` is None.

    Raises ConnectionRefusedError or TimeoutError if there is no answer, LabError if it is none of
    DNS or the client's place is taken.
    """
    if to is None:
        raise ConnectionRefusedError
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        try:
            client.bind(own)
        except OSError as error:
            raise LabError(f"dig cannot send from port {own[1]}: {error.strerror}") from None
        client.connect(to)
        client.send(query.pack())
        try:
            return DNSRecord.parse(client.recv(_DATAGRAM))
        except DNSError as error:
            raise LabError(f"dig got an answer that is not DNS: {error}") from None


def _parsed(words: list[str]) -> dict[str, str]:
    """What the words say, by name. Raises LabError for what the lab does not play."""
    given: dict[str, str] = {}
    # An option and its value are one word from here on.
    for word in re.sub(r"(?<!\S)(-[pb]) ", r"\1=", " ".join(words)).split():
        found = _WORD.fullmatch(word)
        what = (found and found.lastgroup) or "unknown"
        given["unknown" if what in given else what] = found[what] if found else word
    if "unknown" in given or not given.keys() >= {"short", "server", "name"}:
        raise LabError(f"the lab does not play: dig {' '.join(words)}", remedy=f"it plays {PLAYED}")
    return _DEFAULTS | given
