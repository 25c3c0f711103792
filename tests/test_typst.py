"""The PDF edition: what goes into the sources comes out of the PDF."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject
from sphinx.application import Sphinx
from sphinx.errors import SphinxError
from sphinx.locale import translators
from sphinx.util.docutils import docutils_namespace
from typst_builder import with_axes

# MyST-Parser asks Sphinx 9 for a name that goes away in Sphinx 11.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*MystReferenceResolver:sphinx.deprecation.RemovedInSphinx11Warning"
)
SAMPLE = Path(__file__).parent / "typst-sample"
SETTINGS = {
    "project": "A Sample Guide",
    "author": "Its Authors",
    "extensions": ["myst_parser", "typst_builder"],
    "myst_enable_extensions": ["attrs_block", "colon_fence", "deflist"],
    "myst_heading_anchors": 3,
    "nitpicky": True,
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
    long_lines = ["abcdefghij" * 50, "a.b" * 170]
    book = page("# Title\n\n```none\n{}\n{}\n```\n".format(*long_lines))
    printed = book.pdf.pages[2].extract_text().split("\n")[1:-1]
    assert "".join(printed) == "".join(long_lines)
    assert 60 < max(map(len, printed)) <= CODE_COLUMNS


def test_the_outline_is_the_toctree(sample: Book) -> None:
    assert [entry for entry in outline(sample.pdf) if entry[0] < 3] == [
        (1, "About this sample"),
        (2, "How to read it"),
        (1, "Problems"),
        (2, "Requests reach the wrong service: 404 NR"),
        (2, "Reading access logs"),
        (1, "Reference"),
        (2, "Glossary"),
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
        "https://www.rfc-editor.org/rfc/rfc9113",
    }


def test_two_builds_give_the_same_bytes(sample: Book, tmp_path: Path) -> None:
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
    assert outline(book.pdf) == [(1, "Part"), (2, "Section"), (3, "One")]
    assert "One . ." in book.words
    assert "Section . ." not in book.words


def test_an_unknown_node_fails_the_build_and_its_text_stays(page: Callable[..., Book]) -> None:
    book = page("# Title\n\n```{math}\nx + y\n```\n")
    assert book.status == 1
    assert "index.md:3: WARNING: not printable in the PDF: node 'math_block'" in book.warnings
    assert "x + y" in book.words


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


def test_an_error_of_the_compiler_names_the_chapter(page: Callable[..., Book]) -> None:
    good = page("# Title\n")
    bytes_before = good.path.read_bytes()
    with pytest.raises(SphinxError) as error:
        page("# Title\n\nWords.\n\n```{raw} typst\n#panic(1)\n```\n")
    assert str(error.value) == "index.md:5: panicked with: 1"
    assert good.path.read_bytes() == bytes_before


def test_a_character_without_a_glyph_names_the_chapter(page: Callable[..., Book]) -> None:
    with pytest.raises(SphinxError, match=r'^index\.md:3: .*the text `"ꙮ"` could not be displayed'):
        page("# Title\n\nWords ꙮ words.\n")


def test_font_weights_in_pictures_are_said_as_axes() -> None:
    assert with_axes(b'<svg ><text font-weight="bold" style="font-weight: 300">') == (
        b'<svg font-variation-settings="\'wght\' 400" ><text font-weight="700" '
        b"font-variation-settings=\"'wght' 700\" "
        b"style=\"font-weight: 300; font-variation-settings: 'wght' 300\">"
    )
