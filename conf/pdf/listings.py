"""Texts and listings as Typst code: where long words may be broken, and how code is coloured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

from pygments.formatter import Formatter
from pygments.token import Generic, Text, Token
from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

# A row that goes on is indented as the line, up to so many columns, and by so many more. Words of
# code are broken if they do not fit in it, or, in narrow places, in so many columns.
MOST_INDENT = 16
MORE_INDENT = 4
SHORT_ROW = 19
# Into what: pieces that end a list's item, then parts of names, then words that are written
# together, and those that are still longer than any English word just anywhere.
PIECES = (
    re.compile(r".+?(?:(?:[,;&?)}\]]|\|(?!\|))(?=.)|$)"),
    re.compile(r".+?(?:[/.:=_@>#\"-](?=.)|$)"),
    re.compile(r".+?(?:(?<=[a-z])(?=[A-Z])|$)"),
)
LONG_ENGLISH_WORD = 24
ANYWHERE = re.compile(r".{1,8}")
CODE_COLUMNS = 89  # of the template's code fit between the margins
NARROW_COLUMNS = 82  # fit in a list or a box
NUMBER_COLUMNS = 6  # are for the numbers of lines
WHOLE_COLUMNS = 130  # of code that is copied are one row, in smaller letters
CODE_SIZE = 8.0  # points of a letter in the template's code
SMALLEST = 7.0  # points, if a row does not need less
# Of code, at least so many rows are on a page before and after a break ...
FEW_ROWS = 4
# ... and a command with its output, or a paragraph, is on one page if it has no more than these.
ONE_PAGE = 10
MOST_ROWS = 40  # that can be kept on one page at all


def string(text: str) -> str:
    """Give `text` as a Typst string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def boolean(value: bool) -> str:
    """Give `value` as Typst writes it."""
    return "true" if value else "false"


def join(parts: Iterable[str]) -> str:
    """Give one Typst expression that joins the expressions `parts`; empty ones are left out."""
    kept = [part for part in parts if part]
    return kept[0] if len(kept) == 1 else "{" + "\n".join(kept) + "}" if kept else "[]"


def break_points(text: str, longest: int) -> list[int]:
    """Give the offsets at which words of `text` longer than `longest` characters may be broken."""
    if len(text) <= longest:
        return []
    return [
        word.start() + end
        for word in re.finditer(r"\S+", text)
        if len(word[0]) > longest
        for end in list(accumulate(map(len, pieces(word[0], longest))))[:-1]
    ]


def pieces(word: str, longest: int, ways: tuple[re.Pattern[str], ...] = PIECES) -> list[str]:
    """Split `word` in the first of these `ways`, and what is still too long in the next ones."""
    if len(word) <= longest:
        return [word]
    if not ways:
        return ANYWHERE.findall(word) if len(word) > LONG_ENGLISH_WORD else [word]
    return [end for part in ways[0].findall(word) for end in pieces(part, longest, ways[1:])]


def split_at(text: str, points: Iterable[int]) -> str:
    """Give `text` as a Typst expression that allows a line to end at the offsets `points`.

    `brk` is an empty box: unlike a zero-width space, it leaves nothing in text that is copied.
    """
    parts, start = [], 0
    for point in points:
        parts += [string(text[start:point]), "brk"]
        start = point
    return join([*parts, string(text[start:]) if text[start:] else ""])


def columns(text: str) -> int:
    """Give how many columns `text` takes; a Chinese character takes two, an accent none."""
    if text.isascii():
        return len(text)
    return sum(1 + (east_asian_width(c) in "WF") for c in text if not combining(c))


def size_of(line: str, place: int) -> float:
    """Give the points of a letter in a row of code, in a place of so many columns.

    It is set smaller if need be, but not its indentation.
    """
    indent = len(line) - len(line.lstrip(" "))
    return CODE_SIZE * min(1, (place - indent) / max(columns(line) - indent, 1))


def rows(line: str) -> int:
    """Give about how many rows a line of code takes in print."""
    return 1 + columns(line) // CODE_COLUMNS


def groups(lines: list[str]) -> list[int]:
    """Split the lines of a listing, and give how many lines each part has: it is on one page.

    A part ends where a paragraph, a command's output or a YAML document does, if these are short.
    """
    sizes: list[int] = []
    count = height = 0
    for paragraph in paragraphs(lines):
        is_short = sum(map(rows, paragraph)) <= ONE_PAGE
        if not is_short and count and sizes:
            sizes[-1] += count  # what is left of the last one: a page may end before this one
            count = height = 0
        for number, line in enumerate(paragraph, start=1):
            count, height = count + 1, height + rows(line)
            # No page ends right after `---`, a command, or a key whose value comes next.
            may_end = not is_short and number > 2 and not line.endswith(":")
            if height >= FEW_ROWS and (number == len(paragraph) or may_end):
                sizes.append(count)
                count = height = 0
    if height < FEW_ROWS and count and sizes:
        count += sizes.pop()
    return [*sizes, count] if count else sizes


def paragraphs(lines: Iterable[str]) -> Iterator[list[str]]:
    """Split the lines of a listing before commands, at YAML's `---`, and after empty lines."""
    paragraph: list[str] = []
    for line in lines:
        if paragraph and (not paragraph[-1].strip() or line == "---" or line.startswith("$ ")):
            yield paragraph
            paragraph = []
        paragraph.append(line)
    yield paragraph


