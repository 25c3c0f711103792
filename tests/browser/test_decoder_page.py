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


OPEN_ALL = """() => {
  const buttons = () => [...document.querySelectorAll("#decoder-answer button")];
  const isRow = (button) => button.hasAttribute("aria-expanded");
  const showMore = () => {
    for (let more; (more = buttons().find((button) => !isRow(button))); ) more.click();
  };
  showMore();
  buttons().filter(isRow).forEach((row) => row.click());
  showMore();
}"""


class Opened(Watched):
    """The decoder's page, and all that it did and should not have done."""

    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.open(PAGE)
        page.focus("#decoder-input")
        page.evaluate("loadDecoder()")  # the parts that wait until they are wanted
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
        self.wait()

    def wait(self) -> None:
        """Until the text is read that was given last."""
        self.page.wait_for_selector("#decoder-answer[aria-busy=false]", state="attached")

    def open_all(self) -> None:
        """Open every row of the table, and show all that it has more of."""
        self.page.evaluate(OPEN_ALL)

    def rows(self) -> list[list[str]]:
        """The cells of the table of many lines."""
        rows = self.page.locator("#decoder-answer > table > tbody > tr").all()
        return [row.locator("> td").all_inner_texts() for row in rows]

    def elements(self) -> int:
        return int(self.page.locator("#decoder-answer *").count())

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
    opened.wait()
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
        opened.wait()
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
    opened.open_all()
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
    "section|h2|h3|p|ul|ol|li|a|code|em|small|strong|table|thead|tbody|tr|th|td|details|summary|button"
)
ATTRIBUTES = {"class", "href", "open", "type", "aria-expanded", "colspan", "tabindex"}
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
        many = [made(id=f"many {n}") for n in range(11)]
        for pasted in [*lines, "\n".join(lines), "\n".join([*lines, *many])]:
            opened.decode(pasted)
            opened.open_all()
            answer = opened.page.evaluate(ANSWER)
            assert text in answer["text"] or text.replace(" ", "/") in answer["text"], pasted
            assert all(map(ELEMENTS.fullmatch, answer["elements"])), pasted
            assert set(answer["attributes"]) <= ATTRIBUTES, pasted
            assert opened.faults == [], pasted
    assert opened.page.evaluate("Object.keys(Object.prototype).length") == 0


def test_thousand_mutated_lines_raise_no_error(opened: Opened) -> None:
    lines = mutations(1000, FIELDS)
    opened.decode("\n".join(lines))
    opened.open_all()
    assert len(opened.texts(".decoder-request > h2")) > 20
    assert len(opened.texts(".decoder-fault")) > 200
    for line in lines[:100]:
        opened.decode(line)
        assert opened.page.inner_text("#decoder-answer")


def test_many_requests_are_a_table_whose_rows_open(opened: Opened) -> None:
    fine = [made(id=f"f{n}", code="200", start=f"2026-11-23T03:00:0{n}.000Z") for n in range(7)]
    worse = [made(id=f"w{n}", flags="UH", details="no_healthy_upstream") for n in range(4)]
    opened.decode("\n".join([*fine, *worse, "what?"]))
    cluster = "outbound|80||shop.shop.svc.cluster.local"
    assert opened.rows() == [
        ["503 UH", "4\u00d7", f"no_healthy_upstream\n{cluster}", "2026-11-23T03:00:00.000Z"],
        [
            *("200", "7\u00d7", f"via_upstream\n{cluster}"),
            "2026-11-23T03:00:00.000Z\n2026-11-23T03:00:06.000Z",
        ],
    ]
    assert opened.verdicts() == []
    assert len(opened.texts(".decoder-fault")) == 1
    row = opened.page.get_by_role("button", name="503 UH")
    row.click()
    assert len(opened.verdicts()) == 4
    assert row.get_attribute("aria-expanded") == "true"
    row.click()
    assert opened.verdicts() == []
    assert row.get_attribute("aria-expanded") == "false"


def test_ten_requests_are_shown_without_a_table(opened: Opened) -> None:
    opened.decode("\n".join(made(id=str(n)) for n in range(10)))
    assert (len(opened.verdicts()), opened.rows()) == (10, [])
    opened.decode("\n".join(made(id=str(n)) for n in range(11)))
    assert (len(opened.verdicts()), len(opened.rows())) == (0, 1)


