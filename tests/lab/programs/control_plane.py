"""`kubectl` and `istioctl` in the lab.

What asks a proxy or a workload is run: `exec` and `logs`. What asks the control plane is answered
as the cluster answered it at the same step, and if that changed the cluster, the mesh follows.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from lab.errors import LabError
from lab.files.manifests import Object
from lab.files.recording import Call as Answer
from lab.files.recording import without_temporary
from lab.mesh.mesh import Mesh
from lab.objects.pod import Pod
from lab.programs import curl
from lab.programs.call import Call

_FOLLOW = 0.2  # seconds between two looks at a log that is followed
_ISTIOD = "istiod"

# In Envoy's words for a listener that it rejects: on a cluster it listens on all addresses.
_REFUSED, _ANY = "error adding listener '", "0.0.0.0"  # noqa: S104


READER = ("", 0)
"""The step of whoever goes on in a shell after the transcripts have ended."""


@dataclass
class Answers:
    """What the control plane has said, handed out in order. `step` is the command that plays."""

    calls: list[Answer]
    step: tuple[str, int] = READER
    taken: int = 0
    _used: set[int] = field(default_factory=set)

    def to(self, program: str, args: Sequence[str], state: int) -> Answer:
        """The answer to a call in this step; the last one again where a loop asks on.

        A reader gets what the cluster said in the state that runs, and may change nothing. Raises
        LabError if the cluster was never asked so.
        """
        same = [
            number
            for number, (call, within) in enumerate(zip(self.calls, self._states, strict=True))
            if (call.program, call.args) == (program, tuple(args))
            and (call.step == self.step or (self.step, call.state, within) == (READER, None, state))
        ]
        if not same:
            raise LabError(
                f"the cluster was not asked: {program} {' '.join(args)}",
                remedy="only a cluster can answer: make cluster",
            )
        number = next((number for number in same if number not in self._used), same[-1])
        self._used.add(number)
        self.taken += 1
        return self.calls[number]

    @cached_property
    def _states(self) -> list[int]:
        """The state in which the cluster was as each call was made."""
        return list(accumulate((call.state or 0 for call in self.calls[:-1]), max, initial=1))


def run(mesh: Mesh, answers: Answers, program: str, call: Call) -> int:
    """Answers one call of a program; gives its exit code."""
    before, after = split(call.args)
    namespace, words = take_namespace(before)
    verb = next((word for word in words if not word.startswith("-")), "")
    if program == "kubectl" and verb in ("exec", "logs"):
        given = _target(words[words.index(verb) + 1 :])
        if _ISTIOD not in given.target and f"app={_ISTIOD}" not in (given.selector or ""):
            pod = _pod(mesh, given, namespace)
            if verb == "logs":
                return _logs(mesh, call, pod, given)
            command = [mesh.addresses.inside(word) for word in after]
            code = _exec(mesh, call, pod, given.container, command)
            if code:
                call.error(f"command terminated with exit code {code}")
            return code
    if program == "kubectl" and " ".join(words[:2]) in ("create secret", "create configmap"):
        mesh.keep(_made(call, namespace, words[1:]))
    if words[:2] == ["proxy-config", "log"] and program == "istioctl":
        set_levels(mesh, namespace, words[2:])
    return _answer(mesh, answers, program, call)


def _answer(mesh: Mesh, answers: Answers, program: str, call: Call) -> int:
    args = without_temporary(call.args, str(mesh.folder))
    answer = answers.to(program, args, mesh.number)
    call.write(answer.out)
    if answer.err:
        call.error(answer.err.removesuffix("\n"))
    if answer.state:
        mesh.move_to(answer.state)
    return answer.exit


def set_levels(mesh: Mesh, namespace: str, words: list[str]) -> None:
    """Sets the levels of a proxy's log that `istioctl proxy-config log` sets on the cluster."""
    parser = argparse.ArgumentParser(prog="istioctl proxy-config log", add_help=False)
    parser.add_argument("target")
    parser.add_argument("--level", default="")
    parser.add_argument("-r", "--reset", action="store_true")
    given, _ = parser.parse_known_args(words)
    proxy = mesh.proxies[_pod(mesh, _target([given.target]), namespace).id]
    for one in ["level:warning"] if given.reset else given.level.split(","):
        component, _, level = one.rpartition(":")
        proxy.admin("POST", f"/logging?{component or 'level'}={level}" if level else "/logging")


