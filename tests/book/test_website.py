"""What stands around the pages of the HTML edition, on a small book that has a repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from conftest import run_sphinx
from data_files import Fault
from drawings import cards, pictures
from lab.paths import ROOT
from PIL import Image
from web import frame as website
from web import history, parts

ADDRESS = "https://guide.example/en/"
PAGE = """\
---
fix: route.yaml
tags: [gateway]
---
# First & foremost

| Applies to | |
|---|---|
| Istio | all |

## In short

Apply the route.

## Fix

```{literalinclude} /../examples/part/first/route.yaml
:language: yaml
```

```{example}
```
"""

CHANGES = """\
- {day: 2026-03-04, page: part/first, says: The route is <safe> now.}
- {day: 2026-01-02, page: part/second, says: New page.}
"""
# The options of the theme that conf.py shows to whoever publishes the book.
OPTIONS = dict(
    re.findall(r'^ +# +"(\w+)": "?([^",]+)"?,$', (ROOT / "conf" / "conf.py").read_text(), re.M)
)


def git(root: Path, *arguments: str, day: str = "2026-01-02") -> None:
    """Run git in a project, on a day."""
    who = {
        f"GIT_{role}_{key}": "a@b.example"
        for role in ("AUTHOR", "COMMITTER")
        for key in ("NAME", "EMAIL")
    }
    when = {"GIT_AUTHOR_DATE": f"{day}T12:00:00Z", "GIT_COMMITTER_DATE": f"{day}T12:00:00Z"}
    command = ["git", "-C", str(root), *arguments]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **who, **when})


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def build(root: Path, out: Path, *settings: str) -> Path:
    """The HTML edition of a small book, with some settings and no warning."""
    assert run_sphinx(root / "book", out, "html", settings) == (0, "")
    return out / "html"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two pages in a repository with two commits."""
    root = tmp_path_factory.mktemp("project")
    write(
        root,
        {
            "book/index.md": "# Index\n\n```{toctree}\npart/first\npart/second\n```\n",
            "book/part/first.md": PAGE,
            "book/part/second.md": "# Second\n\nText.\n",
            "book/changes.yaml": CHANGES,
            "examples/part/first/route.yaml": "# The route.\na: 1\n",
            "guide.pdf": "%PDF",
            "guide.epub": "PK",
        },
    )
    git(root, "init", "--initial-branch=main")
    git(root, "add", "book")
    git(root, "commit", "-m", "Begin the book")
    git(root, "add", "examples")
    git(root, "commit", "-m", "Route <it>", day="2026-03-04")
    return root


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(
        project,
        tmp_path_factory.mktemp("site"),
        f"html_baseurl={ADDRESS}",
        *(f"html_theme_options.{name}={value}" for name, value in OPTIONS.items()),
        f"pdf_file={project}/guide.pdf",
        f"epub_file={project}/guide.epub",
    )


def page(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def links(path: Path, selector: str) -> dict[str, str]:
    return {link.get_text(): str(link["href"]) for link in page(path).select(selector)}


def test_page_changes_with_its_source_and_with_its_example(project: Path) -> None:
    days = history.last_changed(project)
    assert days == {"index": "2026-01-02", "part/first": "2026-03-04", "part/second": "2026-01-02"}


def test_page_says_when_it_changed(site: Path) -> None:
    first = site / "part" / "first.html"
    assert "Last changed 2026-03-04" in page(first).select(".about")[0].get_text()


def test_options_of_the_settings_comment_show_the_theme_s_buttons(site: Path) -> None:
    found = {str(link["href"]) for link in page(site / "part" / "first.html").select(".dropdown a")}
    guide = OPTIONS["repository_url"]
    assert found == {
        guide,
        f"{guide}/blob/main/book/part/first.md?plain=1",
        f"{guide}/edit/main/book/part/first.md",
        f"{guide}/issues/new?title=Issue%20on%20page%20%2Fpart/first.html"
        "&body=Your%20issue%20content%20here.",
        "../_sources/part/first.md",
    }
    assert (site / "_sources" / "part" / "first.md").exists()


def test_feed_has_what_changed_for_readers_newest_first(site: Path) -> None:
    atom = {"a": "http://www.w3.org/2005/Atom"}
    feed = ElementTree.parse(site / "changes.xml").getroot()  # noqa: S314 (our own)
    entries = feed.findall("a:entry", atom)
    assert [entry.findtext("a:title", "", atom) for entry in entries] == [
        "First & foremost",
        "Second",
    ]
    assert entries[0].findtext("a:summary", "", atom) == "The route is <safe> now."
    assert entries[0].findtext("a:updated", "", atom) == "2026-03-04T00:00:00Z"
    assert entries[0].find("a:link", atom).attrib["href"] == f"{ADDRESS}part/first.html"  # type: ignore[union-attr]
    assert len({entry.findtext("a:id", "", atom) for entry in [feed, *entries]}) == 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ("- {day: 2026-01-02, page: part/none, says: A.}\n", "needs a day, as 2026-01-31, and a"),
        ("- {day: soon, page: part/first, says: A.}\n", "needs a day, as 2026-01-31, and a page"),
        ("- {day: 2026-01-02, page: part/first}\n", "missing 1 required positional argument"),
        ("".join(reversed(CHANGES.splitlines(keepends=True))), "the newest entries come first"),
    ],
)
def test_change_that_is_not_as_agreed_ends_the_build_with_its_file(
    changes: str, fault: str, project: Path, tmp_path: Path
) -> None:
    for folder in ("book", "examples"):
        shutil.copytree(project / folder, tmp_path / folder)
    (tmp_path / "book" / "changes.yaml").write_text(changes)
    code, output = run_sphinx(tmp_path / "book", tmp_path, "html")
    assert code != 0
    assert f"{tmp_path}/book/changes.yaml: " in output
    assert fault in output


