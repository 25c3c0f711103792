"""What the access log says, from `book/reference/access-log.yaml`.

The fields and their order are those of the format string that istiod put into a recorded listener,
so that a field which a new Istio adds stops the build until the file explains it. `parse` reads the
lines that transcripts show of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_files import Fault, read_yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

_ = get_translation("extensions")

TEXTS = "reference/access-log.yaml"
# Whose listeners give the format string: any example that leaves Istio's default would do.
RECORDINGS = "tests/recordings/problems/gateway-tcp-port"
FORMAT = re.compile(r'"inlineString": ("\[%START_TIME%\](?:[^"\\]|\\.)*")')
NEEDED = {"operator", "key", "name", "form", "means"}
REMARKS = ("http", "tcp", "inbound", "outbound")
UNKNOWN = {"key": "none", "form": "text", "name": ""}  # a field that has no meaning any more

# The keys of the default format, in the order of its text; a test holds them to what was recorded.
KEYS = (
    *("start_time", "request", "response_code", "response_flags", "response_code_details"),
    *("connection_termination_details", "upstream_transport_failure_reason", "bytes_received"),
    *("bytes_sent", "duration", "upstream_service_time", "x_forwarded_for", "user_agent"),
    *("request_id", "authority", "upstream_host", "upstream_cluster", "upstream_local_address"),
    *("downstream_local_address", "downstream_remote_address", "requested_server_name"),
    "route_name",
)
VALUE = re.compile(r'(\[[^\]]*\]|"(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)')


@dataclass(frozen=True)
class Line:
    """A line of an access log: its text, and its values by their keys in JSON.

    A line of text has `request` in place of method, path and protocol.
    """

    text: str
    values: dict[str, str]

    @property
    def status(self) -> str:
        """The status that the client got, or 0."""
        return self.values["response_code"]

    @property
    def flags(self) -> list[str]:
        """The response flags; `-` alone if there is none."""
        return self.values["response_flags"].split(",")

    @property
    def details(self) -> str:
        """Why the status is what it is; it may be empty."""
        return self.values["response_code_details"]


def parse(text: str) -> Line | None:
    """The line of an access log that a line of text is, in Istio's default format or in JSON.

    Nothing if it is none. Fields at the end may be missing.
    """
    if text.startswith('{"') and text.endswith("}"):
        values = json.loads(text)
        return (
            Line(text, {k: str(v) for k, v in values.items()}) if "start_time" in values else None
        )
    found = [value.strip('"') for value in VALUE.findall(text)]
    if not re.match(r'\[\S+\] "', text) or len(found) < len(KEYS[:5]):
        return None
    return Line(text, dict(zip(KEYS, found, strict=False)))


def lines(texts: Iterable[str]) -> Iterator[Line]:
    """The lines of an access log among lines of text."""
    yield from filter(None, map(parse, texts))


class AccessLogFields(SphinxDirective):
    """`{access-log-fields}` shows the table of the fields, in the order of the format string."""

    def run(self) -> list[nodes.Node]:
        """The nodes to put in the directive's place."""
        source = Path(self.env.srcdir)
        for path in (source / TEXTS, *recorded_listeners(source)):
            self.env.note_dependency(path)
        return self.parse_text_to_nodes(field_table(fields(source)))


def field_table(items: list[dict[str, str]]) -> str:
    """The table of some fields, in Markdown."""
    rows = [["#", _("Operator and JSON key"), _("What it says")], ["---"] * 3]
    for number, item in enumerate(items, start=1):
        texts = [item["means"]]
        texts += [item[remark] for remark in REMARKS if remark in item]
        if "since" in item:
            texts.append(_("Since Istio {version}.").format(version=item["since"]))
        rows.append([str(number), f"`{item['operator']}`, `{item['key']}`", " ".join(texts)])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def fields(source: Path) -> list[dict[str, str]]:
    """The fields of the recorded format string, each with `before`: the text that leads to it.

    `source` is the folder of the book's sources.

    Raises Fault if access-log.yaml has no item for one of them, or a faulty one.
    """
    known = {item["operator"]: item for item in texts(source)["fields"]}
    items = []
    for before, operator in operators(format_string(source)):
        if operator not in known:
            raise Fault(f"{TEXTS}: no item explains the field {operator}")
        items.append({**known[operator], "before": before})
    return items


def operators(format_: str) -> Iterator[tuple[str, str]]:
    """The operators of a format string, each with the text that leads to it."""
    parts = re.split(r"%([^%]+)%", format_.rstrip("\n"))
    yield from zip(parts[::2], parts[1::2], strict=False)


def older_formats(source: Path) -> list[dict[str, Any]]:
    """The older formats of access-log.yaml: `means`, and `fields` as `fields` gives them.

    A field that the default format does not have has the key `none`.
    """
    known = {item["operator"]: item for item in fields(source)}
    return [
        {
            "means": item["means"],
            "fields": [
                {name: known.get(operator, UNKNOWN)[name] for name in UNKNOWN} | {"before": before}
                for before, operator in operators(item["format"])
            ],
        }
        for item in texts(source)["formats"]
    ]


def texts(source: Path) -> dict[str, Any]:
    """What access-log.yaml holds, as its comments say; Fault for a faulty field."""
    found: dict[str, Any] = read_yaml(source / TEXTS)
    for item in found["fields"]:
        name = item.get("operator", item)
        for fault, keys in {
            "has no": NEEDED - item.keys(),
            "has an unknown": item.keys() - NEEDED - {*REMARKS, "since"},
        }.items():
            if keys:
                raise Fault(f"{TEXTS}: the field {name} {fault} {', '.join(sorted(keys))}")
    return found


def wordings(detail: dict[str, Any]) -> list[str]:
    """The texts by which an item of `details` is known, the newest first."""
    contains = detail["contains"]
    return contains if isinstance(contains, list) else [contains]


def format_string(source: Path) -> str:
    """Istio's default text format, as istiod put it into a listener that was recorded."""
    for path in recorded_listeners(source):
        if found := FORMAT.search(path.read_text("utf-8")):
            return str(json.loads(found[1]))
    raise Fault(f"{RECORDINGS}: no listener there has an access log in text format")


def recorded_listeners(source: Path) -> list[Path]:
    """The recordings of proxies in which the format string is looked for."""
    return sorted((source.parent / RECORDINGS).glob("*/*.json"))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("access-log-fields", AccessLogFields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
