"""The PDF edition: what goes into the sources comes out of the PDF."""

import pickle
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from itertools import pairwise
from pathlib import Path
from string import punctuation
from types import ModuleType
from typing import Any

import pytest
import yaml
from docutils.nodes import Element, Text
from pdf.amend import UnknownShape, amended
from pdf.builder import font_folders, with_axes
from pdf.listings import break_points, columns, groups
from pdf.writer import CALLS, SILENT, TRANSPARENT, Writer
from PIL import Image, ImageChops
from printed import Pdf, difference
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject
from sphinx.application import Sphinx
from sphinx.locale import translators
from sphinx.util.docutils import docutils_namespace

# MyST-Parser asks Sphinx 9 for a name that goes away in Sphinx 11.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*MystReferenceResolver:sphinx.deprecation.RemovedInSphinx11Warning"
)
SAMPLE = Path(__file__).parent / "typst-sample"
APPROVED = Path(__file__).parent / "typst-pages"
EXTENSIONS = ["myst_parser", "pdf.builder"]
SETTINGS = {
    "project": "A Sample Guide",
    "author": "Its Authors",
    "extensions": EXTENSIONS,
    "myst_enable_extensions": ["attrs_block", "colon_fence", "deflist", "tasklist"],
    "myst_heading_anchors": 3,
    "nitpicky": True,
    "numfig": True,
    "typst_subtitle": "Envoy 1.40.0",
    "typst_edition": {"Edition": "22 November 2026"},
}
# On A4 less the margins and the frame, at 0.6 x 8 pt a character.
CODE_COLUMNS = 89
LONG_LINE = re.compile(r"^\[2026.*|^\{\"authority.*", re.MULTILINE)


@dataclass
class Book:
    """A finished build under -W: the PDF, its Typst source, Sphinx's warnings and exit code."""

    path: Path
    warnings: str
    status: int

    @cached_property
    def pdf(self) -> PdfReader:
        return PdfReader(self.path)

    @property
    def source(self) -> str:
        return self.path.with_suffix(".typ").read_text("utf-8")

    @cached_property
    def lines(self) -> list[str]:
        return [line for page in self.pdf.pages for line in page.extract_text().split("\n")]

    @cached_property
    def words(self) -> str:
        """The text as one line."""
        return " ".join(" ".join(self.lines).split())


def build(sources: Path, output: Path, **settings: Any) -> Book:
    """Build the PDF of `sources` into `output`; what Sphinx raises is raised."""
    warnings = StringIO()
    translators.clear()  # what an earlier build left there
    with docutils_namespace():
        app = Sphinx(
            sources,
            None,
            output,
            output / "doctrees",
            "typst",
            confoverrides=SETTINGS | settings,
            status=None,
            warning=warnings,
            freshenv=True,
            warningiserror=True,
        )
        app.build()
    return Book(output / f"{app.config.typst_filename}.pdf", warnings.getvalue(), app.statuscode)


@pytest.fixture(autouse=True)
def _date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1790000000")
        yield build(SAMPLE, tmp_path_factory.mktemp("sample"))


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., Book]:
    """Build a book of one page with this text, and of other files by name."""

    def page(text: str, files: dict[str, str] | None = None, **settings: Any) -> Book:
        for name, content in ({"index.md": text} | (files or {})).items():
            path = tmp_path / "book" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
        return build(tmp_path / "book", tmp_path / "out", **settings)

    return page


def outline(pdf: PdfReader) -> list[tuple[int, str]]:
    """The depth and title of every entry of the PDF's outline."""

    def entries(nodes: list[Any], depth: int) -> Iterator[tuple[int, str]]:
        for node in nodes:
            if isinstance(node, list):
                yield from entries(node, depth + 1)
            else:
                yield depth, str(node.title)

    return list(entries(list(pdf.outline), 1))


# What pypdf finds in a PDF can be of any type.
def annotations(pdf: PdfReader) -> Iterator[Any]:
    """The links on all pages."""
    for page in pdf.pages:
        listed: Any = page.get("/Annots", ArrayObject()).get_object()
        yield from (annotation.get_object() for annotation in listed)


def fonts(pdf: PdfReader) -> Iterator[Any]:
    """The fonts of all pages."""
    for page in pdf.pages:
        resources: Any = page["/Resources"]
        for font in resources.get("/Font", DictionaryObject()).values():
            yield from (child.get_object() for child in font.get_object()["/DescendantFonts"])


def test_the_sample_builds_without_a_warning(sample: Book) -> None:
    assert (sample.warnings, sample.status) == ("", 0)


