"""How fast a recording goes: when it need not wait, what it asks, and what it says it cost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cluster.recording import asking, costs, plays, quiet, settling, shim
from cluster.recording.quiet import Quiet
from lab.files.example import Example
from lab.paths import ROOT

# Waiting for logs


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        ("kubectl -n shop logs deploy/shop -c istio-proxy --tail=1", True),
        ("kubectl logs deploy/shop 2>&1 | \\\n  grep -E 'a|b;&' | cut -f2-", True),
        ("istioctl proxy-config all deploy/shop", True),
        ("kubectl exec deploy/client -- curl http://shop/", False),
        ("kubectl logs deploy/shop | xargs curl", False),
        ("kubectl apply -f shop.yaml", False),
        ("kubectl get pods; curl http://shop/", False),
        ("kubectl get pod $(curl http://shop/)", False),
        ("curl http://shop/", False),
        ("line() { kubectl logs deploy/shop; }", False),
        ("", False),
    ],
)
def test_commands_that_only_read_are_known(command: str, *, reads: bool) -> None:
    assert quiet.only_reads(command) is reads


@pytest.mark.parametrize(
    ("command", "leaves"),
    [
        ("curl http://shop/ &", True),
        ("ask & kubectl wait pod/shop", True),
        ("(ask & restart; wait)", False),
        ("one && two 2>&1 >&2", False),
        ("grep 'a&b'", False),
    ],
)
def test_commands_that_leave_something_in_the_background_are_known(
    command: str, *, leaves: bool
) -> None:
    assert quiet.leaves_something(command) is leaves


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which `await_flush` sleeps."""
    found: list[float] = []
    monkeypatch.setenv("RECORDING_FOLDER", str(tmp_path))
    monkeypatch.setattr(time, "sleep", found.append)
    return found


def clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: now)


def test_logs_are_waited_for_once_after_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    clock(monkeypatch, 100)
    found = Quiet(tmp_path)
    with found.step("kubectl exec deploy/client -- curl http://shop/"):
        clock(monkeypatch, 105)
    for now in (105.3, 106.3, 120):
        with found.step("kubectl logs deploy/shop"):
            clock(monkeypatch, now)
            shim.await_flush()
    assert waits == pytest.approx([1, 0, 0])


def test_logs_are_waited_for_whole_where_requests_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    clock(monkeypatch, 100)
    found = Quiet(tmp_path)
    for command in ("ask; kubectl logs deploy/shop", "ask &", "kubectl logs deploy/shop"):
        with found.step(command):
            clock(monkeypatch, 200)
            shim.await_flush()
    assert waits == pytest.approx([1.3, 1.3, 1.3])


def test_what_stands_in_front_needs_no_package_and_few_modules() -> None:
    code = (
        "import sys; from cluster.recording import shim; few = len(sys.modules)\n"
        "import cluster.recording.call, cluster.recording.dump, cluster.recording.settling\n"
        "print(few)"
    )
    command = [sys.executable, "-S", "-c", code]
    environment = {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60


# Settling


def test_a_change_has_settled_when_nothing_moves_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def moving() -> tuple[str, str]:
        text = str(min(round(now - 100, 1), 3))  # it changes for three seconds
        return ("rollouts: shop.default" if now < 102 else ""), text

    monkeypatch.setenv("RECORDING_FOLDER", str(tmp_path))
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(settling, "_moving", moving)
    assert settling.settle() == ""
    assert 103.5 <= now < 103.7
    seconds: dict[str, float] = {}
    for line in (tmp_path / shim.SPENT).read_text().splitlines():
        number, _, part = line.partition(" ")
        seconds[part] = seconds.get(part, 0) + float(number)
    assert seconds == pytest.approx({"settling": 2.0, "settling (rollouts)": 1.6}, abs=0.2)
    now = 100
    assert settling.settle(limit=1) == "rollouts: shop.default"
    assert 101.2 < now < 101.6


def test_the_order_in_which_istiod_names_proxies_is_no_movement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    synced = [{"proxy": f"{name}.default", "listener_acked": "1"} for name in "ab"]
    monkeypatch.setattr(settling, "get", lambda _: [])
    monkeypatch.setattr(settling, "ask_istiod", lambda _: synced)
    before = settling._moving()
    synced.reverse()
    assert settling._moving() == before
    synced[0] = synced[0] | {"listener_acked": "2"}
    assert settling._moving() != before


def gateway(name: str, **observed: int) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": "2026-11-29T12:00:00Z"},
        "spec": {"gatewayClassName": name},
        "status": {"conditions": [{"type": "Accepted"} | observed]},
    }


@pytest.mark.parametrize(
    ("item", "age", "new"),
    [
        (gateway("istio"), 1, True),
        (gateway("istio-waypoint") | {"status": {}}, 1, True),
        (gateway("istio", observedGeneration=1), 1, False),
        (gateway("other"), 1, False),
        (gateway("istio"), 10, False),  # it is of another revision, or nobody's
    ],
)
def test_gateways_that_istiod_has_not_answered_for_are_new(
    item: dict[str, Any], age: float, *, new: bool
) -> None:
    noon = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
    assert settling.is_new(item, noon + age) is new


# Asking


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Answers for istiod and the API server; gives the ports from which it was asked."""
    ports: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ports.append(self.client_address[1])
            status, told = {
                "/api/v1/pods": (200, {"items": [{"metadata": {"name": "a"}}]}),
                "/debug/syncz": (200, []),
                "/debug/wrong": (500, None),
            }.get(self.path, (404, None))
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        connection = HTTPConnection("127.0.0.1", server.server_port)
        for name in ("_api", "_istiod"):
            monkeypatch.setattr(asking, name, lambda: connection)
        yield ports
        connection.close()
        server.shutdown()


def test_objects_have_what_a_list_tells_once_and_one_connection_serves(api: list[int]) -> None:
    (pod,) = asking.get("pods")
    assert pod == {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    assert asking.ask_istiod("syncz") == []
    with pytest.raises(OSError, match="/debug/wrong: 500 null"):
        asking.ask_istiod("wrong")
    assert asking.get("gateways") == []
    assert (len(api), len(set(api))) == (4, 1)


# What it cost


def test_costs_are_told_by_part_and_by_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDING_FOLDER", str(tmp_path))
    clock(monkeypatch, 0)
    spent = costs.Costs(started=5, cluster=7.2)
    with spent.part(costs.START):
        clock(monkeypatch, 30)
    for command, seconds in (("apply", 34), ("get", 35)):
        with spent.step(tmp_path, command):
            clock(monkeypatch, seconds - 1)
            with shim.spent(shim.SETTLE):
                clock(monkeypatch, seconds)
    whole, cpu, *slowest = spent.lines()
    assert whole == "35 s: start of the cluster 30.0, the command 3.0, settling 2.0"
    told = r"CPU: 7 s of the cluster, 5 s of them for its start, and \d+ s of what was run on it"
    assert re.fullmatch(told, cpu)
    assert slowest == ["4.0 s `apply`: the command 3.0, settling 1.0", "1.0 s `get`: settling 1.0"]


# Several


def test_those_that_took_longest_begin_first(tmp_path: Path) -> None:
    examples = []
    for name, seconds in {"a": 60, "b": 200, "c": 90}.items():
        examples.append(Example(f"part/{name}", tmp_path, tmp_path / name))
        (tmp_path / name).mkdir()
        (tmp_path / name / "recording.json").write_text(json.dumps({"seconds": seconds}))
    assert [one.name for one in plays.longest_first(examples)] == ["part/b", "part/c", "part/a"]
