"""Keys are never kept."""

from __future__ import annotations

import base64
import re

import pytest
from lab.paths import EXAMPLES, RECORDINGS, TEST_EXAMPLES

# As it is, or in base64 as in a Secret.
KEYS = [b"PRIVATE KEY"]
KEYS += [base64.b64encode(b"-----BEGIN " + kind)[:-4] for kind in (b"PRIVATE", b"RSA ", b"EC ")]
KEY = re.compile(b"|".join(map(re.escape, KEYS)))


@pytest.mark.parametrize("kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])
def test_a_key_is_found_in_base64_too(kind: str) -> None:
    key = f"-----BEGIN {kind}-----\nabc\n-----END {kind}-----\n".encode()
    assert KEY.search(key)
    assert KEY.search(base64.b64encode(key))
    assert not KEY.search(base64.b64encode(b"-----BEGIN CERTIFICATE-----"))


def test_no_example_and_no_recording_holds_a_key() -> None:
    folders = (EXAMPLES, TEST_EXAMPLES, RECORDINGS)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if KEY.search(path.read_bytes())] == []
