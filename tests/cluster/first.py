"""The first process of a cluster's world: it starts everything, and when it ends, all ends.

`python -m cluster.first WORLD` is called in new namespaces. It writes to standard output what it
does, a JSON object a line: `{"say": …}`, at last `{"ready": …}` or `{"error": …, "log": […]}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import components, groups, wires
from cluster.addresses import NODE_NAME
from cluster.components import Component
from cluster.errors import ClusterError, last_lines
from cluster.mounts import mount_all
from cluster.paths import ADMIN, CONTAINERD, ETCD, INSIDE, PARTS, ROOT, cache

_READY = 120.0  # seconds in which each step must be done
_POLL = 0.1

DIED = "died.json"
"""The file in the world's folder that tells what ended the cluster after its start."""


@dataclass(frozen=True)
class Plan:
    """What the first process must know; it is the file `plan.json` in the world's folder."""

    install: bool  # whether Istio is installed
    seed: str = ""  # a folder: the store is left there, and no cluster starts

    def write(self, world: Path) -> None:
        """Leaves it where `read` finds it."""
        (world / "plan.json").write_text(json.dumps(vars(self)))

    @classmethod
    def read(cls, world: Path) -> Plan:
        """What `write` left."""
        return cls(**json.loads((world / "plan.json").read_text()))


def environment() -> dict[str, str]:
    """What programs in the world see: the parts before what is installed, the administrator."""
    tools = [
        PARTS / "kubernetes" / "bin",
        PARTS / "istio" / "bin",
        PARTS / "debian" / "bin",
        PARTS / "dig" / "bin",
        PARTS / "debian" / "usr" / "bin",
        PARTS / "debian" / "usr" / "sbin",
    ]
    usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return {
        "PATH": ":".join([*map(str, tools), *usual]),
        "KUBECONFIG": str(ADMIN),
        "KUBECACHEDIR": str(INSIDE / "tmp" / "kube-cache"),
        "CONTAINERD_ADDRESS": CONTAINERD,
        "CONTAINERD_NAMESPACE": "k8s.io",
    }


@dataclass
class Supervisor:
    """Starts components and notices when one ends."""

    logs: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, component: Component) -> None:
        """Starts a component; its log is NAME.log. Raises ClusterError if that is impossible."""
        self.running[component.name] = self._spawn(
            component.name, list(component.command), component.environment
        )

    def run(self, name: str, command: list[str]) -> None:
        """Runs a program to its end. Raises ClusterError if it fails, or a component meanwhile."""
        program = self._spawn(name, command)
        self.wait(lambda: program.poll() is not None, name)
        if program.returncode:
            log = last_lines(self.logs / f"{name}.log")
            raise ClusterError(f"{name} failed with exit code {program.returncode}", log=log)

    def wait(self, done: Callable[[], bool], what: str, seconds: float = _READY) -> None:
        """Waits until `done`. Raises ClusterError if a component ends before, or time is up."""
        deadline = time.monotonic() + seconds
        while not done():
            self.check()
            if time.monotonic() > deadline:
                log = last_lines(self.logs / f"{what}.log")
                raise ClusterError(f"{what}: not done after {seconds:.0f} s", log=log)
            time.sleep(_POLL)

    def stop(self, component: Component) -> None:
        """Ends a component in its own time."""
        process = self.running.pop(component.name)
        process.terminate()
        process.wait(_READY)

    def check(self) -> None:
        """Raises ClusterError if a component has ended."""
        for name, process in self.running.items():
            code = process.poll()
            if code is not None:
                how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
                log = last_lines(self.logs / f"{name}.log")
                raise ClusterError(f"{name} ended {how}", log=log)

    def watch(self) -> None:
        """Waits for the end of a component. Raises ClusterError when one has ended."""
        ends = select.poll()
        for process in self.running.values():
            ends.register(os.pidfd_open(process.pid), select.POLLIN)
        ends.poll()
        self.check()

    def _spawn(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            try:
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=os.environ | dict(environment or {}),
                    start_new_session=True,
                )
            except OSError as error:
                raise ClusterError(f"cannot start {name}: {error.strerror}: {command[0]}") from None


