"""The index of symptoms: what chapters declare, and what their transcripts show."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import run_sphinx
from lab.paths import ROOT
from reference.symptoms import PARTS, Chapter, links, markdown, read

OUTPUTS = """\
[2026-01-31T12:00:00.500Z] "GET / HTTP/1.1" 503 UF upstream_reset{x|y} - "-" 0 0
[2026-01-31T12:00:01.500Z] "GET / HTTP/1.1" 503 - via_upstream - "-" 0 0
[2026-01-31T12:00:02.500Z] "GET / HTTP/1.1" 503 UF upstream_reset{x|y} - "-" 0 0
[2026-01-31T12:00:02.500Z] "- - -" 0 NR filter_chain_not_found - "-" 0 0
Error [IST0101] (VirtualService default/shop) Referenced host not found: "shop"
curl: (7) Failed to connect to 10.0.0.1
"""


def test_flags_and_codes_are_found_once_each_beside_what_is_declared() -> None:
    chapter = Chapter("problems/x", {"client": ["curl: (7)"], "not": ["IST0101"]}, OUTPUTS)
    assert list(chapter.symptoms()) == [
        ("client", "curl: (7)"),
        ("log", "503 UF upstream_reset{x|y}"),
        ("log", "0 NR filter_chain_not_found"),
    ]
    assert list(chapter.faults()) == []


def test_chapters_that_share_a_symptom_stand_in_its_line() -> None:
    chapters = [Chapter(f"problems/{name}", {}, OUTPUTS) for name in "xy"]
    lines = markdown(chapters).splitlines()
    both = "[](/problems/x.md); [](/problems/y.md)"
    assert rf"| `` 503 UF upstream_reset{{x\|y}} `` | {both} |" in lines
    assert f"| `` IST0101 `` | {both} |" in lines


@pytest.mark.parametrize(
    ("declared", "outputs", "fault"),
    [
        ({}, "fine\n", "no symptom leads to this chapter: declare one in its front matter"),
        ({"client": ["404"]}, OUTPUTS, "no output of this chapter's example has the symptom '404'"),
        ({"clients": ["curl"]}, OUTPUTS, "unknown kind of symptom 'clients'; known: client, log"),
    ],
)
def test_what_is_declared_wrongly_is_told(
    declared: dict[str, list[str]], outputs: str, fault: str
) -> None:
    (told,) = Chapter("problems/x", declared, outputs).faults()
    assert told.startswith(fault)


def test_a_chapter_without_a_symptom_fails_the_build(tmp_path: Path) -> None:
    book = tmp_path / "book"
    (book / "tricks").mkdir(parents=True)
    (book / "tricks" / "page.md").write_text("# Title\n")
    text = "# Book\n\n```{toctree}\ntricks/page\n```\n\n```{symptoms}\n```\n"
    (book / "index.md").write_text(text)
    code, output = run_sphinx(book, tmp_path / "out")
    assert "tricks/page.md:1: WARNING: no symptom leads to this chapter" in output
    assert code == 1


def test_every_page_of_the_book_is_read_and_chapters_first() -> None:
    paths = (ROOT / "book").glob("*/*.md")
    names = {str(path.relative_to(ROOT / "book").with_suffix("")) for path in paths}
    read_names = [chapter.docname for chapter in read(ROOT / "book")]
    assert {*read_names} == names
    first = [name.partition("/")[0] in PARTS for name in read_names]
    assert first == sorted(first, reverse=True)


def test_a_page_of_reference_needs_no_symptom() -> None:
    assert list(Chapter("reference/versions", {}, "").faults()) == []


def test_a_symptom_of_a_flag_leads_to_what_is_said_of_that_flag() -> None:
    entries = (("uf", "503\ncurl: (52) Empty"), ("uc", "curl: (52)"), ("nr", ""))
    flags = Chapter("reference/response-flags", {}, "", entries)
    assert [*links(flags, "log", "0 UF,URX -")] == ["[](#uf)", "[](#urx)"]
    assert [*links(flags, "client", "curl: (52)")] == ["[](#uf)", "[](#uc)"]
    assert [*links(Chapter("problems/x", {}, ""), "log", "0 UF,URX -")] == ["[](/problems/x.md)"]


def test_no_row_leads_to_the_top_of_the_page_of_all_flags() -> None:
    rows = [line for line in markdown([*read(ROOT / "book")]).splitlines() if "](" in line]
    assert sum("](#" in row for row in rows) > 30
    assert [row for row in rows if "response-flags.md" in row] == []
