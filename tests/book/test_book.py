"""The book as a reader gets it: the HTML edition, its downloads, its copy buttons, its coverage."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import searching
import weights
import yaml
from bs4 import BeautifulSoup, Tag
from chapter.examples import is_row
from chapter.stamp import stamp_text
from conftest import front_matter, run_sphinx
from data_files import Fault
from lab.files import transcript
from lab.files.example import load
from lab.paths import EXAMPLES, RECORDINGS, ROOT
from reference import decoder
from reference.response_flags import TEXTS as FLAG_TEXTS
from searching import Finder, misses, searches
from tinyhtml5 import inputstream
from tinyhtml5.parser import HTMLParser
from web import finder as finder_index
from web.frame import SHEETS

FIRST_VIEW = 130_000  # bytes, of a page with all that it loads, as a server compresses them


@pytest.fixture(scope="session")
def html(builds: tuple[Path, Path]) -> Path:
    return builds[0] / "html"


def files_below(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def example_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file())
    return sorted(path for path in files if path.name != "lab.yaml")


def example_folders() -> list[Path]:
    return sorted(folder for folder in EXAMPLES.glob("*/*") if folder.is_dir())


def test_every_file_that_the_readme_links_is_there() -> None:
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


# The pages


def test_same_sources_give_same_bytes(builds: tuple[Path, Path]) -> None:
    one, two = (files_below(build / "html") | files_below(build / "typst") for build in builds)
    # That the compiler makes the same PDF of the same files, `test_typst.py` shows.
    whole, empty = (files.pop("istio-operations-guide.pdf") for files in (one, two))
    assert (whole[:5], empty) == (b"%PDF-", b"")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert "istio-operations-guide.typ" in one


def loaded(page: BeautifulSoup) -> Iterator[str]:
    """The addresses that a browser loads by itself to show a page."""
    for tag in page.select("[src], link[href], object[data]"):
        yield str(tag.get("src") or tag.get("href") or tag.get("data"))
    for tag in page.select("style, [style]"):
        yield from css_addresses(f"{tag.get('style', '')} {tag.get_text()}")


def css_addresses(text: str) -> list[str]:
    return re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", text)


def is_of_another_host(address: str) -> bool:
    return urlsplit(address).netloc != ""


def test_no_page_loads_anything_from_another_host(pages: dict[Path, BeautifulSoup]) -> None:
    addresses = {address for page in pages.values() for address in loaded(page)}
    assert addresses
    assert sorted(filter(is_of_another_host, addresses)) == []


def test_no_stylesheet_loads_anything_from_another_host(html: Path) -> None:
    texts = [path.read_text() for path in html.rglob("*.css")]
    assert texts
    addresses = {address for text in texts for address in css_addresses(text)}
    assert sorted(filter(is_of_another_host, addresses)) == []


def local_targets(path: Path, page: BeautifulSoup) -> Iterator[tuple[Path, str]]:
    """What a page's links and loads lead to in the book, each as a file and an anchor or ''."""
    for tag in page.select("a[href], link[href], img[src], script[src]"):
        address = urlsplit(urljoin(path.as_uri(), str(tag.get("href") or tag.get("src"))))
        if address.scheme == "file":
            yield Path(unquote(address.path)), unquote(address.fragment)


def test_every_internal_link_leads_somewhere(pages: dict[Path, BeautifulSoup]) -> None:
    anchors = {path: {tag["id"] for tag in page.select("[id]")} for path, page in pages.items()}
    broken = [
        f"{path.name}: {target.name}#{anchor}"
        for path, page in pages.items()
        for target, anchor in local_targets(path, page)
        if not target.is_file() or (anchor and anchor not in anchors[target])
    ]
    assert broken == []


def test_first_view_of_every_page_is_light(pages: dict[Path, BeautifulSoup]) -> None:
    found = {path.name: weights.first_view(path, page) for path, page in pages.items()}
    assert max(found.values()) > 10_000
    assert {name: weight for name, weight in found.items() if weight > FIRST_VIEW} == {}


