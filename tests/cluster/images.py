"""Makes the container images, in one folder in the layout of the Open Container Initiative.

Their names are those that manifests use, so that a manifest runs on any cluster.
https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
"""

from __future__ import annotations

import functools
import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.versions import Istio

from cluster import workloads
from cluster.kept import Part

_TYPE = "application/vnd.oci.image"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PAUSE = "registry.k8s.io/pause:3.10"
PYTHON = "docker.io/library/python:3.13-slim"
CURL = "docker.io/curlimages/curl:8.16.0"
COLLECTOR = f"docker.io/otel/opentelemetry-collector:{workloads.collector_version()}"
KAFKA = f"docker.io/apache/kafka:{workloads.KAFKA}"
_JAVA = "usr/lib/jvm/java-17-openjdk-amd64/bin"
TOOLS = "docker.io/nicolaka/netshoot:v0.13"


@dataclass(frozen=True)
class File:
    """A file or, without a source, a folder of an image."""

    path: str  # without leading slash
    source: Path | None = None
    owner: int = 0
    mode: int = 0o755


@dataclass(frozen=True)
class Image:
    """What a registry would serve under `name`: layers from the lowest up, and how it starts."""

    name: str
    layers: tuple[str, ...]
    config: dict[str, Any]


def images(istio: Istio) -> list[Image]:
    """Those that the examples and Istio name."""
    path = {"Env": [_PATH]}
    agent, discovery = "/usr/local/bin/pilot-agent", "/usr/local/bin/pilot-discovery"
    hub, tag = "docker.io/istio", istio.release
    return [
        Image(PAUSE, ("pause",), {"Entrypoint": ["/pause"], "User": "65535:65535"}),
        Image(PYTHON, ("base",), path | {"Cmd": ["python3"]}),
        Image(CURL, ("base",), path | {"User": "100"}),
        Image(TOOLS, ("base",), path),
        Image(f"{hub}/proxyv2:{tag}", ("base", "proxy"), path | {"Entrypoint": [agent]}),
        # For `sidecar.istio.io/proxyImageType: distroless`.
        Image(f"{hub}/proxyv2:{tag}-distroless", ("bare", "proxy"), path | {"Entrypoint": [agent]}),
        Image(
            f"{hub}/pilot:{tag}",
            ("base", "pilot"),
            path | {"Entrypoint": [discovery], "User": "1337:1337"},
        ),
        Image(
            COLLECTOR,
            ("base", "collector"),
            path
            | {
                "Entrypoint": ["/otelcol"],
                "Cmd": ["--config", "/etc/otelcol/config.yaml"],
                "User": "10001",
            },
        ),
        Image(
            KAFKA,
            ("base", "java", "kafka"),
            {"Env": [f"{_PATH}:/{_JAVA}"], "Entrypoint": ["bash"], "User": "1000"},
        ),
        # Those that an example has a Dockerfile for.
        *(
            Image(f"registry.example.com/{example}:1", ("base", example), path)
            for example in workloads.LIBRARIES
        ),
    ]


def part(istio: Istio, parts: Mapping[str, Part]) -> Part:
    """The images of one Istio; what they are made of is in `parts`, by names."""
    wanted, folder = images(istio), {name: part.folder for name, part in parts.items()}
    layers: dict[str, Callable[[tarfile.TarFile], None]] = {
        "base": lambda tar: add_tree(tar, folder["base"] / "root"),
        "bare": lambda tar: add_tree(tar, folder["base"] / "root", without=("usr/bin/",)),
        "pause": lambda tar: add(tar, [File("pause", folder["pause"] / "bin" / "pause")]),
        "proxy": lambda tar: add(tar, _proxy(folder["istio"], folder["envoy"])),
        "pilot": lambda tar: add(tar, _pilot(folder["istio"])),
        "collector": lambda tar: add(tar, [File("otelcol", folder["collector"] / "bin/collector")]),
        "java": lambda tar: add_tree(tar, folder["java"]),
        "kafka": lambda tar: add(tar, _kafka(folder["kafka"])),
    }
    for example, library in workloads.libraries().items():
        layers[example] = functools.partial(add_tree, root=library.folder / "root")
    inputs = (repr(wanted), *(part.digest for part in parts.values()), _source())
    about = f"the images of Istio {istio.label}"
    return Part(
        f"images-{istio.label}", about, inputs, lambda folder: write(folder, wanted, layers)
    )


