"""How programs of our own speak to the API server."""

from __future__ import annotations

import functools
import ssl

from cluster.paths import KEYS


@functools.cache
def speaking_as(user: str) -> ssl.SSLContext:
    """Trusts the cluster's authority, and shows the certificate of one of the users in `keys`."""
    context = ssl.create_default_context(cafile=str(KEYS / "ca.crt"))
    context.load_cert_chain(KEYS / f"{user}.crt", KEYS / f"{user}.key")
    return context
