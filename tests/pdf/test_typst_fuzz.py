"""The PDF of documents that nobody would write: text in is text out, whatever surrounds it."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from unicodedata import normalize

import pytest
from docutils import nodes
from docutils.parsers import Parser
from printed import Pdf
from sphinx.application import Sphinx
from test_typst import build

# MyST-Parser asks Sphinx 9 for a name that goes away in Sphinx 11.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*MystReferenceResolver:sphinx.deprecation.RemovedInSphinx11Warning"
)
DOCUMENTS = 200
SURE = 3
# What Typst could take for markup or code, and characters that fonts, shaping or PDF treat apart.
WORDS = r"""
// /* */ http:// -- --- ... -? #let #{ #[ $x$ <a> @a \u{41} \n \" ``` == 1. - + / é ü ñ ß
ﬁ fi ffl “q” ‘q’ – — … → ≤ × · § € Ω Ж ő á apple Envoy gateway istiod kubectl 503 UF,URX
upstream_reset_before_response_started
"""
PIECES = [*"#$*_@<>\\`/[]{}~=-+!%&|^:;,.?'\"()", *WORDS.split(), "unbreakable" * 14]


class Maker:
    """Makes a document of a seed; `texts` are what it must print, in no certain order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 (for tests, not for secrets)
        self.count = 0
        self.seed = seed
        self.texts: list[str] = []

    def text(self) -> str:
        """A text that occurs nowhere else, from the pieces above."""
        self.count += 1
        words = self.random.choices(PIECES, k=self.random.randint(1, 7))
        text = f"{self.seed}x{self.count} {self.random.choice(['', ' ']).join(words)} e{self.count}"
        self.texts.append(text)
        return text

    def inline(self) -> nodes.Element:
        """Text in some of the ways in which a paragraph has it."""
        kind = self.random.choice(
            [nodes.strong, nodes.emphasis, nodes.literal, nodes.inline, nodes.subscript]
        )
        text = self.text()
        return kind(text, text)

    def paragraph(self) -> nodes.Element:
        first, last = self.text(), self.text()
        return nodes.paragraph("", first, nodes.Text(" "), self.inline(), nodes.Text(f" {last}"))

    def block(self, depth: int = 0) -> nodes.Element:
        """A block of any kind; those deep in others are paragraphs or code."""
        leaves: list[Callable[[int], nodes.Element]] = [lambda _: self.paragraph(), self.code]
        inner = [self.bullets, self.numbers, self.terms, self.quote, self.admonition, self.table]
        return self.random.choice([*leaves, *inner] if depth < 2 else leaves)(depth + 1)

    def blocks(self, depth: int) -> list[nodes.Element]:
        return [self.paragraph(), *(self.block(depth) for _ in range(self.random.randint(0, 1)))]

    def code(self, _depth: int) -> nodes.Element:
        lines = [self.text() for _ in range(self.random.randint(1, 6))]
        text = "\n".join("  " * self.random.randint(0, 4) + line for line in lines)
        language = self.random.choice(["none", "yaml", "console", "python"])
        # `force`: not all of it is YAML or Python, and need not be.
        return nodes.literal_block(text, text, language=language, force=True)

    def bullets(self, depth: int) -> nodes.Element:
        items = [nodes.list_item("", *self.blocks(depth)) for _ in range(self.random.randint(1, 3))]
        return nodes.bullet_list("", *items)

    def numbers(self, depth: int) -> nodes.Element:
        items = [nodes.list_item("", *self.blocks(depth)) for _ in range(self.random.randint(1, 3))]
        return nodes.enumerated_list("", *items, enumtype="loweralpha", suffix=")")

    def terms(self, depth: int) -> nodes.Element:
        term, meaning = self.inline(), self.blocks(depth)
        item = nodes.definition_list_item(
            "", nodes.term("", "", term), nodes.definition("", *meaning)
        )
        return nodes.definition_list("", item)

    def quote(self, depth: int) -> nodes.Element:
        text = self.text()
        return nodes.block_quote("", *self.blocks(depth), nodes.attribution(text, text))

    def admonition(self, depth: int) -> nodes.Element:
        kinds: list[type[nodes.Element]] = [nodes.note, nodes.tip, nodes.warning, nodes.danger]
        return self.random.choice(kinds)("", *self.blocks(depth))

    def table(self, depth: int) -> nodes.Element:
        """Two columns and some rows, with cells across both or across two rows."""
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in range(2)), cols=2)
        head = nodes.row("", self.entry(depth), self.entry(depth))
        body = nodes.tbody("")
        for _ in range(self.random.randint(1, 2)):
            body += nodes.row("", self.entry(depth, morecols=1))
            body += nodes.row("", self.entry(depth, morerows=1), self.entry(depth))
            body += nodes.row("", self.entry(depth))
        group += [nodes.thead("", head), body]
        return nodes.table("", group)

    def entry(self, depth: int, **spans: int) -> nodes.Element:
        return nodes.entry("", *(self.blocks(2) if depth < 3 else [self.paragraph()]), **spans)


