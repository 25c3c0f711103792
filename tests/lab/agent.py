"""Runs a proxy as on a cluster: Istio's pilot-agent starts Envoy, watches it and ends it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO, Any

from lab import tools
from lab.bootstrap import ADMIN_PORT, READY_PORT, STATUS_PORT, bootstrap
from lab.envoy import CONFIG, FLUSH_INTERVAL, Proxy, binary, environment, request
from lab.errors import LabError
from lab.isolation import isolated
from lab.processes import spawn, stop
from lab.recordings import Resources
from lab.termination import Running

_TIMEOUT = 10.0  # seconds until a proxy must be ready
_PERIOD = 0.1  # seconds between two probes
_LOCALHOST = "127.0.0.1"  # where agent and Envoy look for each other, in every pod

# Envoy ends with its agent, also where the agent was given no time to end it.
_ENVOY = """#!{python} -IS
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.execv({envoy!r}, [{envoy!r}, *sys.argv[1:]])
"""


# What the injector sets as preStop hook of a native sidecar.
_DRAIN = ["pilot-agent", "request", "--debug-port=15020", "POST", "drain"]


@dataclass
class Agent(Proxy):
    """The pilot-agent of one pod with its Envoy. Its ports are fixed: one can run at a time."""

    def start(self, resources: Resources) -> None:
        """As `Proxy.start`. Raises LabError if pilot-agent is not built, or could be reached."""
        tools.path("pilot-agent")
        if not isolated():
            raise LabError("pilot-agent needs a network namespace: it listens on all addresses")
        super().start(resources)

    def settle(self) -> str:
        """As `Proxy.settle`, and waits until the agent answers the kubelet that it is ready.

        Raises LabError with the last lines of the agent's log if it does not.
        """
        try:
            rejected = super().settle()
            self._await_ready()
        except LabError as error:
            said = self.log.read_text(errors="replace").splitlines()[-5:]
            cause = f"pod {self.pod.name} did not become ready: {error.cause}; its log ends:"
            remedy = "mend what the log names: the pod's annotations, or its environment"
            raise LabError("\n".join([cause, *said]), remedy=remedy) from None
        return rejected

    def stop(self) -> None:
        """Ends the agent and Envoy at once, without the time that they would take for it."""
        if self._process:
            stop(self._process, grace=0)
            # Envoy ends a moment later, and the next one needs its ports.
            for _ in range(1000):
                if not _accepts(ADMIN_PORT):
                    break
                time.sleep(_PERIOD / 10)
        super().stop()

    def admin_address(self) -> str:
        return f"{_LOCALHOST}:{ADMIN_PORT}"

    def command(self, words: list[str]) -> list[str]:
        """A command in the container as it runs here. Raises LabError for what the lab has not."""
        if words[:1] == ["sleep"]:
            return words
        if words[:1] != ["pilot-agent"]:
            raise LabError(
                f"container istio-proxy of pod {self.pod.name} runs {words[:1]}: "
                "the lab plays pilot-agent and sleep"
            )
        return [str(tools.path("pilot-agent")), *words[1:]]

    def running(self) -> list[Running]:
        """The container, if it runs, for `terminate`."""
        if self._process is None:
            return []
        spec = self._container
        if spec.get("restartPolicy") == "Always":
            spec = spec | {"lifecycle": {"preStop": {"exec": {"command": _DRAIN}}}}
        return [Running(spec, self._process, self._start_hook)]

    def environment(self) -> dict[str, str]:
        """The variables of the container istio-proxy, as the injector sets them."""
        identity = {
            "POD_NAME": self.pod.name,
            "POD_NAMESPACE": self.pod.namespace,
            "INSTANCE_IP": self.pod.address,
            "HOST_IP": _LOCALHOST,
            "SERVICE_ACCOUNT": self.pod.item["spec"]["serviceAccountName"],
            "GOMEMLIMIT": str(1 << 30),  # the injector's limit of 1 GiB
            **environment(self.pod),
            "PATH": os.environ.get("PATH", os.defpath),
        }
        own = {item["name"]: item["value"] for item in self._container.get("env", [])}
        return identity | own | {"PROXY_CONFIG": json.dumps(self._proxy_config(own))}

    def _proxy_config(self, own: dict[str, str]) -> dict[str, Any]:
        """The ProxyConfig of the pod, with what is different in the lab."""
        config: dict[str, Any] = json.loads(own.get("PROXY_CONFIG", "{}"))
        return config | {
            "binaryPath": str(self.folder / "envoy"),
            "customConfigFile": CONFIG,
            "controlPlaneAuthPolicy": "NONE",
            "concurrency": 1,
            "fileFlushInterval": f"{FLUSH_INTERVAL}s",
            "proxyAdminPort": ADMIN_PORT,
            "statusPort": STATUS_PORT,
        }

    @property
    def _container(self) -> dict[str, Any]:
        return self.pod.proxy_container or {}

    def _bootstrap(self) -> dict[str, Any]:
        return bootstrap(self.pod, self.dns, _LOCALHOST)

    def _launch(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        envoy = self.folder / "envoy"
        envoy.write_text(_ENVOY.format(python=sys.executable, envoy=str(binary())))
        envoy.chmod(0o755)
        # With a certificate in place it does not ask istiod for one; it never reads these.
        certificates = self.folder / "var/run/secrets/workload-spiffe-credentials"
        certificates.mkdir(parents=True)
        for name in ("cert-chain", "key", "root-cert"):
            (certificates / f"{name}.pem").touch()
        args = ["--proxyLogLevel=warning", "--proxyComponentLogLevel=misc:error"]
        args = [*self._container["args"], *args]
        return spawn(
            self.command(["pilot-agent", *args]),
            stdout=log,
            stderr=log,
            env=self.environment(),
            cwd=self.folder,
        )

    def _start_hook(self, words: list[str]) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        env = self.environment()
        return spawn(self.command(words), stdout=null, stderr=null, env=env, cwd=self.folder)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while not self._ready():
            if time.monotonic() > deadline:
                raise LabError(f"pilot-agent says no for {_TIMEOUT:.0f} s")
            time.sleep(_PERIOD)

    def _ready(self) -> bool:
        try:
            status, _ = request(f"{self.pod.address}:{READY_PORT}", "GET", "/healthz/ready")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_LOCALHOST, port)) == 0
