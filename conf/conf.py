"""Settings of the book, for Sphinx and its extensions.

https://www.sphinx-doc.org/en/master/usage/configuration.html
"""

import os
import subprocess
import sys
import time
from pathlib import Path

# The project's own extensions stand beside this file.
sys.path.insert(0, str(Path(__file__).parent))
import stamp

project = "Istio Operations Guide"
author = "The Istio Operations Guide authors"
copyright = f"%Y, {author}"
language = "en"
extensions = [
    "myst_parser",
    "sphinx_copybutton",
    "access_log",
    "decoder",
    "examples",
    "response_flags",
    "stamp",
    "timelines",
    "hops",
    "symptoms",
    "versions",
    "typst_builder",
]
nitpicky = True
# A block without a language is plain text, not a guess at Python.
highlight_language = "none"
# Figures, tables and listings have numbers, the same in both editions.
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
html_css_files = ["book.css"]
html_copy_source = False
html_use_index = False
# SOURCE_DATE_EPOCH is what this prints, so UTC as there.
html_last_updated_fmt = "%Y-%m-%d"
html_last_updated_use_utc = True
# For the PDF; the theme has its own two settings. All three have a contrast of 5:1 or more.
pygments_style = "a11y-high-contrast-light"

# The theme: no button needs another host, and the book's repository has no address yet.
# https://sphinx-book-theme.readthedocs.io/en/stable/reference.html
html_theme_options = {
    "pygments_light_style": pygments_style,
    "pygments_dark_style": "github-dark-high-contrast",
    "navbar_persistent": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "footer_content_items": "copyright.html, last-updated.html",
}

# Copy button: commands without prompt and output, anything else whole, outputs never.
# Here-documents end in EOF, the one delimiter that the extension can be told.
# https://sphinx-copybutton.readthedocs.io/en/latest/use.html
copybutton_selector = "div:not(.output) > div.highlight > pre"
copybutton_prompt_text = "$ "
copybutton_copy_empty_lines = False
copybutton_line_continuation_character = "\\"
copybutton_here_doc_delimiter = "EOF"

# PDF
# See typst_builder.py, beside this file
typst_subtitle = "Every command and output was run"


def edition() -> dict[str, str]:
    """What tells this edition from others; without git, as in an unpacked archive, no commit."""
    states = sorted((Path(__file__).parents[1] / "tests" / "recordings").glob("*/*/*/state.json"))
    istio, envoy, _dates = stamp.versions(states)
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
