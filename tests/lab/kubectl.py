"""`kubectl` in the lab: the calls that chapters need, in kubectl's own words.

What the lab does not play it refuses by name, so that no transcript rests on a guess.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonpath_ng.ext import parser as jsonpath

from lab import curl
from lab.call import Call
from lab.cluster import Key, Pod, key_of, select
from lab.envoy import FLUSH_INTERVAL
from lab.errors import LabError
from lab.example import REJECTED
from lab.istiod import Source
from lab.manifests import CLUSTER_SCOPED, Object, read_manifest
from lab.mesh import Mesh
from lab.recordings import Verdict

# The annotation in which `kubectl apply` keeps the last manifest may not be larger, in bytes.
_ANNOTATION_LIMIT = 262144

# What people type, and the kind and plural that it means. Gateway alone is the Gateway API's.
_KINDS = {
    "Pod": ("", "pods", ("po", "pod", "pods")),
    "Service": ("", "services", ("svc", "service", "services")),
    "ConfigMap": ("", "configmaps", ("cm", "configmap", "configmaps")),
    "Secret": ("", "secrets", ("secret", "secrets")),
    "Namespace": ("", "namespaces", ("ns", "namespace", "namespaces")),
    "Deployment": ("apps", "deployments", ("deploy", "deployment", "deployments")),
    "VirtualService": (
        "networking.istio.io",
        "virtualservices",
        ("vs", "virtualservice", "virtualservices"),
    ),
    "DestinationRule": (
        "networking.istio.io",
        "destinationrules",
        ("dr", "destinationrule", "destinationrules"),
    ),
    "EnvoyFilter": ("networking.istio.io", "envoyfilters", ("envoyfilter", "envoyfilters")),
    "Gateway": (
        "networking.istio.io",
        "gateways",
        ("gw", "gateway", "gateways", "gateways.networking.istio.io"),
    ),
    "HTTPRoute": ("gateway.networking.k8s.io", "httproutes", ("httproute", "httproutes")),
    "TCPRoute": ("gateway.networking.k8s.io", "tcproutes", ("tcproute", "tcproutes")),
}


class _Refusal(Exception):
    """A message for standard error, in kubectl's words; the exit code is 1."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise LabError(
            f"the lab does not play: {self.prog} ({message})",
            remedy="reference/how-the-examples-run lists what it plays",
        )


