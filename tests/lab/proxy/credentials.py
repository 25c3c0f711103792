"""Gives proxies the certificates and keys that lie in Secrets, as istiod does over SDS.

Which Secrets a proxy gets istiod decides, and recordings say it by name; what is in them comes from
the lab's cluster alone. The rules are those of pilot/pkg/credentials/kube/secrets.go and
pilot/pkg/model/credentials/resource.go in Istio's source.
"""

from __future__ import annotations

import base64
from typing import Any

from lab.files.manifests import Object
from lab.files.recording import Resources

# Where a Secret keeps its parts: in keys of its own for a generic one, else in those of a TLS one.
_CERTIFICATE = (("cert", "key"), ("tls.crt", "tls.key"))
_ROOT = ("cacert", "ca.crt")
_ROOT_SUFFIX = "-cacert"


def filled(resources: Resources, snapshot: list[Object], namespace: str) -> Resources:
    """A proxy's xDS with its Secrets instead of their names; `namespace` is the proxy's."""
    found = (_sent(name, snapshot, namespace) for name in resources["secrets"])
    return resources | {"secrets": [secret for secret in found if secret]}


def _sent(name: str, snapshot: list[Object], namespace: str) -> dict[str, Any] | None:
    """The Secret of Envoy's that an SDS name stands for; None if there is nothing of use in it.

    A name is `kubernetes://NAME`, `kubernetes-gateway://NAMESPACE/NAME` or
    `configmap://NAMESPACE/NAME`; one that ends in `-cacert` asks for the root certificate.
    """
    scheme, _, place = name.partition("://")
    within, _, bare = place.rpartition("/")
    kind = "ConfigMap" if scheme == "configmap" else "Secret"
    stripped = bare.removesuffix(_ROOT_SUFFIX)
    data = _data(snapshot, kind, within or namespace, bare)
    if kind == "ConfigMap" or stripped != bare:
        data = data or _data(snapshot, kind, within or namespace, stripped)
        roots = [data[key] for key in _ROOT if data.get(key)]
        trusted = {"trustedCa": {"inlineBytes": roots[0]}} if roots else None
        return {"name": name, "validationContext": trusted} if trusted else None
    for chain, key in _CERTIFICATE:
        if data.get(chain) and data.get(key):
            pair = {"certificateChain": data[chain], "privateKey": data[key]}
            parts = {part: {"inlineBytes": value} for part, value in pair.items()}
            return {"name": name, "tlsCertificate": parts}
    return None


def _data(snapshot: list[Object], kind: str, namespace: str, name: str) -> dict[str, str]:
    """What an object holds, in base64; nothing if there is no such object."""
    for item in snapshot:
        metadata = item["metadata"]
        if (item["kind"], metadata.get("namespace"), metadata["name"]) == (kind, namespace, name):
            data = dict(item.get("data") or {})
            if kind == "Secret":
                return data
            return {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    return {}
