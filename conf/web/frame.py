"""Makes of the HTML edition a website: what stands around the pages, and beside them.

The theme gives the frame; `_templates/` has what it lacks. Templates get the function `say`, which
translates, `description` of the page, and `pdf`, `epub` and `all_examples`, the files below the
site's root. The settings `pdf_file` and `epub_file` name the other editions, if they were built;
they then become a part of the site. A sitemap needs the site's address, `html_baseurl`: without one
it is left out, since the format knows no relative addresses.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from chapter.archives import ALL_EXAMPLES
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
from web.parts import about, part_pages, shortened

_ = get_translation("extensions")

Tokens = Iterable[tuple[_TokenType, str]]

# docutils writes it beside the one of Sphinx's template.
VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1" />'
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
# What no page loads, 5 MB: icons of the theme, which book.css has, its source maps, and the style
# sheet of the EPUB.
UNUSED = (
    *("scripts/fontawesome.js*", "vendor", "images", "locales", "**/*.map", "*macros.html"),
    "epub.css",
)
# What its style sheet has rules for, a third of it and more, though no option of the theme shows
# it: the names of FontAwesome's 2,000 icons, and parts of Bootstrap.
UNSTYLED = (
    *("--fa:", ".accordion", ".carousel", ".offcanvas", ".page-item", ".page-link", ".pagination"),
    *(".placeholder", ".popover", ".progress", ".spinner", ".toast"),
)
DARK = "dark.css"
THEME = "styles/pydata-sphinx-theme.css"
SHEETS = (THEME, "pygments.css", "styles/sphinx-book-theme.css", "book.css")  # those with colours


class LeanFormatter(HtmlFormatter[str]):
    """Writes blanks and punctuation, half of all tokens, without an element around each."""

    def format_unencoded(self, tokensource: Tokens, outfile: Any) -> None:
        """Write some code."""
        lean = ((Text if is_plain(kind) else kind, text) for kind, text in tokensource)
        super().format_unencoded(lean, outfile)


def is_plain(kind: _TokenType) -> bool:
    """Whether a kind of token looks like the text around it."""
    return is_token_subtype(kind, Punctuation) or is_token_subtype(kind, Whitespace)


def leave_out_index(app: Sphinx) -> None:
    """Make no index for Sphinx's search: finder.py makes one of exact words, not of stems."""
    if isinstance(app.builder, StandaloneHTMLBuilder):
        app.builder.search = False


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
    context["metatags"] = context.get("metatags", "").replace(VIEWPORT, "")
    context["say"] = _
    context["description"] = shortened(context.get("about") or about(app, page))
    context["pdf"] = Path(app.config.pdf_file).name
    context["epub"] = Path(app.config.epub_file).name
    context["all_examples"] = f"_downloads/examples/{ALL_EXAMPLES}"
    if page == "404":
        context["pages"] = script_data(dict(titles(app)))
        context["base"] = app.config.html_baseurl
        context["base_script"] = script_data(app.config.html_baseurl)


def titles(app: Sphinx) -> Iterator[tuple[str, str]]:
    """The names of all pages with their titles, chapters first."""
    yield from sorted((name, title.astext()) for name, title in app.env.titles.items())
    yield "search", _("Search")
    for name, context, _template in chain(part_pages(app), tag_pages(app)):
        yield name, context["title"]


def script_data(value: Any) -> str:
    """A value as JSON for a script element, which nothing but "</script" ends."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write what belongs to the whole site."""
    if exception or app.builder.name != "html":
        return
    out = Path(app.outdir)
    for path in chain.from_iterable((out / "_static").glob(pattern) for pattern in UNUSED):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    static = out / "_static"
    style = static / THEME
    style.write_text(lean(style.read_text("utf-8")), encoding="utf-8")
    sheets = "".join((static / name).read_text("utf-8") for name in SHEETS)
    (static / DARK).write_text(dark(sheets), encoding="utf-8")
    for edition in filter(None, (app.config.pdf_file, app.config.epub_file)):
        shutil.copy(edition, out)
    (out / "robots.txt").write_text("\n".join(robots(app.config.html_baseurl)), encoding="utf-8")
    if app.config.html_baseurl:
        (out / "sitemap.xml").write_bytes(sitemap(app))


def lean(style: str) -> str:
    """A style sheet without the rules that are for UNSTYLED alone."""
    return "}".join(rule for rule in style.split("}") if not is_unused(rule))


def is_unused(rule: str) -> bool:
    """Whether a rule is whole, and all its selectors, or what it sets, name such a part."""
    selectors, brace, body = rule.rpartition("{")
    texts = [body] if "--fa:" in body else selectors.split(",")
    named = all(any(name in text for name in UNSTYLED) for text in texts)
    return bool(brace) and "{" not in selectors and named


def dark(sheets: str) -> str:
    """The dark colours of style sheets in place of the light ones, with which every page begins.

    The theme chooses them by a script; without, a page loads these where the system is dark.
    """
    rules = (rule for rule in sheets.replace('"', "").split("}") if "data-theme=dark" in rule)
    whole = (rule for rule in rules if rule.count("{") == 1)
    return "".join(f"{rule.replace('data-theme=dark', 'data-theme=light')}}}" for rule in whole)


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
    app.add_config_value("epub_file", "", "html", types=str)
    app.connect("builder-inited", leave_out_index)
    app.connect("builder-inited", keep_templates)
    app.connect("html-page-context", partial(add_context, {}))
    app.connect("build-finished", write_files, priority=600)  # after the theme's pygments.css
    return {"parallel_read_safe": True, "parallel_write_safe": True}
