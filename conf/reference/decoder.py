"""Puts the decoder of access-log lines into a page; `_static/log-answers.js` is what decodes.

The directive's content has a line for each button that fills in recorded lines:

    ```{decoder}
    problems/gateway-tcp-port/4-http-contrast.console 1: a gateway without a route
    ```

The numbers count the access-log lines of that transcript. The script gets all its texts from the
page: those of access-log.yaml and response-flags.yaml in `book/reference/`, with links resolved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, TypedDict

from chapter.examples import examples_folder
from data_files import read_transcript
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

from reference import access_log, response_flags

_ = get_translation("extensions")

FLAGS = "reference/response-flags"
# In _static, in their order: those that wait until a line is there, and those of the form.
DATA = "decoder-data.js"
PARTS = (
    *("log-fields.js", "log-objects.js", "log-pieces.js", "log-lines.js"),
    *("log-answers.js", "decoder.js"),
)
SCRIPTS = ("decoder-load.js", *PARTS, "log-link.js", "decoder-form.js")
EXAMPLE = re.compile(r"(\S+\.console)((?: \d+)+): (.+)")

FORM = """\
<noscript><p>{noscript}</p></noscript>
<form id="decoder">
<label for="decoder-input">{paste}</label>
<textarea id="decoder-input" rows="6" spellcheck="false" autocomplete="off" wrap="soft"></textarea>
<div id="decoder-part" role="status"></div>
<p><button type="submit">{decode}</button> <button type="reset">{clear}</button>
<label class="mw-100">{file} <input type="file" id="decoder-file"></label></p>
<p id="decoder-running" hidden><progress id="decoder-progress" aria-label="{progress}"></progress>
<button type="button" id="decoder-stop">{stop}</button></p>
<p><button type="button" id="decoder-copy" aria-describedby="decoder-warning">{copy}</button>
<small id="decoder-warning">{warning}</small>
<span id="decoder-said" role="status"></span>
<input id="decoder-link" class="w-100" readonly hidden aria-label="{link}"></p>
<div class="decoder-examples"><span>{examples}</span> {buttons}</div>
</form>
<p id="decoder-status" class="visually-hidden" role="status" aria-live="polite"></p>
<div id="decoder-answer" class="mt-3" role="region" aria-label="{result}"></div>
"""


class Link(TypedDict):
    """Where a page is, as seen from another, and its title."""

    href: str
    title: str


class DecoderForm(nodes.General, nodes.Element):
    """The place of the decoder, with `titles` and `lines` of its examples."""


class Decoder(SphinxDirective):
    """`{decoder}`, as the head of this module describes it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The form; where there are no scripts, a sentence that says where it is."""
        read = [self.example(line) for line in self.content if line.strip()]
        form = DecoderForm(titles=[title for title, _ in read], lines=[text for _, text in read])
        for name in (access_log.TEXTS, f"{FLAGS}.yaml"):
            self.env.note_dependency(Path(self.env.srcdir) / name)
        where = _("The decoder is in the HTML edition of this guide, in the file `{file}`.")
        elsewhere = self.parse_text_to_nodes(where.format(file=f"{self.env.docname}.html"))
        return [
            addnodes.only("", form, expr="builder_html"),
            addnodes.only("", *elsewhere, expr="not builder_html"),
        ]

    def example(self, line: str) -> tuple[str, str]:
        """The title and the recorded lines that a line of the directive names."""
        if not (named := EXAMPLE.fullmatch(line.strip())):
            raise self.error(f"not a line such as part/name/1-first.console 1: a title: {line}")
        path = examples_folder(self.env) / named[1]
        if not path.is_file():
            raise self.error(f"there is no transcript {named[1]}")
        self.env.note_dependency(path)
        found = list(lines(path))
        numbers = [int(number) for number in named[2].split()]
        if not all(0 < number <= len(found) for number in numbers):
            raise self.error(f"{named[1]} has {len(found)} lines of an access log")
        return named[3], "\n".join(found[number - 1] for number in numbers)


def lines(path: Path) -> Iterator[str]:
    """The access-log lines that a transcript shows."""
    for step in read_transcript(path).steps:
        yield from (line.text for line in access_log.lines(step.output))


def visit_form(writer: HTML5Translator, node: DecoderForm) -> None:
    """Write the form."""
    words = access_log.texts(Path(writer.builder.app.srcdir))["words"]
    buttons = (
        f'<button type="button" data-example="{escape(lines)}">{escape(title)}</button>'
        for title, lines in zip(node["titles"], node["lines"], strict=True)
    )
    escaped = {name: escape(text) for name, text in words.items()}
    writer.body.append(FORM.format(**escaped, buttons=" ".join(buttons)))
    raise nodes.SkipNode


def script_data(source: Path, link: Callable[[str, str], Link | None]) -> dict[str, Any]:
    """What the scripts are given: the texts, the fields in their order, and the flags.

    `source` is the folder of the book's sources. `link` gives the link to a page by its name and
    an anchor or ''; where it gives none, that page is not linked.
    """

    def cause(each: response_flags.Cause) -> dict[str, Any]:
        found = {"cause": each.cause, "decide": each.decide, "do": each.do, **each.conditions}
        return found | {"link": link(each.chapter, "") if each.chapter else None}

    data = access_log.texts(source) | {
        "fields": access_log.fields(source),
        "formats": access_log.older_formats(source),
    }
    data["flags"] = [
        {"flag": flag.flag, "name": flag.name, "side": flag.side, "means": flag.means}
        | {"bodies": flag.bodies, "details": flag.details}
        | {"page": link(FLAGS, response_flags.anchor(flag.flag))}
        | {"causes": [cause(each) for each in flag.causes]}
        for flag in response_flags.read(source)
    ]
    return data


def add_scripts(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.Node | None
) -> None:
    """Load the form's scripts where it is; tell the search page what it may need."""
    parts = " ".join((DATA, *PARTS))
    if page == "search" and (Path(app.srcdir) / access_log.TEXTS).exists():
        context["decoder_parts"] = parts
    if doctree is not None and any(doctree.findall(DecoderForm)):
        attributes: dict[str, Any] = {"loading_method": "defer", "data-parts": parts}
        app.add_js_file("decoder-load.js", **attributes)
        for name in ("log-link.js", "decoder-form.js"):
            app.add_js_file(name, loading_method="defer")


def write_data(app: Sphinx, error: Exception | None) -> None:
    """Write the scripts' data, with links that start at the root of the edition."""
    source = Path(app.srcdir)
    if error or app.builder.name != "html" or not (source / access_log.TEXTS).exists():
        return

    def link(target: str, anchor: str) -> Link | None:
        titles = app.env.titles
        if target not in titles:
            return None
        uri = app.builder.get_target_uri(target)
        return Link(href=f"{uri}#{anchor}" if anchor else uri, title=titles[target].astext())

    text = json.dumps(script_data(source, link), ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / "_static" / DATA).write_text(
        f'"use strict";const logData={text};\n', "utf-8"
    )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_node(DecoderForm, html=(visit_form, None))
    app.add_directive("decoder", Decoder)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_data)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
