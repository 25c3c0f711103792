"""`curl` in the lab: the real one, told where the mesh's addresses are.

Service addresses and names exist only in the mesh. The lab gives each to curl as `--connect-to`,
which does what a node's rules do on a cluster: the connection goes to a pod, the request stays as
it was. What curl then says of that pod is put back into the caller's terms.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator

from lab.errors import LabError
from lab.mesh.mesh import Mesh
from lab.objects.names import Place, fronts, reach, resolve, search, zone
from lab.objects.pod import Pod
from lab.programs.call import Call

_PORTS = {"http": 80, "https": 443, "telnet": 23}
_RESOLVE = re.compile(r"([^:]+):(\d+):([^:]+)")
_CONNECT_TO = re.compile(r"([^:]+):(\d+):([^:]+):(\d+)")


def run(mesh: Mesh, call: Call) -> int:
    """curl from outside of the mesh: it reaches load balancers and nothing else."""
    return run_in(mesh, call, call.args, None)


def run_in(mesh: Mesh, call: Call, args: list[str], pod: Pod | None) -> int:
    """curl in a pod, or outside of the mesh. Gives curl's exit code."""
    program = shutil.which("curl")
    if program is None:
        raise LabError("curl is not installed", remedy="install it with the system's packages")
    asked = [place for place in map(_place, args) if place]
    with mesh.lock:
        places = dict(_places(mesh, pod, asked))
        addresses = {p.address for p in mesh.pods()} if pod else set()
        source = pod.address if pod else mesh.client_address(_balancer(args, asked))
        places |= dict(_resolved(mesh, pod, args, places))
    nothing = mesh.node
    hosts = {host for host, _ in places}
    named: dict[Place, Place] = {}
    for host, port in asked:
        if host not in hosts | addresses and not _is_address(host):
            call.error(f"curl: (6) Could not resolve host: {host}")
            return 6
        if host not in addresses or (host, port) in places:
            named[host, port] = places.get((host, port), (nothing, port))
    places = named | places  # what the caller named comes first, also in what curl says of it
    command = [program, "--disable", "--noproxy", "*", "--no-progress-meter"]
    for (host, port), (to, at) in places.items():
        bare = f"[{host}]" if ":" in host else host
        command += ["--connect-to", f"{bare}:{port}:{to}:{at}"]
    for address in sorted(addresses):
        command += ["--connect-to", f"{address}::{address}:"]
    command += ["--connect-to", f"::{nothing}:", "--interface", source]
    return call.run(command + args, dict(os.environ), _translations(places))


def _places(mesh: Mesh, pod: Pod | None, asked: list[Place]) -> Iterator[tuple[Place, Place]]:
    """Where each place of a Service leads to; through the sidecar, if the pod has one."""
    ports = list(fronts(mesh.objects, "TCP", pod.namespace if pod else None))
    if pod is None or pod.proxy_type != "sidecar":
        for front in ports:
            to = front.pods[0] if front.pods else (mesh.node, front.port)
            yield from (((host, front.port), to) for host in front.hosts)
        return
    named = [(host, front.port) for front in ports for host in front.hosts]
    known, domains = zone(mesh.objects), search(pod.namespace)
    own = mesh.names_of(pod)  # before the cluster's DNS, and only as they are
    reached = dict(reach(mesh.objects, "TCP", pod.namespace))
    for host, port in [*named, *asked]:
        addresses = [host] if _is_address(host) else own.get(host) or resolve(known, host, domains)
        for place in [(address, port) for address in addresses[:1]]:
            if pod.goes_past_sidecar(*place):
                yield (host, port), reached.get(place, place)
            else:
                yield (host, port), mesh.forwarders.to(pod, place)


def _resolved(
    mesh: Mesh, pod: Pod | None, args: list[str], places: dict[Place, Place]
) -> Iterator[tuple[Place, Place]]:
    """What the caller's own `--resolve HOST:PORT:ADDRESS` means in the mesh.

    And what `--connect-to HOST:PORT:ADDRESS:PORT` means.
    """

    def led(address: str, port: int) -> Place:
        if (address, port) in places:
            return places[address, port]
        if pod and pod.proxy_type == "sidecar":  # which takes any address
            return mesh.forwarders.to(pod, (address, port))
        return mesh.node, port

    for option, value in itertools.pairwise(args):
        if option == "--connect-to" and (given := _CONNECT_TO.fullmatch(value)):
            yield (given[1], int(given[2])), led(given[3], int(given[4]))
        if option == "--resolve" and (given := _RESOLVE.fullmatch(value)):
            yield (given[1], int(given[2])), led(given[3], int(given[2]))


def _translations(places: dict[Place, Place]) -> dict[bytes, bytes]:
    """How curl names a connection to a pod, and what the caller called it."""
    words: dict[bytes, bytes] = {}
    for (host, port), (to, at) in places.items():
        for pattern in ("{} port {}", "({}) port {}"):
            words.setdefault(pattern.format(to, at).encode(), pattern.format(host, port).encode())
    return words


def _balancer(args: list[str], asked: list[Place]) -> str:
    """The address that a client outside calls: in the URL, or given for the name that is in it."""
    given = (_RESOLVE.fullmatch(arg) or _CONNECT_TO.fullmatch(arg) for arg in args)
    return next((found[3] for found in given if found), asked[0][0] if asked else "")


def _place(word: str) -> Place | None:
    """Where a word leads if it is a URL; a wrong one is for curl to refuse."""
    try:
        url = urllib.parse.urlsplit(word)
        if not url.hostname or url.scheme not in _PORTS:
            return None
        return url.hostname, url.port or _PORTS[url.scheme]
    except ValueError:
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
