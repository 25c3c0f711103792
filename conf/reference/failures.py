"""Prints what the words of a failed connection mean, those of the network or those of TLS.

```{failures} tls
Words of TLS in the log
```

The rows are the items of `details` in `reference/access-log.yaml` with this `group`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from reference import access_log

_ = get_translation("extensions")

WHOSE = {
    "upstream": _("the upstream's, refused by this proxy"),
    "proxy": _("this proxy's own, refused by the upstream"),
    "none": _("none"),
}


class Failures(SphinxDirective):
    """`{failures}`, as the head of this module describes it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table; an error with the place of the directive if the group has no rows."""
        source = Path(self.env.srcdir)
        self.env.note_dependency(source / access_log.TEXTS)
        group = self.arguments[0]
        found = [one for one in access_log.texts(source)["details"] if one.get("group") == group]
        if not found:
            raise self.error(f"no item of details has the group {group}")
        return self.parse_text_to_nodes(table(found, " ".join(self.content)))


def table(details: list[dict[str, Any]], caption: str) -> str:
    """A row for each item, in Markdown."""
    rows = [[_("In the log"), _("Meaning")]]
    for detail in details:
        words = ", ".join(f"`{words}`" for words in access_log.wordings(detail))
        means = detail["means"].replace("{host}", str(_("the upstream")))
        rows.append([words, means[0].upper() + means[1:]])
    if any("whose" in detail for detail in details):
        whose = [WHOSE[detail["whose"]] for detail in details]
        for row, cell in zip(rows, [_("Whose certificate"), *whose], strict=True):
            row.append(cell)
    rows.insert(1, ["---"] * len(rows[0]))
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([f":::{{table}} {caption}", ":class: stacked", "", *lines, ":::"])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("failures", Failures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