def test_of_a_thousand_lines_few_become_elements(opened: Opened) -> None:
    opened.decode("\n".join(made(id=str(n), code=str(400 + n % 50)) for n in range(1000)))
    assert len(opened.rows()) == 21  # the last one has the button
    assert opened.elements() < 300
    opened.page.get_by_role("button", name="Show 20 more of 30").click()
    opened.page.get_by_role("button", name="Show 10 more of 10").click()
    assert len(opened.rows()) == 50
    opened.decode("\n".join(made(id=str(n)) for n in range(1000)))
    opened.page.get_by_role("button", name="503", exact=True).click()
    assert len(opened.verdicts()) == 20
    opened.page.get_by_role("button", name="Show 20 more of 980").click()
    assert len(opened.verdicts()) == 40


def test_lines_of_one_request_and_faults_are_shown_by_twenties(opened: Opened) -> None:
    opened.decode("\n".join([*(made() for _ in range(50)), *("what?" for _ in range(50))]))
    assert len(opened.texts(".decoder-line")) == len(opened.texts(".decoder-fault")) == 20
    opened.open_all()
    assert len(opened.texts(".decoder-line")) == len(opened.texts(".decoder-fault")) == 50


def test_fields_of_a_line_are_made_when_they_are_opened(opened: Opened) -> None:
    opened.decode(f"{made()}\n{inbound()}")
    assert opened.page.locator("#decoder-answer table").count() == 0
    for _twice in range(2):
        opened.page.locator("summary").nth(1).click()
        opened.page.wait_for_selector("#decoder-answer table", state="attached")
        assert opened.page.locator("#decoder-answer table").count() == 1
    opened.page.locator("summary").nth(1).click()
    assert opened.page.locator("#decoder-answer tbody tr").first.is_visible()


# Pastes as many lines, made of one, and calls `look` in each frame until it gives a value.
PASTE = """([line, count, look]) => {
  const lines = Array.from({length: count}, (_, n) => line.replace('"1"', `"${n}"`));
  const clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", lines.join("\\n"));
  const paste = new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true});
  document.getElementById("decoder-input").dispatchEvent(paste);
  const element = (id) => document.getElementById(id);
  const isRunning = () => element("decoder-answer").ariaBusy === "true";
  return new Promise((done) => {
    let frames = 0;
    const next = () => {
      const value = eval(look);
      frames += 1;
      if (value === undefined) {
        requestAnimationFrame(next);
      } else {
        done(value);
      }
    };
    next();
  });
}"""
STOP = "element('decoder-progress').value < 99 ? undefined : element('decoder-stop').click() ?? 1"


def test_page_is_alive_while_it_reads_a_hundred_thousand_lines(opened: Opened) -> None:
    line = made(agent="x" * 40)
    frames = opened.page.evaluate(PASTE, [line, 100_000, "isRunning() ? undefined : frames"])
    assert frames > 5
    [[status, count, *_]] = opened.rows()
    assert (status, count) == ("503", "100,000\u00d7")
    assert opened.elements() < 50
    assert len(opened.page.input_value("#decoder-input")) == 200_000
    part = opened.page.locator("#decoder-part")
    assert str(part.text_content()).startswith("The field shows the first 200,000 of ")
    opened.page.click("#decoder [type=submit]")
    opened.wait()
    assert opened.rows()[0][1] == "100,000\u00d7"  # of all, though the field has fewer
    opened.decode(UC)
    assert (len(opened.verdicts()), part.text_content()) == (1, "")


def test_reading_can_be_stopped_and_shows_what_was_read(opened: Opened) -> None:
    opened.page.evaluate(PASTE, [made(), 100_000, STOP])
    opened.wait()
    assert opened.texts("#decoder-answer > p")[0].startswith("You stopped before the end.")
    [[status, count, *_]] = opened.rows()
    assert status == "503"
    assert 0 < int(re.sub(r"\D", "", count)) < 100_000
    assert opened.focused() == "decoder-answer"
    assert not opened.page.is_visible("#decoder-stop")


@pytest.mark.parametrize("end", ["reset", "paste"])
def test_another_text_or_none_ends_the_one_before(end: str, opened: Opened) -> None:
    look = "element('decoder-running').hidden ? undefined : true"
    opened.page.evaluate(PASTE, [made(), 100_000, look])
    if end == "reset":
        opened.page.click("#decoder [type=reset]")
    else:
        opened.decode(UC)
    frame = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    for _ in range(20):
        opened.page.evaluate(frame)
    assert (len(opened.verdicts()), opened.rows()) == (end == "paste", [])
    assert not opened.page.is_visible("#decoder-stop")