def _source() -> str:
    return Path(__file__).read_text()


def _proxy(istio: Path, envoy: Path) -> list[File]:
    user, home = 1337, "var/lib/istio"
    return [
        File("usr/local/bin/pilot-agent", istio / "bin" / "pilot-agent"),
        File("usr/local/bin/envoy", envoy / "envoy"),
        File(home, owner=user),
        File(f"{home}/data", owner=user),
        File(f"{home}/envoy", owner=user),
        File(
            f"{home}/envoy/envoy_bootstrap_tmpl.json",
            istio / "envoy_bootstrap.json",
            owner=user,
            mode=0o644,
        ),
        File("etc/istio", owner=user),
        File("etc/istio/proxy", owner=user),
    ]


def _pilot(istio: Path) -> list[File]:
    return [File("usr/local/bin/pilot-discovery", istio / "bin" / "pilot-discovery")]


def _kafka(kafka: Path) -> list[File]:
    jars = sorted((kafka / "jars").iterdir())
    return [File(f"opt/kafka/libs/{jar.name}", jar, mode=0o644) for jar in jars]


def write(
    folder: Path, wanted: list[Image], layers: dict[str, Callable[[tarfile.TarFile], None]]
) -> None:
    """Writes images into an empty folder; a layer that several have is there once."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    made = {name: _layer(blobs, fill) for name, fill in layers.items()}
    manifests = [_manifest(blobs, image, [made[name] for name in image.layers]) for image in wanted]
    index = {"schemaVersion": 2, "mediaType": f"{_TYPE}.index.v1+json", "manifests": manifests}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _layer(blobs: Path, fill: Callable[[tarfile.TarFile], None]) -> dict[str, Any]:
    """Not compressed: it never crosses a network, and packing takes longer than copying."""
    path = blobs / "layer"
    with tarfile.open(path, "w") as tar:
        fill(tar)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    path.rename(blobs / digest)
    return _descriptor("layer.v1.tar", digest, (blobs / digest).stat().st_size)


def _manifest(blobs: Path, image: Image, layers: list[dict[str, Any]]) -> dict[str, Any]:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": image.config,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_TYPE}.manifest.v1+json",
        "config": _json(blobs, "config.v1+json", config),
        "layers": layers,
    }
    names = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
    found = _json(blobs, "manifest.v1+json", manifest)
    return found | {"annotations": dict.fromkeys(names, image.name)}


def _json(blobs: Path, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(value, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return _descriptor(kind, digest, len(data))


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": f"{_TYPE}.{kind}", "digest": f"sha256:{digest}", "size": size}


def add(tar: tarfile.TarFile, files: list[File]) -> None:
    """Adds files with the owner and mode that they say, and without a time."""
    for file in files:
        entry = tarfile.TarInfo(file.path)
        entry.uid = entry.gid = file.owner
        entry.mode = file.mode
        if file.source is None:
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
            continue
        entry.size = file.source.stat().st_size
        with file.source.open("rb") as data:
            tar.addfile(entry, data)


def add_tree(tar: tarfile.TarFile, root: Path, without: tuple[str, ...] = ()) -> None:
    """Adds a whole tree as it is, without devices, which each container has its own of.

    What stands in a folder of `without` is left out, such as the shell, curl and tar.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.uname = entry.gname = ""
        return None if entry.isdev() or entry.name.startswith(without) else entry

    for path in sorted(root.iterdir()):
        tar.add(path, path.name, filter=plain)


def stream(folder: Path, out: Any) -> None:
    """Writes the images as the tar that `ctr images import` reads."""
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(folder / name, name)
