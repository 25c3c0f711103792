"""Settings of the book, for Sphinx and its extensions.

https://www.sphinx-doc.org/en/master/usage/configuration.html
"""

import gc
import os
import subprocess
import sys
import time
import tomllib
import uuid
from importlib import metadata
from pathlib import Path

# The project's own extensions stand beside this file; they read examples as the lab does.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from chapter import stamp
from sphinx.application import Sphinx

# A build makes millions of objects and hardly a cycle: collecting takes a fifth of its time.
gc.disable()

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

project = "Istio Operations Guide"
author = "The Istio Operations Guide authors"
copyright = f"%Y, {author}"
language = "en"
extensions = [
    "myst_parser",
    "chapter.archives",
    "chapter.examples",
    "chapter.glance",
    "chapter.numbers",
    "chapter.stamp",
    "chapter.subjects",
    "chapter.tags",
    "data_files",
    "drawings.bars",
    "drawings.cards",
    "drawings.hops",
    "drawings.loglines",
    "drawings.pictures",
    "drawings.plots",
    "drawings.timelines",
    "drawings.traces",
    "epub.builder",
    "pdf.builder",
    "reference.access_log",
    "reference.decoder",
    "reference.failures",
    "reference.response_flags",
    "reference.symptoms",
    "reference.versions",
    "sphinx_copybutton",
    "web.downloads",
    "web.finder",
    "web.frame",
    "web.history",
    "web.parts",
]
nitpicky = True
# A block without a language is plain text, not a guess at Python.
highlight_language = "none"
# Figures, tables and listings have numbers, counted on each page by chapter/numbers.py.
numfig = True

# Translation: one catalogue a chapter.
# https://www.sphinx-doc.org/en/master/usage/advanced/intl.html
locale_dirs = ["../conf/locale"]
gettext_compact = False

# MyST: what chapters may use beside CommonMark, and anchors down to the third heading.
# https://myst-parser.readthedocs.io/en/latest/configuration.html
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# HTML
# https://www.sphinx-doc.org/en/master/usage/configuration.html#options-for-html-output
html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["../_static"]
templates_path = ["../_templates"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_additional_pages = {"search": "search.html", "404": "404.html"}
html_use_index = False
# SOURCE_DATE_EPOCH is what this prints, so UTC as there.
html_last_updated_fmt = "%Y-%m-%d"
html_last_updated_use_utc = True
# For the PDF and the EPUB; the theme has its own two settings. All have a contrast of 5:1 or more.
pygments_style = "a11y-high-contrast-light"

# Where the site will be, as https://example.org/guide/: none yet. Pages work anywhere, but a
# sitemap, canonical links and the pictures of titles need it.
html_baseurl = ""

# https://sphinx-book-theme.readthedocs.io/en/stable/reference.html
# https://pydata-sphinx-theme.readthedocs.io/en/stable/user_guide/
html_theme_options = {
    "article_header_start": ["toggle-primary-sidebar", "breadcrumbs"],
    "article_header_end": ["article-header-buttons", "without-scripts"],
    "article_footer_items": ["about"],
    "footer_content_items": ["whole-book", "copyright", "last-updated"],
    # As the book theme has it, too: else a second bar comes with the same search.
    "navbar_persistent": [],
    "show_toc_level": 2,
    "pygments_light_style": pygments_style,
    "pygments_dark_style": "github-dark-high-contrast",
    # The book's repository, which has no address yet. With one, such as
    # https://github.com/example/guide, these show the buttons that lead to it:
    #     "repository_url": "https://github.com/example/guide",
    #     "repository_branch": "main",
    #     "path_to_docs": "book",
    #     "use_repository_button": True,
    #     "use_source_button": True,
    #     "use_edit_page_button": True,
    #     "use_issues_button": True,
}

# https://sphinx-copybutton.readthedocs.io/en/latest/use.html
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_copy_empty_lines = False
copybutton_line_continuation_character = "\\"
copybutton_here_doc_delimiter = "EOF"
# What was printed is not for copying.
copybutton_selector = "div:not(.output) > .highlight > pre"

# PDF
# See pdf/builder.py, beside this file
typst_subtitle = "Every command and output was run"


def edition() -> dict[str, str]:
    """What tells this edition from others; without git, as in an unpacked archive, no commit."""
    folders = sorted((Path(__file__).parents[1] / "tests" / "recordings").glob("*/*/"))
    istio, envoy, _dates = stamp.versions(file for f in folders for file in stamp.recorded(f))
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    facts = {"Istio": ", ".join(istio), "Envoy": ", ".join(envoy)}
    facts["Edition"] = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=10", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return facts
    return facts | {"Commit": commit}


typst_edition = edition()


def colophon() -> dict[str, str]:
    """How the PDF edition was made, and what one may do with it."""
    tools = ("Sphinx", "MyST-Parser", "Typst")
    made = [f"{name} {metadata.version(name)}" for name in tools]
    licence = "Apache License 2.0, for text, manifests, scripts and figures"
    edition = {"Commit": "unknown"} | typst_edition
    facts = {
        "Licence": f"{licence}; take what you need into your own repositories",
        "Source": "{Edition}, commit {Commit}".format(**edition),
        "Outputs": "recorded with Istio {Istio} and Envoy {Envoy}".format(**edition),
        "Made with": f"{', '.join(made)}; two builds of one commit have the same bytes",
        "Fonts": "Source Serif 4, Source Sans 3 and Source Code Pro, SIL Open Font License 1.1",
        "Copying": "Viewers keep words and lines, but Chrome, Firefox and those made of poppler, "
        "such as GNOME's, lose the spaces with which lines begin. Take manifests from the "
        "attached files.",
    }
    return facts | ({"HTML edition": html_baseurl} if html_baseurl else {})


typst_colophon = colophon()

# EPUB
# https://www.sphinx-doc.org/en/master/usage/configuration.html#options-for-epub-output
# See epub/builder.py, beside this file
version = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["version"]
epub_basename = "istio-operations-guide"
epub_facts = ", ".join(f"{name} {fact}" for name, fact in typst_edition.items())
epub_description = f"{typst_subtitle}: {epub_facts}"
epub_contributor = author
epub_identifier = uuid.uuid5(uuid.NAMESPACE_URL, project).urn
epub_uid = "identifier"
epub_cover = ("_static/cover.png", "cover.html")
epub_pygments_dark_style = html_theme_options["pygments_dark_style"]
epub_show_urls = "footnote"
epub_tocdup = False
epub_use_index = True


def setup(app: Sphinx) -> None:
    """Called by Sphinx: the texts of all extensions are translated in one catalogue."""
    app.add_message_catalog("extensions", str(Path(__file__).parent / "locale"))
