"""The PDF edition in the programs that people open it with: what they find, and what they copy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import pytest
from lab.paths import EXAMPLES, ROOT
from playwright.sync_api import Browser, Page, Route
from printed import Pdf
from reference.symptoms import read

PDF = ROOT / "build" / "istio-operations-guide.pdf"
VIEWERS = ROOT / "build" / "viewers"
PDFJS = VIEWERS / "node_modules" / "pdfjs-dist"
CHAPTER = 2  # the depth of its entry in the outline
PROBE = "words that are nowhere in it"
SITE = "http://viewer.test"
MANIFEST = EXAMPLES / "debugging" / "access-logs" / "subset-missing.yaml"


@pytest.fixture(scope="module")
def keys() -> list[str]:
    """All symptoms that the book lists, among them the flag lines of access logs."""
    found = {text for chapter in read(ROOT / "book") for _kind, text in chapter.symptoms()}
    assert len(found) > 150
    return sorted(found)


def squeezed(text: str) -> str:
    """A text on one line: viewers take the end of one for a space."""
    return " ".join(text.replace("’", "'").split())


def pdfium() -> str:
    """All text as Chrome has it."""
    document = pypdfium2.PdfDocument(PDF)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def poppler(*options: str) -> str:
    """All text as viewers made of poppler have it."""
    program = shutil.which("pdftotext")
    assert program, "there is no pdftotext: on Debian, apt-get install poppler-utils"
    done = subprocess.run([program, *options, str(PDF), "-"], capture_output=True, text=True)
    assert done.stdout, done.stderr
    return done.stdout


def test_chrome_finds_every_key_as_one_string(keys: list[str]) -> None:
    text = squeezed(pdfium())
    assert [key for key in keys if squeezed(key) not in text] == []


def test_poppler_finds_every_key_as_one_string(keys: list[str]) -> None:
    text = squeezed(poppler())
    assert [key for key in keys if squeezed(key) not in text] == []


@pytest.fixture
def firefox(browser: Browser) -> Iterator[Page]:
    """A page with pdf.js, which is Firefox's viewer."""
    page = browser.new_page()
    page.route(f"{SITE}/**", answer)
    page.goto(f"{SITE}/")
    page.add_script_tag(path=Path(__file__).with_name("viewers") / "find.js")
    yield page
    page.close()


def test_firefox_finds_every_key_as_one_string(firefox: Page, keys: list[str]) -> None:
    # It would take two seconds for each text in the whole book.
    starts = {entry.title: entry.page + 1 for entry in Pdf(PDF).outline if entry.depth == CHAPTER}
    first = next(page for title, page in starts.items() if title.endswith("What do you see?"))
    after = next(page for title, page in starts.items() if title.endswith("Decode a log line"))
    asked = {"texts": [*keys, PROBE], "first": first, "count": after - first}
    assert firefox.evaluate("asked => missing(asked)", asked) == [PROBE]


def answer(route: Route) -> None:
    """What the page asks for: the book, pdf.js, or itself, which is empty."""
    path = route.request.url.removeprefix(SITE)
    if path == "/book.pdf":
        route.fulfill(path=PDF)
    elif path.startswith("/pdfjs/"):
        route.fulfill(path=PDFJS / path.removeprefix("/pdfjs/"), content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>pdf.js</title>", content_type="text/html")


@pytest.mark.parametrize("viewer", ["chrome", "firefox", "poppler"])
def test_what_is_copied_keeps_words_and_lines_but_no_indentation(
    viewer: str, firefox: Page
) -> None:
    # The colophon says so.
    first, *others = MANIFEST.read_text().splitlines()
    if viewer == "firefox":
        copied = firefox.evaluate("text => copied(text)", first)
    else:
        copied = {"chrome": pdfium, "poppler": poppler}[viewer]().partition(first)[2]
    after = copied.splitlines()[1 : len(others) + 1]
    assert [line.strip() for line in after] == [line.strip() for line in others]
    assert any(line.startswith("  ") for line in others)
    assert [line for line in after if line.startswith("  ")] == []


def test_pdfdetach_takes_out_the_files(tmp_path: Path) -> None:
    program = shutil.which("pdfdetach")
    assert program, "there is no pdfdetach: on Debian, apt-get install poppler-utils"
    subprocess.run([program, "-saveall", str(PDF)], cwd=tmp_path, check=True, capture_output=True)
    served = ROOT / "build" / "html" / "_downloads" / "examples"
    expected = {path.name: path.read_bytes() for path in served.glob("*.zip")}
    assert len(expected) > 20
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == expected


def test_the_pdf_conforms_to_ua_1_says_verapdf() -> None:
    jars = VIEWERS / "verapdf"
    assert jars.exists(), "there is no veraPDF: make test-browser installs it"
    main = "org.verapdf.apps.GreenfieldCliWrapper"
    command = ["java", "-cp", f"{jars}/*", main, "--flavour", "ua1", "--format", "text", str(PDF)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("PASS "), done.stdout + done.stderr
