"""The kinds of object that the lab's `kubectl` knows by the words that people type."""

from __future__ import annotations

from dataclasses import dataclass

from lab.cluster import Key
from lab.errors import LabError
from lab.manifests import CLUSTER_SCOPED


@dataclass(frozen=True)
class Kind:
    """A kind, such as Deployment of group `apps`, and its short names."""

    name: str
    group: str
    plural: str
    short: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """The plural with the group: `virtualservices.networking.istio.io`."""
        return f"{self.plural}.{self.group}".rstrip(".")

    @property
    def words(self) -> tuple[str, ...]:
        return (self.name.lower(), self.plural, self.resource, *self.short)

    def key(self, namespace: str, name: str) -> Key:
        namespace = "" if self.name in CLUSTER_SCOPED else namespace
        return Key(self.group, self.name, namespace, name)


_NETWORKING = "networking.istio.io"
GATEWAY_API = "gateway.networking.k8s.io"

# A word that two kinds answer to means the first.
_KINDS = (
    Kind("Pod", "", "pods", ("po",)),
    Kind("Service", "", "services", ("svc",)),
    Kind("ConfigMap", "", "configmaps", ("cm",)),
    Kind("Secret", "", "secrets"),
    Kind("Namespace", "", "namespaces", ("ns",)),
    Kind("ServiceAccount", "", "serviceaccounts", ("sa",)),
    Kind("Deployment", "apps", "deployments", ("deploy",)),
    Kind("EndpointSlice", "discovery.k8s.io", "endpointslices"),
    Kind("VirtualService", _NETWORKING, "virtualservices", ("vs",)),
    Kind("DestinationRule", _NETWORKING, "destinationrules", ("dr",)),
    Kind("Gateway", _NETWORKING, "gateways", ("gw",)),
    Kind("ServiceEntry", _NETWORKING, "serviceentries", ("se",)),
    Kind("Sidecar", _NETWORKING, "sidecars"),
    Kind("EnvoyFilter", _NETWORKING, "envoyfilters"),
    Kind("AuthorizationPolicy", "security.istio.io", "authorizationpolicies", ("ap",)),
    Kind("PeerAuthentication", "security.istio.io", "peerauthentications", ("pa",)),
    Kind("Telemetry", "telemetry.istio.io", "telemetries", ("telemetry",)),
    Kind("Gateway", GATEWAY_API, "gateways", ("gtw",)),
    Kind("GatewayClass", GATEWAY_API, "gatewayclasses", ("gc",)),
    Kind("HTTPRoute", GATEWAY_API, "httproutes"),
    Kind("GRPCRoute", GATEWAY_API, "grpcroutes"),
    Kind("TCPRoute", GATEWAY_API, "tcproutes"),
    Kind("TLSRoute", GATEWAY_API, "tlsroutes"),
    Kind("ListenerSet", GATEWAY_API, "listenersets", ("lset",)),
    Kind("ReferenceGrant", GATEWAY_API, "referencegrants", ("refgrant",)),
    Kind("BackendTLSPolicy", GATEWAY_API, "backendtlspolicies", ("btlspolicy",)),
)


def typed(words: list[str]) -> tuple[Kind, list[str]]:
    """Kind and names, from `svc a b` or `svc/a`. Raises LabError for a word that is none."""
    word, *names = words[0].split("/") if "/" in words[0] else words
    for kind in _KINDS:
        if word.lower() in kind.words:
            return kind, names
    known = ", ".join(kind.plural for kind in _KINDS)
    raise LabError(f"the lab does not know the resource type {word!r}", remedy=f"it knows {known}")


def kind_of(key: Key) -> Kind:
    """The kind of an object; one that is not listed above gets the plural of its name."""
    for kind in _KINDS:
        if (kind.name, kind.group) == (key.kind, key.group):
            return kind
    return Kind(key.kind, key.group, key.kind.lower() + "s")


def resource(key: Key) -> str:
    """An object as kubectl names it: `service/shop`, `deployment.apps/shop`."""
    return f"{dotted(key)}/{key.name}"


def dotted(key: Key) -> str:
    """A kind as kubectl prints it: `service`, `deployment.apps`."""
    return f"{key.kind.lower()}.{key.group}".rstrip(".")
