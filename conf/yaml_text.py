"""Reads YAML: texts of the reference, and what stands in front of chapters."""

from __future__ import annotations

from typing import Any

import yaml

# It takes a tenth of the time. PyYAML lacks it where it was built without libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse(text: str) -> Any:
    """The value of a YAML document. Raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)  # noqa: S506 (both loaders are safe)