def start(plan: Plan, supervisor: Supervisor, say: Callable[[str], None]) -> None:
    """Starts the cluster, and returns when it can be used."""
    seed = PARTS / "seed" / "etcd"
    if seed.exists():
        shutil.copytree(seed, ETCD)
    for component in (components.etcd(), components.containerd(), components.registry()):
        supervisor.start(component)
    _start_ready(supervisor, components.apiserver())
    say("kube-apiserver is ready")
    for component in (
        components.controller_manager(),
        components.scheduler(),
        components.proxy(),
    ):
        supervisor.start(component)
    supervisor.wait(components.containerd().ready, "containerd")
    kubelet = components.kubelet()
    supervisor.start(kubelet)
    if not seed.exists():
        _apply_base(supervisor)
    coredns = components.coredns()
    supervisor.start(coredns)
    supervisor.start(components.balancer())
    if plan.install:
        _install(supervisor)
        say("istiod and the gateway are ready")
    supervisor.wait(kubelet.ready, kubelet.name)
    supervisor.wait(coredns.ready, coredns.name)
    _kubectl(supervisor, "node", "wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    say("the node is ready")


def sow(target: Path, supervisor: Supervisor) -> None:
    """Leaves in `target` the store of a cluster with Istio, in which no controller ever ran."""
    supervisor.start(components.etcd())
    _start_ready(supervisor, components.apiserver())
    _apply_base(supervisor)
    crds = str(PARTS / "istio" / "gateway-api.yaml")
    _kubectl(supervisor, "gateway-api", "apply", "--server-side", "-f", crds)
    _kubectl(supervisor, "label", "label", "namespace", "default", "istio-injection=enabled")
    _kubectl(supervisor, "namespace", "create", "namespace", "istio-system")
    manifests = INSIDE / "tmp" / "istio.yaml"
    generate = f"istioctl manifest generate -f {INSIDE / 'conf' / 'istio.yaml'} > {manifests}"
    supervisor.run("istioctl", ["sh", "-c", generate])
    applied = ("apply", "--server-side", "--field-manager=istio-operator", "-f", str(manifests))
    _kubectl(supervisor, "istio", *applied)
    for component in (components.apiserver(), components.etcd()):
        supervisor.stop(component)
    shutil.copytree(ETCD, target)


def _apply_base(supervisor: Supervisor) -> None:
    _kubectl(supervisor, "dns", "apply", "-f", str(INSIDE / "conf" / "dns.yaml"))


def _install(supervisor: Supervisor) -> None:
    """Installs Istio as a reader does; of what the seed has already, nothing changes."""
    settings = str(INSIDE / "conf" / "istio.yaml")
    supervisor.run("istioctl", ["istioctl", "install", "--skip-confirmation", "-f", settings])
    _kubectl(
        supervisor,
        "istio-system",
        *("--namespace=istio-system", "wait", "--for=condition=Available"),
        *("deployment", "--all", "--timeout=120s"),
    )


def _start_ready(supervisor: Supervisor, component: Component) -> None:
    supervisor.start(component)
    supervisor.wait(component.ready, component.name)


def _kubectl(supervisor: Supervisor, name: str, *words: str) -> None:
    supervisor.run(f"kubectl-{name}", ["kubectl", *words])


def prepare(world: Path) -> None:
    """Turns new namespaces into the world."""
    older = [group.options for group in groups.here("any") if not group.unified]
    mount_all(world, [ROOT, cache()], older)
    if not older:
        groups.divide()
    wires.connect()
    Path("/proc/sys/kernel/hostname").write_text(NODE_NAME)
    os.environ.update(environment() | {"TMPDIR": str(INSIDE / "tmp"), "HOME": "/root"})
    os.chdir("/")


def _tell(**event: Any) -> None:
    """Raises OSError if whoever starts the cluster has gone: then nobody waits for it."""
    os.write(sys.stdout.fileno(), json.dumps(event).encode() + b"\n")


def _supervise(world: Path) -> int:
    """The life of the cluster; gives an exit code when it is over."""
    supervisor = Supervisor(INSIDE / "log")
    began = False
    try:
        plan = Plan.read(world)
        prepare(world)
        if plan.seed:
            sow(Path(plan.seed), supervisor)
            _tell(ready=True)
            return 0
        start(plan, supervisor, lambda text: _tell(say=text))
        began = True
        _tell(ready=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        supervisor.watch()
    except (ClusterError, OSError) as error:
        log = error.log if isinstance(error, ClusterError) else ()
        cause = error.cause if isinstance(error, ClusterError) else str(error)
        if began:
            (INSIDE / DIED).write_text(json.dumps({"error": cause, "log": log}))
        with contextlib.suppress(OSError):
            _tell(error=cause, log=log)
    return 1


def main(world: Path) -> int:
    """Reaps whatever ends in the world, until the supervisor does: that is the end of all."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    supervisor = os.fork()
    if not supervisor:
        os._exit(_supervise(world))
    while True:
        pid, status = os.wait()
        if pid == supervisor:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
