"""Serves xDS to one proxy, over REST on a Unix socket.

Istiod speaks ADS over gRPC. Over REST Envoy takes the same resources as JSON, in the form in which
they are recorded. Each of its subscriptions asks, and is answered once there is something new.
(Files would do too, but Envoy watches each with an inotify instance of its own, and Linux gives a
user 128 of them.)
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from lab.machine.processes import uninterrupted

Key = tuple[str, str]
"""What a subscription asks for: a kind, as in `/v3/discovery:routes`, and a name or nothing."""

# Of the other kinds a proxy asks for all.
_BY_NAME = ("routes", "endpoints", "extension_configs", "secrets")
_ALWAYS = (("clusters", ""), ("listeners", ""))  # what a proxy asks for by itself
_TWICE = ("routes", "endpoints")  # what more than one subscription may ask for

_TRIES = 3

SOCKET = "xds"

# In a DiscoveryRequest, of which all the rest is what Envoy says of itself: to read those 77 kB of
# JSON would take longer than to answer them.
_NAME = re.compile(rb'"resource_names":\["([^"]*)"\],"type_url":"[^"]*"\}\Z')
_VERSION = re.compile(rb'\A\{"version_info":"([^"]*)"')

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


@dataclass
class Discovery:
    """What one proxy is served. `folder` will hold the Unix socket, named SOCKET.

    After an answer about what is `lasting` the proxy does not ask again.
    """

    folder: Path
    lasting: Collection[Key] = ()
    _current: dict[Key, str] = field(default_factory=dict)
    _sent: dict[Key, str] = field(default_factory=dict)
    _asking: Counter[Key] = field(default_factory=Counter)  # how many requests wait for news
    _tried: Counter[Key] = field(default_factory=Counter)  # how often it was sent what none took
    _unread: set[Key] = field(default_factory=set)  # answered, and not yet asked for again
    # To be entered without interruption: a Ctrl-C between taking it and the block would leave it
    # taken, and whoever closes would wait for ever.
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _listener: socket.socket = field(init=False)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        # A socket's path may have 107 bytes, and a temporary folder's can be longer.
        folder = os.open(self.folder, os.O_PATH)
        self._listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        os.close(folder)
        self._listener.listen(4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def publish(self, responses: dict[Key, str]) -> None:
        """Replaces what is served; each response is a DiscoveryResponse as JSON."""
        with uninterrupted(), self._changed:
            self._current = responses
            self._sent = {key: sent for key, sent in self._sent.items() if key in responses}
            self._unread &= responses.keys()
            self._changed.notify_all()

    def is_taken(self) -> bool:
        """Whether the proxy has taken or rejected all that it asks for and is served now.

        Then it asks again. What is lasting it may still be about to take, and warms until then.
        """
        with uninterrupted(), self._changed:
            asked = {*_ALWAYS, *+self._asking}
            return not self._unread and not any(map(self._is_new, asked))

    def await_news(
        self, key: Key, version: str, gone: Callable[[], bool] = lambda: False
    ) -> str | None:
        """The response for a subscription that has a version; None if the server closes first.

        A subscription that is `gone` when there is news gives None too: its proxy has another in
        its place, which must get them.

        What was sent once is not sent again, accepted or not: a proxy that rejects would ask
        without end. Only a subscription without a version may be a second one to what another has;
        or it has rejected all so far, and so gets a response a few times, as long as none takes it.
        """

        def news() -> bool:
            second = not version and key[0] in _TWICE and key in self._current
            again = second and (key in self.lasting or self._tried[key] < _TRIES)
            return self._closed or self._is_new(key) or again

        with self._changed:
            self._unread.discard(key)
            if version:
                del self._tried[key]
                self._changed.notify_all()
            self._asking[key] += 1
            self._changed.wait_for(news)
            self._asking[key] -= 1
            if self._closed or gone():
                return None
            self._tried[key] = 1 if self._is_new(key) else self._tried[key] + 1
            self._sent[key] = self._current[key]
            if key not in self.lasting:
                self._unread.add(key)
            return self._current[key]

    def _is_new(self, key: Key) -> bool:
        return key in self._current and self._sent.get(key) != self._current[key]

    def close(self) -> None:
        with uninterrupted(), self._changed:
            self._closed = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        """Answers the requests of a connection, one after the other, as long as there is news."""
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as requests:
            while request := _request(requests):
                key, version = request
                content = self.await_news(key, version, lambda: _gone(connection))
                if content is None:
                    return
                body = content.encode()
                connection.sendall(_HEAD % len(body) + body)


def _request(requests: IO[bytes]) -> tuple[Key, str] | None:
    """The next request for a subscription, and the version that it has; None after the last.

    Envoy writes all of them alike. `http.server` would take longer to read their heads than it
    takes to answer them.
    """
    kind, length = "", 0
    while (line := requests.readline()).strip():
        if line.startswith(b"POST "):
            kind = line.split()[1].decode().partition(":")[2]
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    asked = requests.read(length)
    if not kind or len(asked) < length:
        return None
    return (kind, _value(_NAME, asked) if kind in _BY_NAME else ""), _value(_VERSION, asked)


def _value(pattern: re.Pattern[bytes], request: bytes) -> str:
    found = pattern.search(request)
    return found[1].decode() if found else ""


def _gone(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))