class Patterns(dict[tuple[frozenset[str], bool], re.Pattern[str]]):
    """The parser's patterns of characters that end a token, or that make it.

    It looks for each here, but has none there: what it makes it keeps under another key, and so
    spends a third of its time making them.
    """

    def __missing__(self, key: tuple[frozenset[str], bool]) -> re.Pattern[str]:
        characters, of_them = key
        one_of = "".join(map(re.escape, characters))
        self[key] = re.compile(f"[{'' if of_them else '^'}{one_of}]+")
        return self[key]


def test_every_page_is_valid_html(
    pages: dict[Path, BeautifulSoup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputstream, "characters_until_regex", Patterns())
    errors = {}
    for path in pages:
        parser = HTMLParser()
        parser.parse(path.read_text())
        errors[path.name] = parser.errors
    assert {name: found for name, found in errors.items() if found} == {}


def test_no_script_holds_up_a_page(pages: dict[Path, BeautifulSoup]) -> None:
    scripts = [tag for page in pages.values() for tag in page.select("script[src]")]
    assert len(scripts) > len(pages)
    assert [tag for tag in scripts if not tag.has_attr("defer")] == []
    assert {name for tag in scripts for name in tag.attrs} == {"defer", "src", "data-parts"}
    inline = [tag for page in pages.values() for tag in page.select("head script:not([src])")]
    at_once = {tag.get_text() for tag in inline if tag.get("type") != "module"}
    assert len(at_once) == 1  # the one that chooses the colours


def test_theme_s_icons_and_the_index_of_its_search_are_not_there(html: Path) -> None:
    names = {path.name for path in html.rglob("*") if path.is_file()}
    assert "sphinx-book-theme.css" in names
    assert names.isdisjoint({"fontawesome.js", "searchindex.js"})
    assert {name for name in names if name.endswith((".woff2", ".map"))} == set()
    style = (html / "_static" / "styles" / "pydata-sphinx-theme.css").read_text()
    assert style.count("{") == style.count("}") > 1000
    assert not [part for part in ("--fa:", ".popover", ".toast") if part in style]
    assert ".dropdown-menu" in style


def test_dark_colours_without_scripts_are_those_of_the_theme(html: Path) -> None:
    static = html / "_static"
    found = (static / "dark.css").read_text()
    assert "dark]" not in found
    assert found.count("{") == found.count("}") > 60
    for sheet in SHEETS:
        text = (static / sheet).read_text().replace('"', "")
        rule = text.partition("html[data-theme=dark]")[2].partition("}")[0]
        assert f"html[data-theme=light]{rule}}}" in found, sheet


def test_every_page_fits_itself_to_the_screen_once(pages: dict[Path, BeautifulSoup]) -> None:
    for path, page in pages.items():
        assert len(page.select("meta[name=viewport]")) == 1, path


def test_no_page_uses_an_id_twice(pages: dict[Path, BeautifulSoup]) -> None:
    for path, page in pages.items():
        counts = Counter(tag["id"] for tag in page.select("[id]"))
        assert [name for name, count in counts.items() if count > 1] == [], path


def test_every_page_has_one_title_and_says_its_language(pages: dict[Path, BeautifulSoup]) -> None:
    titles = [page.title.get_text() if page.title else "" for page in pages.values()]
    assert "" not in titles
    for path, page in pages.items():
        assert len(page.select("h1")) == 1, path
        assert len(page.select("main")) == 1, path
        assert page.select("html[lang]"), path


def test_chapters_are_numbered_through_the_book(pages: dict[Path, BeautifulSoup]) -> None:
    for path, page in pages.items():
        links = page.select(".bd-sidebar-primary .bd-links a.reference.internal")
        numbers = [link.get_text().partition(".")[0] for link in links if is_chapter(link)]
        assert len(numbers) > len(CHAPTERS) or path.name == "404.html"
        assert numbers == [str(number + 1) for number in range(len(numbers))]
        if own := page.select_one(".bd-sidebar-primary .current > a.current"):
            assert page.select_one("h1 .section-number").get_text().strip() in own.get_text()  # type: ignore[union-attr]
        assert not re.match(r"\d+\.", page.title.get_text() if page.title else "")


def is_chapter(link: Tag) -> bool:
    """Whether a link of the navigation is one of a chapter, not of a part."""
    return re.match(r"\d+\. ", link.get_text()) is not None


def test_every_chapter_describes_itself_to_search_engines_and_cards(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    for chapter in CHAPTERS:
        page = pages[html_of(html, chapter)]
        [description] = page.select("meta[name=description]")
        assert len(str(description["content"])) > 40, chapter
        assert len(str(description["content"])) <= 200, chapter
        [card] = page.select('meta[property="og:description"]')
        assert card["content"] == description["content"]


def test_every_page_of_a_subject_describes_itself(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    heads = [page.head for path, page in pages.items() if path.parent == html / "tags"]
    found = [str(head.select("meta[name=description]")[0]["content"]) for head in heads if head]
    assert len(set(found)) == len(heads) > 10
    assert all(40 < len(text) <= 200 and text[-1] in ".…" for text in found)
    tags = {tag for chapter in CHAPTERS for tag in front_matter(chapter)["tags"]}
    assert [tag for tag in tags if not any(f"about {tag}: " in text for text in found)] == []


def test_every_drawing_has_its_size_in_the_page(pages: dict[Path, BeautifulSoup]) -> None:
    drawings = [image for page in pages.values() for image in page.select("img")]
    assert drawings
    assert [image for image in drawings if not (image.get("width") and image.get("height"))] == []


def test_every_drawing_has_a_dark_side(html: Path) -> None:
    drawings = list((html / "_images").glob("*.svg"))
    assert drawings
    for drawing in drawings:
        assert "<style>@media (prefers-color-scheme: dark)" in drawing.read_text(), drawing


# What a chapter shows first


def html_of(html: Path, chapter: Path) -> Path:
    return html / chapter.relative_to(ROOT / "book").with_suffix(".html")


def test_chapter_shows_its_fix_beside_the_short_answer(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    for chapter in CHAPTERS:
        page = pages[html_of(html, chapter)]
        [answer] = page.select(".glance > .glance-answer > section#in-short")
        assert answer.find_previous_sibling("div").select("table")  # type: ignore[union-attr]
        [fix] = page.select(".glance > .glance-fix")
        file = EXAMPLES / chapter.parent.name / chapter.stem / front_matter(chapter)["fix"]
        assert fix.select_one("pre").get_text() == file.read_text()  # type: ignore[union-attr]


def turned(html: Path, pages: dict[Path, BeautifulSoup], start: str, kind: str) -> list[str]:
    """The names of the pages to which the links of a kind lead, one after the other."""
    found = [start]
    while links := pages[html / f"{found[-1]}.html"].select(f".prev-next-area a.{kind}"):
        target = (html / found[-1]).parent / str(links[0]["href"])
        found.append(target.resolve().relative_to(html.resolve()).with_suffix("").as_posix())
        assert len(found) == len(set(found)), found
    return found


def test_previous_and_next_turn_all_pages_in_the_order_of_the_book(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    lists = re.findall(r"```\{toctree\}\n(.*?)```", (ROOT / "book/index.md").read_text(), re.S)
    listed = re.findall(r"^[a-z]\S+$", "\n".join(lists), re.M)
    sources = {path.relative_to(ROOT / "book") for path in (ROOT / "book").rglob("*.md")}
    assert {f"{name}.md" for name in ["index", *listed]} == {str(path) for path in sources}
    assert turned(html, pages, "index", "right-next") == ["index", *listed]
    assert turned(html, pages, listed[-1], "left-prev") == ["index", *listed][::-1]


def test_pages_of_subjects_list_the_chapters_that_name_them(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    listed: dict[str, set[str]] = {}
    for entry in pages[html / "tags" / "index.html"].select("main h2"):
        links = entry.find_next_sibling("ul").select("a")  # type: ignore[union-attr]
        listed[entry.get_text()] = {str(link["href"]) for link in links}
    for chapter in CHAPTERS:
        for tag in front_matter(chapter)["tags"]:
            address = f"../{chapter.parent.name}/{chapter.stem}.html"
            assert address in listed[tag], chapter
            links = pages[html_of(html, chapter)].select(".about a")
            [link] = [link for link in links if link.get_text() == tag]
            page = (html_of(html, chapter).parent / str(link["href"])).resolve()
            assert pages[page].select(f'main a[href="{address}"]')


# The search


@pytest.fixture(scope="module")
def finder(html: Path) -> Iterator[Finder]:
    """The search with the index of the book."""
    finder = Finder(html)
    yield finder
    finder.close()


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("503 NC", "reference/response-flags#nc"),
        ("503 UC", "reference/response-flags#uc"),
        ("filter_chain_not_found", "reference/response-flags#nr"),
        ("internal_redirect", "practices/internal-redirect"),
        ("Internal redirect failed: invalid location", "practices/internal-redirect"),
        ("cluster_specifier", "practices/internal-redirect"),
        ("IST0109", "practices/route-order"),
        ("IST0131", "practices/route-order"),
        ("HTTPMatchRequests conflict", "practices/route-order"),
        (
            "upstream_reset_before_response_started{connection_termination}",
            "problems/upstream-connection-termination",
        ),
        ("CrashLoopBackOff", "problems/application-start-fails"),
        ("ENABLE_NATIVE_SIDECARS", "practices/startup-order"),
        ("holdApplicationUntilProxyStarts", "problems/application-start-fails"),
        ("is Istiod running?", "problems/application-start-fails"),
        ("verify_SAN_list", "problems/plaintext-to-tls"),
        ("configmap://", "problems/plaintext-to-tls"),
        ("double TLS", "problems/plaintext-to-tls"),
        ("cluster_not_found", "problems/external-name"),
        ("ExternalName", "problems/external-name"),
        ("no alternative certificate subject name", "problems/external-name"),
        ("IST0134", "problems/external-name"),
        ("preserveHttp1HeaderCase", "practices/header-case"),
        ("proper_case_words", "practices/header-case"),
        ("PreserveCaseFormatterConfig", "practices/header-case"),
        ("high-target-port.yaml", "problems/gateway-tcp-port"),
        ("1-health-check.console", "tricks/direct-response"),
        ("no virtual service bound to gateway", "problems/gateway-tcp-port"),
        ("IST0118", "problems/server-speaks-first"),
        ("protocolDetectionTimeout", "problems/server-speaks-first"),
        ("SMTPServerDisconnected: Connection unexpectedly", "problems/server-speaks-first"),
        ("access_log_flush_interval", "tricks/tcp-access-log"),
        ("filter_chain_is_being_removed", "tricks/tcp-access-log"),
        ("TcpPeriodic", "tricks/tcp-access-log"),
        ("Response flags", "reference/response-flags#response-flags"),
        ("gateway's TCP port", "problems/gateway-tcp-port"),
    ],
)
def test_search_finds_names_codes_and_words(query: str, page: str, finder: Finder) -> None:
    assert finder.find(query)[0] == page


def test_search_shows_the_right_page_first(finder: Finder) -> None:
    count = len(list(searches()))
    assert count >= 120
    missed = [(one.text, finder.find(one.text)[:3]) for one in misses(finder, 1)]
    assert len(missed) <= 0.05 * count, missed


def test_search_shows_the_right_page_among_the_first_three(finder: Finder) -> None:
    assert [(one.text, finder.find(one.text)[:3]) for one in misses(finder, 3)] == []


def test_every_chapter_has_searches_and_each_leads_to_what_there_is(html: Path) -> None:
    named = [right for one in searches() for right in one.right]
    for chapter in CHAPTERS:
        assert named.count(f"{chapter.parent.name}/{chapter.stem}") >= 3, chapter
    for right in {*named}:
        page, _, entry = right.partition("#")
        text = (html / f"{page}.html").read_text()
        assert not entry or f'id="{entry}"' in text, right


def test_nothing_is_searched_twice() -> None:
    texts = Counter(one.text for one in searches())
    assert [text for text, count in texts.items() if count > 1] == []


def test_script_and_index_take_the_same_words_of_a_text(finder: Finder) -> None:
    lines = {
        line for path in (ROOT / "book").rglob("*.md") for line in path.read_text().split("\n")
    }
    lines |= {one.text for one in searches()} | {"TLSRoute HTTPSPort ab_Cd-e.yaml x.console é_Ünï"}
    text = "\n".join(sorted(lines))
    assert [one["word"] for one in finder.call("words", text)] == [*finder_index.words(text)]


def test_every_symptom_finds_its_chapter_before_all_but_a_flag(finder: Finder) -> None:
    for chapter in CHAPTERS:
        for texts in front_matter(chapter)["symptoms"].values():
            for text in texts:
                pages = finder.find(text)
                before = pages[: pages.index(f"{chapter.parent.name}/{chapter.stem}")]
                assert all(not page.startswith("reference/") for page in before[1:]), text


FLAGS = [item["flag"] for item in yaml.safe_load((ROOT / "book" / FLAG_TEXTS).read_text())]
FLAGS.remove("-")  # what stands in place of flags


@pytest.mark.parametrize("flag", FLAGS)
def test_flag_alone_finds_its_entry_first(flag: str, finder: Finder) -> None:
    assert finder.find(flag)[0] == f"reference/response-flags#{flag.lower()}"


def test_search_shows_the_lines_that_have_the_most_of_it(finder: Finder) -> None:
    lines, *_ = finder.lines("connection 503 termination UC")
    assert "503 UC" in lines[0]
    assert len({*lines}) == len(lines)
    means, body, *_ = finder.lines("reset reason: protocol error")[0]
    assert means.startswith("What the upstream answered is not valid HTTP")
    assert "reset reason: protocol error" in body


@pytest.mark.parametrize("query", ["xyzzy", "  ", "", "what is this", "网格 服务 错误", "!!", "<"])
def test_search_finds_nothing_where_nothing_is(query: str, finder: Finder) -> None:
    assert finder.find(query) == []


@pytest.mark.parametrize(
    "own", ["10.9.8.7:4711", "2031-02-03T04:05:06.7Z", "a1b2c3d4-1111-2222-3333-444455556666"]
)
def test_what_is_somebody_s_own_changes_no_result(own: str, finder: Finder) -> None:
    text = "reset reason: connection termination"
    assert finder.find(f"{own} {text}") == finder.find(text)


def test_digits_match_no_part_of_an_id(finder: Finder, html: Path) -> None:
    known = json.loads((html / searching.INDEX).read_text().partition("(")[2].rpartition(")")[0])
    ids = re.compile(r"(?=.*\d)[0-9a-f]{9,}|\d{1,3}(\.\d{1,3}){3}")
    assert [word for word in known["words"].split() if ids.fullmatch(word)] == []
    assert "reference/response-flags#nfcf" not in finder.find("delayed connect error: 113")


def test_every_synonym_leads_to_words_of_the_book(finder: Finder) -> None:
    known = yaml.safe_load((ROOT / "book" / finder_index.KNOWN).read_text())
    assert [meant for meant in known["synonyms"].values() if not finder.find(meant)] == []
    typed = [finder.find(typed) for typed in known["synonyms"]]
    assert [] not in typed


def test_index_of_the_search_is_small(html: Path) -> None:
    assert searching.weight(html) <= 80_000


def test_search_knows_lines_of_a_log_that_no_page_has(finder: Finder) -> None:
    lines = {line for path in EXAMPLES.glob("*/*/*.console") for line in decoder.lines(path)}
    cut = {line.partition("] ")[2] for line in lines if " HTTP/1.1" in line}
    assert {line[0] for line in lines | cut} == {"[", "{", '"'}
    for line in lines | cut:
        own = re.sub(r"20\d\d-\d\d-\d\d", "2031-02-03", line)
        assert finder.call("isLogLine", own), line
    others = ["503 UC", "no healthy upstream", '"GET / HTTP/1.1"', "[2026-11-23] x", '{"a": 1}']
    assert not any(finder.call("isLogLine", text) for text in others)


def test_lines_of_a_log_in_one_field_are_taken_apart(finder: Finder) -> None:
    line = '[2031-02-03T04:05:06.789Z] "GET / HTTP/1.1" 503 UC x'
    assert finder.call("apart", f"{line} {line}") == f"{line}\n{line}"


# The examples


@pytest.mark.parametrize("folder", example_folders(), ids=lambda folder: folder.name)
def test_each_file_begins_with_a_sentence_about_it(folder: Path) -> None:
    for path in example_files(folder):
        first = path.read_text().splitlines()[0]
        mark = "//" if path.suffix == ".go" else "#"
        assert re.fullmatch(rf"{mark} [A-Z0-9].*[.]", first), path


def test_every_example_has_a_page_that_offers_its_zip(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    for folder in example_folders():
        name = folder.relative_to(EXAMPLES).as_posix()
        page = pages[html / f"{name}.html"]
        zip_name = f"../_downloads/examples/{name.replace('/', '-')}.zip"
        assert page.select(f'a[href="{zip_name}"]'), name
        command = "$ make cluster" if load(name).held else f"$ make try EXAMPLE={name}"
        assert command in page.get_text()


def test_zip_holds_the_files_of_its_example(html: Path) -> None:
    zips = {f"{f.parent.name}-{f.name}.zip": f for f in example_folders()}
    folder = html / "_downloads" / "examples"
    assert sorted(path.name for path in folder.glob("*.zip")) == sorted([*zips, "all-examples.zip"])
    for name, example in zips.items():
        with zipfile.ZipFile(folder / name) as archive:
            packed = {entry: archive.read(entry) for entry in archive.namelist()}
        files = example_files(example)
        assert packed == {f"{example.name}/{file.name}": file.read_bytes() for file in files}


def test_one_zip_holds_all_examples_with_their_checksums(html: Path) -> None:
    with zipfile.ZipFile(html / "_downloads" / "examples" / "all-examples.zip") as archive:
        packed = {entry: archive.read(f"{entry}") for entry in archive.namelist()}
    sums = packed.pop("examples/SHA256SUMS").decode().splitlines()
    assert sorted(sums) == sorted(
        f"{hashlib.sha256(data).hexdigest()}  {name.removeprefix('examples/')}"
        for name, data in packed.items()
    )
    readme = packed.pop("examples/README").decode()
    files = [file for folder in example_folders() for file in example_files(folder)]
    assert packed == {f"examples/{file.relative_to(EXAMPLES)}": file.read_bytes() for file in files}
    assert all(f"{folder.relative_to(EXAMPLES)}: " in readme for folder in example_folders())


def test_file_of_an_example_has_an_address_that_lasts(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    for path, page in pages.items():
        for link in page.select("a.download"):
            file = (path.parent / unquote(str(link["href"]))).resolve()
            name = file.relative_to(html.resolve() / "_downloads" / "examples")
            assert file.read_bytes() == (EXAMPLES / name).read_bytes()


def test_pages_with_recordings_and_no_others_are_stamped(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    recorded = {path.parents[1] for path in RECORDINGS.glob("*/*/*/state.json")}
    stamped = {path for path, page in pages.items() if page.select("h1 + p.stamp")}
    assert stamped == {html / f"{path.relative_to(RECORDINGS)}.html" for path in recorded}


def recorded_state(path: Path, **state: str) -> Path:
    path.write_text(json.dumps(state))
    return path


def test_stamp_names_every_version_and_the_newest_date(tmp_path: Path) -> None:
    one = recorded_state(tmp_path / "1.json", istio="1.31.0", envoy="1.40.0", recorded="2026-11-22")
    two = recorded_state(tmp_path / "2.json", istio="1.30.0", envoy="1.40.0", recorded="2026-10-01")
    assert stamp_text([one, two]) == (
        "Outputs in this chapter: Istio 1.30.0, 1.31.0, Envoy 1.40.0, recorded 2026-11-22."
    )


def test_stamp_says_that_no_replay_plays_what_the_cluster_holds(tmp_path: Path) -> None:
    state = {"istio": "1.31", "envoy": "1.39.3", "recorded": "2026-11-29"}
    path = recorded_state(tmp_path / "recording.json", held="It ends pods", **state)
    assert stamp_text([path]).endswith(
        ", recorded 2026-11-29. They are held by the cluster run: no replay plays them."
    )


def test_stamp_names_the_recording_that_lacks_a_version(tmp_path: Path) -> None:
    path = recorded_state(tmp_path / "state.json", istio="1.31.0")
    with pytest.raises(Fault, match=re.escape(str(path))):
        stamp_text([path])


def test_every_row_of_the_symptoms_leads_to_where_its_words_are(
    pages: dict[Path, BeautifulSoup], builds: tuple[Path, Path]
) -> None:
    here = builds[0] / "html" / "reference" / "symptoms.html"
    rows = pages[here].select("table.symptoms tbody tr")
    for row in rows:
        words = row.td.get_text().strip()  # type: ignore[union-attr]
        for link in row.select("a"):
            file, _, place = str(link["href"]).partition("#")
            section = pages[(here.parent / file).resolve()].find(id=place)
            assert section is not None, words
            assert "response-flags" in file or words in section.get_text(), words
    assert len(rows) > 100


# The blocks


def test_here_documents_end_as_the_copy_button_knows() -> None:
    files = sorted(EXAMPLES.glob("*/*/*.console"))
    texts = [step.command for file in files for step in transcript.read(file).steps]
    words = {found for text in texts for found in re.findall(r"<<-?\s*['\"]?(\w+)", text)}
    assert words == {"EOF"}


def test_manifests_without_a_fault_offer_to_be_applied(
    pages: dict[Path, BeautifulSoup], builds: tuple[Path, Path]
) -> None:
    for path, page in pages.items():
        source = ROOT / "book" / path.relative_to(builds[0] / "html").with_suffix(".md")
        faults = front_matter(source).get("faults", []) if source.is_file() else []
        for block in page.select("div.highlight-yaml"):
            bar = block.find_previous_sibling("div", class_="code-block-caption")
            names = [link.get_text() for link in bar.select("a.download")]  # type: ignore[union-attr]
            is_applied = bool(names) and not re.match("rejected-|install-|lab.yaml", names[0])
            words = re.findall(r"[\w.-]+\.yaml", bar.get_text())  # type: ignore[union-attr]
            is_fault = not {*words}.isdisjoint(faults)
            assert bool(bar.select(".fault")) == is_fault, f"{path}: {names}"  # type: ignore[union-attr]
            is_applied &= not is_fault
            assert len(bar.select("button.apply")) == 2 * is_applied, f"{path}: {names}"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("NAME   READY", True),
        ("NAME                      READY   STATUS    RESTARTS   AGE" + " " * 50 + "IP", True),
        ("service/shop created", False),
        ("  indented", False),
        ('"GET / HTTP/1.1" 500 NFCF  - ' + "x" * 160, False),
    ],
)
def test_rows_of_tables_are_told_from_lines_of_logs(line: str, is_one: bool) -> None:
    assert is_row(line) == is_one


@pytest.mark.parametrize(
    ("captions", "most"), [(".code-block-caption", 10), ("figcaption", 1), ("table", 1)]
)
def test_listings_figures_and_tables_are_numbered_within_their_page(
    captions: str, most: int, pages: dict[Path, BeautifulSoup]
) -> None:
    longest = 0
    for path, page in pages.items():
        numbers = page.select(f"{captions} .caption-number")
        found = [number.get_text().split()[-1] for number in numbers]
        assert found == [str(place) for place in range(1, len(found) + 1)], path
        longest = max(longest, len(found))
    assert longest > most


# The parts, and what changed


def test_part_says_what_each_of_its_chapters_is_for(
    html: Path, pages: dict[Path, BeautifulSoup]
) -> None:
    parts = {path.parent for path in (ROOT / "book").glob("*/*.md")}
    for part in parts:
        page = pages[html / part.name / "index.html"]
        listed = {str(link["href"]) for link in page.select("dl.part dt a")}
        assert listed == {f"{path.stem}.html" for path in part.glob("*.md")}
        front = pages[html / "index.html"].select(f'.parts h2 a[href="{part.name}/index.html"]')
        assert [title.get_text() for title in front] == [page.select_one("h1").get_text()]  # type: ignore[union-attr]
        lines = [line.get_text() for line in page.select("dl.part dd")]
        assert all(40 < len(line) <= 200 and line.endswith(".") for line in lines), lines


def test_page_leads_up_to_its_part(html: Path, pages: dict[Path, BeautifulSoup]) -> None:
    for path in (ROOT / "book").glob("*/*.md"):
        up = pages[html_of(html, path)].select(".bd-breadcrumbs a")
        assert [str(link["href"]) for link in up] == ["../index.html", "index.html"], path


def test_feed_tells_of_every_chapter_in_a_sentence(html: Path) -> None:
    items = yaml.safe_load((ROOT / "book" / "changes.yaml").read_text())
    told = {item["page"] for item in items}
    assert {f"{path.parent.name}/{path.stem}" for path in CHAPTERS} <= told
    assert [item for item in items if not re.fullmatch(r"[A-Z].*[.]", item["says"])] == []
    feed = (html / "changes.xml").read_text()
    assert all(f"{item['page']}.html" in feed for item in items)


# The checks that tie chapters to examples, each provoked in a book of one chapter

FAULTY = """\
---
faults: [gone.yaml]
---
# A title

```{literalinclude} /../examples/part/chapter/shown.yaml
:language: yaml
```

```yaml
typed: by hand
```

```console
$ two
$ commands
```

```console
an output
```

```bash
kubectl version
```

```console
$ kubectl version
```
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What Sphinx says of a faulty book, with paths below the book's project."""
    root = tmp_path_factory.mktemp("faulty")
    sources = {
        "book/index.md": "# Index\n\n```{toctree}\npart/chapter\npart/other\n```\n",
        "book/part/chapter.md": FAULTY,
        "book/part/other.md": "# Other\n\n```{example}\n```\n",
        "examples/part/chapter/shown.yaml": "a: 1\n",
        "examples/part/chapter/unused.yaml": "a: 1\n",
        "examples/part/chapter/lab.yaml": "network: 127.0.0\n",
        "examples/part/orphan/alone.yaml": "a: 1\n",
    }
    for name, text in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    code, output = run_sphinx(root / "book", root / "out")
    assert code != 0
    return output.replace(f"{root.resolve()}/", "")


@pytest.mark.parametrize(
    "place",
    [
        "examples/part/chapter/unused.yaml:1: WARNING: this file is not shown in the chapter",
        "examples/part/orphan/alone.yaml:1: WARNING: this file is not shown in the chapter",
        "book/part/chapter.md:10: WARNING: this block is neither from a file",
        "book/part/chapter.md:14: WARNING: this block is neither from a file",
        "book/part/chapter.md:19: WARNING: this block is neither from a file",
        "book/part/chapter.md: WARNING: the front matter lists gone.yaml under faults",
        "book/part/other.md:3: ERROR: there is no example in examples/part/other",
    ],
)
def test_fault_is_reported_with_file_and_line(report: str, place: str) -> None:
    assert place in report


def test_nothing_but_the_faults_is_reported(report: str) -> None:
    assert len(re.findall("WARNING|ERROR", report)) == 7


def titles(path: Path) -> list[str]:
    return [line[3:] for line in path.read_text().splitlines() if line.startswith("## ")]


def section(path: Path, title: str) -> str:
    return path.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


CHAPTERS = [
    path
    for part in ("debugging", "problems", "practices", "tricks")
    for path in sorted((ROOT / "book" / part).glob("*.md"))
]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_opens_with_what_it_applies_to_and_the_answer(path: Path) -> None:
    head, _, _ = path.read_text().partition("\n## ")
    assert "| Applies to | |" in head
    assert titles(path)[0] == "In short"
    assert len(section(path, "In short").split()) <= 60


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_ends_with_the_way_to_run_it_and_its_sources(path: Path) -> None:
    assert titles(path)[-3:] == ["Gateway API and ambient", "Reproduce it", "Sources"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_problem_shows_symptom_and_fix_before_the_reason(path: Path) -> None:
    if path.parent.name == "problems":
        assert titles(path)[1:5] == ["Symptom", "Fix", "Why it happens", "Find it early"]
