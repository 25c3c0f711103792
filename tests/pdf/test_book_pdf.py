"""The book's PDF as two independent readers see it: complete, within its margins, and findable."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from copy import copy
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from bs4 import BeautifulSoup, Tag
from chapter.archives import runs_the_example
from chapter.examples import is_captioned, is_shown
from docutils import nodes
from lab.paths import EXAMPLES, ROOT
from pdf.listings import SMALLEST
from printed import Pdf
from reference.response_flags import NONE
from reference.response_flags import read as read_flags
from reference.symptoms import read
from sphinx import addnodes
from sphinx.util.tags import Tags

BOOK = ROOT / "book"
PRINTED = Tags(("typst", "builder_typst"))  # what `only` shows in the PDF
TOCTREE = re.compile(r"```\{toctree\}\n(?::\w+:.*\n)*?:caption: (.+)\n\n([^`]+)```")


@pytest.fixture(scope="session")
def build(builds: tuple[Path, Path]) -> Path:
    """The folder of a build from nothing."""
    return builds[0]


@pytest.fixture(scope="module")
def pdf(build: Path) -> Pdf:
    return Pdf(build / "typst" / "istio-operations-guide.pdf")


def parts() -> Iterator[tuple[str, list[str]]]:
    """The title of each part, and the names of its chapters."""
    for caption, names in TOCTREE.findall((BOOK / "index.md").read_text()):
        yield caption, names.split()


def title(name: str) -> str:
    """The title of a chapter as it is printed, with its number in the book."""
    found = re.search(r"^# (.+)$", (BOOK / f"{name}.md").read_text(), re.MULTILINE)
    assert found
    words = found[1].replace("'", "’")
    return f"{CHAPTERS.index(name) + 1} {words}"


def start_of(words: str, pdf: Pdf) -> int:
    """The index of the first page of what has this title in the outline."""
    (page,) = (entry.page for entry in pdf.outline if entry.depth < 3 and entry.title == words)
    return page


def listings(build: Path, name: str) -> Iterator[str]:
    """The code blocks of a chapter that are printed, as Sphinx has read them.

    Not those in its section on how to run the example, if their file is inside the PDF.
    """
    for block in tree(build, name).findall(nodes.literal_block):
        attached = is_shown(block, EXAMPLES) and Path(block["source"]).read_bytes() in inside(build)
        if not (attached and is_captioned(block) and runs_the_example(block)):
            yield block.astext()


@cache
def inside(build: Path) -> set[bytes]:
    """The files of examples that the PDF has inside."""
    (content,) = Pdf(build / "typst" / "istio-operations-guide.pdf").reader.attachments[
        "all-examples.zip"
    ]
    with ZipFile(BytesIO(content)) as archive:
        return {archive.read(name) for name in archive.namelist()}


@cache
def tree(build: Path, name: str) -> nodes.document:
    """A chapter, as Sphinx has read it. Tests leave it as it is."""
    content = (build / "doctrees" / f"{name}.doctree").read_bytes()
    found: nodes.document = pickle.loads(content)  # noqa: S301 (the build's own file)
    return found


def squeezed(text: str) -> str:
    return "".join(text.split())


CHAPTERS = [name for _part, names in parts() for name in names]
UNSEEN = 1  # point: what is there to be found only
CONTENTS = 2  # the index of the page where they begin: behind title and colophon


@pytest.mark.parametrize("name", ["index", *CHAPTERS])
def test_every_text_is_printed(pdf: Pdf, build: Path, name: str) -> None:
    printed = [re.sub(r"\(page\d+\)", "", squeezed(text)) for text in pdf.texts]
    whole = "".join(printed)
    texts = list(map(squeezed, texts_of(tree(build, name))))
    assert len(texts) > 10
    # The foot of a page may stand between the two parts of a text.
    assert [
        text
        for text in texts
        if text not in whole
        and not any(
            text[:at] in page and text[at:] in following
            for page, following in pairwise(printed)
            for at in range(4, len(text) - 3)
        )
    ] == []


def texts_of(tree: nodes.document) -> Iterator[str]:
    """The texts of a chapter that are not for other editions alone."""
    blocks = tree.findall(addnodes.only)
    only = [node for node in blocks if not PRINTED.eval_condition(node["expr"])]
    left_out = {id(text) for node in only for text in node.findall(nodes.Text)}
    for kind in (nodes.title, nodes.paragraph, nodes.caption, nodes.term):
        for node in tree.findall(kind):
            texts = (text for text in node.findall(nodes.Text) if id(text) not in left_out)
            yield from (text.astext() for text in texts)


def test_captions_have_the_numbers_that_they_have_in_html(
    pdf: Pdf, pages: dict[Path, BeautifulSoup]
) -> None:
    printed = squeezed(" ".join(pdf.texts))
    captions = []
    for path, page in pages.items():
        numbers, texts = (
            [words_of(tag) for tag in page.select(kind) if not tag.find_parent(class_="glance-fix")]
            for kind in (".caption-number", ".caption-number + .caption-text")
        )
        pairs = zip(numbers, texts, strict=True)
        # In print, the name of a file has the place before it where the file is attached.
        folder = f"{path.parent.name}/{path.stem}/"
        captions += [
            (squeezed(number + folder + text), squeezed(number + text)) for number, text in pairs
        ]
    assert len(captions) > 150
    assert [forms for forms in captions if not any(form in printed for form in forms)] == []


def words_of(tag: Tag) -> str:
    """The text of a part of a page without its buttons and links to itself."""
    words = copy(tag)
    for other in words.select("button, .headerlink"):
        other.decompose()
    return words.get_text()


def test_the_outline_is_the_toctree(pdf: Pdf) -> None:
    expected = [(1, "Istio Operations Guide")]
    for caption, names in parts():
        expected += [(1, caption), *((2, title(name)) for name in names)]
    sections = re.findall(r"^## (.+)$", (BOOK / "index.md").read_text(), re.MULTILINE)
    front = [(2, section) for section in sections]
    assert [entry[:2] for entry in pdf.outline if entry.depth < 3] == [
        expected[0],
        *front,
        *expected[1:],
        (1, "Attached files"),
        (1, "Index"),
    ]


def test_outline_and_contents_reach_the_sections_of_chapters(pdf: Pdf) -> None:
    contents = squeezed("".join(pdf.texts[CONTENTS : start_of("Istio Operations Guide", pdf)]))
    for name in CHAPTERS:
        sections = re.findall(r"^## ([^`\n]+)$", (BOOK / f"{name}.md").read_text(), re.MULTILINE)
        below = {entry.title for entry in pdf.outline if entry.depth == 3}
        assert [section for section in sections if section not in below] == []
        listed = (squeezed(section).replace("'", "’") for section in sections)
        assert [section for section in listed if section not in contents] == []


def test_the_outline_reaches_the_flags_and_heads_name_them_as_in_a_dictionary(pdf: Pdf) -> None:
    flags = [f"{flag.flag}: {flag.name}" for flag in read_flags(BOOK) if flag.flag != NONE]
    assert len(flags) > 20
    pages = {entry.title: entry.page for entry in pdf.outline if entry.depth == 4}
    assert [flag for flag in flags if flag not in pages] == []
    for flag in flags:
        head = pdf.read[pages[flag]].get_text_bounded(0, 770, 595, 842)
        first, _, last = head.split("Response flags")[1].strip().partition(" – ")
        names = [name.partition(":")[0] for name in flags]
        between = (
            names.index(first),
            names.index(flag.partition(":")[0]),
            names.index(last or first),
        )
        assert list(between) == sorted(between), head


def test_each_title_stands_on_the_page_that_the_outline_names(pdf: Pdf) -> None:
    for _depth, words, page in pdf.outline:
        assert squeezed(words) in squeezed(pdf.texts[page])


def test_no_page_ends_with_a_heading_and_a_line(pdf: Pdf, build: Path) -> None:
    # Of other chapters' sections a page may well have the titles, in a table of links.
    sections: dict[int, set[str]] = {}
    for name in CHAPTERS:
        _top, *others = [title.astext() for title in tree(build, name).findall(nodes.title)]
        sections[start_of(title(name), pdf)] = set(others)
    assert sum(map(len, sections.values())) > 100
    for page in range(min(sections), start_of("Index", pdf)):
        titles = sections[max(start for start in sections if start <= page)]
        lines = [line.strip() for line in pdf.text(page).split("\n") if line.strip()]
        is_link = lines[-1].startswith("(page ")  # to a section, at the end of a table
        assert is_link or titles.intersection(lines[-2:]) == set(), f"page {page + 1}"


def test_contents_and_index_give_the_pages_to_which_they_lead(pdf: Pdf) -> None:
    index = start_of("Index", pdf)
    given = [(pdf.number_of(page, link), pdf.target(link)) for page, link in listed(pdf, index)]
    assert len(given) > 100
    # A title in two lines is two links, and the number stands in the second.
    wrong = [(number, page) for number, page in given if page is None or number != page + 1]
    assert [number for number, _page in wrong if number is not None] == []
    assert len(wrong) < len(given) / 10


def listed(pdf: Pdf, index: int) -> Iterator[tuple[int, Any]]:
    """The links of the contents and of the index, each with the index of its page."""
    preface = start_of("Istio Operations Guide", pdf)
    return (
        (page, link) for page, link in pdf.links() if CONTENTS <= page < preface or page >= index
    )


def test_the_contents_name_every_chapter(pdf: Pdf) -> None:
    contents = " ".join(pdf.texts[CONTENTS : start_of("Istio Operations Guide", pdf)])
    for _depth, words, page in (entry for entry in pdf.outline if entry.depth < 3):
        assert re.search(rf"{re.escape(words)}[. ]+{page + 1}\b", contents), words


def test_a_part_gives_the_pages_on_which_its_chapters_begin(pdf: Pdf) -> None:
    for part, chapters in parts():
        opening = pdf.texts[start_of(part, pdf)]
        for chapter in map(title, chapters):
            words = re.escape(chapter.partition(" ")[2])
            assert re.search(rf"{words}[. ]+{start_of(chapter, pdf) + 1}\b", opening), chapter


def test_the_title_of_what_a_chapter_applies_to_is_in_one_line(pdf: Pdf) -> None:
    for name in CHAPTERS:
        if "| Applies to | |" in (BOOK / f"{name}.md").read_text():
            lines = pdf.text(start_of(title(name), pdf)).split("\n")
            assert "Applies to" in map(str.strip, lines), name


def test_every_page_but_the_first_two_has_its_number(pdf: Pdf) -> None:
    numbers = [page.get_text_bounded(500, 30, 560, 50) for page in pdf.read]
    assert [number.strip() for number in numbers] == ["", "", *map(str, range(3, len(numbers) + 1))]


def test_the_title_page_names_date_commit_and_versions(pdf: Pdf) -> None:
    words = pdf.texts[0]
    for fact in (
        r"Istio 1\.\d\d",
        r"Envoy 1\.\d\d\.\d",
        "Edition 2026-11-18",
        "Commit [0-9a-f]{10}",
    ):
        assert re.search(fact, words), fact


def test_every_link_leads_to_a_page_or_another_site(pdf: Pdf) -> None:
    links = list(pdf.links())
    inward = [target for _page, link in links if (target := pdf.target(link)) is not None]
    outward = {str(link["/A"]["/URI"]) for _page, link in links if "/URI" in link.get("/A", {})}
    assert len(inward) + sum("/URI" in link.get("/A", {}) for _page, link in links) == len(links)
    assert min(inward) >= 2
    assert [address for address in outward if not address.startswith("https://")] == []


def test_addresses_of_other_sites_are_readable_on_paper(pdf: Pdf) -> None:
    printed = squeezed("".join(pdf.texts))
    addresses = {
        str(link["/A"]["/URI"]) for _page, link in pdf.links() if "/URI" in link.get("/A", {})
    }
    assert addresses
    unread = [
        a for a in addresses if squeezed(a.removeprefix("https://").rstrip("/")) not in printed
    ]
    assert unread == []


def test_no_text_is_outside_of_the_margins(pdf: Pdf) -> None:
    assert [letter for letter in pdf.outside() if letter.page] == []


def test_nothing_is_smaller_than_7_points_but_what_the_build_lists(pdf: Pdf) -> None:
    listed = squeezed(pdf.path.with_suffix(".small.txt").read_text())
    small = {word for size, word in pdf.words() if UNSEEN + 0.1 < size < SMALLEST - 0.1}
    assert 0 < len(small) < 400
    assert [word for word in small if word not in listed] == []


def test_every_character_has_a_glyph_of_an_embedded_font(pdf: Pdf) -> None:
    assert all("/FontFile2" in font["/FontDescriptor"] for font in pdf.fonts())
    assert [page for page, text in enumerate(pdf.texts) if re.search("[\0\ufffd]", text)] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_code_block_of_a_chapter_is_whole(build: Path, pdf: Pdf, name: str) -> None:
    first = start_of(title(name), pdf)
    last = next((entry.page for entry in pdf.outline if entry.depth < 3 and entry.page > first), 0)
    printed = squeezed("".join(pdf.texts[first:last]))
    for block in listings(build, name):
        # In order, since a note can stand between the pages of a block.
        at = 0
        for line in map(squeezed, block.splitlines()):
            at = printed.find(line, at)
            assert at >= 0, line


def test_every_manifest_is_copied_with_its_indentation(build: Path, pdf: Pdf) -> None:
    shown = {block.rstrip() for name in CHAPTERS for block in listings(build, name)}
    manifests = (path.read_text().rstrip() for path in sorted(EXAMPLES.glob("*/*/*.yaml")))
    wanted = [manifest for manifest in manifests if manifest in shown]
    assert len(wanted) > 60
    # Only pages with some lines of manifests: where each letter is takes its time.
    lines = {line for manifest in wanted for line in map(squeezed, manifest.split("\n")) if line}
    marked = [
        page
        for page in range(len(pdf.texts))
        if sum(squeezed(line) in lines for line in pdf.text(page).split("\n")) > 2
    ]
    copied = [line for page in marked for line in pdf.code_lines(page)]
    assert [manifest for manifest in wanted if not is_in(copied, manifest)] == []


def is_in(copied: list[str], manifest: str) -> bool:
    """Whether the lines of a manifest stand in others, with at most some footnotes in between."""
    lines = [line for line in manifest.split("\n") if line.strip()]
    starts = (at for at, line in enumerate(copied) if line == lines[0])
    return any(holds(iter(copied[at : at + len(lines) + 8]), lines) for at in starts)


def holds(copied: Iterator[str], lines: list[str]) -> bool:
    """Whether `lines` are among the copied ones in their order: `in` moves on in an iterator."""
    return all(line in copied for line in lines)


def test_the_index_names_every_symptom_with_the_page_that_shows_it(pdf: Pdf) -> None:
    index = " ".join(pdf.texts[start_of("Index", pdf) :])
    for symptom in {symptom for chapter in read(BOOK) for _, symptom in chapter.symptoms()}:
        letters = map(re.escape, squeezed(symptom.replace(";", ",")))
        found = re.search(r"\s*".join(letters) + r"\s*,\s+(\d+)", index)
        assert found, symptom
        # The first lines of a block can stand on one page, and those of the symptom on the next.
        pages = pdf.texts[int(found[1]) - 1 : int(found[1]) + 1]
        assert squeezed(symptom) in squeezed("".join(pages)), (symptom, found[1])


SUBJECTS = """
preStop terminationGracePeriodSeconds idleTimeout holdApplicationUntilProxyStarts
EXIT_ON_ZERO_ACTIVE_CONNECTIONS PILOT_DEBOUNCE_AFTER ENABLE_NATIVE_SIDECARS
sidecar.istio.io/nativeSidecar proxy.istio.io/config
TCPRoute Telemetry EnvoyFilter DestinationRule ServiceEntry PeerAuthentication
"""


def test_the_index_has_subjects_with_pages_that_name_them(pdf: Pdf) -> None:
    index = " ".join(pdf.texts[start_of("Index", pdf) :])
    for subject in SUBJECTS.split():
        found = re.search(rf"(?<![\w.]){re.escape(subject)}((?:, \d+)+)", index)
        assert found, subject
        for page in map(int, found[1].split(", ")[1:]):
            # The place is before a paragraph, whose end can be overleaf.
            near = squeezed("".join(pdf.texts[page - 1 : page + 1]))
            assert subject in near, (subject, page)


def test_the_index_has_commands_below_their_programs_and_tags(pdf: Pdf) -> None:
    index = " ".join(pdf.texts[start_of("Index", pdf) :])
    assert re.search(r"istioctl admin, \d+ analyze, \d+", index)
    assert re.search(r"kubectl apply, \d+", index)
    assert re.search(r"worker threads, \d+", index)


def test_pictures_have_a_description(pdf: Pdf) -> None:
    figures = list(pdf.structure("/Figure"))
    assert len(figures) > 4
    assert [figure for figure in figures if not str(figure.get("/Alt", "")).strip()] == []


def test_the_decoder_says_where_it_is(pdf: Pdf) -> None:
    page = start_of(title("reference/decoder"), pdf)
    assert "in the file reference/decoder.html" in pdf.texts[page]


def metadata(pdf: Pdf) -> Any:
    found: Any = pdf.reader.metadata
    return found


def test_the_pdf_says_what_it_is(pdf: Pdf) -> None:
    assert metadata(pdf).title == "Istio Operations Guide"
    assert metadata(pdf).author == "The Istio Operations Guide authors"
    assert metadata(pdf).creation_date.timestamp() == 1795000000
    root: Any = pdf.reader.root_object
    assert root["/Lang"] == "en"
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()