def _exec(mesh: Mesh, call: Call, pod: Pod, container: str | None, words: list[str]) -> int:
    mesh.check_containers()
    if words[:2] == ["pilot-agent", "request"] and len(words) == 4:
        status, body = mesh.proxies[pod.id].admin(words[2], "/" + words[3].lstrip("/"))
        if words[3].strip("/") == "listeners":
            body = body.replace(f"::{pod.address}:", f"::{_ANY}:")  # see module `xds`
        call.print(body)  # pilot-agent ends each answer with a new line
        return 0 if status < 400 else 1
    if words[:1] == ["curl"]:
        return curl.run_in(mesh, call, words[1:], pod)
    for one in mesh.containers_of(pod) if words[:1] in (["python"], ["python3"]) else []:
        if container in (None, one.spec["name"]):
            return call.run(one.command(words), dict(os.environ) | one.environment())
    raise LabError(
        f"the lab does not play: kubectl exec … -- {' '.join(words)}",
        remedy="it runs curl, python3 and pilot-agent request",
    )


def _logs(mesh: Mesh, call: Call, pod: Pod, given: argparse.Namespace) -> int:
    with _log(mesh, pod, given.container) as read:
        lines = read()
        at = max(0, len(lines) - given.tail) if given.tail >= 0 else 0
        while True:
            ended = pod.name not in [known.name for known in mesh.pods()]
            lines = read() if ended else lines
            for line in lines[at:]:
                call.print(line)
            if not given.follow or ended or call.hung_up(_FOLLOW):
                return 0
            at, lines = len(lines), read()


@contextlib.contextmanager
def _log(mesh: Mesh, pod: Pod, container: str | None) -> Iterator[Callable[[], list[str]]]:
    """What reads the lines of a container's log, also when the pod has ended meanwhile."""
    logs = {c.spec["name"]: c.log for c in mesh.containers_of(pod)}
    proxy = mesh.proxies.get(pod.id)
    if proxy:
        logs["istio-proxy"] = proxy.log
    with logs[container or next(iter(logs))].open(errors="replace") as file:

        def read() -> list[str]:
            if proxy:
                proxy.flush_log()
            file.seek(0)
            text = file.read().replace(_REFUSED + pod.address, _REFUSED + _ANY)
            return mesh.in_logs(text).splitlines()

        yield read


def _target(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kubectl", add_help=False, allow_abbrev=False)
    parser.add_argument("target", nargs="?", default="")
    parser.add_argument("-c", "--container")
    parser.add_argument("-l", "--selector")
    parser.add_argument("-i", "--stdin", action="store_true")
    parser.add_argument("-t", "--tty", action="store_true")
    parser.add_argument("-f", "--follow", action="store_true")
    parser.add_argument("--tail", type=int, default=-1)
    given, unknown = parser.parse_known_args(words)
    if unknown:
        raise LabError(f"the lab does not play: {' '.join(unknown)} of kubectl exec and logs")
    return given


def _pod(mesh: Mesh, given: argparse.Namespace, namespace: str) -> Pod:
    """The first pod of `NAME`, `pod/NAME`, `deploy/NAME` or a selector."""
    kind, _, name = given.target.rpartition("/")
    wanted = dict(part.split("=", 1) for part in (given.selector or "").split(",") if part)
    for pod in mesh.pods():
        own = pod.deployment if kind.startswith(("deploy", "job", "statefulset")) else pod.name
        if (
            pod.namespace == namespace
            and own == (name or own)
            and wanted.items() <= pod.labels.items()
        ):
            return pod
    raise LabError(f"no pod runs for {given.target or given.selector} in namespace {namespace}")


def _made(call: Call, namespace: str, words: list[str]) -> Object:
    """The Secret or ConfigMap that is created: recordings have neither, and proxies need them."""
    parser = argparse.ArgumentParser(prog=f"kubectl create {words[0]}", add_help=False)
    if words[0] == "secret":
        parser.add_argument("kind")
    parser.add_argument("name")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--from-file", action="append", default=[])
    parser.add_argument("--from-literal", action="append", default=[])
    given, _ = parser.parse_known_args(words[1:])
    data = {"tls.crt": given.cert, "tls.key": given.key}
    for source in given.from_file:
        name, _, file = source.rpartition("=")
        data[name or Path(file).name] = file
    contents = {name: call.path(file).read_bytes() for name, file in data.items() if file}
    contents |= {
        name: value.encode()
        for name, _, value in (literal.partition("=") for literal in given.from_literal)
    }
    is_secret = words[0] == "secret"
    return {
        "apiVersion": "v1",
        "kind": "Secret" if is_secret else "ConfigMap",
        "metadata": {"name": given.name, "namespace": namespace},
        "data": {
            name: base64.b64encode(value).decode() if is_secret else value.decode()
            for name, value in contents.items()
        },
    }


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before and after `--`."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def take_namespace(words: list[str]) -> tuple[str, list[str]]:
    """The namespace of the call, and the words without it: the flag may stand anywhere."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-n", "--namespace", default="default")
    given, rest = parser.parse_known_args(words)
    return given.namespace, rest
