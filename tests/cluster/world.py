"""A cluster as seen from this machine: start it, run programs in it, end it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import yaml
from lab.machine.processes import uninterrupted
from lab.versions import ISTIO, Istio

from cluster import images, keys, parts, store, workloads
from cluster.addresses import CLIENT_NETWORK
from cluster.errors import ClusterError, last_lines
from cluster.first import DIED, Plan, environment
from cluster.install import operator
from cluster.kept import Part, Say, have
from cluster.paths import CONF, FOLDER, python_environment
from cluster.state import born, read, tidy

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
_PATIENCE = 20.0  # seconds in which a cluster ends


def silent(_: str) -> None:
    """Says nothing."""


@dataclass
class World:
    """The cluster in one folder, of which there can be many side by side."""

    folder: Path = FOLDER
    _keeper: subprocess.Popen[str] | None = field(default=None, init=False, repr=False)

    @property
    def logs(self) -> Path:
        """The folder with a log of each component; it outlives the cluster."""
        return self.folder / "world" / "log"

    @property
    def first(self) -> int | None:
        """The number of the first process, if the cluster lives."""
        state = read(self.folder)
        if state and state.first and born(state.first) == state.first_born:
            return state.first
        return None

    @property
    def istio(self) -> str:
        """The label of the Istio of a cluster that lives."""
        return (self.folder / "world" / "istio").read_text()

    def up(
        self,
        istio: Istio = ISTIO,
        mesh: dict[str, Any] | None = None,
        *,
        install: bool = True,
        say: Say = silent,
    ) -> None:
        """Starts a new cluster and returns when it can be used.

        What is not built is built; `mesh` is what an example sets in the mesh's configuration.
        Raises ClusterError if it does not come up or one is there already; then, as after Ctrl-C,
        nothing of it is left.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.first:
                raise ClusterError("the cluster is up already", remedy="end it: make cluster-down")
            built = build(istio, say)
            if not install:
                del built["seed"]
            try:
                self._end()
                self._prepare(built, operator(istio, mesh), Plan(install=install))
                (self.folder / "world" / "istio").write_text(istio.label)
                say("the files are ready")
                self._start(say)
            except BaseException:
                self._end()
                raise

    def sow(self, built: dict[str, Path], istio: Istio, target: Path) -> None:
        """Writes into `target` what the store of a cluster has before its first pod."""
        try:
            self.folder.mkdir()
            self._prepare(built, operator(istio), Plan(install=True, seed=str(target)))
            self._start(silent)
        finally:
            self._end()

    def down(self) -> bool:
        """Ends the cluster, and tells whether there was one."""
        there = read(self.folder) is not None
        self._end()
        return there

    def command(
        self, argv: Sequence[str], *, outside: bool = False, cwd: Path | None = None
    ) -> list[str]:
        """What runs a program in the cluster: on the node, or as the client `outside` of it.

        Raises ClusterError if there is no cluster.
        """
        first = self.first
        if not first:
            raise self._why_not()
        net = f"--net=/proc/{first}/root/run/netns/{CLIENT_NETWORK}" if outside else "--net"
        namespaces = [net if name == "--net" else name for name in _NAMESPACES]
        where = f"--wd={cwd or Path.cwd()}"
        return ["nsenter", f"--target={first}", *namespaces, where, "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        outside: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = False,
        timeout: float | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in the cluster to its end, and gives what it wrote.

        `env` is added to what it sees; after `timeout` seconds it and what it started is killed.
        Raises ClusterError if there is no cluster or time is up, with `check` also if it fails.
        """
        pipe = subprocess.PIPE
        process = self.popen(
            argv, outside=outside, env=env, cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            out, err = process.communicate(stdin.encode(), timeout)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"no end after {timeout} s: {' '.join(argv)}") from None
        finally:
            end(process)
        if check and process.returncode:
            log = tuple(err.decode(errors="replace").splitlines()[-5:])
            raise ClusterError(f"exit code {process.returncode}: {' '.join(argv)}", log=log)
        said = (text.decode(errors="replace") for text in (out, err))
        return subprocess.CompletedProcess(list(argv), process.returncode, *said)

    def popen(
        self,
        argv: Sequence[str],
        *,
        outside: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """Starts a program in the cluster, in a session of its own; `end` ends it."""
        return subprocess.Popen(
            self.command(argv, outside=outside, cwd=cwd),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=self.environment(env),
            pass_fds=pass_fds,
            start_new_session=True,
        )

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a program in the cluster."""
        ours = environment()
        path = f"{ours['PATH']}:{os.environ.get('PATH', '')}"
        return {**os.environ, **ours, "PATH": path, **(more or {})}

    def memory(self) -> int:
        """The bytes that all its processes hold, those of the pods too, shared ones once."""
        first = self.first
        if not first:
            raise self._why_not()
        total = 0
        for process in [psutil.Process(first), *psutil.Process(first).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total

    def cpu(self) -> float:
        """The seconds of CPU that it has used, its pods too, but not what `popen` started."""
        state = read(self.folder)
        for group in state.groups if state else ():
            if group.unified:
                told = (group.path / "cpu.stat").read_text().split()
                return int(told[told.index("usage_usec") + 1]) / 1e6
            if "cpuacct" in group.options.split(","):
                return int((group.path / "cpuacct.usage").read_text()) / 1e9
        return 0.0

    def _why_not(self) -> ClusterError:
        remedy = "start it: make cluster"
        died = self.folder / "world" / DIED
        if died.exists():
            told = json.loads(died.read_text())
            return ClusterError(
                f"the cluster has ended: {told['error']}", remedy=remedy, log=tuple(told["log"])
            )
        return ClusterError("there is no cluster", remedy=remedy)

    def _prepare(
        self,
        built: dict[str, Path],
        settings: dict[str, Any],
        plan: Plan,
    ) -> None:
        """Fills the world's folder with all that the first process and the components read."""
        world = self.folder / "world"
        shutil.rmtree(world, ignore_errors=True)
        world.mkdir(mode=0o700)
        keys.make(world / "keys")
        shutil.copytree(CONF, world / "conf")
        (world / "conf" / "istio.yaml").write_text(yaml.safe_dump(settings))
        for name in ("log", "parts", "kubelet", "pod-logs", "cni", "tmp"):
            (world / name).mkdir()
        for name, path in built.items():
            (world / "parts" / name).symlink_to(path)
        store.copy(built["store"], world / "containerd")
        plan.write(world)

    def _start(self, say: Say) -> None:
        # A Ctrl-C in between would leave a keeper that nobody knows.
        with (self.logs / "first.log").open("ab") as log, uninterrupted():
            self._keeper = subprocess.Popen(
                [sys.executable, "-m", "cluster.keeper", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=python_environment(),
                text=True,
                start_new_session=True,
            )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as events:
            for line in events:
                event = json.loads(line)
                if "error" in event:
                    raise ClusterError(event["error"], log=tuple(event["log"]))
                if "ready" in event:
                    return
                say(event["say"])
        raise ClusterError("the cluster did not start", log=last_lines(self.logs / "first.log"))

    def _end(self) -> None:
        """Ends what runs, and removes what is left of what ran."""
        state = read(self.folder)
        if self._keeper:
            self._keeper.terminate()
            self._keeper.wait(_PATIENCE)
            self._keeper = None
        elif state and born(state.keeper) == state.keeper_born:
            os.kill(state.keeper, signal.SIGTERM)
            _await(lambda: born(state.keeper) != state.keeper_born)
        state = read(self.folder)
        if state:  # the keeper was killed, or its machine stopped
            if state.first and born(state.first) == state.first_born:
                os.kill(state.first, signal.SIGKILL)
                _await(lambda: born(state.first) != state.first_born)
            tidy(state)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ClusterError("the cluster is being started by another command") from None
            yield


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what `World.popen` gave, and what that started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def components(istio: Istio) -> dict[str, Part]:
    """The parts of a cluster with this Istio, by their names inside, in the order to build them."""
    debian = parts.debian()
    in_images = {
        "base": parts.base(debian),
        "envoy": parts.envoy(istio.envoy),
        "pause": parts.pause(),
        "istio": parts.istio(istio),
        "collector": workloads.collector(),
        "java": workloads.java(),
        "kafka": workloads.kafka(),
        **{part.name: part for part in workloads.libraries().values()},
    }
    made = images.part(istio, in_images)
    found = {
        "debian": debian,
        "dig": parts.dig(),
        "kubernetes": parts.kubernetes(),
        "coredns": parts.coredns(),
        **in_images,
        "images": made,
        "store": store.part(istio, debian, made),
    }
    return found | {"seed": _seed(istio, found)}


def _seed(istio: Istio, found: dict[str, Part]) -> Part:
    """The store of a cluster in which Istio is installed and nothing runs: no key is in it."""

    def make(folder: Path) -> None:
        # Not below `folder`, whose name says that it is not whole.
        world = World(folder.with_name(f"{folder.name}-world"))
        try:
            world.sow({name: part.folder for name, part in found.items()}, istio, folder / "etcd")
        finally:
            shutil.rmtree(world.folder, ignore_errors=True)

    used = (found[name].digest for name in ("debian", "kubernetes", "istio"))
    settings = [(CONF / "dns.yaml").read_text(), json.dumps(operator(istio), sort_keys=True)]
    return Part(f"seed-{istio.label}", "the store with Istio", (*used, *settings), make)


def build(istio: Istio, say: Say = silent) -> dict[str, Path]:
    """The folders of all parts, after what is missing has been built.

    Raises ClusterError if one cannot be built.
    """
    return {name: have(part, say) for name, part in components(istio).items()}


def _await(done: Any) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
