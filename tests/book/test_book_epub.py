"""The book's EPUB, as a reading system finds it: complete, without scripts, and in its order."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from zipfile import ZIP_STORED, ZipFile

import pytest
from bs4 import BeautifulSoup, Tag
from chapter.glance import span_title
from docutils import nodes
from drawings.plots import row
from lab.paths import EXAMPLES, ROOT

NAME = "istio-operations-guide.epub"
SPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "h": "http://www.w3.org/1999/xhtml",
    "ncx": "http://www.daisy.org/z3986/2005/ncx/",
    "opf": "http://www.idpf.org/2007/opf",
}
CAPTIONS = ".//h:div[@class='code-block-caption']"
TOCTREE = re.compile(r"```\{toctree\}\n(?::\w+:.*\n)*?:caption: (.+)\n\n([^`]+)```")
PARTS = {
    caption: names.split()
    for caption, names in TOCTREE.findall((ROOT / "book" / "index.md").read_text())
}
CHAPTERS = [name for names in PARTS.values() for name in names]


@dataclass(frozen=True)
class Package:
    """The files of an EPUB by their names, in their order."""

    files: dict[str, bytes]

    def xml(self, name: str) -> Element:
        return ElementTree.fromstring(self.files[name])  # noqa: S314 (the build's own file)

    @cached_property
    def opf(self) -> Element:
        return self.xml("content.opf")

    @cached_property
    def items(self) -> dict[str, Element]:
        """What the manifest lists, by the names of files."""
        return {item.attrib["href"]: item for item in self.opf.iterfind(".//opf:item", SPACES)}

    @cached_property
    def pages(self) -> dict[str, Element]:
        return {name: self.xml(name) for name in self.files if name.endswith(".xhtml")}

    @cached_property
    def order(self) -> list[str]:
        """The names of the files that are read one after the other."""
        names = {item.attrib["id"]: name for name, item in self.items.items()}
        spine = self.opf.iterfind("opf:spine/opf:itemref", SPACES)
        return [names[ref.attrib["idref"]] for ref in spine]

    def meta(self, name: str) -> list[str]:
        return [one.text or "" for one in self.opf.iterfind(f".//dc:{name}", SPACES)]


@pytest.fixture(scope="module")
def epub(builds: tuple[Path, Path]) -> Package:
    with ZipFile(builds[0] / "epub" / NAME) as archive:
        return Package({name: archive.read(name) for name in archive.namelist()})


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return str(element.tag).rpartition("}")[2]


def text(element: Element) -> str:
    return "".join(element.itertext())


@pytest.mark.parametrize(("head", "spans"), [([], []), ([["a", "b"]], [0, 0]), ([["a", ""]], [1])])
def test_only_a_title_alone_in_a_head_spans_its_table(
    head: list[list[str]], spans: list[int]
) -> None:
    group = nodes.tgroup("", *(nodes.thead("", row(cells)) for cells in head))
    table = nodes.table("", group)
    span_title(table)
    cells = [cell for part in table.findall(nodes.thead) for cell in part.findall(nodes.entry)]
    assert [cell.get("morecols", 0) for cell in cells] == spans


def test_same_sources_give_same_bytes(builds: tuple[Path, Path]) -> None:
    one, two = ((build / "epub" / NAME).read_bytes() for build in builds)
    assert len(one) > 500_000
    assert one == two


def test_first_file_says_what_the_zip_is(builds: tuple[Path, Path]) -> None:
    with ZipFile(builds[0] / "epub" / NAME) as archive:
        first, *others = archive.infolist()
        assert (first.filename, first.compress_type) == ("mimetype", ZIP_STORED)
        assert archive.read(first) == b"application/epub+zip"
    assert max(Counter(one.filename for one in others).values()) == 1


def test_metadata_say_what_the_book_is(epub: Package) -> None:
    assert epub.meta("title") == ["Istio Operations Guide"]
    assert epub.meta("creator") == ["The Istio Operations Guide authors"]
    assert epub.meta("language") == ["en"]
    assert epub.meta("identifier") == ["urn:uuid:cf715dfc-0643-5e7c-bbed-142197080431"]
    assert epub.meta("date") == ["2026-11-18T11:06:40Z"]  # what SOURCE_DATE_EPOCH says
    (description,) = epub.meta("description")
    assert re.search(r"Istio [\d.]+, Envoy [\d.]+, Edition 2026-11-18", description)
    ncx = epub.xml("toc.ncx").find(".//ncx:meta[@name='dtb:uid']", SPACES)
    assert ncx is not None
    assert [ncx.attrib["content"]] == epub.meta("identifier")
    languages = {page.get("lang") for page in epub.pages.values()}
    assert languages == {"en"}


def test_every_chapter_is_read_in_the_order_of_the_book(epub: Package) -> None:
    chapters = [f"{name}.xhtml" for name in CHAPTERS]
    assert len(chapters) > 20
    assert epub.order == ["epub-cover.xhtml", "index.xhtml", *chapters, "genindex.xhtml"]


def test_contents_lead_to_parts_chapters_and_sections(epub: Package) -> None:
    top = epub.pages["nav.xhtml"].find(".//h:nav/h:ol", SPACES)
    assert top is not None
    first, *parts, last = ((text(item[0]), item) for item in top)
    assert (first[0], last[0]) == ("Istio Operations Guide", "Index")
    assert [title for title, _item in parts] == list(PARTS)
    for (_title, item), names in zip(parts, PARTS.values(), strict=True):
        links = [chapter[0] for chapter in item[1]]
        assert [link.get("href") for link in links] == [f"{name}.xhtml" for name in names]
        for chapter, link in zip(item[1], links, strict=True):
            page = epub.pages[link.attrib["href"]]
            (title,) = page.iterfind(".//h:h1", SPACES)
            assert text(link) == text(title)
            sections = [text(section[0]) for section in chapter[1]] if len(chapter) > 1 else []
            assert sections == [text(title) for title in page.iterfind(".//h:h2", SPACES)]


def test_every_file_is_listed_and_every_listed_file_is_there(epub: Package) -> None:
    ours = {name for name in epub.files if not name.startswith("META-INF/")}
    assert ours - {"mimetype", "content.opf"} == set(epub.items)
    covers = [n for n, item in epub.items.items() if item.get("properties") == "cover-image"]
    assert covers == ["_static/cover.png"]
    assert epub.files["_static/cover.png"].startswith(b"\x89PNG")


def test_package_has_the_files_of_every_example(epub: Package) -> None:
    found = {name: data for name, data in epub.files.items() if name.startswith("examples/")}
    paths = [p for p in EXAMPLES.glob("*/*/*") if p.is_file() and p.name != "lab.yaml"]
    expected = {f"examples/{path.relative_to(EXAMPLES).as_posix()}": path for path in paths}
    assert len(expected) > 300
    assert found == {name: path.read_bytes() for name, path in expected.items()}


def test_every_listing_of_a_file_says_where_the_package_has_it(epub: Package) -> None:
    for_the_lab = "lab.yaml"
    count = 0
    for chapter in CHAPTERS:
        found = {
            text(code)
            for caption in epub.pages[f"{chapter}.xhtml"].iterfind(CAPTIONS, SPACES)
            for code in caption.iter(f"{{{SPACES['h']}}}code")
        } - {for_the_lab}
        inside = {name for name in epub.files if name.startswith(f"examples/{chapter}/")}
        assert found <= inside
        count += len(found)
    assert count > 250


def test_no_page_has_scripts_forms_or_what_is_elsewhere(epub: Package) -> None:
    kinds = {local(element) for page in epub.pages.values() for element in page.iter()}
    assert {"section", "figure", "table", "pre"} < kinds
    assert kinds.isdisjoint({"script", "noscript", "form", "input", "button", "iframe", "object"})
    for name, page in epub.pages.items():
        for element in page.iter():
            assert not [key for key in element.attrib if key.startswith("on")]
            loaded = element.get("src", "") or (
                element.get("href", "") if local(element) == "link" else ""
            )
            assert not urlsplit(loaded).netloc, name
    styles = [data for name, data in epub.files.items() if name.endswith(".css")]
    assert len(styles) == 2
    assert not [style for style in styles if b"url(" in style or b"@import" in style]
    assert not [name for name in epub.files if name.endswith((".js", ".zip", ".html"))]


def targets(name: str, page: Element) -> Iterator[tuple[str, str]]:
    """What a page links to and loads in the package, each as a file and an anchor or ''."""
    for element in page.iter():
        for key in ("href", "src"):
            address = urlsplit(element.get(key, ""))
            if element.get(key) is not None and not address.scheme:
                path = posixpath.join(posixpath.dirname(name), unquote(address.path))
                yield posixpath.normpath(path) if address.path else name, unquote(address.fragment)


def test_every_internal_link_leads_somewhere(epub: Package) -> None:
    pages = epub.pages | {"toc.ncx": epub.xml("toc.ncx")}
    anchors = {name: {e.get("id") for e in page.iter()} for name, page in pages.items()}
    found = [(name, *target) for name, page in pages.items() for target in targets(name, page)]
    assert len(found) > 1000
    assert [
        (name, file, anchor)
        for name, file, anchor in found
        if file not in epub.files or (anchor and anchor not in anchors[file])
    ] == []


def test_every_picture_has_words_for_who_cannot_see_it(epub: Package) -> None:
    pictures = [e for page in epub.pages.values() for e in page.iter() if local(e) == "img"]
    assert len(pictures) > 30
    assert [picture.get("src") for picture in pictures if not picture.get("alt")] == []


def test_addresses_of_other_sites_can_be_read(epub: Package) -> None:
    count = 0
    for name, page in epub.pages.items():
        shown = text(page)
        for link in page.iter(f"{{{SPACES['h']}}}a"):
            if urlsplit(link.get("href", "")).netloc:
                assert link.attrib["href"] in shown, name
                count += 1
    assert count > 300


def test_words_are_those_of_an_epub(epub: Package) -> None:
    whole = {name: " ".join(text(page).split()) for name, page in epub.pages.items()}
    assert "files of all examples are in this EPUB, which is a zip" in whole["index.xhtml"]
    for name in ("copy button", "can be downloaded", "All of them in one file", "from a PDF"):
        assert [page for page, words in whole.items() if name in words] == []
    for chapter in CHAPTERS:
        if (EXAMPLES / chapter).is_dir():
            words = f"This EPUB is a zip, and has all of them in the folder: examples/{chapter}."
            assert words in whole[f"{chapter}.xhtml"]
    assert "in the file reference/decoder.html" in whole["reference/decoder.xhtml"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_page_has_the_text_of_the_website_s(
    name: str, epub: Package, builds: tuple[Path, Path], pages: dict[Path, BeautifulSoup]
) -> None:
    website = pages[builds[0] / "html" / f"{name}.html"].select_one("article.bd-article")
    assert website is not None
    here = BeautifulSoup(epub.files[f"{name}.xhtml"], "html.parser")
    for note in here.select("a.footnote-reference"):
        note.decompose()
    left_out = ".glance-fix, .headerlink, noscript, form, .filter, .code-block-caption, [role]"
    for kind in ("h1, h2, h3, h4", "pre", "p", "li", "td", "figcaption"):
        ours = {words_of(tag) for tag in here.select(kind)}
        theirs = [tag for tag in website.select(kind) if not is_inside(tag, left_out)]
        missing = [words_of(tag) for tag in theirs if words_of(tag) not in ours]
        assert [words for words in missing if "All of them in one file" not in words] == []


def is_inside(tag: Tag, selector: str) -> bool:
    return tag.css.closest(selector) is not None


def words_of(tag: Tag) -> str:
    """The text of an element; in code, blanks and ends of lines count."""
    found = tag.get_text()
    if tag.name == "pre":
        return found
    return " ".join(found.replace("#", "").split())
