"""Where things are: on this machine, and inside of the world of a cluster."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
GO = HERE / "go"
CONF = HERE / "conf"

FOLDER = ROOT / "build" / "cluster"
"""The cluster of this clone."""

INSIDE = Path("/run/cluster")
"""Where a cluster's folder `world` is mounted inside: what runs there knows no other path."""

PARTS = INSIDE / "parts"
KEYS = INSIDE / "keys"
ETCD = Path("/run/etcd")
ADMIN = KEYS / "admin.kubeconfig"
CONTAINERD = "/run/containerd/containerd.sock"


def cache() -> Path:
    """Where parts are kept for all clones of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "istio-operations-guide"


def python_environment() -> dict[str, str]:
    """What a Python must see to find this package, wherever it is started."""
    return os.environ | {"PYTHONPATH": str(ROOT / "tests")}
