"""Prints what the words of a failed connection mean, those of the network or those of TLS.

```{failures} tls
Words of TLS in the log
```

The rows are the items of `details` in `reference/access-log.yaml` with this `group`. The last
column leads to a recorded line that an item explains, if any transcript of the book has one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chapter.examples import examples_folder
from data_files import read_transcript
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from reference import access_log, response_flags

_ = get_translation("extensions")

TRANSCRIPTS = "*/*/*.console"  # of all examples

WHOSE = {
    "upstream": _("the upstream's, refused by this proxy"),
    "proxy": _("this proxy's own, refused by the upstream"),
    "none": _("no certificate"),
}


class Failures(SphinxDirective):
    """`{failures}`, as the head of this module describes it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table; an error with the place of the directive if the group has no rows."""
        source, examples = Path(self.env.srcdir), examples_folder(self.env)
        for path in (source / access_log.TEXTS, *examples.glob(TRANSCRIPTS)):
            self.env.note_dependency(path)
        group = self.arguments[0]
        details = access_log.texts(source)["details"]
        found = [one for one in details if one.get("group") == group]
        if not found:
            raise self.error(f"no item of details has the group {group}")
        places = runs(examples, details)
        return self.parse_text_to_nodes(table(found, " ".join(self.content), places))


def runs(examples: Path, details: list[dict[str, Any]]) -> dict[str, str]:
    """For items of a group, by their first wording, a link to a recorded line that each explains.

    Lines of the flags' own example come first, then those of chapters in the order of their names.
    """
    found: dict[str, str] = {}
    paths = sorted(examples.glob(TRANSCRIPTS))
    for path in sorted(paths, key=lambda path: path.parent != examples / response_flags.EXAMPLE):
        for line in lines(path):
            for item in (one for one in explaining(line, details) if "group" in one):
                found.setdefault(access_log.wordings(item)[0], link(path, line))
    return found


def lines(path: Path) -> Iterator[access_log.Line]:
    """The lines of an access log that a transcript shows."""
    for step in read_transcript(path).steps:
        yield from access_log.lines(step.output)


def explaining(line: access_log.Line, details: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The items that explain the reasons of a line; the first one that fits a field counts."""
    for key in ("upstream_transport_failure_reason", "response_code_details"):
        text = line.values.get(key, "").replace(" ", "_").lower()
        fits = (
            item
            for item in details
            if any(words.lower() in text for words in access_log.wordings(item))
        )
        yield from itertools.islice(fits, 1)


def link(path: Path, line: access_log.Line) -> str:
    """Where a page shows a line of a transcript, in Markdown."""
    page = "/".join(path.parent.parts[-2:])
    if page != response_flags.EXAMPLE:
        return _("recorded in {place}").format(place=f"[](/{page}.md)")
    flag = next((flag for flag in line.flags if flag != "URX"), "URX")
    place = f"[{flag}](#{response_flags.anchor(flag)})"
    return _("recorded under {place}").format(place=place)


def table(details: list[dict[str, Any]], caption: str, places: dict[str, str]) -> str:
    """A row for each item, in Markdown; `places` has the links that `runs` gives."""
    rows = [[_("In the log"), _("Meaning")]]
    for detail in details:
        words = ", ".join(f"`{words}`" for words in access_log.wordings(detail))
        means = detail["means"].replace("{host}", str(_("the upstream")))
        rows.append([words, means[0].upper() + means[1:]])
    if any("whose" in detail for detail in details):
        whose = [WHOSE[detail["whose"]] for detail in details]
        for row, cell in zip(rows, [_("Whose certificate"), *whose], strict=True):
            row.append(cell)
    shown = [places.get(access_log.wordings(detail)[0], _("not recorded")) for detail in details]
    for row, cell in zip(rows, [_("Recorded line"), *shown], strict=True):
        row.append(cell)
    rows.insert(1, ["---"] * len(rows[0]))
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([f":::{{table}} {caption}", ":class: stacked words", "", *lines, ":::"])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("failures", Failures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
