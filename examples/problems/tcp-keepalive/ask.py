# Asks twice on one connection, with a pause between: python3 ask.py HOST PORT PATH PAUSE [NUMBERS].
import http.client
import socket
import sys
import time


def keep_alive(sock, idle, interval, probes):
    """Probes after `idle` quiet seconds, then every `interval`; so many may stay unanswered."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)


host, port, path, pause, *keepalive = sys.argv[1:]
connection = http.client.HTTPConnection(host, int(port), timeout=8)
connection.connect()
if keepalive:
    keep_alive(connection.sock, *map(int, keepalive))
for seconds in (0, float(pause)):
    time.sleep(seconds)
    try:
        connection.request("GET", path)
        print(connection.getresponse().read().decode(), flush=True)
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"{type(error).__name__} {error}")
