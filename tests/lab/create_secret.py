"""What `kubectl create secret` puts into a Secret, and what it says of files that it cannot use."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lab.call import Call
from lab.manifests import Object


def tls(call: Call, cert: str, key: str) -> Object:
    """The type and data of a TLS Secret. Raises ValueError in kubectl's words."""
    if not cert or not key:
        raise ValueError("key and cert must be specified")
    data = {"tls.crt": _read_for_tls(call, cert), "tls.key": _read_for_tls(call, key)}
    _check_pair(data["tls.crt"], data["tls.key"])
    return {"type": "kubernetes.io/tls", "data": _encoded(data)}


def generic(call: Call, files: list[str], literals: list[str], kind: str) -> Object:
    """The type and data of a Secret of any kind, each source `[KEY=]FILE` or `KEY=VALUE`.

    Raises ValueError in kubectl's words.
    """
    data: dict[str, bytes] = {}
    for literal in literals:
        name, separator, value = literal.partition("=")
        if not name or not separator:
            raise ValueError(f"invalid literal source {literal}, expected key=value")
        _add(data, name, value.encode())
    for source in files:
        name, _, file = source.rpartition("=")
        path = call.path(file)
        if not path.exists():
            raise ValueError(f"error reading {file}: no such file or directory")
        found = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for one in found:
            _add(data, name or (one.name if path.is_dir() else Path(file).name), one.read_bytes())
    return {"type": kind or "Opaque", "data": _encoded(data)}


def _add(data: dict[str, bytes], name: str, value: bytes) -> None:
    if name in data:
        raise ValueError(f"cannot add key {name}, another key by that name already exists")
    data[name] = value


def _encoded(data: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in data.items()}


def _read_for_tls(call: Call, file: str) -> bytes:
    try:
        return call.path(file).read_bytes()
    except OSError as error:
        reason = str(error.strerror).lower()
        raise ValueError(f"Cannot read file {file}, open {file}: {reason}") from None


def _check_pair(cert: bytes, key: bytes) -> None:
    """Makes sure that the key is the certificate's, as Go's tls.X509KeyPair does."""
    try:
        public = x509.load_pem_x509_certificate(cert).public_key()
    except ValueError:
        raise ValueError("tls: failed to find any PEM data in certificate input") from None
    try:
        private = load_pem_private_key(key, None)
    except ValueError:
        raise ValueError("tls: failed to find any PEM data in key input") from None
    if private.public_key() != public:
        raise ValueError("tls: private key does not match public key")