@pytest.mark.parametrize(
    "text",
    [
        "A Sample Guide",
        "Envoy 1.40.0",
        "22 November 2026",
        "Contents",
        "This text is the root document’s own",
        "Data plane sidecar, ingress gateway",
        "# $ * _ @ < > \\ ` // [ ] { } ~ = - + /* … → é ü “quotes”",
        "in code too: #let x = \"a\\b\" // $1 [*] <label> @ref --flag 'q' ~ _y_.",
        "1-reproduce.console",
        "'%{http_code}\\n'",
        "Both hosts over one connection.",
        "listener alpha",
        "2. It asks for beta.example.com on the same connection: • same address",
        "Therefore Envoy answers 404, flag NR.",
        "Note A note with code in it:",
        "Tip See",
        "Danger Never do this",
        "A title of its own Text under it.",
        "See also The fix",
        "Added in version 1.24: Merging is checked",
        "Quoted: what the standard says. — Somebody",
        "Loose ends",
        "Another term Meaning one Meaning two",
        "SNI (Server Name Indication) and again SNI.",
        "1Browsers coalesce HTTP/2 connections",
        "Response flags that point at the upstream",
        "The number of retries was reached.",
        "Aside Topics are set in a frame.",
        "cluster upstream A group of endpoints",
        "Apply gateways.yaml: one Gateway, both hosts.",
    ],
)
def test_text_in_is_text_out(sample: Book, text: str) -> None:
    assert text in sample.words


def test_a_manifest_keeps_its_lines_and_indentation(sample: Book) -> None:
    printed = iter(sample.lines)
    manifest = (SAMPLE / "problems" / "gateways.yaml").read_text().splitlines()
    # `in` moves on in `printed`: the lines have to come in order.
    assert [line for line in manifest if line.strip() and line not in printed] == []


def test_a_copied_manifest_says_the_same(page: Callable[..., Book]) -> None:
    manifest = (SAMPLE / "problems" / "gateways.yaml").read_text()
    lines = page(f"# Title\n\n```yaml\n{manifest}```\n").pdf.pages[2].extract_text().split("\n")
    copied = "\n".join([*lines[lines.index("apiVersion: networking.istio.io/v1") : -1], ""])
    assert list(yaml.safe_load_all(copied)) == list(yaml.safe_load_all(manifest))


def test_a_long_line_of_a_manifest_is_copied_as_one(page: Callable[..., Book]) -> None:
    manifest = 'value:\n  "@type": type.googleapis.com/' + "abcd." * 15 + "v3\n  name: x"
    assert len(manifest.splitlines()[1]) > CODE_COLUMNS
    lines = page(f"# Title\n\n```yaml\n{manifest}\n```\n").pdf.pages[2].extract_text().split("\n")
    assert "\n".join(lines[1:-1]) == manifest


def test_long_lines_stay_whole(sample: Book) -> None:
    long_lines = LONG_LINE.findall((SAMPLE / "problems" / "logs.md").read_text())
    printed = "".join("".join(sample.lines).split())
    assert [line for line in long_lines if "".join(line.split()) not in printed] == []
    assert min(map(len, long_lines)) > 400


def test_no_line_runs_over_the_margin(page: Callable[..., Book]) -> None:
    long_lines = [
        "abcdefghij" * 50,
        "a.b" * 170,
        " " * 50 + "a-b" * 20,
        "e\N{COMBINING BREVE}" * 89,
    ]
    book = page("# Title\n\n```none\n{}\n{}\n{}\n{}\n```\n".format(*long_lines))
    printed = book.pdf.pages[2].extract_text().split("\n")[1:-1]
    assert "".join(printed).replace(" ", "") == "".join(long_lines).replace(" ", "")
    assert [line.strip() for line in printed[-2:]] == [line.strip() for line in long_lines[-2:]]
    assert 60 < max(map(columns, printed)) <= CODE_COLUMNS


def test_the_outline_is_the_toctree(sample: Book) -> None:
    assert [entry for entry in outline(sample.pdf) if entry[0] < 3] == [
        (1, "About this sample"),
        (2, "How to read it"),
        (1, "Problems"),
        (2, "Requests reach the wrong service: 404 NR"),
        (2, "Reading access logs"),
        (1, "Reference"),
        (2, "Glossary"),
        (2, "Every other node"),
        (1, "Index"),
    ]
    assert (3, "Why it happens") in outline(sample.pdf)


def test_links_lead_to_the_right_pages(sample: Book) -> None:
    printed = [page.extract_text() for page in sample.pdf.pages]
    ids = [page.indirect_reference for page in sample.pdf.pages]
    links = [link for link in annotations(sample.pdf) if "/Dest" in link]
    targets = [ids.index(link["/Dest"].get_object()[0].indirect_reference) for link in links]
    glossary = next(n for n, text in enumerate(printed) if "Glossary\nlistener" in text)
    # From the table of contents, the part's page, two terms, and three entries of the index.
    assert targets.count(glossary) == 7
    assert f"listener (page {glossary + 1}) hands" in sample.words


def test_links_to_other_sites_stay(sample: Book) -> None:
    actions = [link["/A"] for link in annotations(sample.pdf) if "/A" in link]
    assert {str(action["/URI"]) for action in actions if "/URI" in action} == {
        "https://istio.io/latest/docs/",
        "https://www.envoyproxy.io/docs/envoy/latest/",
        "https://www.rfc-editor.org/rfc/rfc9112",
        "https://www.rfc-editor.org/rfc/rfc9113",
    }


