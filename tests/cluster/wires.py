"""The networks of a cluster: the node's, and that of one client outside, joined by a wire."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster.addresses import BALANCED, CLIENT, CLIENT_NETWORK, NODE
from cluster.errors import ClusterError

_SETUP = f"""
link set lo up
netns add {CLIENT_NETWORK}
link add eth0 type veth peer name eth0 netns {CLIENT_NETWORK}
addr add {NODE}/16 dev eth0
link set eth0 up
route add default via {CLIENT}
"""
_CLIENT = f"""
link set lo up
addr add {CLIENT}/16 dev eth0
link set eth0 up
route add {BALANCED} via {NODE}
"""


def connect() -> None:
    """Makes the networks, in the network namespace that this process is in."""
    _ip(_SETUP)
    _ip(_CLIENT, "-netns", CLIENT_NETWORK)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # of this namespace alone


def _ip(batch: str, *options: str) -> None:
    command = ["ip", *options, "-batch", "-"]
    done = subprocess.run(command, input=batch.strip(), capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"cannot make the network: {done.stderr.strip()}")