def test_file_that_is_no_longer_in_an_example_goes_from_the_downloads(
    project: Path, tmp_path: Path
) -> None:
    for folder in ("book", "examples"):
        shutil.copytree(project / folder, tmp_path / folder)
    old = build(tmp_path, tmp_path) / "_downloads" / "examples" / "part" / "old" / "gone.yaml"
    old.parent.mkdir()
    old.touch()
    assert (build(tmp_path, tmp_path) / "_downloads/examples/part/first/route.yaml").exists()
    assert not old.parent.exists()


def test_sitemap_has_every_page_and_robots_know_it(site: Path) -> None:
    root = ElementTree.parse(site / "sitemap.xml").getroot()  # noqa: S314 (our own)
    space = {"s": website.SITEMAP}
    assert [url.text for url in root.findall("s:url/s:loc", space)] == [
        f"{ADDRESS}{name}.html" for name in ("index", "part/first", "part/second")
    ]
    assert root.findtext("s:url[2]/s:lastmod", "", space) == "2026-03-04"
    assert f"Sitemap: {ADDRESS}sitemap.xml" in (site / "robots.txt").read_text().splitlines()


def test_page_tells_cards_where_it_is(site: Path) -> None:
    head = page(site / "part" / "first.html")
    meta = {
        str(tag.get("property") or tag.get("name")): tag["content"]
        for tag in head.select("meta[content]")
    }
    assert meta["og:title"] == "First & foremost"
    assert meta["description"] == meta["og:description"] == "Apply the route."
    assert meta["og:url"] == f"{ADDRESS}part/first.html"
    [canonical] = head.select("link[rel=canonical]")
    assert canonical["href"] == meta["og:url"]


def test_page_for_what_is_not_there_needs_no_script_where_the_address_is_known(site: Path) -> None:
    found = links(site / "404.html", "main a")
    assert list(found.values()) == [f"{ADDRESS}index.html", f"{ADDRESS}search.html"]
    assert page(site / "404.html").select("noscript") == []


def test_other_sites_get_a_picture_of_each_title(site: Path) -> None:
    (picture,) = page(site / "part" / "first.html").select("meta[property='og:image']")
    assert picture["content"] == f"{ADDRESS}{cards.FOLDER}/part/first.png"
    found = sorted((site / cards.FOLDER).rglob("*.png"))
    assert [path.stem for path in found] == ["index", "first", "second"]
    for path in found:
        with Image.open(path) as drawn:
            assert drawn.size == (1200, 630)
    assert len({path.read_bytes() for path in found}) == 3


@pytest.mark.parametrize("title", ["", "Why", "long " * 60, "x" * 300, r'"\#$*_@<>`//~ 503 NC'])
def test_picture_of_any_title_can_be_drawn(title: str) -> None:
    one, other = cards.draw([cards.card(title, book="Guide"), cards.card(f"{title}!")])
    assert one != other


def test_other_editions_are_a_part_of_the_site_where_they_were_built(site: Path) -> None:
    offered = links(site / "part" / "first.html", "footer a")
    assert offered["The whole book as PDF"] == "../guide.pdf"
    assert offered["The whole book as EPUB"] == "../guide.epub"
    assert (site / "guide.pdf").read_text() == "%PDF"
    assert (site / "guide.epub").read_text() == "PK"


def test_without_git_and_address_the_site_leaves_out_what_needs_them(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    write(
        tmp_path,
        {
            name: (project / name).read_text()
            for name in (
                "book/index.md",
                "book/part/first.md",
                "book/part/second.md",
                "examples/part/first/route.yaml",
            )
        },
    )
    site = build(tmp_path, tmp_path)
    assert list(links(site / "part" / "first.html", ".about a")) == ["gateway"]
    assert page(site / "part" / "first.html").select(".dropdown-source-buttons") == []
    assert "Last changed" not in page(site / "part" / "first.html").get_text()
    absent = ("changes.xml", "sitemap.xml", cards.FOLDER)
    assert [name for name in absent if (site / name).exists()] == []
    assert page(site / "index.html").select("meta[property='og:image']") == []
    assert (site / "robots.txt").read_text() == "User-agent: *\nAllow: /\n"
    footer = page(site / "index.html").select("footer")[0].get_text()
    assert "PDF" not in footer
    assert "EPUB" not in footer


def test_colour_without_a_dark_side_is_refused_with_the_drawing_s_name() -> None:
    with pytest.raises(Fault, match=r"way\.svg: conf/pictures\.py has .* for #123456"):
        pictures.with_dark_side('<svg width="1"><rect fill="#123456"/></svg>', "way.svg")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("One. Two.", "One. Two."),
        (f"One. {'x' * 200}.", "One."),
        (f"{'word ' * 50}", f"{'word ' * 38}word…"),
    ],
)
def test_description_ends_with_a_sentence_or_a_word(text: str, short: str) -> None:
    assert parts.shortened(text) == short
