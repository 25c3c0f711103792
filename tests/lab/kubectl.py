"""`kubectl` in the lab: the calls that chapters need, in kubectl's own words.

What the lab does not play it refuses by name, so that no transcript rests on a guess.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from lab import create_secret, curl
from lab.agent import Agent
from lab.answers import split, take_namespace
from lab.call import Call
from lab.cluster import Key, Pod, key_of, select, title_of
from lab.errors import LabError
from lab.example import REJECTED
from lab.istiod import Source
from lab.kinds import dotted, kind_of, resource, typed
from lab.manifests import CLUSTER_SCOPED, Object, read_manifest
from lab.mesh import Mesh
from lab.printing import formatted, path_of
from lab.recordings import Verdict

# The annotation in which `kubectl apply` keeps the last manifest may not be larger, in bytes.
_ANNOTATION_LIMIT = 262144

_FOLLOW = 0.2  # seconds between two looks at a log that is followed


class _Refusal(Exception):
    """A message for standard error, in kubectl's words; the exit code is 1."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, prog: str) -> None:
        super().__init__(prog=prog, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise LabError(
            f"the lab does not play: {self.prog} ({message})",
            remedy=" ".join(self.format_usage().split()),
        )


def run(mesh: Mesh, call: Call) -> int:
    """Answers one call; gives kubectl's exit code. Raises LabError for what it does not play."""
    args, after = split(call.args)
    namespace, args = take_namespace(args)
    verb, rest = (args[0], args[1:]) if args else ("help", [])
    play = _VERBS.get(verb)
    if verb == "help" or {"--help", "-h"} & {*args}:
        call.print(f"The lab plays these commands of kubectl: {', '.join(_VERBS)}.")
        call.print("An option that it does not play is refused with a list of those it does.")
        return 0
    if play is None:
        raise LabError(
            f"the lab does not play: kubectl {' '.join(call.args)}",
            remedy=f"it plays {', '.join(_VERBS)}",
        )
    try:
        return play(mesh, call, namespace, rest, after)
    except _Refusal as refusal:
        call.error(str(refusal))
        return 1


def _apply(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    return _put(mesh, call, namespace, args, "apply")


def _create(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    if args[:1] == ["secret"]:
        return _create_secret(mesh, call, namespace, args[1:])
    return _put(mesh, call, namespace, args, "create")


def _create_secret(mesh: Mesh, call: Call, namespace: str, args: list[str]) -> int:
    parser = _Parser(prog="kubectl create secret")
    parser.add_argument("kind", choices=["tls", "generic"])
    parser.add_argument("name")
    parser.add_argument("--cert", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--from-file", action="append", default=[])
    parser.add_argument("--from-literal", action="append", default=[])
    parser.add_argument("--type", default="")
    parser.add_argument("--dry-run", choices=["client", "none"], default="none")
    parser.add_argument("-o", "--output", choices=["yaml", "json", "name"])
    given = parser.parse_args(args)
    try:
        if given.kind == "tls":
            content = create_secret.tls(call, given.cert, given.key)
        else:
            sources = given.from_file, given.from_literal
            content = create_secret.generic(call, *sources, given.type)
    except ValueError as error:
        raise _Refusal(f"error: {error}") from None
    metadata = {"name": given.name, "namespace": namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, **content}
    if given.dry_run == "none":
        there = {key_of(item) for item in mesh.cluster.snapshot()}
        if Key("", "Namespace", "", namespace) not in there:
            raise _Refusal(f'error: failed to create secret namespaces "{namespace}" not found')
        if key_of(secret) in there:
            raise _Refusal(f'error: failed to create secret secrets "{given.name}" already exists')
        mesh.apply([(secret, None)])
    if given.output:
        call.write(formatted(given.output, secret, [secret], namespaces=False))
    else:
        dry = " (dry run)" if given.dry_run == "client" else ""
        call.print(f"secret/{given.name} created{dry}")
    return 0


def _put(mesh: Mesh, call: Call, namespace: str, args: list[str], verb: str) -> int:
    """Applies or creates what the files hold; says of each object what became of it."""
    parser = _Parser(prog=f"kubectl {verb}")
    parser.add_argument("-f", "--filename", action="append", required=True)
    there = {key_of(item) for item in mesh.cluster.snapshot()}
    named = set(there)
    items: list[tuple[Object, Path | None]] = []
    errors: list[str] = []
    for word in parser.parse_args(args).filename:
        for item, origin in _manifests(call, word, namespace):
            refusal = _refusal(verb, item, origin, named)
            if refusal:
                errors.append(refusal)
            else:
                items.append((item, origin))
                named.add(key_of(item))
    if not items and not errors:
        raise _Refusal(f"error: no objects passed to {verb}")
    outcomes, verdicts = mesh.apply(items) if items else ([], [])
    for (item, origin), outcome in zip(items, outcomes, strict=True):
        for warning in _warnings(verdicts, item):
            call.error(f"Warning: {warning}")
        if outcome == "denied":
            errors.append(_denied(mesh, verdicts, item, origin, there))
        else:
            call.print(f"{resource(key_of(item))} {outcome}")
    for error in errors:
        call.error(error)
    return 1 if errors else 0


def _refusal(verb: str, item: Object, origin: Path | None, there: set[Key]) -> str | None:
    """What the API server says of an object before any webhook sees it."""
    key = key_of(item)
    if key.namespace and Key("", "Namespace", "", key.namespace) not in there:
        return (
            f'Error from server (NotFound): error when creating "{_file(origin)}": '
            f'namespaces "{key.namespace}" not found'
        )
    if verb == "create" and key in there:
        return (
            f'Error from server (AlreadyExists): error when creating "{_file(origin)}": '
            f'{kind_of(key).resource} "{key.name}" already exists'
        )
    if verb == "apply" and len(json.dumps(item)) > _ANNOTATION_LIMIT:
        return (
            f'The {key.kind} "{key.name}" is invalid: metadata.annotations: '
            f"Too long: may not be more than {_ANNOTATION_LIMIT} bytes"
        )
    return None


def _denied(
    mesh: Mesh, verdicts: list[Verdict], item: Object, origin: Path | None, there: set[Key]
) -> str:
    """The denial in kubectl's words.

    Raises LabError in a transcript if the file is not named `rejected-…`: then nobody meant it.
    """
    key = key_of(item)
    verdict = next(v for v in verdicts if v.object == title_of(item))
    if mesh.source is not Source.EITHER and origin and not origin.name.startswith(REJECTED):
        raise LabError(
            f"Istio rejects it: {verdict.malformed or verdict.denied}",
            where=origin,
            line=1,
            remedy=f"name the file {REJECTED}… if that is what it shows",
        )
    if verdict.malformed.startswith("no matches"):
        return f'error: resource mapping not found for name: "{key.name}": {verdict.malformed}'
    doing = f'error when {"patching" if key in there else "creating"} "{_file(origin)}"'
    if verdict.malformed:
        version = item["apiVersion"].rpartition("/")[2]
        return (
            f'Error from server (BadRequest): {doing}: {key.kind} in version "{version}" cannot be '
            f"handled as a {key.kind}: strict decoding error: {verdict.malformed}"
        )
    return (
        f'Error from server: {doing}: admission webhook "validation.istio.io" '
        f"denied the request: {verdict.denied}"
    )


def _file(origin: Path | None) -> str:
    return origin.name if origin else "STDIN"


def _delete(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl delete")
    parser.add_argument("what", nargs="*")
    parser.add_argument("-f", "--filename", action="append", default=[])
    parser.add_argument("-l", "--selector", type=_labels)
    given = parser.parse_args(args)
    keys = [
        key_of(item) for word in given.filename for item, _ in _manifests(call, word, namespace)
    ]
    snapshot = mesh.cluster.snapshot()
    there = {key_of(item) for item in snapshot}
    if given.what:
        kind, names = typed(given.what)
        keys += [kind.key(namespace, name) for name in names]
        if given.selector:
            keys += [
                key
                for item in snapshot
                if (key := key_of(item)) == kind.key(namespace, key.name)
                and given.selector.items() <= item["metadata"].get("labels", {}).items()
            ]
    for key in keys:
        if key in there:
            place = f" from {key.namespace} namespace" if key.namespace else ""
            call.print(f'{dotted(key)} "{key.name}" deleted{place}')
        else:
            call.error(_not_found(key))
    if ending := [pod for pod in mesh.pods() if key_of(pod.item) in keys]:
        mesh.end(ending)
    if others := [key for key in keys if key in there and key.kind != "Pod"]:
        mesh.delete(others)
    return 0 if set(keys) <= there else 1


def _get(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl get")
    parser.add_argument("what", nargs="+")
    parser.add_argument("-o", "--output", default="")
    parser.add_argument("-l", "--selector", type=_labels, default={})
    parser.add_argument("-A", "--all-namespaces", action="store_true")
    parser.add_argument("--sort-by", type=path_of)
    given = parser.parse_args(args)
    kind, names = typed(given.what)
    wanted = None if given.all_namespaces else namespace
    found = [
        item
        for item in mesh.objects()
        if (key := key_of(item)) == kind.key(key.namespace, key.name)
        and (wanted is None or key.namespace in ("", wanted))
        and given.selector.items() <= item["metadata"].get("labels", {}).items()
    ]
    if given.sort_by:
        found.sort(key=lambda item: [match.value for match in given.sort_by.find(item)])
    if names:
        found = [_one(found, kind.key(namespace, name)) for name in names]
    if not found:
        call.error("No resources found" + (f" in {wanted} namespace." if wanted else ""))
        return 0
    shown = found[0] if names and len(names) == 1 else {"kind": "List", "items": found}
    call.write(formatted(given.output, shown, found, given.all_namespaces))
    return 0


def _exec(mesh: Mesh, call: Call, namespace: str, args: list[str], after: list[str]) -> int:
    parser = _Parser(prog="kubectl exec")
    parser.add_argument("target")
    parser.add_argument("-c", "--container")
    parser.add_argument("-i", "--stdin", action="store_true")
    parser.add_argument("-t", "--tty", action="store_true")
    given = parser.parse_args(args)
    pod = _pod(mesh, given.target, namespace)
    mesh.check_containers()
    proxy = mesh.proxies.get(f"{pod.name}.{pod.namespace}")
    if after[:1] == ["pilot-agent"] and isinstance(proxy, Agent):
        return call.run(proxy.command(after), proxy.environment())
    if after[:2] == ["pilot-agent", "request"] and len(after) == 4:
        return _admin(mesh, call, pod, after[2], after[3])
    if after[:2] == ["pilot-discovery", "request"] and pod.labels.get("app") == "istiod":
        return _metrics(mesh, call, after[2:])
    if after and after[0] == "curl":
        return curl.run_in(mesh, call, after[1:], pod)
    if after and after[0] in ("python", "python3"):
        container = next(
            (c for c in mesh.containers_of(pod) if given.container in (None, c.spec["name"])), None
        )
        if container:
            return call.run(container.command(after), dict(os.environ) | container.environment())
    raise LabError(
        f"the lab does not play: kubectl exec … -- {' '.join(after)}",
        remedy="it runs curl, python3, pilot-agent and pilot-discovery request",
    )


def _logs(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl logs")
    parser.add_argument("target")
    parser.add_argument("-c", "--container")
    parser.add_argument("--tail", type=int, default=-1)
    parser.add_argument("-f", "--follow", action="store_true")
    given = parser.parse_args(args)
    pod = _pod(mesh, given.target, namespace)
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


def _rollout(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl rollout")
    parser.add_argument("action", choices=["restart", "status"])
    parser.add_argument("target")
    given = parser.parse_args(args)
    pod = _pod(mesh, given.target, namespace)
    if given.action == "status":
        call.print(f'deployment "{pod.deployment}" successfully rolled out')
        return 0
    call.print(f"deployment.apps/{pod.deployment} restarted")
    own = [p for p in mesh.pods() if (p.namespace, p.deployment) == (namespace, pod.deployment)]
    for old in own:
        mesh.end([old])
    return 0


def _scale(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl scale")
    parser.add_argument("target")
    parser.add_argument("--replicas", type=int, required=True)
    given = parser.parse_args(args)
    word, _, name = given.target.partition("/")
    key = typed([word])[0].key(namespace, name)
    if key.kind != "Deployment":
        raise LabError(f"the lab does not play: kubectl scale {given.target}")
    if key not in {key_of(item) for item in mesh.cluster.snapshot()}:
        raise _Refusal(_not_found(key))
    call.print(f"{resource(key)} scaled")
    mesh.scale(key, given.replicas)
    return 0


def _wait(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    """Says whether a condition is met. There is no waiting: the lab's objects are at rest."""
    parser = _Parser(prog="kubectl wait")
    parser.add_argument("what", nargs="+")
    parser.add_argument("--for", dest="condition", type=_condition, required=True)
    parser.add_argument("--timeout")
    given = parser.parse_args(args)
    kind, names = typed(given.what)
    for name in names:
        key = kind.key(namespace, name)
        item = _one([item for item in mesh.objects() if key_of(item) == key], key)
        conditions = item.get("status", {}).get("conditions")
        if conditions is None:
            raise LabError(f"the lab keeps no conditions of {resource(key)}")
        if given.condition not in [(c["type"], str(c["status"]).lower()) for c in conditions]:
            raise _Refusal(f"error: timed out waiting for the condition on {kind.plural}/{name}")
        call.print(f"{resource(key)} condition met")
    return 0


def _condition(text: str) -> tuple[str, str]:
    """Type and status of `condition=TYPE` or `condition=TYPE=STATUS`."""
    what, _, condition = text.partition("=")
    name, _, status = condition.partition("=")
    if what != "condition" or not name:
        raise argparse.ArgumentTypeError("the lab waits for condition=TYPE")
    return name, status.lower() or "true"


_VERBS: dict[str, Callable[[Mesh, Call, str, list[str], list[str]], int]] = {
    "apply": _apply,
    "create": _create,
    "delete": _delete,
    "exec": _exec,
    "get": _get,
    "logs": _logs,
    "rollout": _rollout,
    "wait": _wait,
    "scale": _scale,
}


def _manifests(call: Call, word: str, namespace: str) -> Iterator[tuple[Object, Path | None]]:
    """The objects of a file, of a folder's files, or of standard input."""
    if word == "-":
        text = call.stdin.readall().decode()
        sources: list[tuple[Path | None, str]] = [(None, text)]
    else:
        path = call.path(word)
        if not path.exists():
            raise _Refusal(f'error: the path "{word}" does not exist')
        paths = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        sources = [(p, p.read_text()) for p in paths if p.name != "lab.yaml"]
    for origin, text in sources:
        for item in read_manifest(text, origin or Path("STDIN")):
            if item["kind"] not in CLUSTER_SCOPED:
                item["metadata"].setdefault("namespace", namespace)
            yield item, origin


def _not_found(key: Key) -> str:
    return f'Error from server (NotFound): {kind_of(key).resource} "{key.name}" not found'


def _labels(text: str) -> dict[str, str]:
    """A selector such as `app=shop,version=v1`."""
    return dict(part.split("=", 1) for part in text.split(","))


def _one(found: list[Object], key: Key) -> Object:
    for item in found:
        if item["metadata"]["name"] == key.name:
            return item
    raise _Refusal(_not_found(key))


def _pod(mesh: Mesh, target: str, namespace: str) -> Pod:
    """The first pod of `pod`, `pod/NAME` or `deploy/NAME`."""
    word, _, name = target.rpartition("/")
    kind, _ = typed([word or "pod"])
    key = kind.key(namespace, name)
    pods = [pod for pod in mesh.pods() if pod.namespace == namespace]
    if kind.name == "Deployment":
        own = [item for item in mesh.cluster.snapshot() if key_of(item) == key]
        pods = select(pods, namespace, _one(own, key)["spec"]["selector"]["matchLabels"])
    else:
        pods = [pod for pod in pods if pod.name == name]
    if not pods:
        raise _Refusal(_not_found(key))
    return pods[0]


@contextlib.contextmanager
def _log(mesh: Mesh, pod: Pod, container: str | None) -> Iterator[Callable[[], list[str]]]:
    """What reads the lines of a container's log, also when the pod has ended meanwhile."""
    if pod.labels.get("app") == "istiod":
        yield lambda: mesh.istiod_log
        return
    logs = {c.spec["name"]: c.log for c in mesh.containers_of(pod)}
    proxy = mesh.proxies.get(f"{pod.name}.{pod.namespace}")
    if proxy:
        logs["istio-proxy"] = proxy.log
    name = container or next(iter(logs))
    if name not in logs:
        raise _Refusal(f"error: container {name} is not valid for pod {pod.name}")
    with logs[name].open(errors="replace") as file:

        def read() -> list[str]:
            if proxy:
                proxy.flush_log()
            file.seek(0)
            return mesh.cluster.as_in_a_pod(file.read()).splitlines()

        yield read


def _admin(mesh: Mesh, call: Call, pod: Pod, method: str, path: str) -> int:
    proxy = mesh.proxies.get(f"{pod.name}.{pod.namespace}")
    if proxy is None:
        raise _Refusal(f"error: container istio-proxy is not valid for pod {pod.name}")
    status, body = proxy.admin(method, "/" + path.lstrip("/"))
    call.write(mesh.cluster.as_in_a_pod(body))
    return 0 if status < 400 else 1


def _metrics(mesh: Mesh, call: Call, args: list[str]) -> int:
    if args not in (["GET", "/metrics"], ["GET", "metrics"]):
        raise LabError(
            f"the lab does not play: pilot-discovery request {' '.join(args)}",
            remedy="it plays pilot-discovery request GET /metrics",
        )
    for line in mesh.state.metrics:
        call.print(line)
    return 0


def _warnings(verdicts: list[Verdict], item: Object) -> list[str]:
    return [warning for v in verdicts if v.object == title_of(item) for warning in v.warnings]
