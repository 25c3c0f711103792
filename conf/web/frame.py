"""Makes of the HTML edition a website: what stands around the pages, and beside them.

Templates get the function `say`, which translates, `description` of the page, and `pdf` and
`all_examples`, the files below the site's root. The setting `pdf_file` names the PDF edition, if it
was built; it then becomes a part of the site. A sitemap needs the site's address, `html_baseurl`:
without one it is left out, since the format knows no relative addresses.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from chapter.examples import ALL_EXAMPLES
from chapter.tags import tag_pages
from docutils import nodes
from jinja2 import FileSystemBytecodeCache
from pygments.formatters import HtmlFormatter
from pygments.token import Punctuation, Text, Whitespace, _TokenType, is_token_subtype
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.highlighting import PygmentsBridge
from sphinx.locale import get_translation
from sphinx.util.typing import ExtensionMetadata

from web.history import last_changed, root_of

_ = get_translation("extensions")

Tokens = Iterable[tuple[_TokenType, str]]

SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
VIEWPORT = re.compile(r'<meta name="viewport"[^>]*>')  # docutils adds it to the theme's own
DESCRIPTION = 200  # characters that search engines and cards show, about


PROMPT = '<span class="gp">$ </span>'
PROMPT_BUTTON = '<button type="button" class="gp" aria-label="{label}">$ </button>'


class LeanFormatter(HtmlFormatter[str]):
    """Writes blanks and punctuation, half of all tokens, without an element around each.

    Prompts are buttons that copy their command: book.js does it.
    """

    def format_unencoded(self, tokensource: Tokens, outfile: Any) -> None:
        """Write some code."""
        lean = ((Text if is_plain(kind) else kind, text) for kind, text in tokensource)
        written = StringIO()
        super().format_unencoded(lean, written)
        button = PROMPT_BUTTON.format(label=escape(_("Copy this command")))
        outfile.write(written.getvalue().replace(PROMPT, button))


def is_plain(kind: _TokenType) -> bool:
    """Whether a kind of token looks like the text around it."""
    return is_token_subtype(kind, Punctuation) or is_token_subtype(kind, Whitespace)


def leave_out(app: Sphinx) -> None:
    """Leave out what no page loads: the theme's files, 5 MB, and the index of Sphinx's search.

    Sphinx has no settings for it. Search is what finder.py does, by exact words and not by stems.
    """
    if isinstance(app.builder, StandaloneHTMLBuilder):
        app.builder.search = False
        app.builder.copy_theme_static_files = lambda context: None  # type: ignore[method-assign]  # noqa: ARG005


def keep_templates(app: Sphinx) -> None:
    """Keep compiled templates for the next build: to compile them takes longer than a page."""
    if isinstance(app.builder, StandaloneHTMLBuilder):
        cache = FileSystemBytecodeCache(str(app.doctreedir))
        app.builder.templates.environment.bytecode_cache = cache


def add_context(
    lists: dict[int, str],
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Give the templates what they show around a page.

    The list of chapters takes most of a page's time. Where no chapter is the current one, as on the
    pages of subjects, it is the same for all pages of a folder: `lists` keeps it.
    """
    if doctree is None:
        make, depth = context["toctree"], page.count("/")
        context["toctree"] = lambda **options: (
            lists.get(depth) or lists.setdefault(depth, make(**options))
        )
    pdf = app.config.pdf_file
    context["metatags"] = VIEWPORT.sub("", context.get("metatags", ""))
    context["say"] = _
    about = context.get("about", "")  # of a page that no source has
    context["description"] = description(doctree) if doctree is not None else shortened(about)
    context["pdf"] = Path(pdf).name if pdf else ""
    context["all_examples"] = ALL_EXAMPLES
    if page == "404":
        context["pages"] = script_data(dict(titles(app)))
        context["base"] = app.config.html_baseurl
        context["base_script"] = script_data(app.config.html_baseurl)


def titles(app: Sphinx) -> Iterator[tuple[str, str]]:
    """The names of all pages with their titles, chapters first."""
    yield from sorted((name, title.astext()) for name, title in app.env.titles.items())
    yield "search", _("Search")
    yield from ((name, context["title"]) for name, context, _template in tag_pages(app))


def script_data(value: Any) -> str:
    """A value as JSON for a script element, which nothing but "</script" ends."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def description(document: nodes.document) -> str:
    """The first sentences of a page, without its stamp and the table under its title."""
    for paragraph in document.findall(nodes.paragraph):
        inside = paragraph.parent
        if isinstance(inside, nodes.section) and "stamp" not in paragraph["classes"]:
            return shortened(" ".join(paragraph.astext().split()))
    return ""


def shortened(text: str) -> str:
    """The sentences of a text that fit, or as much of the first as fits."""
    if len(text) <= DESCRIPTION:
        return text
    sentences, _stop, _rest = text[:DESCRIPTION].rpartition(". ")
    return f"{sentences}." if sentences else f"{text[: DESCRIPTION - 1].rpartition(' ')[0]}…"


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write what belongs to the whole site."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    options = app.config.html_theme_options
    styles = options["pygments_light_style"], options["pygments_dark_style"]
    (out / "_static" / "pygments.css").write_text(colours(*styles), encoding="utf-8")
    if app.config.pdf_file:
        shutil.copy(app.config.pdf_file, out)
    (out / "robots.txt").write_text("\n".join(robots(app.config.html_baseurl)), encoding="utf-8")
    if app.config.html_baseurl:
        (out / "sitemap.xml").write_bytes(sitemap(app))


def colours(light: str, dark: str) -> str:
    """The style sheet of two styles of Pygments; the system chooses between them.

    The theme writes one that only a script can switch.
    """
    formatters: list[Any] = [HtmlFormatter(style=style) for style in (light, dark)]
    rules = ["\n".join(one.get_token_style_defs(".highlight")) for one in formatters]
    return f"{rules[0]}\n@media (prefers-color-scheme: dark) {{\n{rules[1]}\n}}\n"


def robots(address: str) -> Iterator[str]:
    """The lines of robots.txt."""
    yield "User-agent: *"
    yield "Allow: /"
    if address:
        yield f"Sitemap: {address}sitemap.xml"
    yield ""


def sitemap(app: Sphinx) -> bytes:
    """The addresses of all chapters, with the day of their last change where git knows it."""
    root = ElementTree.Element("urlset", xmlns=SITEMAP)
    days = last_changed(root_of(app))
    for name in sorted(app.env.found_docs):
        url = ElementTree.SubElement(root, "url")
        address = f"{app.config.html_baseurl}{app.builder.get_target_uri(name)}"
        ElementTree.SubElement(url, "loc").text = address
        if name in days:
            ElementTree.SubElement(url, "lastmod").text = days[name]
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    PygmentsBridge.html_formatter = LeanFormatter
    app.add_config_value("pdf_file", "", "html", types=str)
    app.connect("builder-inited", leave_out)
    app.connect("builder-inited", keep_templates)
    app.connect("html-page-context", partial(add_context, {}))
    app.connect("build-finished", write_files, priority=900)  # after the theme's pygments.css
    return {"parallel_read_safe": True, "parallel_write_safe": True}
