"""The programs that make the cluster, how each is called, and when it is ready."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cluster.addresses import API, NODE, NODE_NAME, PODS, SERVICES
from cluster.paths import CONTAINERD, ETCD, INSIDE, KEYS, PARTS
from cluster.tls import speaking_as

_CONF = INSIDE / "conf"
_KUBERNETES = PARTS / "kubernetes" / "bin"
_DEBIAN = PARTS / "debian" / "usr" / "bin"


@dataclass(frozen=True)
class Component:
    """A program that runs as long as the cluster; `ready` tells whether it serves.

    `environment` is added to what programs in the world see.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool] = field(default=lambda: True, compare=False)
    environment: dict[str, str] = field(default_factory=dict)


def answers(url: str) -> bool:
    """Whether a server says 200; one of the cluster's authority is asked as the administrator."""
    tls = speaking_as("admin") if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(url, timeout=2, context=tls) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def etcd() -> Component:
    """The store of the API server; it lives in memory, so it need not wait for the disk."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    command = (
        str(_DEBIAN / "etcd"),
        f"--data-dir={ETCD}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # It has nobody to ask before it leads; by default it waits a second.
        "--heartbeat-interval=20",
        "--election-timeout=200",
        "--log-level=warn",
    )
    return Component("etcd", command, lambda: answers(f"{client}/health"))


def containerd() -> Component:
    """Runs the containers."""
    command = (str(_DEBIAN / "containerd"), f"--config={_CONF / 'containerd.toml'}")
    return Component("containerd", command, lambda: Path(CONTAINERD).exists())


def registry() -> Component:
    """Offers the images to containerd."""
    return Component(
        "registry",
        (sys.executable, "-m", "cluster.registry", str(PARTS / "images")),
        lambda: answers("http://127.0.0.1:5000/v2/"),
    )


def apiserver() -> Component:
    """The API server, with RBAC and its usual admission."""
    flags = {
        "etcd-servers": "http://127.0.0.1:2379",
        "advertise-address": NODE,
        "service-cluster-ip-range": SERVICES,
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": KEYS / "accounts.pub",
        "service-account-signing-key-file": KEYS / "accounts.key",
        "tls-cert-file": KEYS / "apiserver.crt",
        "tls-private-key-file": KEYS / "apiserver.key",
        "client-ca-file": KEYS / "ca.crt",
        "kubelet-certificate-authority": KEYS / "ca.crt",
        "kubelet-client-certificate": KEYS / "apiserver-kubelet-client.crt",
        "kubelet-client-key": KEYS / "apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": KEYS / "front-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": KEYS / "front-client.crt",
        "proxy-client-key-file": KEYS / "front-client.key",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        # It asks etcd, in vain, as this one is older than what it needs.
        "feature-gates": "SizeBasedListCostEstimate=false",
    }
    # A third of its CPU would go to the collection of garbage while it reads the CRDs.
    environment = {"GOGC": "400"}
    return _kubernetes("kube-apiserver", flags, lambda: answers(f"{API}/readyz"), environment)


def controller_manager() -> Component:
    """Keeps what is as it is wanted."""
    flags = {
        **_as("kube-controller-manager"),
        "service-account-private-key-file": KEYS / "accounts.key",
        "root-ca-file": KEYS / "ca.crt",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        "cluster-cidr": PODS,
        "service-cluster-ip-range": SERVICES,
        "cluster-signing-cert-file": KEYS / "ca.crt",
        "cluster-signing-key-file": KEYS / "ca.key",
    }
    return _kubernetes("kube-controller-manager", flags)


def scheduler() -> Component:
    """Gives pods their node."""
    flags = {
        **_as("kube-scheduler"),
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
    }
    return _kubernetes("kube-scheduler", flags)


def kubelet() -> Component:
    """Runs the pods of the node."""
    flags = {
        "config": _CONF / "kubelet.yaml",
        "kubeconfig": KEYS / "kubelet.kubeconfig",
        "hostname-override": NODE_NAME,
        "node-ip": NODE,
        "root-dir": INSIDE / "kubelet",
        "cert-dir": INSIDE / "kubelet" / "pki",
    }
    return _kubernetes("kubelet", flags, lambda: answers("http://127.0.0.1:10248/healthz"))


def proxy() -> Component:
    """Writes the rules behind the addresses of Services."""
    return _kubernetes("kube-proxy", {"config": _CONF / "kube-proxy.yaml"})


def coredns() -> Component:
    """Answers for names."""
    command = (str(PARTS / "coredns" / "bin" / "coredns"), "-conf", str(_CONF / "Corefile"))
    return Component("coredns", command, lambda: answers("http://127.0.0.1:8181/ready"))


def balancer() -> Component:
    """Gives Services of type LoadBalancer an address."""
    return Component("balancer", (sys.executable, "-m", "cluster.balancer"))


def _as(user: str) -> dict[str, object]:
    config = KEYS / f"{user}.kubeconfig"
    names = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return dict.fromkeys(names, config)


def _kubernetes(
    name: str,
    flags: dict[str, object],
    ready: Callable[[], bool] = lambda: True,
    environment: dict[str, str] | None = None,
) -> Component:
    words = (f"--{flag}={value}" for flag, value in flags.items())
    return Component(name, (str(_KUBERNETES / name), *words), ready, environment or {})
