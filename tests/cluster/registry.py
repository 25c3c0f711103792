"""A registry that only reads: it offers the images of a folder to containerd, on loopback.

A sidecar's image has the policy Always: the kubelet asks for it although it is there.
https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""

from __future__ import annotations

import http.server
import json
import re
import shutil
import sys
from pathlib import Path

from cluster.addresses import REGISTRY_PORT

_ASKED = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^?]+)(\?.*)?")


def names(folder: Path) -> dict[str, dict[str, str]]:
    """What is in a folder: `istio/proxyv2:1.31.0`, without its registry, to its descriptor."""
    found = {}
    for manifest in json.loads((folder / "index.json").read_text())["manifests"]:
        name = manifest["annotations"]["io.containerd.image.name"]
        found[name.partition("/")[2]] = manifest
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for the folder that its server has."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answers with a manifest or a blob."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answers as to GET, without content."""
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        """Its log would say nothing that containerd's does not."""

    def _answer(self, *, body: bool) -> None:
        if self.path.rstrip("/") == "/v2":
            self._head(200, "application/json", 0)
            return
        asked = _ASKED.fullmatch(self.path)
        path, kind = self._find(asked) if asked else (None, "")
        if path is None:
            self._head(404, "application/json", 0)
            return
        self._head(200, kind, path.stat().st_size, f"sha256:{path.name}")
        if body:
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def _find(self, asked: re.Match[str]) -> tuple[Path | None, str]:
        kind, digest = "application/octet-stream", asked["reference"]
        if asked["kind"] == "manifests":
            named = self.server.names.get(f"{asked['name']}:{digest}")
            if named:
                digest = named["digest"]
            kind = "application/vnd.oci.image.manifest.v1+json"
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            return None, ""
        path = self.server.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")
        return (path, kind) if path.exists() else (None, "")

    def _head(self, status: int, kind: str, length: int, digest: str = "") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(length))
        if digest:
            self.send_header("docker-content-digest", digest)
        self.end_headers()


class Server(http.server.ThreadingHTTPServer):
    """Offers one folder of images."""

    def __init__(self, folder: Path, port: int = REGISTRY_PORT) -> None:
        self.folder, self.names = folder, names(folder)
        super().__init__(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    Server(Path(sys.argv[1])).serve_forever()
