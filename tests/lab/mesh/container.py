"""Plays the kubelet: runs the containers of a pod as processes on the pod's address."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.errors import LabError
from lab.files.manifests import Object
from lab.machine.processes import spawn, stop
from lab.objects.pod import Pod

_TIMEOUT = 10.0  # seconds until a container must listen on its ports
_POLL = 0.004  # seconds
_SHIM = Path(__file__).with_name("shim")

Listens = Callable[[str, int], bool]

# A pod of this image only waits for `kubectl exec`; curl itself runs when it is called.
_CURL_IMAGE = re.compile(r"(^|/)curlimages/curl:")
_PYTHON_IMAGE = re.compile(r"(^|/)python:3")
_PROXY_IMAGE = re.compile(r"(^|/)istio/(proxyv2|pilot):")


@dataclass
class Container:
    """One container of a pod; `log` is its standard output and error.

    `services` is the file with what `network.services` says, for programs to read.
    """

    pod: Pod
    spec: dict[str, Any]
    folder: Path
    services: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self, known: dict[str, Object]) -> None:
        """Starts the container's command. `known` are the ConfigMaps and Secrets, by title.

        Raises LabError for what the lab cannot play.
        """
        self.folder.mkdir(parents=True)
        self.log.touch()
        if _CURL_IMAGE.search(self.spec["image"]):
            return
        self._check_ports()
        mounts = self._mount(known)
        with self.log.open("ab") as log:
            self._process = spawn(
                self.command([*self.spec.get("command", []), *self.spec.get("args", [])], mounts),
                stdout=log,
                stderr=log,
                env=self.environment(),
            )

    def settle(self) -> None:
        """Waits until the container listens on its ports."""
        deadline = time.monotonic() + _TIMEOUT
        for port, listens in self._ports() if self._process else []:
            while not listens(self.pod.own_address, port):
                self.check_alive()
                if time.monotonic() > deadline:
                    remedy = "containerPort is a port on which the container's program listens"
                    raise self._error(f"does not listen on port {port}", remedy)
                time.sleep(_POLL)

    def stop(self) -> None:
        if self._process:
            stop(self._process)
            self._process = None

    def command(self, words: list[str], mounts: dict[str, Path] | None = None) -> list[str]:
        """A command as it runs here: this Python for the image's, files where they are mounted."""
        if words[:1] == ["sleep"]:
            return words
        if not words or words[0] not in ("python", "python3"):
            raise self._error(f"runs {words[:1] or 'nothing'}: the lab plays python3 and sleep")
        mounts = self._mounts() if mounts is None else mounts
        return [sys.executable, *(_mounted(word, mounts) for word in words[1:])]

    def environment(self) -> dict[str, str]:
        env = {"LAB_POD_ADDRESS": self.pod.address, "LAB_OWN_ADDRESS": self.pod.own_address}
        env |= {"LAB_NAMESPACE": self.pod.namespace, "LAB_SERVICES": str(self.services)}
        env |= {"PYTHONPATH": str(_SHIM)}
        env |= {"LAB_EXCLUDED_RANGES": ",".join(self.pod.excluded("OutboundIPRanges"))}
        env |= {"LAB_EXCLUDED_PORTS": ",".join(self.pod.excluded("OutboundPorts"))}
        env |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOSTNAME": self.pod.name}
        for variable in self.spec.get("env", []):
            env[variable["name"]] = self._value(variable)
        return env

    def _value(self, variable: dict[str, Any]) -> str:
        if "valueFrom" not in variable:
            return str(variable.get("value", ""))
        path = variable["valueFrom"].get("fieldRef", {}).get("fieldPath")
        known = {
            "metadata.name": self.pod.name,
            "metadata.namespace": self.pod.namespace,
            "status.podIP": self.pod.address,
        }
        if path not in known:
            raise self._error(f"env {variable['name']}: the lab knows fieldRef {sorted(known)}")
        return known[path]

    def _mounts(self) -> dict[str, Path]:
        mounts = self.spec.get("volumeMounts", [])
        return {m["mountPath"]: self.folder / "volumes" / m["name"] for m in mounts}

    def _mount(self, known: dict[str, Object]) -> dict[str, Path]:
        for volume in self.pod.item["spec"].get("volumes", []):
            kind, name = "ConfigMap", volume.get("configMap", {}).get("name")
            if "secret" in volume:
                kind, name = "Secret", volume["secret"]["secretName"]
            item = known.get(f"{kind} {self.pod.namespace}/{name}")
            if item is None:
                raise self._error(f"volume {volume['name']}: there is no {kind} {name!r}")
            folder = self.folder / "volumes" / volume["name"]
            folder.mkdir(parents=True)
            for file, content in item.get("data", {}).items():
                decoded = base64.b64decode(content) if kind == "Secret" else content.encode()
                (folder / file).write_bytes(decoded)
        return self._mounts()

    def _ports(self) -> list[tuple[int, Listens]]:
        """Each port, and what tells whether somebody listens on it."""
        ports = self.spec.get("ports", [])
        return [(p["containerPort"], _LISTENS[p.get("protocol", "TCP")]) for p in ports]

    def _check_ports(self) -> None:
        """Makes sure that it is this container that will answer, and no other program."""
        for port, listens in self._ports():
            if listens(self.pod.own_address, port):
                place = f"{self.pod.own_address}:{port}"
                raise self._error(f"cannot listen: {place} is in use", "end what listens there")

    def check_alive(self) -> None:
        """Raises LabError with the last lines of the log if the container has ended by itself."""
        status = self._process.poll() if self._process else None
        if status is not None:
            lines = self.log.read_text(errors="replace").strip().splitlines()
            said = f"ended with status {status}: " + "\n".join(lines[-12:])
            raise self._error(said, "mend its command; a cluster would start it again and again")

    def _error(self, what: str, remedy: str = "") -> LabError:
        container = f"container {self.spec['name']} of pod {self.pod.name}"
        return LabError(f"{container} {what}", remedy=remedy)


def containers(pod: Pod, folder: Path, services: Path) -> list[Container]:
    """The containers of a pod that the lab runs itself: all but Istio's own.

    Raises LabError for an image that it cannot play.
    """
    found = []
    for spec in pod.containers:
        if _PROXY_IMAGE.search(spec["image"]):
            continue
        if spec in pod.item["spec"].get("initContainers", []):
            raise LabError(f"pod {pod.name}: the lab does not play init container {spec['name']}")
        if not (_PYTHON_IMAGE.search(spec["image"]) or _CURL_IMAGE.search(spec["image"])):
            raise LabError(
                f"pod {pod.name}: the lab cannot play the image {spec['image']}",
                remedy="it plays python:3… and curlimages/curl:…",
            )
        found.append(Container(pod, spec, folder / spec["name"], services))
    return found


def _mounted(word: str, mounts: dict[str, Path]) -> str:
    for place, folder in mounts.items():
        if word == place or word.startswith(place.rstrip("/") + "/"):
            return str(folder) + word[len(place.rstrip("/")) :]
    return word


def _accepts(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _is_bound(address: str, port: int) -> bool:
    """Whether a UDP socket has this place. A datagram to find out would be one for the program."""
    number = int.from_bytes(socket.inet_aton(address), sys.byteorder)
    rows = Path("/proc/net/udp").read_text().splitlines()[1:]
    return f"{number:08X}:{port:04X}" in {row.split()[1] for row in rows}


_LISTENS: dict[str, Listens] = {"TCP": _accepts, "UDP": _is_bound}