def test_an_address_is_in_a_note_and_in_lists_after_the_link(page: Callable[..., Book]) -> None:
    book = page(
        "# Title\n\nA [site](https://a.org/x/) is.\n\n- [Other](https://b.org)\n- <c.org>\n"
    )
    assert "A site1 is. • Other (b.org) •" in book.words
    assert "1a.org/x 3" in book.words


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("upstream_reset", "upstream_reset"),
        ("ReferencedResourceNotFound", "Referenced Resource Not Found"),
        ("istio.io/latest/docs/#limits", "istio. io/ latest/ docs/ #limits"),
        (
            "outbound|80||shop.default,outbound|81||shop",
            "outbound| 80|| shop.default, outbound| 81|| shop",
        ),
        ("0123456789abcdefghijklmnopqrst", "01234567 89abcdef ghijklmn opqrst"),
        ("incomprehensibilities", "incomprehensibilities"),
    ],
)
def test_a_long_word_is_broken_where_its_parts_end(word: str, parts: str) -> None:
    points = break_points(word, longest=20)
    ends = [0, *points, len(word)]
    assert " ".join(word[a:b] for a, b in pairwise(ends)) == parts


def test_an_address_that_the_words_say_is_printed_once(page: Callable[..., Book]) -> None:
    book = page("# Title\n\nSee <https://a.org/x>, [a.org/y](https://a.org/y).\n")
    assert "See https://a.org/x, a.org/y." in book.words


def test_notes_are_numbered_by_chapter(page: Callable[..., Book]) -> None:
    tree = "# Book\n\n```{toctree}\none\ntwo\n```\n"
    text = "# Chapter\n\nWords[^a] of [a site](https://a.org).\n\n[^a]: A note.\n"
    book = page(tree, {"one.md": text, "two.md": text})
    assert [page.extract_text().count("2a.org") for page in book.pdf.pages[2:]] == [1, 1]


def test_a_part_opens_with_the_list_of_its_chapters(sample: Book) -> None:
    opening = " ".join(sample.pdf.pages[3].extract_text().split())
    assert re.match(r"Problems Requests reach the wrong service: 404 NR [. ]+ 5 Reading", opening)


def test_words_of_code_in_prose_are_not_broken(page: Callable[..., Book]) -> None:
    middles = [mark * times for mark in punctuation.replace("`", "") for times in (1, 2)]
    words = [f"{'a' * 20}{middle}{'7' * 20}" for middle in middles] + [f"www.{'a' * 18}.{'b' * 18}"]
    book = page("# Title\n\n" + "\n\n".join(f"Word `x {word} {word}`" for word in words))
    lines = [line for page in book.pdf.pages for line in page.extract_text().split("\n")]
    assert [word for word in words if word not in lines] == []


@pytest.mark.parametrize(("columns", "is_too_wide"), [(8, False), (25, True)])
def test_a_table_that_is_too_wide_is_reported(
    page: Callable[..., Book], columns: int, is_too_wide: bool
) -> None:
    rows = ["Column", "---", "some words"]
    book = page("# Title\n\n" + "\n".join("|" + f" {row} |" * columns for row in rows))
    assert ("a table of 25 columns is too wide for the PDF's page: 'Column'" in book.warnings) == (
        is_too_wide
    )
    assert bool(book.warnings) == is_too_wide


def test_the_head_of_a_page_names_chapter_and_section(sample: Book) -> None:
    *_body, head, _listing, number = sample.pdf.pages[5].extract_text().split("\n")
    assert (head, number) == ("Requests reach the wrong service: 404 NR Why it happens", "6")
    lines = sample.pdf.pages[4].extract_text().split("\n")  # a chapter's first page has no head
    assert [line for line in lines if line.startswith("Requests reach")] == [lines[1]]
    heights: dict[str, float] = {}

    def visit(text: str, cm: list[float], tm: list[float], *_: Any) -> None:
        heights[text.strip()] = cm[5] + tm[5] * cm[3]

    sample.pdf.pages[5].extract_text(visitor_text=visit)
    assert max(heights, key=lambda text: heights[text]) in head


def test_the_index_has_pages_of_entries_and_terms(sample: Book) -> None:
    index = " ".join(sample.pdf.pages[-1].extract_text().split())
    for entry in ("cluster, 10", "node every other, 11", "printed index, 11", "vertex see node"):
        assert entry in index


def test_listings_have_the_numbers_of_sphinx(sample: Book) -> None:
    for caption in ("Listing 1 1-reproduce.console", "Listing 3 long.yaml", "Table 2 Cells across"):
        assert caption in sample.words
    assert "Table 2 (page 12) and Listing 3 (page 12) have numbers." in sample.words


