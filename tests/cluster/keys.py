"""The keys, certificates and kubeconfigs of a cluster, made anew for each and never committed.

What Kubernetes asks of them: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from lab.proxy.certificates import DAY, unsigned

from cluster.addresses import API, API_SERVICE, NODE, NODE_NAME
from cluster.paths import KEYS

_VALID = 365 * DAY

USERS = {  # who speaks to the API server: name and group
    "admin": ("kubernetes-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "coredns": ("guide:coredns", ""),
    "balancer": ("guide:balancer", ""),
}
_SERVICE = "kubernetes.default.svc.cluster.local"
_SERVER_NAMES = [
    "localhost",
    *(".".join(_SERVICE.split(".")[:count]) for count in (1, 2, 3, 5)),
]


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate."""

    key: EllipticCurvePrivateKey
    certificate: x509.Certificate

    def write(self, folder: Path, name: str) -> None:
        """Writes NAME.key and NAME.crt."""
        _write_key(folder / f"{name}.key", self.key)
        (folder / f"{name}.crt").write_bytes(self.certificate.public_bytes(Encoding.PEM))


def make(folder: Path) -> None:
    """Fills a new folder, which only its owner can read, with all that the components name."""
    folder.mkdir(mode=0o700)
    root = authority("kubernetes")
    root.write(folder, "ca")
    front = authority("front-proxy-ca")
    front.write(folder, "front-ca")
    client = ("kube-apiserver-kubelet-client", "system:masters")
    issue(root, client).write(folder, "apiserver-kubelet-client")
    issue(front, ("front-proxy-client", "")).write(folder, "front-client")
    served = ["127.0.0.1", NODE, API_SERVICE]
    issue(root, ("kube-apiserver", ""), _SERVER_NAMES, served).write(folder, "apiserver")
    issue(root, (f"system:node:{NODE_NAME}", "system:nodes"), [NODE_NAME], [NODE]).write(
        folder, "node"
    )
    for name, user in USERS.items():
        issue(root, user).write(folder, name)
        (folder / f"{name}.kubeconfig").write_text(yaml.safe_dump(_kubeconfig(name)))
    accounts = generate_private_key(SECP256R1())
    _write_key(folder / "accounts.key", accounts)
    public = accounts.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "accounts.pub").write_bytes(public)


def authority(name: str) -> Pair:
    """A new authority that signs itself."""
    key = generate_private_key(SECP256R1())
    subject = _name(name)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        unsigned(key, subject, subject, _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return Pair(key, builder.sign(key, hashes.SHA256()))


def issue(
    by: Pair,
    who: tuple[str, str],
    names: list[str] | None = None,
    addresses: list[str] | None = None,
) -> Pair:
    """A certificate for a name and its group; with `addresses`, that of a server, else a client."""
    key = generate_private_key(SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if addresses else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        unsigned(key, _name(*who), by.certificate.subject, _VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if addresses:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names or []]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return Pair(key, builder.sign(by.key, hashes.SHA256()))


def _name(common: str, group: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if group:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def _write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)


def _kubeconfig(user: str) -> dict[str, object]:
    """As a component reads it, at the paths of the world."""
    cluster = {"server": API, "certificate-authority": str(KEYS / "ca.crt")}
    files = {
        "client-certificate": str(KEYS / f"{user}.crt"),
        "client-key": str(KEYS / f"{user}.key"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "guide", "cluster": cluster}],
        "users": [{"name": user, "user": files}],
        "contexts": [{"name": "guide", "context": {"cluster": "guide", "user": user}}],
        "current-context": "guide",
    }
