"""The decoder's page in a real browser, opened as a file: `make test-browser`.

It wants the built HTML edition, and Chromium on the PATH.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from browser.tabs import HTML, Watched
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page
from reference import access_log, decoder
from test_decoder import BOOK, TEXT, UC, as_json, inbound, made, mutations

PAGE = HTML / "reference" / "decoder.html"
FIELDS = {"fields": access_log.fields(BOOK)}


class Opened(Watched):
    """The decoder's page, and all that it did and should not have done."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.open(PAGE)
        self.loaded = len(self.requests)
        self.kept = self.storage()

    def storage(self) -> str:
        """What the page has stored, and where it is."""
        kept = "JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
        return str(self.page.evaluate(kept))

    def decode(self, text: str) -> None:
        """Fill in a text and decode it."""
        self.page.fill("#decoder-input", text)
        self.page.click("#decoder [type=submit]")

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.page.locator(selector).all_inner_texts()
        return found

    def verdicts(self) -> list[str]:
        return self.texts(".decoder-request > h2")

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.id || document.activeElement.type"))


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """The page, newly opened; after the test it must have asked for, kept and said nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened = Opened(context.new_page())
    yield opened
    assert opened.faults == []
    assert opened.requests[opened.loaded :] == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert opened.storage() == opened.kept
    context.close()


CLOSED = "This proxy made the 503 itself. 10.244.0.6:8080 closed the connection before it"


def test_pasted_line_is_decoded_at_once(opened: Opened) -> None:
    opened.page.fill("#decoder-input", UC)
    opened.page.press("#decoder-input", "Control+a")
    opened.page.press("#decoder-input", "Control+x")
    assert opened.verdicts() == []
    opened.page.press("#decoder-input", "Control+v")
    [verdict] = opened.verdicts()
    assert verdict.startswith(CLOSED)
    assert len(opened.texts("#decoder-answer tbody tr")) == 19
    assert "5 fields are empty (-)" in opened.texts("#decoder-answer details > p")[0]


def test_lines_of_two_proxies_become_one_request(opened: Opened) -> None:
    opened.decode(f"{made()}\n{inbound()}")
    assert opened.verdicts() == ["Line 2 (inbound sidecar): The application answered 503 itself."]
    assert len(opened.texts("#decoder-answer h3")) == 2
    boxes = opened.texts(".decoder-hop li")
    assert "10.0.0.4:50000" in boxes[0]
    assert "127.0.0.6:41000" in boxes[4]
    assert "inbound|8080||" in boxes[5]


def test_each_recorded_example_is_decoded(opened: Opened) -> None:
    buttons = opened.page.locator("#decoder [data-example]")
    assert buttons.count() >= 4
    for button in buttons.all():
        button.click()
        assert opened.verdicts()
        assert opened.texts(".decoder-fault") == []


def test_unknown_line_gets_its_message(opened: Opened) -> None:
    opened.decode(made(flags="uf"))
    assert opened.verdicts() == []
    [message] = opened.texts(".decoder-fault h2")
    assert message.startswith("Line 1: Field 6 (flags), column 49: expected flags")


def linked(page: Page) -> Iterator[tuple[Path, str]]:
    """The files and anchors to which the answer links."""
    links = "[...document.querySelectorAll('#decoder-answer a')].map(link => link.href)"
    for address in map(urlsplit, page.evaluate(links)):
        assert address.scheme == "file"
        yield Path(unquote(address.path)), address.fragment


def test_links_lead_to_pages_and_anchors_that_exist(opened: Opened) -> None:
    flags = [item["flag"] for item in yaml.safe_load((BOOK / f"{decoder.FLAGS}.yaml").read_text())]
    opened.decode("\n".join([*TEXT, *(made(flags=flag, id=flag) for flag in flags)]))
    found = set(linked(opened.page))
    assert len({path for path, _ in found}) > 3
    for path, anchor in found:
        page = BeautifulSoup(path.read_text(), "html.parser")
        assert not anchor or page.find(id=anchor), (path, anchor)


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<img/src='x'/onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "</script><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<iframe/src=javascript:alert(1)></iframe>",
    "javascript:alert(1)",
    "<a/href=javascript:alert(1)>x</a>",
    "{{constructor.constructor('alert(1)')()}}",
    "`<b>`${alert(1)}`",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<style>*{background:url(http://127.0.0.1:9/x)}</style>",
    "<base/href=http://127.0.0.1:9/>",
    "__proto__",
    "{host}{address}{constructor}",
    "$&$`$1",
]


ELEMENTS = re.compile(
    "section|h2|h3|p|ul|ol|li|a|code|small|strong|table|thead|tbody|tr|th|td|details|summary"
)
ANSWER = """() => {
  const answer = document.getElementById("decoder-answer");
  const elements = [...answer.querySelectorAll("*")];
  return {
    text: answer.textContent,
    elements: elements.map((element) => element.localName),
    attributes: elements.flatMap((element) => element.getAttributeNames()),
  };
}"""


def hostile_lines(text: str) -> list[str]:
    """Lines that are decoded, and lines that are not, with a text in all kinds of places."""
    word = text.replace(" ", "/")
    values = json.loads(as_json(made(), FIELDS)) | {text: 1, "user_agent": text}
    return [
        made(agent=text, id="1"),
        made(request=f"GET /{word} HTTP/1.1", cluster=word, route=word, id="2"),
        made(details=word, reason=text, id=word, flags="XX"),
        made(host=f"{word}:80", client=f"{word}:81", leaves=f"{word}:82", id="4"),
        f"{text} {made(id='5')}",
        json.dumps(values),
        text,
        made(flags=text),
        made(code=text),
    ]


def test_pasted_markup_stays_text(opened: Opened) -> None:
    for text in HOSTILE:
        lines = hostile_lines(text)
        for pasted in [*lines, "\n".join(lines)]:
            opened.decode(pasted)
            answer = opened.page.evaluate(ANSWER)
            assert text in answer["text"] or text.replace(" ", "/") in answer["text"], pasted
            assert all(map(ELEMENTS.fullmatch, answer["elements"])), pasted
            assert set(answer["attributes"]) <= {"class", "href", "open"}, pasted
            assert opened.faults == [], pasted
    assert opened.page.evaluate("Object.keys(Object.prototype).length") == 0


def test_thousand_mutated_lines_raise_no_error(opened: Opened) -> None:
    lines = mutations(1000, FIELDS)
    opened.decode("\n".join(lines))
    assert len(opened.verdicts()) > 20
    assert len(opened.texts(".decoder-fault")) > 200
    for line in lines[:100]:
        opened.decode(line)
        assert opened.page.inner_text("#decoder-answer")


def test_fields_of_many_lines_are_shown_when_they_are_opened(opened: Opened) -> None:
    opened.decode("\n".join(made(id=str(number)) for number in range(1000)))
    assert len(opened.verdicts()) == 1000
    assert opened.page.locator("#decoder-answer table").count() == 0
    for _twice in range(2):
        opened.page.locator("summary").nth(1).click()
        assert opened.page.locator("#decoder-answer table").count() == 1
    opened.page.locator("summary").nth(1).click()
    assert opened.page.locator("#decoder-answer tbody tr").first.is_visible()


def test_page_is_used_with_the_keyboard_alone(opened: Opened) -> None:
    page = opened.page
    page.focus("#decoder-input")
    page.keyboard.insert_text(UC)
    page.keyboard.press("Tab")
    assert opened.focused() == "submit"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert len(opened.verdicts()) == 1
    page.keyboard.press("Tab")
    assert opened.focused() == "reset"
    page.keyboard.press("Space")
    assert (opened.verdicts(), page.input_value("#decoder-input")) == ([], "")
    assert opened.focused() == "decoder-input"
    page.keyboard.insert_text(f"{made()}\n{inbound()}")
    page.keyboard.press("Control+Enter")
    assert len(opened.verdicts()) == 1
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_page_speaks_to_screen_readers(opened: Opened) -> None:
    page = opened.page
    assert page.get_by_label("Lines of an access log").count() == 1
    status = page.locator("#decoder-status")
    assert status.get_attribute("role") == "status"
    opened.decode(UC)
    assert str(status.text_content()).startswith(CLOSED)
    assert page.get_by_role("region", name="Decoded").count() == 1


def rgb(color: str) -> list[float]:
    return [float(part) for part in re.findall(r"[\d.]+", color)[:3]]


def luminance(color: str) -> float:
    """As https://www.w3.org/TR/WCAG21/#dfn-relative-luminance says."""
    parts = [part / 255 for part in rgb(color)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


COLORS = """element => {
  let ground = element;
  while (getComputedStyle(ground).backgroundColor.endsWith(", 0)")) ground = ground.parentElement;
  return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read_in_both_themes(theme: Literal["light", "dark"], opened: Opened) -> None:
    opened.page.emulate_media(color_scheme=theme)
    opened.decode(f"{UC}\nwhat?")
    for selector in (
        "#decoder-input",
        "#decoder [type=submit]",
        "#decoder [type=reset]",
        ".decoder-request > h2",
        ".decoder-hop strong",
        ".decoder-hop small",
        ".decoder-line td code",
        ".decoder-fault h2",
    ):
        colors = opened.page.locator(selector).first.evaluate(COLORS)
        low, high = sorted(map(luminance, colors))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (selector, colors)
        assert (luminance(colors[1]) > 0.5) == (theme == "light") or "submit" in selector


def test_page_fits_a_phone(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 360, "height": 740})
    opened.decode(f"{UC}\n{made(agent='x' * 500, route='y' * 500)}\n{'z' * 500}")
    assert opened.page.evaluate("document.scrollingElement.scrollWidth") == 360
    wide = "[...document.querySelectorAll('#decoder-answer *')].filter(e => e.scrollWidth > 360)"
    assert opened.page.evaluate(f"{wide}.length") == 0


def test_without_scripts_the_page_says_what_is_needed(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(PAGE.as_uri())
    assert "Allow JavaScript for this page." in page.inner_text("article")
    assert not page.is_visible("#decoder-input")
    context.close()