def test_a_page_ends_between_parts_of_code() -> None:
    command, output = "$ curl", ["output"] * 3
    assert groups([command, *output, "", command, *output]) == [5, 4]
    assert groups(["---", "a: 1", "---", *["b: 2"] * 5]) == [8]
    assert groups(["x"] * 23) == [4, 4, 4, 4, 7]
    assert groups(["x" * 500, "y"]) == [2]
    assert groups([]) == []


def test_no_page_ends_after_what_only_begins_something() -> None:
    document = ["---", "a: 1", "metadata:", *["  b: 2"] * 9]
    assert groups([*["x"] * 12, "y", *document, "spec:", *["  c: 3"] * 9])[:4] == [4, 4, 5, 4]
    assert groups(["$ command", *["x"] * 12])[0] == 4
    assert groups(["x", "x", "x", "key:", "  value", *["y"] * 9])[0] == 5


LONG = (
    "$ curl -v --data-binary @file --header 'x-one: two' http://orders-admin/a/b http://shop:8001/c"
)


def test_a_row_of_code_ends_between_words(page: Callable[..., Book]) -> None:
    # Each word once at the end of a row, whatever stands before it.
    lines = "\n".join(f"{LONG} {'y' * count} {LONG}" for count in range(1, 60, 3))
    book = page(f"# Title\n\n```console\n{lines}\n```\n")
    rows = Counter(word for line in book.lines for word in line.split())
    for word in LONG.split():
        assert rows[word] == 2 * len(lines.splitlines()), word


