"""`istioctl` in the lab: Istio's own, or what it printed in the same state of the mesh."""

from __future__ import annotations

import json
from pathlib import Path

from lab import tools
from lab.call import Call
from lab.cluster import shadow
from lab.errors import LabError
from lab.istiod import Source
from lab.manifests import read_yaml
from lab.mesh import Mesh
from lab.recordings import Answer, digest_of

# What needs no more of a cluster than the lab has.
_PLAYED = ("analyze", "proxy-config", "pc", "validate")


def run(mesh: Mesh, call: Call) -> int:
    """Answers one call, from the recording of this state where that is allowed."""
    if not call.args or call.args[0] not in _PLAYED:
        raise LabError(
            f"the lab does not play: istioctl {' '.join(call.args)}",
            remedy=f"it plays {', '.join(_PLAYED)}",
        )
    with mesh.lock:
        stdin = call.stdin.readall().decode() if "-" in call.args else ""
        files = _files(call) | ({"-": _digest(stdin)} if stdin else {})
        answer = None
        if mesh.source is not Source.LIVE:
            answer = mesh.state.answer(call.args, files)
        if answer is None and mesh.source is Source.RECORDED:
            raise LabError(
                f"no recording of: istioctl {' '.join(call.args)}",
                remedy=mesh.istiod.remedy,
            )
        if answer is None:
            answer = _ask(mesh, call, files, stdin)
            mesh.state.istioctl.append(answer)
        else:
            for proxy, method, path in answer.posts:
                mesh.proxies[proxy].admin(method, f"/{path}")
    for line in answer.stdout:
        call.print(line)
    for line in answer.stderr:
        call.error(line)
    return answer.exit


def _files(call: Call) -> dict[str, str]:
    """The digests of the files among the words, by the word."""
    paths = {word: call.path(word) for word in call.args if not word.startswith("-")}
    return {word: _digest(p.read_text()) for word, p in paths.items() if p.is_file()}


def _digest(text: str) -> str:
    """Of a manifest's values, so that its comments may change; of the text if it is no YAML."""
    try:
        return digest_of([document for _, document in read_yaml(text, Path("-"))])
    except LabError:
        return digest_of(text)


def _ask(mesh: Mesh, call: Call, files: dict[str, str], stdin: str) -> Answer:
    cluster = mesh.folder / "cluster.json"
    admin = {name: proxy.admin_address() for name, proxy in mesh.proxies.items()}
    network = f"{mesh.example.network}."
    posts = mesh.folder / "posts"
    posts.write_text("")
    known = {"admin": admin, "shadow": shadow(network), "pods": network, "posts": str(posts)}
    cluster.write_text(json.dumps({"objects": mesh.cluster.inside(mesh.objects())} | known))
    env = {"LAB_CLUSTER": str(cluster), "TERM": "dumb"}
    done = tools.run("istioctl", call.args, stdin=stdin, env=env, cwd=call.cwd)
    stdout, stderr = done.stdout.splitlines(), done.stderr.splitlines()
    sent = [json.loads(line) for line in posts.read_text().splitlines()]
    return Answer(call.args, files, stdout, stderr, done.code, sent)