class SeedParser(Parser):
    """Makes the documents of the numbers that a file holds."""

    supported = ("seed",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill `document`."""
        for maker in map(Maker, map(int, inputstring.split())):
            title = nodes.title("", f"Document {maker.seed}")
            section = nodes.section("", title, ids=[f"seed-{maker.seed}"])
            section.extend(maker.block() for _ in range(2))
            document += section


def setup(app: Sphinx) -> None:
    """Make this module an extension, so that Sphinx reads files of seeds."""
    app.add_source_suffix(".seed", "seed")
    app.add_source_parser(SeedParser)


def squeezed(text: str) -> str:
    """A text without spaces, and with ligatures in letters, as readers give it."""
    return "".join(normalize("NFKC", text).split())


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The text of each page of a book with all documents."""
    folder = tmp_path_factory.mktemp("fuzz")
    # Twenty of them in a file, since Sphinx takes its time for each file.
    files = [range(first, first + 20) for first in range(0, DOCUMENTS, 20)]
    names = [f"from-{seeds[0]}" for seeds in files]
    sources = {f"from-{seeds[0]}.seed": " ".join(map(str, seeds)) for seeds in files}
    # Below a part and a chapter, so that none of them begins a page.
    for name, below in (("index", ["part"]), ("part", ["chapter"]), ("chapter", names)):
        sources[f"{name}.md"] = "# Title\n\n```{toctree}\n" + "\n".join(below) + "\n```\n"
    for name, text in sources.items():
        (folder / name).write_text(text)
    extensions = ["myst_parser", "pdf.builder", __name__]
    book = build(folder, folder / "out", extensions=extensions, smartquotes=False)
    assert (book.warnings, book.status) == ("", 0)
    pdf = Pdf(book.path)
    assert [letter for letter in pdf.outside() if letter.page] == []
    return [squeezed(pdf.text(page)) for page in range(len(pdf.drawn))]


def test_every_text_of_every_document_is_printed(printed: list[str]) -> None:
    lost, whole = [], "".join(printed)
    for seed in range(DOCUMENTS):
        maker = Maker(seed)
        for _ in range(2):
            maker.block()
        texts = (text for text in maker.texts if squeezed(text) not in whole)
        lost += [text for text in texts if not is_in(printed, squeezed(text))]
    assert lost == []


def is_in(printed: list[str], text: str) -> bool:
    """Whether a text is printed, in two parts if its page ends in a row of a table.

    Other cells of that row may stand between them. Each part is too long to be there by chance.
    """
    if text in "".join(printed):
        return True
    cuts = [(text[:at], text[at:]) for at in range(SURE, len(text) - SURE + 1)]
    return any(
        head in both and tail in both.partition(head)[2]
        for both in map("".join, pairwise(printed))
        for head, tail in cuts
    )


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (["of a page begin", "ning and end of"], True),
        (["beginning and end"], True),
        (["eginning and end"], False),
        (["beginning and en"], False),
        (["and end beginning"], False),
        (["and end of", "a beginning"], False),
    ],
)
def test_a_text_that_is_not_whole_is_missed(pages: list[str], expected: bool) -> None:
    assert is_in([squeezed(page) for page in pages], squeezed("beginning and end")) is expected
