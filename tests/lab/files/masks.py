"""What may differ from one run to the next, by name.

Both the recorded and the new output are masked before they are compared; files keep what was
recorded. No pattern touches a status, a flag, a cluster, an address of a pod or service, or a
message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

# The source port of a connection, from Linux's default range of ephemeral ports (32768 and up).
_EPHEMERAL = r"(?:3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|6[0-4]\d{3}|65[0-5]\d\d)"

MASKS: dict[str, tuple[re.Pattern[str], str]] = {
    "time": (re.compile(r"\b\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?"), "<time>"),
    "http-date": (re.compile(r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "<http-date>"),
    "python-log-date": (re.compile(r"\[\d\d/\w{3}/\d{4} \d\d:\d\d:\d\d\]"), "[<date>]"),
    "request-id": (
        re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        "<request-id>",
    ),
    "ephemeral-port": (
        re.compile(rf"(\b\d{{1,3}}(?:\.\d{{1,3}}){{3}}:){_EPHEMERAL}\b"),
        r"\1<port>",
    ),
    # The same of the downstream, the last address in the default access log: where connections
    # of one pod meet behind a translation, Linux gives one of them any port above 1023.
    "downstream-port": (re.compile(r"(:\d+ [\d.]+:)\d{4,5}(?= \S+ \S+$)"), r"\1<port>"),
    # The same where a node has translated the address: it takes any port.
    "translated-port": (re.compile(r"(?<![\d.])(10\.244\.0\.1:)\d+"), r"\1<port>"),
    # In the default access log: BYTES_RECEIVED BYTES_SENT, then DURATION and the upstream's time.
    "duration": (re.compile(r'(" \d+ \d+ )\d+ (?:\d+|(-)) (?=")'), r"\1<duration> \2 "),
    # The same in JSON.
    "json-duration": (
        re.compile(r'("(?:duration|upstream_service_time)":"?)\d+'),
        r"\1<duration>",
    ),
    # Of a client's certificate, in the header x-forwarded-client-cert.
    "certificate-hash": (re.compile(r"\bHash=[0-9a-f]{64}\b"), "Hash=<certificate-hash>"),
    # What is left of it, and how often it has run out, in `ss -o`.
    "socket-timer": (re.compile(r"(?<=\btimer:\()(\w+),[\w.]*,\d+"), r"\1,<time>,<count>"),
    "upstream-time": (re.compile(r"(x-envoy-upstream-service-time: )\d+"), r"\1<duration>"),
    "connect-time": (re.compile(r"(?<=after )\d+ (?:ms|milliseconds)\b"), "<duration>"),
    "curl-version": (re.compile(r"\bcurl/\d+\.\d+\.\d+\S*?(?=[\"\s]|$)"), "curl/<version>"),
    # curl 8.11 says "Could not", older ones "Couldn't".
    "curl-wording": (re.compile(r"\bCould(?:n't| not) (?=connect to server)"), "Could not "),
    # What curl's TLS libraries call a connection that the server resets in the handshake.
    "curl-tls-wording": (
        re.compile(
            r"(?<=curl: \(35\) )(?:Recv failure: Connection reset by peer"
            r"|OpenSSL SSL_connect: (?:Connection reset by peer|SSL_ERROR_SYSCALL) in connection.*"
            r"|GnuTLS, handshake failed: .* non-properly terminated\.?)"
        ),
        "<reset>",
    ),
    # The same of a server that answers a handshake with something else than TLS.
    "curl-no-tls-wording": (
        re.compile(
            r"(?<=curl: \(35\) )(?:(?:OpenSSL/\S+ |TLS connect error: )?"
            r"error:\w+:SSL routines:\w*:wrong version number"
            r"|GnuTLS, handshake failed: An unexpected TLS packet was received\.?)"
        ),
        "<no TLS>",
    ),
    # What they call a certificate that is valid, but for another host.
    "curl-name-wording": (
        re.compile(
            r"(?<=curl: \(60\) SSL: )(?:no alternative certificate subject name matches"
            r"|certificate subject name \([^)]*\) does not match) target host ?name(?= ')"
        ),
        "<certificate of another host than>",
    ),
    "certificate-serial": (re.compile(r"\b[0-9a-f]{30,40} +(?=<time>)"), "<serial> "),
    # Of a connection and a request, in a proxy's log at level debug.
    "log-tag": (re.compile(r'"(ConnectionId|StreamId)":"\d+"'), r'"\1":"<\1>"'),
    "log-connection": (re.compile(r"\[C\d+\]"), "[C<connection>]"),
    "thread": (re.compile(r"\bthread=\d+"), "thread=<thread>"),  # in a proxy's log
    # In a proxy's /memory, and in what `go tool pprof -top` says of a profile.
    "memory": (
        re.compile(r'("(?:allocated|\w*heap_\w+|total_thread_cache|total_physical_bytes)": ")\d+'),
        r"\1<bytes>",
    ),
    "profile-total": (re.compile(r"(?<=^Showing nodes accounting for ).*"), "<bytes>"),
    "profile-row": (
        re.compile(r"^ +-?[\d.]+(?:[kMG]?B)?(?: +[\d.]+%){2} +-?[\d.]+(?:[kMG]?B)? +[\d.]+%(?= )"),
        "<bytes and shares>",
    ),
    # When a span began and how long it took, in the trees that the chapters on traces print.
    "span-time": (re.compile(r"^ *\d+\.\d ms +\d+\.\d ms(?=  )"), "<start and length>"),
    # The flags at its end say whether the trace is kept, and whether its id is random.
    "traceparent": (re.compile(r"\b00-[0-9a-f]{32}-[0-9a-f]{16}(?=-0[0-3]\b)"), "<traceparent>"),
    "b3": (re.compile(r"\b(?<!-)[0-9a-f]{32}-[0-9a-f]{16}(?=-[01]\b)"), "<b3>"),
    # Protobuf varies this on purpose, so that nobody relies on its text of a message.
    "protobuf-text": (re.compile(r"\bgoo\.gle/debug\w+\s*"), "goo.gle/debug<any> "),
    # In the last column of a table, or before those that `-o wide` adds for pods.
    "age": (re.compile(r"(?<=\s)\d+[dhms](?:\d+[ms])?(?=$| +\d+(?:\.\d+){3} )"), "<age>"),
}


def mask(line: str) -> str:
    """The line with everything volatile replaced by its name."""
    for pattern, replacement in MASKS.values():
        line = pattern.sub(replacement, line)
    return line.rstrip()


def same(left: Iterable[str], right: Iterable[str]) -> bool:
    """Whether two outputs are equal but for what is masked."""
    return [mask(x) for x in left] == [mask(x) for x in right]


def keep_recorded(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """The new lines, with the old line kept wherever only something volatile has changed."""
    matcher = SequenceMatcher(None, [mask(x) for x in old], [mask(x) for x in new], autojunk=False)
    kept = list(new)
    for block in matcher.get_matching_blocks():
        kept[block.b : block.b + block.size] = old[block.a : block.a + block.size]
    return tuple(kept)