class CodeFormatter(Formatter[str]):
    """Writes Pygments tokens as calls of `code-line`; Sphinx's highlighter drives it."""

    def __init__(
        self,
        style: Any,
        hl_lines: Iterable[int] = (),
        fitting: int = 0,
        linenos: bool | str = False,
        linenostart: int = 1,
        **_options: object,
    ) -> None:
        super().__init__()
        self.style = style
        self.marked = set(hl_lines)
        self.fitting = fitting  # so many columns need one row
        self.first = linenostart if linenos else None  # the number of the first line
        self.looks: dict[Any, str] = {}

    @override
    def format(self, tokens: Iterable[tuple[Any, str]], outfile: SupportsWrite[str]) -> None:
        """Write one `code-line` for each line of `tokens`, and `together` around some of them."""
        lines = list(token_lines(tokens))
        texts = ["".join(value for _kind, value in line) for line in lines]
        number = 0
        for size in groups(texts):
            height = sum(map(rows, texts[number:][:size]))
            outfile.write(f"together(breakable: {boolean(height > MOST_ROWS)}, {{\n")
            for line, text in zip(lines[number:][:size], texts[number:][:size], strict=True):
                number += 1
                outfile.write(self.code_line(line, text, self.marks(number)))
            outfile.write("})\n")

    def marks(self, number: int) -> str:
        """Give what sets the line of this number apart."""
        mark = "marked: true, " if number in self.marked else ""
        return mark if self.first is None else f"{mark}number: {self.first + number - 1}, "

    def code_line(self, line: list[tuple[Any, str]], text: str, options: str) -> str:
        """Give one line of code."""
        if not text.strip():
            return f'code-line({options}" ")\n'
        if columns(text) <= self.fitting:
            body = join(self.runs(line))
            return f"code-line({options}{body})\n" if options else f"par({body})\n"
        options += f"indent: {len(text) - len(text.lstrip(' '))}, "
        is_output = all(kind in Generic.Output or kind in Text for kind, value in line if value)
        if is_output or columns(text) > WHOLE_COLUMNS:
            return f"long-line({options}{''.join(self.words(line, text))})\n"
        return f"small-line({options}columns: {columns(text)}, {join(self.runs(line))})\n"

    def words(self, line: list[tuple[Any, str]], text: str) -> Iterator[str]:
        """Give what of a long line is not broken, each with its columns and the spaces before it.

        Typst would end a row after any hyphen or slash, such as that of an option or an address.
        """
        indent = min(len(text) - len(text.lstrip(" ")), MOST_INDENT) + MORE_INDENT
        points = break_points(text, max(self.fitting - indent - 1, SHORT_ROW))
        edges = {*points, *(edge for word in re.finditer("[^ ]+", text) for edge in word.span())}
        looks = [(look, letter) for look, value in self.looks_of(line) for letter in value]
        spaces = 0
        for start, end in pairwise(sorted({0, *edges})):
            if text[start] == " ":
                spaces = end - start
                continue
            part = join(self.same(looks[start:end]))
            yield f"({spaces}, {columns(text[start:end])}, {part}), "
            spaces = 0

    def runs(self, line: list[tuple[Any, str]]) -> Iterator[str]:
        """Give the parts of `line` that look the same, each as one Typst expression."""
        return self.same(self.looks_of(line))

    def same(self, texts: Iterable[tuple[str, str]]) -> Iterator[str]:
        """Give those of `texts` that look the same, each as one Typst expression."""
        for look, tokens in groupby(texts, key=itemgetter(0)):
            run = "".join(value for _look, value in tokens)
            if run:
                yield f"text({look}{string(run)})" if look else string(run)

    def looks_of(self, line: list[tuple[Any, str]]) -> Iterator[tuple[str, str]]:
        """Give the look and text of each token; spaces look like what is beside them."""
        look, space = "", ""
        for kind, value in line:
            if value.strip():
                look = self.look(kind)
                yield look, space + value
                space = ""
            else:
                space += value
        yield look, space

    def look(self, kind: Any) -> str:
        """Give the arguments of Typst's `text` for a token of this kind."""
        if kind not in self.looks:
            known = kind
            while not self.style.styles_token(known):
                known = known.parent  # a lexer's own kind is drawn like the one it refines
            style = self.style.style_for_token(known)
            plain = (self.style.style_for_token(kind)["color"] for kind in (Token, Text))
            is_plain = style["color"] in plain  # as the template's code is
            fill = "" if is_plain else f'fill: rgb("#{style["color"]}"), '
            weight = 'weight: "bold", ' if style["bold"] else ""
            self.looks[kind] = fill + weight + ('style: "italic", ' if style["italic"] else "")
        return self.looks[kind]


def token_lines(tokens: Iterable[tuple[Any, str]]) -> Iterator[list[tuple[Any, str]]]:
    """Split `tokens` at the ends of lines; the last line need not end in a newline."""
    line: list[tuple[Any, str]] = []
    for kind, value in tokens:
        first, *others = value.split("\n")
        line.append((kind, first))
        for other in others:
            yield line
            line = [(kind, other)]
    if any(value for _kind, value in line):
        yield line
