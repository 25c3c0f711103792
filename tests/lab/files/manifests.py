"""Reading manifests: YAML documents with the line on which each begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.errors import LabError

Object = dict[str, Any]
"""A Kubernetes object as it stands in its manifest."""

# The C loader reads a large manifest in a tenth of the time; both give the same objects.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(Loader):  # type: ignore[misc]
    """Reads a date as the text that it is to Kubernetes."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (a class attribute by PyYAML's design)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in Loader.yaml_implicit_resolvers.items()
    }


CLUSTER_SCOPED = frozenset({"Namespace", "GatewayClass", "Node", "CustomResourceDefinition"})


def read_yaml(text: str, where: Path) -> list[tuple[int, Any]]:
    """The documents of a YAML text, each with its first line; empty documents are left out.

    Raises LabError with file and line for what is not YAML.
    """
    loader = _Loader(text)
    found: list[tuple[int, Any]] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            document = loader.construct_document(node)
            if document is not None:
                found.append((node.start_mark.line + 1, document))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise LabError(f"not valid YAML: {error.problem}", where=where, line=line) from None
    except yaml.YAMLError as error:
        raise LabError(f"not valid YAML: {error}", where=where) from None
    finally:
        loader.dispose()
    return found


def read_manifest(text: str, where: Path) -> list[Object]:
    """The Kubernetes objects of a manifest, in order, lists of objects taken apart.

    Raises LabError with file and line where something is not an object that can be applied.
    """
    objects = []
    for line, document in read_yaml(text, where):
        many = isinstance(document, dict) and document.get("kind") == "List"
        for item in (document.get("items") or []) if many else [document]:
            _check(item, where, line)
            objects.append(item)
    return objects


def _check(item: Any, where: Path, line: int) -> None:
    if not isinstance(item, dict):
        raise LabError("not a Kubernetes object", where=where, line=line)
    for key in ("apiVersion", "kind"):
        if not isinstance(item.get(key), str):
            raise LabError(f"{key} not set", where=where, line=line)
    if not isinstance(item.get("metadata"), dict) or not item["metadata"].get("name"):
        raise LabError("metadata.name not set", where=where, line=line)