def test_words_of_code_in_a_text_stay_whole(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n" + "Call `istioctl proxy-config log --level http:debug`. " * 20)
    rows = Counter(word.strip(".") for line in book.lines for word in line.split())
    assert {rows[word] for word in ["proxy-config", "--level", "http:debug"]} == {20}


def test_rows_of_code_are_evenly_apart(page: Callable[..., Book]) -> None:
    code = f"$ short\n{LONG} {LONG}\nshort\n\n{LONG} {LONG}\n"
    book = page(f"# Title\n\n```{{code-block}} console\n:caption: a\n\n{code}```\n")
    heights: list[float] = []

    def visit(text: str, cm: list[float], tm: list[float], font: Any, _size: float) -> None:
        if text.strip() and font and "Code" in font["/BaseFont"]:
            heights.append(round(cm[5] + tm[5] * cm[3], 1))

    book.pdf.pages[-1].extract_text(visitor_text=visit)
    gaps = [above - below for above, below in pairwise(sorted({*heights}, reverse=True))]
    assert len(gaps) > 5
    assert {round(gap) for gap in gaps} <= {10, 20}  # with an empty line between


def test_a_listing_has_its_caption_on_each_page(page: Callable[..., Book]) -> None:
    code = "\n".join(f"line {number}" for number in range(200))
    book = page(f"# Title\n\n```{{code-block}} text\n:caption: a.txt\n\n{code}\n```\n\nEnd.\n")
    pages = [text for page in book.pdf.pages if "line " in (text := page.extract_text())]
    assert len(pages) > 2
    assert all("Listing 1 a.txt" in " ".join(text.split()) for text in pages)
    assert ["continued from previous page" in text for text in pages] == [
        number > 0 for number in range(len(pages))
    ]


def test_the_caption_overleaf_is_one_row_without_links(page: Callable[..., Book]) -> None:
    code = "\n".join(f"line {number}" for number in range(70))
    captions = ["words " * 20, "of [a site](https://example.org)"]
    blocks = [f"```{{code-block}} text\n:caption: {one}\n\n{code}\n```\n" for one in captions]
    book = page("# Title\n\n" + "\n".join(blocks))
    assert book.warnings == ""
    texts = [" ".join(one.extract_text().split()) for one in book.pdf.pages]
    repeated = [
        text.partition("continued from")[0][-30:] for text in texts if "continued f" in text
    ]
    assert [text.partition("Listing ")[2] for text in repeated] == ["1 ", "2 of a site "]
    assert [re.findall(r"Listing \d: continued on", text) for text in texts[2:]] == [
        ["Listing 1: continued on"],
        ["Listing 2: continued on"],
        [],
    ]


def test_a_heading_stays_with_the_list_below_it(page: Callable[..., Book]) -> None:
    # In chapters that fill their first page more or less.
    counts = [*range(20, 36)]
    chapters = {
        f"{count}.md": "# Title\n\n"
        + "Text.\n\n" * count
        + "## Heading\n\nOne line.\n\n- One\n- Two\n"
        for count in counts
    }
    tree = "\n".join(map(str, counts))
    book = page(f"# Book\n\n```{{toctree}}\n{tree}\n```\n", chapters)
    pages = [one.extract_text() for one in book.pdf.pages[2:]]
    assert len(pages) > len(counts)
    assert ["One" in one for one in pages] == ["Heading" in one for one in pages]


def test_a_missing_font_names_the_line_that_asks_for_it(
    page: Callable[..., Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    fonts = [folder for folder in font_folders() if "code" not in folder.name]
    monkeypatch.setattr("pdf.builder.font_folders", lambda: fonts)
    book = page("# Title\n\n`code`\n")
    assert book.status == 1
    assert re.search(r"book\.typ:\d+: ERROR: the font source code pro is not", book.warnings)
    assert not book.path.exists()


def test_the_sample_looks_as_approved(sample: Book, tmp_path: Path) -> None:
    approved = [Image.open(path) for path in sorted(APPROVED.glob("*.png"))]
    pages = Pdf(sample.path).pictures()
    pairs = zip(approved, pages, strict=True)
    changed = [number for number, pair in enumerate(pairs) if difference(*pair) > 20]
    for number in changed:
        pages[number].save(tmp_path / f"{number + 1:02}.png")
    assert changed == [], f"look at {tmp_path} and {APPROVED}; if it is meant: make approve"


def test_pictures_that_differ_are_told_apart() -> None:
    page = Image.open(APPROVED / "05.png")
    assert difference(page, page) == 0
    assert difference(page, ImageChops.offset(page, 0, 1)) > 1000
    assert difference(page, page.crop((0, 0, 100, 100))) > 1000


@pytest.mark.parametrize("number", [6, 8, 12])
def test_a_page_without_its_shades_and_thin_lines_is_told_apart(number: int) -> None:
    page = Image.open(APPROVED / f"{number:02}.png")
    pale = page.point([255 if shade >= 192 else shade for shade in range(256)] * 3)
    assert difference(page, pale) > 1000


def test_a_page_in_other_colours_is_told_apart() -> None:
    page = Image.open(APPROVED / "08.png")
    assert difference(page, page.convert("L")) > 1000


def test_the_sample_has_each_node_that_is_printed(sample: Book) -> None:
    files = (sample.path.parent / "doctrees").rglob("*.doctree")
    trees = [pickle.loads(path.read_bytes()) for path in files]  # noqa: S301 (the build's own)
    nodes = (node for tree in trees for node in tree.findall(Element))
    used = {kind.__name__ for node in nodes for kind in type(node).__mro__}
    visited = {name.removeprefix("visit_") for name in dir(Writer) if name.startswith("visit_")}
    # The builder itself makes the first one; the others come with an error only.
    rest = {"start_of_file", "problematic", "system_message"}
    assert {*CALLS, *TRANSPARENT, *SILENT, *visited} - used == rest


def test_two_builds_give_the_same_bytes_on_another_day_and_in_another_folder(
    sample: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.9e9)
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    again = build(SAMPLE, tmp_path)
    assert again.path.read_bytes() == sample.path.read_bytes()
    assert again.source == sample.source


def test_nothing_names_this_machine(sample: Book) -> None:
    for folder in (SAMPLE, sample.path.parent):
        assert str(folder) not in sample.source
        assert str(folder).encode() not in sample.path.read_bytes()


def test_the_pdf_says_what_it_is(sample: Book) -> None:
    root: Any = sample.pdf.root_object
    metadata = sample.pdf.metadata
    assert metadata is not None
    assert (metadata.title, metadata.author) == ("A Sample Guide", "Its Authors")
    assert metadata.creation_date is not None
    assert metadata.creation_date.timestamp() == 1790000000
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert b"<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data()


def test_fonts_are_the_packaged_ones_and_embedded(sample: Book) -> None:
    names = [str(font["/BaseFont"]).partition("+")[2] for font in fonts(sample.pdf)]
    packaged = ("SourceSerif4", "SourceSans3", "SourceCodePro")
    assert [name for name in names if not name.startswith(packaged)] == []
    assert {start for start in packaged for name in names if name.startswith(start)} == {*packaged}
    assert all("/FontFile2" in font["/FontDescriptor"] for font in fonts(sample.pdf))


def test_words_of_the_layout_follow_the_language(page: Callable[..., Book]) -> None:
    book = page(
        "# Titel\n\n:::{warning}\nNein.\n:::\n\n[Zwei](two.md)\n\n```{toctree}\ntwo\n```\n",
        {"two.md": "# Zwei\n"},
        language="de",
    )
    assert {"Inhalt", "Warnung"} < set(book.lines)
    assert "Zwei (Seite 4)" in book.words


def test_numbers_are_those_of_sphinx(page: Callable[..., Book]) -> None:
    tree = "```{toctree}\n:numbered:\n:caption: Part\n\none\n```\n"
    figure = "```{figure} mesh.svg\n:name: fig\n:alt: A.\n\nB.\n```\n"
    text = f"# One\n\n## Two\n\n{{numref}}`fig`\n\n{figure}"
    picture = (SAMPLE / "mesh.svg").read_text()
    book = page(f"# Book\n\n{tree}", {"one.md": text, "mesh.svg": picture}, numfig=True)
    assert outline(book.pdf) == [(1, "Part"), (2, "1 One"), (3, "1.1 Two")]
    assert "1.1 Two Fig. 1.1 (page 4) Browser" in book.words
    assert "Fig. 1.1 B." in book.words


def test_heads_of_long_tables_are_repeated(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n| Flag | Meaning |\n|---|---|\n" + "| `NR` | no route |\n" * 100)
    tops = [page.extract_text() for page in book.pdf.pages][2:]
    assert len(tops) > 2
    assert [top.count("Flag Meaning") for top in tops] == [1] * len(tops)


def test_links_and_notes_work_where_text_is_printed_twice(page: Callable[..., Book]) -> None:
    head = "# [Title](https://istio.io)\n\nWords.\n\n"
    table = "| Flag[^a] | [Meaning](#title) |\n|---|---|\n" + "| `NR` | no route |\n" * 100
    book = page(f"{head}{table}\n[^a]: A note.\n")
    assert (book.warnings, book.words.count("A note.")) == ("", 1)
    assert outline(book.pdf) == [(1, "Title")]


def test_a_document_with_chapters_is_a_part(page: Callable[..., Book]) -> None:
    book = page(
        "# Book\n\n```{toctree}\npart/index\n```\n",
        {
            "part/index.md": "# Part\n\nWords.\n\n## Section\n\n```{toctree}\none\n```\n",
            "part/one.md": "# One\n\n## Two\n",
        },
    )
    assert outline(book.pdf) == [(1, "Part"), (2, "Section"), (3, "One"), (4, "Two")]
    assert "One . ." in book.words
    assert "Section . ." in book.words


def test_a_part_lists_its_chapters_and_not_what_is_in_them(page: Callable[..., Book]) -> None:
    def document(title: str, inner: str) -> str:
        return f"# {title}\n\n```{{toctree}}\n{inner}\n```\n"

    tree = "# Otherwise\n\n```{toctree}\n:caption: Part\n\none\n```\n"
    files = {"one.md": document("One", "two"), "two.md": document("Two", "three")}
    book = page(tree, files | {"three.md": "# Three\n\nWords.\n"})
    assert (book.status, book.warnings) == (0, "")  # the title page has its own title
    entries = [(1, "Part"), (2, "One"), (3, "Two"), (4, "Three")]
    assert outline(book.pdf) == entries
    opening = " ".join(book.pdf.pages[2].extract_text().split())
    assert re.fullmatch(r"Part One [. ]+ 4 3", opening)


def test_an_unknown_node_fails_the_build_and_its_text_stays(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n```{math}\nx + y\n```\n")
    assert book.status == 1
    assert "index.md:3: WARNING: not printable in the PDF: node 'math_block'" in book.warnings
    assert "x + y" in book.words


def test_a_kind_of_box_without_a_name_is_a_warning(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n```{eval-rst}\n.. productionlist::\n   try: suite\n```\n")
    assert "WARNING: not printable in the PDF: node 'productionlist'" in book.warnings
    assert "suite" in book.words


def test_a_reference_to_no_footnote_is_a_warning(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n```{eval-rst}\nWords [#]_ here.\n```\n\nMore.\n")
    assert book.status == 1
    assert "WARNING: not printable in the PDF: a reference to no footnote" in book.warnings
    assert "More." in book.words


def test_text_without_a_title_has_its_own_page(page: Callable[..., Book]) -> None:
    book = page("Words.\n")
    assert (book.status, book.warnings) == (0, "")
    assert [text.extract_text().split("\n")[0] for text in book.pdf.pages[1:]] == [
        "Contents",
        "Words.",
    ]


def test_a_link_to_a_page_outside_the_book_is_a_warning(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n[Words](alone.md)\n", {"alone.md": "---\norphan: true\n---\n# Alone\n"})
    assert "index.md:3: WARNING: link to nothing in the PDF: '%alone'" in book.warnings
    assert "Words" in book.words


def test_a_picture_needs_a_description(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n![](mesh.svg)\n", {"mesh.svg": (SAMPLE / "mesh.svg").read_text()})
    assert "index.md:3: WARNING: picture without a description (alt)" in book.warnings
    assert "listener alpha" in book.words


def test_a_broken_picture_is_a_warning(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n![What it shows](mesh.svg)\n", {"mesh.svg": "<svg><g></svg>"})
    assert "index.md:3: WARNING: picture mesh.svg: failed to parse SVG" in book.warnings
    assert "What it shows" in book.words


def test_a_picture_without_a_glyph_is_a_warning(page: Callable[..., Book]) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="20"><text>ꙮ</text></svg>'
    book = page("# Title\n\n![What it shows](mesh.svg)\n", {"mesh.svg": svg})
    assert "index.md:3: WARNING: picture mesh.svg: PDF/UA-1 error: the text" in book.warnings
    assert "What it shows" in book.words


def test_a_row_that_is_higher_than_a_page_is_whole(page: Callable[..., Book]) -> None:
    words = [f"word{number}" for number in range(2500)]
    book = page(f"# Title\n\n| A | B |\n|---|---|\n| c | {' '.join(words)} |\n")
    assert (book.status, book.warnings) == (0, "")
    assert [word for word in words if word not in book.words] == []


CELL = "```{list-table}\n* - "
HIGH = '<svg xmlns="http://www.w3.org/2000/svg" width="400" height="700"/>'


@pytest.mark.parametrize(
    "text",
    [
        "- x\n" * 100,
        "".join(f"- Item {n}\n\n  ![High](high.svg)\n\n" for n in range(4)),
        f"{CELL}![High](high.svg)\n\n    ![High](high.svg)\n\n    Below\n  - B\n```\n",
        f"{CELL}~~~\n" + "    a:\n" * 120 + "    ~~~\n\n    Below\n  - B\n```\n",
        "```none\n" + "word " * 3000 + "\n```\n\nBelow\n",
    ],
    ids=["items", "pictures", "pictures in a cell", "code in a cell", "a line of code"],
)
def test_what_is_higher_than_a_page_goes_on_overleaf(page: Callable[..., Book], text: str) -> None:
    book = page(f"# Title\n\n{text}", {"high.svg": HIGH})
    assert (book.status, book.warnings) == (0, "")
    assert len(book.pdf.pages) > 3
    for number, sheet in enumerate(book.pdf.pages, 1):
        heights: list[float] = []

        def visit(
            text: str, cm: list[float], tm: list[float], *_: Any, heights: list[float] = heights
        ) -> None:
            if text.strip():
                heights.append(cm[5] + tm[5] * cm[3])

        sheet.extract_text(visitor_text=visit)
        assert not heights or min(heights) > 30, number


def test_text_that_is_not_printed_fails_the_build(
    page: Callable[..., Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Writer, "visit_emphasis", lambda *_: "", raising=False)
    book = page("# Title\n\nWords.\n\n| A |\n|---|\n| *not there* |\n")
    assert book.status == 1
    assert "index.md:7: ERROR: this text is not in the PDF: 'notthere'" in book.warnings


def test_text_below_the_edge_of_a_page_fails_the_build(
    page: Callable[..., Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdf.writer.FEW_ITEMS", 1000)
    book = page("# Title\n\nx\n\n" + "- x\n" * 100)
    assert book.status == 1
    assert re.search(r"index\.md:\d+: ERROR: this text is not in the PDF: 'x'", book.warnings)


def test_raw_html_is_a_warning(page: Callable[..., Book]) -> None:
    book = page("# Title\n\nWords <b>in</b> HTML.\n\n<!-- a comment -->\n")
    assert book.warnings.count("WARNING: not printable in the PDF: raw HTML") == 2
    assert "index.md:3: WARNING: not printable in the PDF: raw HTML '<b>'" in book.warnings


class Key(Element):
    """A node that an extension brings."""


def extension(name: str, setup: Callable[[Sphinx], None], patch: pytest.MonkeyPatch) -> list[str]:
    """Make an extension of this `setup`, and give all extensions of a book that has it."""
    module = ModuleType(name)
    module.setup = setup  # type: ignore[attr-defined]
    patch.setitem(sys.modules, name, module)
    return [*EXTENSIONS, name]


def test_an_extension_says_how_its_nodes_are_printed(
    page: Callable[..., Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    def visit(writer: Writer, node: Key) -> Any:
        return f"upper({writer.content(node)})"

    def setup(app: Sphinx) -> None:
        app.add_node(Key, typst=(visit, None))
        app.add_role("key", lambda _name, _raw, text, *_: ([Key("", Text(text))], []))

    book = page("# Title\n\nPress {key}`F1`.\n", extensions=extension("keys", setup, monkeypatch))
    assert (book.status, book.warnings) == (0, "")
    assert "Press F1." in book.words
    assert "upper(" in book.source


def test_files_are_attached_and_listed(
    page: Callable[..., Book], monkeypatch: pytest.MonkeyPatch
) -> None:
    def setup(app: Sphinx) -> None:
        app.connect("typst-attachments", lambda _app: [("all.zip", "All files", b"PK...")])

    book = page("# Title\n", extensions=extension("files", setup, monkeypatch))
    assert {name: list(data) for name, data in book.pdf.attachments.items()} == {
        "all.zip": [b"PK..."]
    }
    assert "Attached files This PDF has these files inside: • all.zip: All files" in book.words


def test_a_picture_as_high_as_a_page_stays_below_its_heading(page: Callable[..., Book]) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="500" height="2000"/>'
    book = page("# Title\n\n## Heading\n\n![High](high.svg)\n", {"high.svg": svg})
    assert len(book.pdf.pages) == 3
    assert "Heading" in book.pdf.pages[2].extract_text()


def test_paper_and_sides_can_be_chosen(page: Callable[..., Book]) -> None:
    tree = "# Book\n\n```{toctree}\none\ntwo\n```\n"
    files = {"one.md": "# One\n\nWords.\n", "two.md": "# Two\n\nWords.\n"}
    book = page(tree, files, typst_paper="us-letter", typst_two_sided=True)
    assert book.pdf.pages[0].mediabox.upper_right == (612, 792)
    texts = [text.extract_text() for text in book.pdf.pages]
    assert [n for n, text in enumerate(texts, 1) if "Words." in text] == [3, 5]
    assert texts[3] == ""  # without a head and a number, too


def test_numbers_of_lines_are_within_the_frame(page: Callable[..., Book]) -> None:
    code = "```{code-block} yaml\n:linenos:\n:lineno-start: 998\n\na: b\nc: d\n```\n"
    book = page(f"# Title\n\n:::{{note}}\n{code}:::\n")
    lefts: dict[str, float] = {}

    def visit(text: str, cm: list[float], tm: list[float], _font: Any, _size: float) -> None:
        lefts[text.strip()] = cm[4] + tm[4] * cm[0]

    book.pdf.pages[2].extract_text(visitor_text=visit)
    assert lefts["Note"] < lefts["998"] < lefts["999"] + 1 < lefts["a"] - 16


def tags(pdf: PdfReader) -> Iterator[tuple[str, Any]]:
    """Each tag for screen readers, in the order of the text, with its attributes."""

    def below(node: Any) -> Iterator[tuple[str, Any]]:
        node = node.get_object()
        if isinstance(node, ArrayObject):
            for child in node:
                yield from below(child)
        elif isinstance(node, DictionaryObject) and "/S" in node:
            yield str(node["/S"]), node.get("/A")
            yield from below(node.get("/K", ArrayObject()))

    root: Any = pdf.root_object["/StructTreeRoot"]
    yield from below(root["/K"])


def test_code_and_heads_of_rows_are_tagged_so(page: Callable[..., Book]) -> None:
    table = "```{list-table}\n:stub-columns: 1\n\n* - Row\n  - `cell`\n* - Row\n  - Cell\n```\n"
    found = list(tags(page(f"# Title\n\n{table}\n```yaml\na: b\n```\n").pdf))
    assert [kind for kind, _ in found].count("/Code") == 2
    kinds = [kind for kind, _ in found if kind in ("/TH", "/TD")]
    assert kinds == ["/TH", "/TD", "/TH", "/TD"]
    heads = [attributes[0] for kind, attributes in found if kind == "/TH"]
    assert {head["/Scope"] for head in heads} == {"/Row"}


INNER = """```{list-table}
    :stub-columns: 1

    * - Row
      - Cell
    ```
"""


def test_tables_in_tables_are_printed_once(page: Callable[..., Book]) -> None:
    table = f"```{{list-table}}\n* - {INNER}  - Beside\n* - {INNER}  - Below\n```\n"
    book = page(f"# Title\n\n{table}")
    assert (book.status, book.warnings) == (0, "")
    assert [book.words.count(word) for word in ("Row", "Cell", "Beside", "Below")] == [2, 2, 1, 1]
    kinds = [kind for kind, _ in tags(book.pdf) if kind in ("/TH", "/TD")]
    assert kinds == ["/TD", "/TH", "/TD", "/TD"] * 2


def test_the_outline_is_open_at_the_start(sample: Book) -> None:
    assert sample.pdf.page_mode == "/UseOutlines"
    outlines: Any = sample.pdf.root_object["/Outlines"]
    first, counts = outlines["/First"], []
    while first is not None:
        counts.append(first.get("/Count", 0))
        first = first.get("/Next")
    assert min(counts) >= 0
    assert outlines["/Count"] == len(counts) + sum(counts)


def test_a_pdf_of_another_shape_is_refused() -> None:
    with pytest.raises(UnknownShape, match="no trailer"):
        amended(b"%PDF-1.7", [])


def test_an_error_of_the_compiler_names_the_chapter(page: Callable[..., Book]) -> None:
    good = page("# Title\n")
    bytes_before = good.path.read_bytes()
    bad = page("# Title\n\nWords.\n\n```{raw} typst\n#panic(1)\n```\n")
    assert bad.status == 1
    assert "index.md:5: ERROR: panicked with: 1" in bad.warnings
    assert bad.warnings.count("\n") == 1
    assert good.path.read_bytes() == bytes_before


def test_a_character_without_a_glyph_names_the_chapter(page: Callable[..., Book]) -> None:
    book = page("# Title\n\nWords ꙮ words.\n")
    assert book.status == 1
    assert re.search(r'index\.md:3: ERROR: .*the text `"ꙮ"` could not be displayed', book.warnings)
    assert not book.path.exists()


def test_font_weights_in_pictures_are_said_as_axes() -> None:
    assert with_axes(b'<svg ><text font-weight="bold" style="font-weight: 300">') == (
        b'<svg font-variation-settings="\'wght\' 400" ><text font-weight="700" '
        b"font-variation-settings=\"'wght' 700\" "
        b"style=\"font-weight: 300; font-variation-settings: 'wght' 300\">"
    )
