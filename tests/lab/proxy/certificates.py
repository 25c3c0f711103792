"""The mesh's certificates: an authority made at start, and a SPIFFE identity for each proxy.

Keys live in memory and nowhere else.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_TRUST_DOMAIN = "cluster.local"
_SYSTEM = "file-root:system"
DAY = timedelta(days=1)


@dataclass
class Authority:
    """A root that signs workload certificates, as istiod does."""

    _key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    _root: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _TRUST_DOMAIN)])
        builder = unsigned(self._key, subject, subject).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._root = builder.sign(self._key, hashes.SHA256())

    def secrets(self, namespace: str, account: str) -> list[dict[str, Any]]:
        """What a proxy asks of pilot-agent: `default`, its identity, and `ROOTCA`, whom it trusts.

        And `file-root:system`, the public authorities in the proxy's image: in the lab, where none
        of them has signed anything, the mesh's own root.
        """
        key = generate_private_key(SECP256R1())
        identity = f"spiffe://{_TRUST_DOMAIN}/ns/{namespace}/sa/{account}"
        certificate = (
            unsigned(key, x509.Name([]), self._root.subject)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]),
                critical=True,
            )
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = {"certificateChain": _inline(_pem(certificate))}
        pair = {"tlsCertificate": chain | {"privateKey": _inline(private)}}
        trusted = {"validationContext": {"trustedCa": _inline(_pem(self._root))}}
        roots = [{"name": name, **trusted} for name in ("ROOTCA", _SYSTEM)]
        return [{"name": "default", **pair}, *roots]


def unsigned(
    key: EllipticCurvePrivateKey, subject: x509.Name, issuer: x509.Name, valid: timedelta = DAY
) -> x509.CertificateBuilder:
    """What all certificates have, from a day ago on."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(1 << 158 | secrets.randbits(158))  # 40 digits, whose column is as wide
        .not_valid_before(now - DAY)
        .not_valid_after(now + valid)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _inline(data: bytes) -> dict[str, str]:
    """As pilot-agent gives it to Envoy: istioctl shows what is in bytes, and nothing else."""
    return {"inlineBytes": base64.b64encode(data).decode()}