def test_long_paste_is_decoded_though_the_field_shows_a_part(opened: Opened) -> None:
    lines = "\n".join(made(id=str(n)) for n in range(1000))
    assert len(lines) > 200_000
    opened.page.fill("#decoder-input", lines)
    opened.page.press("#decoder-input", "Control+a")
    opened.page.press("#decoder-input", "Control+x")
    opened.page.press("#decoder-input", "Control+v")
    opened.wait()
    assert opened.page.input_value("#decoder-input") == lines[:200_000]
    assert opened.rows()[0][1] == "1,000\u00d7"


DROP = """([text, kind]) => {
  const dataTransfer = new DataTransfer();
  if (kind === "file") {
    dataTransfer.items.add(new File([text], "proxy.log"));
  } else {
    dataTransfer.setData("text/plain", text);
  }
  const drop = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
  return document.getElementById("decoder-input").dispatchEvent(drop);
}"""


def test_file_can_be_chosen_or_dropped(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text(f"{made()}\n{inbound()}\n")
    opened.page.set_input_files("#decoder-file", path)
    opened.page.wait_for_selector(".decoder-request")
    assert len(opened.texts(".decoder-line")) == 2
    assert opened.page.input_value("#decoder-input") == path.read_text()
    assert opened.page.evaluate(DROP, [UC, "file"]) is False
    opened.page.wait_for_function("document.querySelectorAll('.decoder-line').length === 1")
    assert opened.page.input_value("#decoder-input") == UC
    assert opened.page.evaluate(DROP, [made(), "text"]) is True  # the browser puts it in
    long = "\n".join([made()] * 2000)
    assert opened.page.evaluate(DROP, [long, "text"]) is False
    opened.wait()
    assert len(opened.texts(".decoder-line")) == 20


def test_file_that_cannot_be_read_is_named(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text(UC)
    opened.page.evaluate("() => { Blob.prototype.text = () => Promise.reject(new Error('gone')); }")
    opened.page.set_input_files("#decoder-file", path)
    opened.page.wait_for_selector("#decoder-part:has-text('cannot read this file')")
    opened.wait()
    opened.decode(UC)
    assert opened.texts("#decoder-part") == [""]


def test_text_that_is_too_long_is_read_up_to_a_limit(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text("a\n" * 300_001)
    opened.page.set_input_files("#decoder-file", path)
    opened.page.wait_for_selector(".decoder-fault")
    said = str(opened.page.text_content("#decoder-part"))
    assert said.startswith("This is more than the decoder takes. It decodes the first 600,000 ch")
    assert opened.page.get_by_role("button", name="Show 20 more of 299,980").count() == 1


# The link


def link(opened: Opened, text: str) -> str:
    """The link that the page copies for a text, as the clipboard has it."""
    opened.page.fill("#decoder-input", text)
    opened.page.click("#decoder-copy")
    opened.page.wait_for_selector("#decoder-said:has-text('clipboard')")
    opened.page.fill("#decoder-input", "")
    opened.page.press("#decoder-input", "Control+v")
    opened.wait()
    return str(opened.page.input_value("#decoder-input"))


def follow(opened: Opened, address: str) -> Watched:
    """Another tab, with a link opened in it, which asks for nothing that the page does not."""
    tab = Watched(opened.page.context.new_page())
    tab.page.goto(address)
    tab.page.wait_for_selector(".decoder-request, #decoder-part:has-text('.')")
    assert [url.split("#")[0] for url in tab.requests] == opened.requests[: len(tab.requests)]
    assert tab.faults == []
    return tab


def test_link_holds_the_lines_and_shows_them(opened: Opened) -> None:
    text = f"{made(agent='é🦊 <b>')}\n{inbound()}"
    address = link(opened, text)
    assert re.fullmatch(re.escape(PAGE.as_uri()) + r"#log=[\w-]+", address)
    assert len(address) < len(text) + len(PAGE.as_uri())
    tab = follow(opened, address)
    assert tab.page.input_value("#decoder-input") == text
    assert tab.page.locator(".decoder-line").count() == 2
    other = link(opened, UC)
    tab.page.evaluate("address => { document.location = address; }", other)
    tab.page.wait_for_function("document.querySelectorAll('.decoder-line').length === 1")
    assert tab.page.input_value("#decoder-input") == UC


def test_link_that_was_cut_is_named(opened: Opened) -> None:
    address = link(opened, UC)
    for broken in (address[:-9], f"{PAGE.as_uri()}#log=", f"{PAGE.as_uri()}#log=%&<b>"):
        tab = follow(opened, broken)
        assert str(tab.page.text_content("#decoder-part")).startswith("The link does not hold all")
        assert tab.page.locator("#decoder-answer *").count() == 0


def test_link_is_refused_for_nothing_and_for_too_much(opened: Opened) -> None:
    opened.page.click("#decoder-copy")
    said = opened.page.locator("#decoder-said")
    assert said.text_content() == "Paste a line first."
    for size in (7_000, 100_000):
        opened.page.fill("#decoder-input", "".join(map(chr, range(1000, 1000 + size))))
        opened.page.click("#decoder-copy")
        opened.page.wait_for_selector("#decoder-said:has-text('too long')")
        opened.page.click("#decoder [type=reset]")
        assert said.text_content() == ""
    assert opened.page.is_hidden("#decoder-link")


@pytest.mark.parametrize("lacks", ["navigator.clipboard", "window.CompressionStream"])
def test_link_is_made_where_the_browser_lacks_something(lacks: str, browser: Browser) -> None:
    holder, name = lacks.split(".")
    page = browser.new_page()
    page.add_init_script(f"Object.defineProperty({holder}, '{name}', {{value: undefined}})")
    page.add_init_script("delete window.CompressionStream" if holder == "window" else "")
    opened = Opened(page)
    if holder == "window":
        address = link(opened, UC)
        assert "#log-plain=" in address
    else:
        page.fill("#decoder-input", UC)
        page.click("#decoder-copy")
        page.wait_for_selector("#decoder-said:has-text('selected')")
        assert opened.focused() == "decoder-link"
        assert page.evaluate("getSelection().toString()") == page.input_value("#decoder-link")
        address = page.input_value("#decoder-link")
        assert page.get_by_label("Link with the lines in it").get_attribute("readonly") == ""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".decoder-request")
    assert page.input_value("#decoder-input") == UC
    assert opened.faults == []
    page.close()


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


def test_table_is_used_with_the_keyboard_alone(opened: Opened) -> None:
    page = opened.page
    opened.decode("\n".join(made(id=str(n)) for n in range(30)))
    page.focus("#decoder .decoder-examples button:last-child")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaExpanded") == "false"
    page.keyboard.press("Enter")
    assert len(opened.verdicts()) == 20
    page.locator(".decoder-request summary").last.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert len(opened.verdicts()) == 30
    assert page.evaluate("document.activeElement.querySelector('h3').textContent").startswith(
        "Line 21: "
    )
    page.focus("#decoder-answer td button")
    page.keyboard.press("Space")
    assert opened.verdicts() == []


def test_page_speaks_to_screen_readers(opened: Opened) -> None:
    page = opened.page
    assert page.get_by_label("Lines of an access log").count() == 1
    status = page.locator("#decoder-status")
    assert status.get_attribute("role") == "status"
    opened.decode(UC)
    assert str(status.text_content()).startswith(CLOSED)
    assert page.get_by_role("region", name="Decoded").count() == 1
    opened.decode("\n".join(["what?", *(made(id=str(n)) for n in range(1200))]))
    assert status.text_content() == (
        "1,200 lines of 1,200 requests, the worst first. Each status is a button that shows its "
        "requests. Lines that were not understood: 1. They stand at the end."
    )
    assert page.get_by_role("button", name="503", exact=True).count() == 1
    assert page.get_by_role("progressbar", include_hidden=True, name="Read so far").count() == 1
    assert page.get_by_label("Or a file:").count() == 1
    warned = page.locator("#decoder-copy").get_attribute("aria-describedby")
    assert "whoever gets it can read them" in page.inner_text(f"#{warned}")


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
    opened.decode("\n".join([UC, "what?", *(made(id=str(n), code="200") for n in range(20))]))
    opened.open_all()
    opened.page.locator("summary").first.click()
    opened.page.wait_for_selector(".decoder-line td")
    for selector in (
        "#decoder-input",
        "#decoder [type=submit]",
        "#decoder [type=reset]",
        "#decoder-file",
        "#decoder-warning",
        "#decoder-answer [aria-expanded]",
        "#decoder-answer td > code",
        "#decoder-answer td > small",
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
    few = f"{UC}\n{made(agent='x' * 500, route='y' * 500)}\n{'z' * 500}"
    many = [made(id=str(n), details="d" * 150, cluster="c" * 150) for n in range(20)]
    for text in (few, "\n".join([few, *many])):
        opened.decode(text)
        opened.open_all()
        assert opened.page.evaluate("document.scrollingElement.scrollWidth") == 360
        wide = "[...document.querySelectorAll('#decoder ~ * *')].filter(e => e.scrollWidth > 360)"
        assert opened.page.evaluate(f"{wide}.length") == 0
    assert len(opened.rows()) > 2


def test_without_scripts_the_page_says_what_is_needed(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(PAGE.as_uri())
    assert "Allow JavaScript for this page." in page.inner_text("article")
    assert not page.is_visible("#decoder-input")
    context.close()
