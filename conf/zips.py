"""Makes zips of the same bytes for the same files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable


def zipped(entries: Iterable[tuple[str, bytes]], stored: str = "") -> bytes:
    """Names and contents as a zip, in their order; all but the one named `stored` compressed."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in entries:
            entry = zipfile.ZipInfo(name)  # dated 1980, not now
            entry.external_attr = 0o644 << 16
            method = zipfile.ZIP_STORED if name == stored else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, method)
    return content.getvalue()