def run(mesh: Mesh, call: Call) -> int:
    """Answers one call; gives kubectl's exit code. Raises LabError for what it does not play."""
    args, after = _split(call.args)
    namespace, args = _namespace(args)
    verb, rest = (args[0], args[1:]) if args else ("", [])
    play = _VERBS.get(verb)
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
    return _put(mesh, call, namespace, args, "create")


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
    outcomes, verdicts = mesh.apply(items) if items else ([], [])
    for (item, origin), outcome in zip(items, outcomes, strict=True):
        for warning in _warnings(verdicts, item):
            call.error(f"Warning: {warning}")
        if outcome == "denied":
            errors.append(_denied(mesh, verdicts, item, origin, there))
        else:
            call.print(f"{_resource(item)} {outcome}")
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
        _, plural, _ = _KINDS.get(key.kind, ("", key.kind.lower() + "s", ()))
        return (
            f'Error from server (AlreadyExists): error when creating "{_file(origin)}": '
            f'{plural}{"." if key.group else ""}{key.group} "{key.name}" already exists'
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
    doing = "patching" if key_of(item) in there else "creating"
    reason = next(v.denied for v in verdicts if v.object == _webhook_name(item))
    if mesh.source is not Source.EITHER and origin and not origin.name.startswith(REJECTED):
        raise LabError(
            f"Istio rejects it: {reason}",
            where=origin,
            line=1,
            remedy=f"name the file {REJECTED}… if that is what it shows",
        )
    return (
        f'Error from server: error when {doing} "{_file(origin)}": admission webhook '
        f'"validation.istio.io" denied the request: {reason}'
    )


def _file(origin: Path | None) -> str:
    return origin.name if origin else "STDIN"


def _delete(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl delete")
    parser.add_argument("what", nargs="*")
    parser.add_argument("-f", "--filename", action="append", default=[])
    given = parser.parse_args(args)
    keys = [
        key_of(item) for word in given.filename for item, _ in _manifests(call, word, namespace)
    ]
    if given.what:
        kind, names = _typed(given.what)
        keys += [_key(kind, namespace, name) for name in names]
    there = {key_of(item) for item in mesh.cluster.snapshot()}
    if any(key.kind == "Pod" for key in keys):
        raise LabError("the lab does not play: kubectl delete pod", remedy="delete its Deployment")
    mesh.delete([key for key in keys if key in there])
    for key in keys:
        if key in there:
            call.print(f'{_dotted(key)} "{key.name}" deleted')
        else:
            call.error(f"Error from server (NotFound): {_not_found(key.kind, key.name)}")
    return 0 if set(keys) <= there else 1


def _get(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl get")
    parser.add_argument("what", nargs="+")
    parser.add_argument("-o", "--output", default="")
    given = parser.parse_args(args)
    kind, names = _typed(given.what)
    group = _KINDS[kind][0]
    found = [
        item
        for item in mesh.cluster.snapshot()
        if (key := key_of(item)).kind == kind
        and key.group == group
        and key.namespace in ("", namespace)
    ]
    if names:
        found = [_one(found, kind, name) for name in names]
    if not found:
        call.error(f"No resources found in {namespace} namespace.")
        return 0
    shown = found[0] if names and len(names) == 1 else {"kind": "List", "items": found}
    call.write(_formatted(given.output, shown, found))
    return 0


def _exec(mesh: Mesh, call: Call, namespace: str, args: list[str], after: list[str]) -> int:
    parser = _Parser(prog="kubectl exec")
    parser.add_argument("target")
    parser.add_argument("-c", "--container")
    parser.add_argument("-i", "--stdin", action="store_true")
    parser.add_argument("-t", "--tty", action="store_true")
    given = parser.parse_args(args)
    pod = _pod(mesh, given.target, namespace)
    if after[:2] == ["pilot-agent", "request"] and len(after) == 4:
        return _admin(mesh, call, pod, after[2], after[3])
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
        remedy="it runs curl, python3 and pilot-agent request",
    )


def _logs(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl logs")
    parser.add_argument("target")
    parser.add_argument("-c", "--container")
    parser.add_argument("--tail", type=int, default=-1)
    given = parser.parse_args(args)
    pod = _pod(mesh, given.target, namespace)
    lines = _log_lines(mesh, pod, given.container)
    for line in lines if given.tail < 0 else lines[len(lines) - min(given.tail, len(lines)) :]:
        call.print(line)
    return 0


def _rollout(mesh: Mesh, call: Call, namespace: str, args: list[str], _: list[str]) -> int:
    parser = _Parser(prog="kubectl rollout")
    parser.add_argument("action", choices=["status"])
    parser.add_argument("target")
    target = parser.parse_args(args).target
    _pod(mesh, target, namespace)
    call.print(f'deployment "{target.rpartition("/")[2]}" successfully rolled out')
    return 0


_VERBS: dict[str, Callable[[Mesh, Call, str, list[str], list[str]], int]] = {
    "apply": _apply,
    "create": _create,
    "delete": _delete,
    "exec": _exec,
    "get": _get,
    "logs": _logs,
    "rollout": _rollout,
}


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The words before and after `--`."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def _namespace(words: list[str]) -> tuple[str, list[str]]:
    """The namespace of the call, and the words without it: the flag may stand anywhere."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-n", "--namespace", default="default")
    given, rest = parser.parse_known_args(words)
    return given.namespace, rest


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


def _resource(item: Object) -> str:
    key = key_of(item)
    return f"{_dotted(key)}/{key.name}"


def _dotted(key: Key) -> str:
    """A kind as kubectl prints it: `service`, `deployment.apps`."""
    return f"{key.kind.lower()}.{key.group}".rstrip(".")


def _typed(words: list[str]) -> tuple[str, list[str]]:
    """Kind and names, from `svc a b` or `svc/a`. Raises LabError for a kind that is not known."""
    kind, *names = words[0].split("/") if "/" in words[0] else words
    for known, (_, _, aliases) in _KINDS.items():
        if kind.lower() in aliases:
            return known, names
    raise LabError(f"the lab does not know the resource type {kind!r}")


def _key(kind: str, namespace: str, name: str) -> Key:
    return Key(_KINDS[kind][0], kind, "" if kind in CLUSTER_SCOPED else namespace, name)


def _not_found(kind: str, name: str) -> str:
    group, plural, _ = _KINDS[kind]
    return f'{plural}.{group} "{name}" not found'.replace('. "', ' "')


def _one(found: list[Object], kind: str, name: str) -> Object:
    for item in found:
        if item["metadata"]["name"] == name:
            return item
    raise _Refusal(f"Error from server (NotFound): {_not_found(kind, name)}")


def _pod(mesh: Mesh, target: str, namespace: str) -> Pod:
    """The first pod of `pod`, `pod/NAME` or `deploy/NAME`."""
    kind, _, name = target.rpartition("/")
    kind, _ = _typed([kind or "pod"])
    pods = [pod for pod in mesh.pods() if pod.namespace == namespace]
    if kind == "Deployment":
        deployments = [item for item in mesh.cluster.snapshot() if item["kind"] == "Deployment"]
        own = [item for item in deployments if item["metadata"]["namespace"] == namespace]
        labels = _one(own, kind, name)["spec"]["selector"]["matchLabels"]
        pods = select(pods, namespace, labels)
    else:
        pods = [pod for pod in pods if pod.name == name]
    if not pods:
        raise _Refusal(f"Error from server (NotFound): {_not_found(kind, name)}")
    return pods[0]


def _log_lines(mesh: Mesh, pod: Pod, container: str | None) -> list[str]:
    if pod.labels.get("app") == "istiod":
        return mesh.istiod_log
    started = mesh.containers_of(pod)
    logs = {c.spec["name"]: c.log for c in started}
    proxy = mesh.proxies.get(f"{pod.name}.{pod.namespace}")
    if proxy:
        logs["istio-proxy"] = proxy.log
        time.sleep(3 * FLUSH_INTERVAL)
    name = container or next(iter(logs))
    if name not in logs:
        raise _Refusal(f"error: container {name} is not valid for pod {pod.name}")
    return logs[name].read_text(errors="replace").splitlines()


def _admin(mesh: Mesh, call: Call, pod: Pod, method: str, path: str) -> int:
    proxy = mesh.proxies.get(f"{pod.name}.{pod.namespace}")
    if proxy is None:
        raise _Refusal(f"error: container istio-proxy is not valid for pod {pod.name}")
    status, body = proxy.admin(method, "/" + path.lstrip("/"))
    call.write(body)
    return 0 if status < 400 else 1


def _warnings(verdicts: list[Verdict], item: Object) -> list[str]:
    return [warning for v in verdicts if v.object == _webhook_name(item) for warning in v.warnings]


def _webhook_name(item: Object) -> str:
    key = key_of(item)
    return f"{key.kind} {key.namespace}/{key.name}"


def _formatted(output: str, shown: Any, found: list[Object]) -> str:
    if output == "yaml":
        return str(yaml.safe_dump(shown, sort_keys=True))
    if output == "json":
        return json.dumps(shown, indent=4, sort_keys=True) + "\n"
    if output == "name":
        return "".join(f"{_resource(item)}\n" for item in found)
    if output.startswith("jsonpath="):
        return _jsonpath(output.removeprefix("jsonpath="), shown)
    if output:
        raise LabError(f"the lab does not play: kubectl get -o {output}")
    return _table(found)


def _jsonpath(template: str, value: Any) -> str:
    """A template such as `{.status.podIP}`: text, and expressions in braces."""

    def expand(match: re.Match[str]) -> str:
        text = match.group(1).strip()
        if text.startswith('"'):
            return str(json.loads(text))
        matches = jsonpath.parse("$" + text).find(value)
        return " ".join(
            m.value if isinstance(m.value, str) else json.dumps(m.value) for m in matches
        )

    return re.sub(r"\{([^}]*)\}", expand, template)


def _table(found: list[Object]) -> str:
    columns = _COLUMNS.get(found[0]["kind"], _NAME_ONLY)
    rows = [list(columns), *([str(cell(item)) for cell in columns.values()] for item in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"


_NAME_ONLY: dict[str, Callable[[Object], Any]] = {"NAME": lambda item: item["metadata"]["name"]}

_COLUMNS: dict[str, dict[str, Callable[[Object], Any]]] = {
    "Pod": {
        **_NAME_ONLY,
        "READY": lambda item: "{0}/{0}".format(len(item["spec"]["containers"])),
        "STATUS": lambda item: item["status"]["phase"],
    },
    "Service": {
        **_NAME_ONLY,
        "TYPE": lambda item: item["spec"].get("type", "ClusterIP"),
        "CLUSTER-IP": lambda item: item["spec"].get("clusterIP", "<none>"),
        "EXTERNAL-IP": lambda item: (
            " ".join(
                i["ip"] for i in item.get("status", {}).get("loadBalancer", {}).get("ingress", [])
            )
            or "<none>"
        ),
        "PORT(S)": lambda item: ",".join(
            f"{port['port']}/{port['protocol']}" for port in item["spec"].get("ports", [])
        ),
    },
}
