"""Every page in a real browser, opened as a file: `make test-browser`.

It wants the built HTML edition, and Chromium on the PATH.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import axe_playwright_python
import pytest
from browser.tabs import HTML, OTHER_HOST, PAGES, Watched, served
from chapter.examples import commands
from lab.paths import EXAMPLES
from playwright.sync_api import Browser, Locator, Page, Route
from test_decoder import UC

CHAPTER = HTML / "problems" / "gateway-tcp-port.html"
CHAPTERS = [
    path
    for part in ("debugging", "problems", "practices", "tricks")
    for path in sorted((HTML / part).glob("*.html"))
    if path.stem != "index"
]
NOWHERE = HTML / "404.html"
KINDS = [
    HTML / "index.html",
    HTML / "search.html",
    HTML / "reference" / "decoder.html",
    HTML / "reference" / "response-flags.html",
    HTML / "reference" / "symptoms.html",
    HTML / "problems" / "index.html",
    HTML / "tags" / "index.html",
    NOWHERE,
    CHAPTER,
]
Scheme = Literal["light", "dark"]
# What opens the theme's drawers and its search on a phone.
TOGGLES = {
    "primary-sidebar": ".primary-toggle",
    "secondary-sidebar": ".secondary-toggle",
    "search": ".bd-header-article .search-button",
}


def name(path: Path) -> str:
    return path.relative_to(HTML).as_posix()


# For everybody

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
# The colours of code have a test of their own: to axe, each of a thousand words takes a while.
PLAIN_CODE = """document.querySelectorAll("pre").forEach((pre) => {
  pre.querySelectorAll("span").forEach((word) => word.replaceWith(...word.childNodes));
  pre.normalize();
})"""


def violations(watched: Watched, rules: Any) -> list[str]:
    """What axe finds on the page that is open."""
    options = {"runOnly": rules, "resultTypes": ["violations"], "preload": False}
    found = watched.page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def assert_axe_finds_nothing(watched: Watched) -> None:
    """Asks axe about the page as it is now, in light colours and in dark ones."""
    page = watched.page
    page.evaluate(PLAIN_CODE)
    page.evaluate("scrollTo(0, 0)")  # what is half under the bar counts as too small a target
    assert violations(watched, RULES) == []
    show_in(page, "dark")
    assert violations(watched, COLOURS) == []
    show_in(page, "light")


def show_in(page: Page, scheme: Scheme) -> None:
    """Let the system change its colours, and wait until the page has followed."""
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(
        """scheme => (document.documentElement.dataset.theme ?? scheme) === scheme
          && document.getAnimations().length === 0""",
        arg=scheme,
    )


both_widths = pytest.mark.parametrize("width", [1280, 400])


@pytest.fixture
def judged(width: int, watched: Watched) -> Watched:
    """A tab of some width whose pages have axe."""
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.page.add_init_script(path=AXE)
    return watched


@both_widths
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_axe_finds_nothing_light_or_dark(path: Path, judged: Watched) -> None:
    judged.open(path)
    assert_axe_finds_nothing(judged)


@both_widths
@pytest.mark.parametrize("words", ["503+NC", "UT", "xyzzy", quote(UC)])
def test_axe_finds_nothing_in_what_the_search_found(words: str, judged: Watched) -> None:
    judged.open(HTML / "search.html", f"?q={words}")
    found = "#finder-none" if words == "xyzzy" else "#finder-found mark"
    judged.page.locator(found).first.wait_for()
    assert_axe_finds_nothing(judged)


@both_widths
def test_axe_finds_nothing_in_what_the_decoder_says(judged: Watched) -> None:
    page = judged.page
    judged.open(HTML / "reference" / "decoder.html")
    examples = page.locator("#decoder [data-example]").all()
    assert len(examples) > 3
    for example in examples:
        example.click()
        page.locator(".decoder-request").first.wait_for()
        assert_axe_finds_nothing(judged)
    for text in ("what?", f"{page.input_value('#decoder-input')}\nwhat?"):
        page.fill("#decoder-input", text)
        page.click("#decoder [type=submit]")
        page.locator(".decoder-fault").wait_for()
        assert_axe_finds_nothing(judged)


@pytest.mark.parametrize("width", [400])
@pytest.mark.parametrize("opened", ["primary-sidebar", "secondary-sidebar", "search"])
def test_axe_finds_nothing_in_what_opens_over_a_page(opened: str, judged: Watched) -> None:
    judged.open(CHAPTER)
    judged.page.click(TOGGLES[opened])
    assert judged.page.locator(f"dialog[id^=pst-{opened}]").is_visible()
    assert_axe_finds_nothing(judged)


@both_widths
def test_axe_finds_nothing_in_the_choice_of_colours(judged: Watched) -> None:
    judged.open(CHAPTER)
    judged.page.click(".theme-switch-button")
    assert judged.page.get_by_role("button", name="Light").is_visible()
    assert_axe_finds_nothing(judged)


CONTRASTS = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => numbers(color)
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const found = {};
  document.querySelectorAll("pre, pre span").forEach((element) => {
    const ground = getComputedStyle(element.closest(".hll") ?? element.closest("pre"));
    const pair = [getComputedStyle(element).color, ground.backgroundColor];
    const [low, high] = pair.map(light).sort((one, two) => one - two);
    found[`${element.className || "plain"}: ${pair.join(" on ")}`] = (high + 0.05) / (low + 0.05);
  });
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_code_can_be_read_in_every_colour(scheme: Scheme, watched: Watched) -> None:
    watched.page.emulate_media(color_scheme=scheme)
    found: dict[str, float] = {}
    for path in PAGES:
        watched.open(path)
        found |= watched.page.evaluate(CONTRASTS)
    assert len(found) > 10
    assert {colours: ratio for colours, ratio in found.items() if ratio < 4.5} == {}


TABBABLE = """() => {
  const parts = "a[href], button, input, textarea, summary, [tabindex='0']";
  const isVisible = (part) => part.checkVisibility({ visibilityProperty: true });
  window.tabbable = [...document.querySelectorAll(parts)].filter(isVisible);
  return { count: tabbable.length, first: tabbable.indexOf(document.activeElement) };
}"""
FOCUSED = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    place: tabbable.indexOf(element),
    text: (element.getAttribute("aria-label") || element.textContent || element.tagName).trim(),
    isOutlined: style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2,
    isSeen: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


def walked(page: Page, key: str, steps: int) -> list[dict[str, Any]]:
    """What has the focus after each of some presses of a key."""
    seen = []
    for _ in range(steps):
        page.keyboard.press(key)
        seen.append(page.evaluate(FOCUSED))
    return seen


@both_widths
@pytest.mark.parametrize("path", KINDS, ids=name)
def test_keyboard_reaches_everything_and_always_shows_where_it_is(
    path: Path, width: int, watched: Watched
) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    watched.open(path)
    found = page.evaluate(TABBABLE)
    count, first = found["count"], found["first"]  # the search begins in its field, others at -1
    seen = walked(page, "Tab", count - first - 1)
    page.evaluate("first => tabbable[first]?.focus()", first)
    back = walked(page, "Shift+Tab", max(first, 0))
    assert [item["place"] for item in seen] == list(range(first + 1, count))
    assert [item["place"] for item in back] == list(range(first))[::-1]
    assert [item for item in seen + back if not (item["isOutlined"] and item["isSeen"])] == []
    texts = {item["text"] for item in seen + back}
    assert path == NOWHERE or "Skip to main content" in texts
    copying = {"Copy kubectl apply", "Copy to clipboard", "Copy this command"}
    if width > PHONE:
        copying.add("Copy curl -O")  # nobody has a shell on a phone
    assert path != CHAPTER or copying <= texts


def test_first_link_skips_to_the_text(watched: Watched) -> None:
    watched.open(CHAPTER)
    watched.page.keyboard.press("Tab")
    watched.page.keyboard.press("Enter")
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.closest('article') !== null")


def test_drawer_opens_and_closes_by_keys_on_a_phone(watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 400, "height": 800})
    watched.open(CHAPTER)
    drawer = page.locator("#pst-primary-sidebar-modal")
    assert not drawer.is_visible()
    page.locator(".primary-toggle").focus()
    page.keyboard.press("Enter")
    assert drawer.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    assert not drawer.is_visible()


FOCUSED_CLASS = "document.activeElement.className"


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_drawer_gives_the_focus_back_and_lets_the_search_open(side: str, watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 390, "height": 800})
    watched.open(CHAPTER)
    drawer = page.locator(f"#pst-{side}-sidebar-modal")
    for key in ("Escape", "/", "Control+k"):
        page.click(f".{side}-toggle")
        drawer.wait_for()
        page.keyboard.press(key)
        drawer.wait_for(state="hidden")
        if key != "Escape":
            page.locator("#pst-search-dialog").wait_for()
            assert page.evaluate("document.activeElement.name") == "q"
            page.keyboard.press("Escape")
            page.locator("#pst-search-dialog").wait_for(state="hidden")
        page.wait_for_function(f"{FOCUSED_CLASS}.includes('{side}-toggle')")
    page.click(f".{side}-toggle")
    drawer.wait_for()
    page.mouse.click(380 if side == "primary" else 10, 790)  # beside it
    page.wait_for_function(f"{FOCUSED_CLASS}.includes('{side}-toggle')")


def test_search_gives_the_focus_back_to_where_one_was(watched: Watched) -> None:
    page = watched.page
    watched.open(CHAPTER)
    page.locator("article p a").first.focus()
    for key in ("/", "Control+k"):
        page.keyboard.press(key)
        page.locator("#pst-search-dialog").wait_for()
        page.keyboard.press("Escape")
        page.locator("#pst-search-dialog").wait_for(state="hidden")
        assert page.evaluate("document.activeElement.closest('article p') !== null")


def test_drawer_of_contents_closes_when_a_section_is_chosen_on_a_phone(watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 400, "height": 800})
    watched.open(CHAPTER)
    page.click(".secondary-toggle")
    page.click("dialog a[href='#why-it-happens']")
    page.wait_for_function("scrollY > 400")
    assert not page.locator("#pst-secondary-sidebar-modal").is_visible()
    assert page.evaluate(f"({LANDED})()") == "why-it-happens"


# What a link to a heading shows below the bar that stays: the heading, nothing of what is above.
LANDED = """() => {
  const section = document.querySelector(location.hash);
  const heading = section.firstElementChild.getBoundingClientRect();
  const bar = document.querySelector(".bd-header-article").getBoundingClientRect();
  const above = section.previousElementSibling.getBoundingClientRect();
  const isRight = heading.top >= bar.bottom && heading.top < bar.bottom + 40;
  return isRight && above.bottom <= heading.top ? section.id : heading.top - bar.bottom;
}"""


@pytest.mark.parametrize("width", [1280, 1024, 400])
def test_link_lands_on_the_heading(width: int, watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    for flag in ("uf", "uc", "nr", "si"):
        page.goto("about:blank")
        watched.open(HTML / "reference" / "response-flags.html", f"#{flag}")
        page.wait_for_function("scrollY > 400")
        assert page.evaluate(f"({LANDED})()") == flag


def test_contents_mark_the_section_that_one_reads(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "reference" / "response-flags.html")
    current = page.locator("#pst-page-toc-nav [aria-current]")
    for flag in ("UF", "SI", "DPE"):
        page.evaluate("id => document.getElementById(id).scrollIntoView()", flag.lower())
        page.locator("#pst-page-toc-nav [aria-current]", has_text=f"{flag}: ").wait_for()
        page.wait_for_function(
            """() => {
              const { top, bottom } =
                document.querySelector("#pst-page-toc-nav [aria-current]").getBoundingClientRect();
              return top >= 0 && bottom <= innerHeight;
            }"""
        )
        assert current.count() == 1
    flags = page.locator("#pst-page-toc-nav a", has_text=": ")
    assert flags.count() == 30
    assert all(flag.is_visible() for flag in flags.all())


@pytest.mark.parametrize("width", [1280, 400])
def test_bar_with_contents_and_search_stays_in_reach(width: int, watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    watched.open(CHAPTER, "#why-it-happens")
    page.wait_for_function("scrollY > 400")
    for button in (".primary-toggle", TOGGLES["search"]):
        box = page.locator(button).bounding_box()
        assert box
        assert box["y"] >= 0
        assert box["y"] + box["height"] < 80
    up = page.locator(".bd-breadcrumbs a").last
    assert up.inner_text() == "Problems"
    up.click()
    page.get_by_role("heading", name="Problems", level=1).wait_for()


@pytest.mark.parametrize("key", ["/", "Control+K"])
def test_key_opens_the_search(key: str, watched: Watched) -> None:
    page = watched.page
    watched.open(CHAPTER)
    page.keyboard.press(key)
    page.keyboard.type("503 /NC")
    assert page.input_value("#pst-search-dialog input") == "503 /NC"
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    assert page.input_value("#finder-words") == "503 /NC"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Control+K")
    assert page.evaluate("document.activeElement.id") == "finder-words"


def test_symptoms_are_left_that_have_the_words(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "reference" / "symptoms.html")
    rows = page.locator("table.symptoms tbody tr")
    everything = rows.count()
    page.get_by_label("Words of what you see:").fill("reset reason: connection FAILURE")
    shown = [row for row in rows.all() if row.is_visible()]
    assert 0 < len(shown) < 4
    assert all("remote connection failure" in row.inner_text() for row in shown)
    assert page.locator("section:has(> * table.symptoms) h2:visible").count() == 1
    page.get_by_label("Words of what you see:").fill("")
    assert sum(row.is_visible() for row in rows.all()) == everything > 60


def test_symptoms_that_have_none_of_the_words_say_so_and_come_back(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "reference" / "symptoms.html")
    field = page.get_by_label("Words of what you see:")
    field.fill("Connection reset xyzzy")
    page.get_by_role("status").filter(has_text="No row has all of these words.").wait_for()
    assert page.locator("table.symptoms tbody tr:visible").count() == 0
    field.fill("503 UC")
    rows = page.locator("table.symptoms tbody tr:visible").all_inner_texts()
    assert rows
    assert all("503 UC" in row for row in rows)
    assert not page.locator(".filter-none").is_visible()


def test_symptoms_without_scripts_are_the_plain_tables(browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / "reference" / "symptoms.html").as_uri())
    assert not page.locator(".filter").is_visible()
    assert page.locator("table.symptoms tbody tr:visible").count() > 60
    context.close()


@pytest.mark.parametrize("width", [390, 320])
def test_symptoms_have_the_width_of_a_phone(width: int, watched: Watched) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.open(HTML / "reference" / "symptoms.html")
    widths = "[...document.querySelectorAll('.symptoms td')].map(cell => cell.clientWidth)"
    assert min(watched.page.evaluate(widths)) > width - 60


def test_what_scrolls_can_have_the_focus(watched: Watched) -> None:
    watched.page.set_viewport_size({"width": 400, "height": 800})
    scrolling = 0
    for path in PAGES:
        watched.open(path)
        scrolls = "[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth)"
        scrolling += watched.page.evaluate(f"{scrolls}.length")
        assert watched.page.evaluate(f"{scrolls}.every(e => e.tabIndex === 0)"), path
    assert scrolling > 0


# On every screen

SHIFTS = """() => {
  window.shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifts += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
}"""


@pytest.mark.parametrize("width", [1280, 400, 320])
def test_no_page_scrolls_sideways_or_moves_while_it_loads(width: int, watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    page.add_init_script(f"({SHIFTS})()")
    for path in PAGES:
        watched.open(path)
        assert page.evaluate("document.scrollingElement.scrollWidth") == width, path
        assert page.evaluate("window.shifts") == 0, path


def test_lines_of_a_log_wrap_on_a_phone(watched: Watched) -> None:
    watched.page.set_viewport_size({"width": 400, "height": 800})
    watched.open(HTML / "debugging" / "access-logs.html")
    longest = """Math.max(...[...document.querySelectorAll(".highlight-console .go:not(.go-Row)")]
      .map((line) => {
        const { right } = line.closest("pre").getBoundingClientRect();
        return line.getBoundingClientRect().right <= right ? line.textContent.length : NaN;
      }))"""
    assert watched.page.evaluate(longest) > 300


def test_rows_of_tables_and_lines_of_manifests_never_wrap(watched: Watched) -> None:
    watched.page.set_viewport_size({"width": 390, "height": 800})
    wide = 0
    for path in CHAPTERS:
        watched.open(path)
        rows = "[...document.querySelectorAll('.go-Row')].map(row => row.getClientRects().length)"
        assert set(watched.page.evaluate(rows)) <= {1}, path
        lines = """[...document.querySelectorAll(".highlight-yaml pre")].map((pre) => {
          const height = parseFloat(getComputedStyle(pre).lineHeight);
          const lines = pre.textContent.trimEnd().split("\\n").length;
          const isCut = pre.closest(".is-cut") !== null;
          return isCut || pre.scrollHeight < (lines + 3) * height;
        })"""
        assert all(watched.page.evaluate(lines)), path
        scrolls = "[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth)"
        wide += watched.page.evaluate(f"{scrolls}.length")
    assert wide > 20


@pytest.mark.parametrize("width", [1024, 390, 320])
def test_bars_of_listings_are_one_line(width: int, watched: Watched) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    heights = "[...document.querySelectorAll('.code-block-caption')].map(bar => bar.offsetHeight)"
    fits = """[...document.querySelectorAll('.code-block-caption')].every((bar) =>
      bar.scrollWidth <= bar.clientWidth && bar.scrollHeight <= bar.clientHeight)"""
    for path in CHAPTERS:
        watched.open(path)
        assert set(watched.page.evaluate(heights)) <= {36, 37}, path
        assert watched.page.evaluate(fits), path


@pytest.mark.parametrize("width", [1280, 1024, 390, 320])
def test_names_of_files_are_whole_in_their_bars(width: int, watched: Watched) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    seen = 0
    for path in CHAPTERS:
        watched.open(path)
        found = watched.page.evaluate(
            """[...document.querySelectorAll(".code-block-caption .caption-text")].map((text) => {
              const first = document.createTreeWalker(text, NodeFilter.SHOW_TEXT).nextNode();
              const name = first.data.split(",")[0]; // after it: "the part that differs"
              const range = document.createRange();
              range.setStart(first, 0);
              range.setEnd(first, name.length);
              const end = (part) => part.getBoundingClientRect().right;
              return [name, end(range) <= end(text.firstElementChild ?? text) + 1];
            })"""
        )
        assert [name for name, is_whole in found if not is_whole] == [], path
        seen += len(found)
    assert seen > 400


def test_first_screen_of_a_chapter_has_the_answer_and_the_fix(watched: Watched) -> None:
    for path in CHAPTERS:
        watched.open(path)
        for part in ("table", "#in-short > p", ".glance-fix pre"):
            box = watched.page.locator(f".glance {part}").first.bounding_box()
            assert box, (path, part)
            assert box["y"] + box["height"] <= 800, (path, part)


@pytest.mark.parametrize("width", [400, 360])
def test_names_of_flags_stay_whole_on_a_phone(width: int, watched: Watched) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    watched.open(HTML / "reference" / "response-flags.html")
    boxes = "[...document.querySelectorAll('#the-flags td strong')].map(e => e.getClientRects())"
    found = watched.page.evaluate(f"{boxes}.map(lines => lines.length)")
    assert found == [1] * 31  # with what stands for no flag


FIX = """() => {
  const pre = document.querySelector(".glance-fix pre");
  const fade = getComputedStyle(pre.closest(".highlight"), "::after").backgroundImage;
  return {
    scrolls: pre.scrollHeight > pre.clientHeight + 1,
    said: document.querySelector(".glance-lines").checkVisibility({ visibilityProperty: true }),
    fades: fade.startsWith("linear-gradient"),
    lines: pre.textContent.trimEnd().split("\\n").length,
  };
}"""


@pytest.mark.parametrize("width", [1280, 400])
def test_fix_that_does_not_fit_says_so_until_its_end(width: int, watched: Watched) -> None:
    page = watched.page
    found = set()
    for path in CHAPTERS:
        page.set_viewport_size({"width": width, "height": 800})
        watched.open(path)
        fix = page.evaluate(FIX)
        assert fix["said"] == fix["fades"] == fix["scrolls"], path
        assert page.locator(".glance-lines").text_content() == f"{fix['lines']} lines in all"
        found.add(fix["scrolls"])
        page.evaluate("document.querySelector('.glance-fix pre').scrollTo(0, 9999)")
        page.wait_for_function(f"!({FIX})().fades")
        assert page.evaluate(FIX)["said"] == fix["scrolls"], path
        page.set_viewport_size({"width": width, "height": 3000})
        page.wait_for_function(f"(({{ scrolls, said }}) => scrolls === said)(({FIX})())")
    assert found == {True, False}


def test_colours_follow_the_system(watched: Watched) -> None:
    watched.open(CHAPTER)
    for scheme, ground in (("light", "255, 255, 255"), ("dark", "18, 18, 18"), ("light", "255")):
        watched.page.emulate_media(color_scheme=scheme)
        watched.page.wait_for_function(
            "ground => getComputedStyle(document.body).backgroundColor.startsWith(ground)",
            arg=f"rgb({ground}",
        )


def test_colours_that_were_chosen_stay_from_the_first_moment(watched: Watched) -> None:
    page = watched.page
    watched.open(CHAPTER)
    page.click(".theme-switch-button")
    page.get_by_role("button", name="Dark").click()
    page.add_init_script(
        """addEventListener("DOMContentLoaded", () => {
          window.first = document.documentElement.dataset.theme;
        }, true)"""
    )
    watched.open(NOWHERE.with_name("index.html"))
    assert page.evaluate("[first, document.documentElement.dataset.theme]") == ["dark", "dark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_without_scripts_is_complete(scheme: Scheme, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme=scheme)
    page = context.new_page()
    page.goto(CHAPTER.as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    dark, white = "rgb(18, 18, 18)", "rgb(255, 255, 255)"
    assert page.evaluate(ground) == (dark if scheme == "dark" else white)
    colours = page.evaluate(CONTRASTS)
    assert len(colours) > 4
    assert min(colours.values()) >= 4.5
    for text in (".glance-fix pre", "#sources", ".bd-links", "#pst-page-toc-nav", ".right-next"):
        assert page.locator(text).first.is_visible(), text
    for button in ("copybtn", "apply", "search-button__button", "theme-switch-button"):
        assert page.locator(f".{button}:visible").count() == 0, button
    assert page.locator("button.gp").count() == 0
    assert page.locator(".gp").first.inner_text() == "$ "
    page.emulate_media(media="print")
    assert page.evaluate(ground) == white
    context.close()


@pytest.mark.parametrize("width", [1024, 390, 320])
def test_links_lead_to_chapters_and_contents_without_scripts(width: int, browser: Browser) -> None:
    context = browser.new_context(
        java_script_enabled=False, viewport={"width": width, "height": 800}
    )
    page = context.new_page()
    page.goto(CHAPTER.as_uri())
    assert page.locator(".sidebar-toggle:visible").count() == 0
    for name, place in (("Chapters", ".bd-links"), ("Contents", "#pst-page-toc-nav")):
        assert page.evaluate("document.scrollingElement.scrollWidth") == width
        page.get_by_role("link", name=name, exact=True).click()
        link = page.locator(f"{place} a").last
        assert link.is_visible()
        box = link.bounding_box()
        assert box
        assert 0 <= box["x"] < width
    link.click()
    assert page.evaluate("location.hash") == "#sources"
    context.close()


def test_contents_mark_the_section_that_one_reads_however_one_came_there(watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size({"width": 1440, "height": 900})
    watched.open(HTML / "reference" / "response-flags.html")
    marked = "[...document.querySelectorAll('#pst-page-toc-nav [aria-current]')].map((a) => a.hash)"
    for flag in ("uc", "nr", "rl", "ut"):
        # The middle of an entry, as far as a page-down or a thumb on the scroll bar gets.
        page.evaluate(
            """flag => {
          const entry = document.getElementById(flag).getBoundingClientRect();
          scrollBy({ top: entry.top + entry.height / 2, behavior: "instant" });
        }""",
            flag,
        )
        page.wait_for_function(f"flag => {marked}.join() === '#' + flag", arg=flag)


def test_print_from_a_dark_screen_is_light(watched: Watched) -> None:
    watched.page.emulate_media(color_scheme="dark")
    watched.open(CHAPTER)
    theme = "document.documentElement.dataset.theme"
    seen = watched.page.evaluate(f"""() => {{
      const themes = [{theme}];
      dispatchEvent(new Event("beforeprint"));
      themes.push({theme});
      dispatchEvent(new Event("afterprint"));
      return [...themes, {theme}];
    }}""")
    assert seen == ["dark", "light", "dark"]


def test_print_has_the_text_alone_and_every_line_of_a_block(watched: Watched) -> None:
    watched.open(CHAPTER)
    for medium in ("screen", "print"):
        watched.page.emulate_media(media=medium)
        for selector in (
            ".bd-header-article",
            ".bd-sidebar-primary",
            ".bd-sidebar-secondary",
            ".right-next",
            ".bd-footer-content",
            ".copybtn",
            ".apply",
            ".glance-fix",
        ):
            parts = watched.page.locator(selector).all()
            assert parts, selector
            assert {part.is_visible() for part in parts} == {medium == "screen"}, selector
    assert watched.page.locator("h1").is_visible()
    wide = "[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth)"
    assert watched.page.evaluate(f"{wide}.length") == 0


# Copying


COPY = "button.copybtn"
APPLY = "button.apply[data-command^=kubectl]"
FETCH = "button.apply[data-command^=curl]"
PHONE = 640  # px


def block_of(watched: Watched, name: str) -> Locator:
    """The block with a file's name."""
    page = watched.page
    return page.locator(".literal-block-wrapper", has=page.locator(f"span:text-is('{name}')"))


def pasted(watched: Watched, button: str, block: str) -> str:
    """What is on the clipboard after a click in the block with a file's name."""
    block_of(watched, block).locator(button).last.click()
    return clipboard(watched)


def clipboard(watched: Watched) -> str:
    """What is on the clipboard, once the page has said that it is there."""
    page = watched.page
    page.get_by_role("status").filter(has_text="Copied!").wait_for()
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea')))")
    page.locator("textarea").last.focus()
    page.keyboard.press("Control+V")
    return str(page.locator("textarea").last.input_value())


# What each button of a kind puts on the clipboard: a library selects it, and lets the browser copy.
SELECTED = """(buttons) => {
  const found = [];
  document.execCommand = () => found.push(String(getSelection()));
  document.querySelectorAll(buttons).forEach((button) => button.click());
  return found;
}"""


def written(block: str) -> str:
    """The commands of a block's transcript, or else the block, as it goes into a shell."""
    steps = commands(block)
    return "\n".join(steps) if steps else block.rstrip("\n")


def test_buttons_copy_the_commands_of_every_block(watched: Watched) -> None:
    """The copy button is a library's: its options must know prompts and here-documents."""
    page = watched.page
    blocks = 0
    for path in PAGES:
        watched.open(path)
        texts = page.locator("pre:has(+ .copybtn)").all_text_contents()
        copied = page.evaluate(SELECTED, ".copybtn")
        assert copied == [written(text) for text in texts], path
        outputs = page.locator(".output .copybtn").count()
        assert outputs == 0, path
        blocks += len(texts)
    assert blocks > 200


def test_prompts_copy_each_command_alone(watched: Watched) -> None:
    prompts = 0
    for path in CHAPTERS:
        watched.open(path)
        texts = watched.page.locator("pre:has(.gp)").all_text_contents()
        copied = watched.page.evaluate(SELECTED, "button.gp")
        assert copied == [command for text in texts for command in commands(text)], path
        prompts += len(copied)
    assert prompts > 300


def test_buttons_copy_a_manifest_commands_and_kubectl_apply(watched: Watched) -> None:
    watched.open(CHAPTER)
    manifest = pasted(watched, COPY, "virtual-service.yaml")
    assert manifest.startswith("# The missing half")
    assert manifest.endswith("number: 9000")
    watched.open(CHAPTER)
    # A backslash ends a line that goes on.
    commands = re.split(r"(?<!\\)\n", pasted(watched, COPY, "1-reproduce.console").rstrip())
    assert [line.split()[0] for line in commands] == ["GATEWAY=$(kubectl", "echo"]
    watched.open(CHAPTER)
    assert pasted(watched, ".gp", "1-reproduce.console") == commands[-1]
    watched.open(CHAPTER)
    applied = pasted(watched, APPLY, "virtual-service.yaml")
    file = Path(applied.removeprefix("kubectl apply -f "))
    assert file.read_text().rstrip() == manifest


def test_curl_takes_the_file_to_be_edited_from_where_the_page_is(
    watched: Watched, tmp_path: Path
) -> None:
    watched.open(CHAPTER)
    command = shlex.split(pasted(watched, FETCH, "virtual-service.yaml"))
    assert command[:2] == ["curl", "-O"]
    subprocess.run([*command, "-sS"], cwd=tmp_path, check=True)
    [file] = tmp_path.iterdir()
    assert (
        file.read_text() == (EXAMPLES / CHAPTER.parent.name / CHAPTER.stem / file.name).read_text()
    )


def test_single_command_is_copied_by_keys_and_nothing_moves(watched: Watched) -> None:
    watched.open(CHAPTER)
    page = watched.page
    block = block_of(watched, "1-reproduce.console")
    places = """block => [...block.querySelectorAll("pre, pre *")]
      .map((part) => [part.offsetLeft, part.offsetTop, part.offsetWidth, part.offsetHeight])"""
    before = block.evaluate(places), block.inner_text()
    prompts = block.get_by_role("button", name="Copy this command")
    page.evaluate("getSelection().selectAllChildren(document.body)")
    assert "$ GATEWAY" not in page.evaluate("String(getSelection())")
    prompts.first.focus()
    assert prompts.first.evaluate("prompt => prompt === document.activeElement")
    page.keyboard.press("Enter")
    assert clipboard(watched).startswith("GATEWAY=$(kubectl")
    assert prompts.first.get_attribute("data-said") == "Copied!"
    assert (block.evaluate(places), block.inner_text()) == before
    area = prompts.first.evaluate("""prompt => {
      const { width, height } = getComputedStyle(prompt, "::before");
      return [parseFloat(width), parseFloat(height)];
    }""")
    assert min(area) >= 24


@pytest.mark.parametrize("folder", ["plain", "Jo Doe's #1, 100%25 \u00e4 $(x)"])
def test_kubectl_apply_gets_the_path_as_a_shell_reads_it(
    folder: str, tmp_path: Path, watched: Watched
) -> None:
    shutil.copytree(HTML, tmp_path / folder)
    watched.open(tmp_path / folder / CHAPTER.relative_to(HTML))
    applied = pasted(watched, APPLY, "service.yaml")
    [*command, file] = shlex.split(applied)
    assert command == ["kubectl", "apply", "-f"]
    downloads = "_downloads/examples/problems/gateway-tcp-port"
    assert Path(file) == tmp_path / folder / downloads / "service.yaml"
    assert Path(file).is_file()
    assert ("'" in applied) == (folder != "plain")


def test_kubectl_apply_gets_a_path_of_windows_without_the_slash(watched: Watched) -> None:
    watched.open(CHAPTER)
    block = block_of(watched, "service.yaml").locator("a.download").last
    block.evaluate("link => { link.href = 'file:///C:/Users/Jo%20Doe/service.yaml' }")
    applied = pasted(watched, APPLY, "service.yaml")
    assert applied == "kubectl apply -f 'C:/Users/Jo Doe/service.yaml'"


def test_path_in_no_known_encoding_is_said_not_to_be_copied(watched: Watched) -> None:
    watched.open(CHAPTER)
    block = block_of(watched, "service.yaml")
    block.locator("a.download").last.evaluate("link => { link.href = 'file:///b%E4r' }")
    block.locator(APPLY).last.click()
    watched.page.get_by_role("status").filter(has_text="Failed to copy").wait_for()


@pytest.mark.parametrize("kind", [COPY, APPLY])
def test_copying_keeps_the_focus_where_there_is_no_clipboard(kind: str, browser: Browser) -> None:
    with served() as address:
        watched = Watched(browser.new_page())
        page = watched.page
        page.goto(address.replace("127.0.0.1", OTHER_HOST) + "problems/gateway-tcp-port.html")
        assert page.evaluate("navigator.clipboard === undefined")
        button = block_of(watched, "service.yaml").locator(kind).last
        button.focus()
        page.keyboard.press("Enter")
        page.get_by_role("status").filter(has_text="Copied!").wait_for()
        assert button.evaluate("button => button === document.activeElement")
        assert clipboard(watched).startswith("# " if kind == COPY else "kubectl apply")
        assert watched.faults == []
        page.close()


def test_kubectl_apply_gets_the_address_on_the_site(browser: Browser) -> None:
    with served() as address:
        page = browser.new_page()
        watched = Watched(page)
        page.goto(f"{address}problems/gateway-tcp-port.html")
        applied = pasted(watched, APPLY, "service.yaml")
        assert applied == (
            f"kubectl apply -f {address}_downloads/examples/problems/gateway-tcp-port/service.yaml"
        )
        fetched = pasted(watched, FETCH, "service.yaml")
        assert fetched.split() == ["curl", "-O", applied.split()[-1]]
        assert [url for url in watched.requests if not url.startswith((address, "data:"))] == []
        assert watched.faults == []
        page.close()


# The search


def results(page: Page) -> list[str]:
    """The addresses of what was found, from the site's root, once there are any."""
    page.locator("#finder-found > li").first.wait_for()
    links = page.locator("#finder-found > li > a").all()
    return [str(link.get_attribute("href")) for link in links]


def test_search_from_any_page_shows_the_lines_and_leads_to_them(watched: Watched) -> None:
    page = watched.page
    watched.open(CHAPTER)
    page.keyboard.press("/")
    page.keyboard.type("503 NC")
    page.keyboard.press("Enter")
    first = page.locator("#finder-found > li").first
    assert first.locator("a").first.inner_text().startswith("Response flags: NC")
    assert "503 NC" in first.locator("mark").all_inner_texts()
    first.locator("li a").last.click()
    assert page.url.partition("#")[0] == (HTML / "reference" / "response-flags.html").as_uri()
    page.wait_for_function("scrollY > 500")
    assert page.evaluate("location.hash") == "#nc"


def test_search_answers_while_one_types(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "search.html")
    page.keyboard.type("filter_chain_not_found")
    assert results(page)[0] == "reference/response-flags.html#nr"
    assert not page.is_visible("#finder-none")
    page.fill("#finder-words", "kubernetes pvc pending")
    page.get_by_role("status").filter(has_text="This guide has nothing on all of it.").wait_for()
    assert page.locator("#finder-found > li").count() == 3
    page.fill("#finder-words", "xyzzy")
    page.locator("#finder-none").wait_for()
    assert page.locator("#finder-found li").count() == 0
    assert page.inner_text("#finder-status") == "Nothing found."
    page.fill("#finder-words", "")
    page.locator("#finder-none").wait_for(state="hidden")
    assert page.inner_text("#finder-status") == ""


def test_arrow_keys_go_through_what_was_found_and_back(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "search.html")
    page.keyboard.type("503 UC")
    found = results(page)
    focused = "document.activeElement.getAttribute('href') ?? document.activeElement.id"
    for key, there in (
        ("ArrowDown", found[0]),
        ("ArrowDown", found[1]),
        ("ArrowUp", found[0]),
        ("ArrowUp", "finder-words"),
        ("ArrowUp", "finder-words"),
        ("ArrowDown", found[0]),
        ("Escape", "finder-words"),
        ("ArrowDown", found[0]),
    ):
        page.keyboard.press(key)
        assert page.evaluate(focused) == there, key
    page.keyboard.press("Tab")  # to a line of the first result, from which they go on
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == found[1]
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{found[0]}")


def test_line_of_a_log_without_its_time_leads_to_a_result_and_no_fault(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "search.html")
    page.fill("#finder-words", UC.partition("] ")[2])
    assert any("upstream-connection-termination" in url for url in results(page)[:3])
    assert page.locator(".decoder-fault").count() == 0
    assert page.locator(".decoder-request").count() == 1


def test_search_is_there_again_for_who_comes_back(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "search.html")
    page.fill("#finder-words", "503 UC")
    assert results(page)[0] == "reference/response-flags.html#uc"
    page.locator("#finder-found li a").nth(1).click()
    page.wait_for_url("**/response-flags.html#uc")
    page.go_back()
    assert results(page)[0] == "reference/response-flags.html#uc"
    assert page.input_value("#finder-words") == "503 UC"


def test_end_of_a_long_log_is_what_counts(watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "index.html")
    log = "it is what it is " * 4000
    page.fill("form.search input", f"{log} filter_chain_not_found")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    assert len(page.url) < 8000
    assert results(page)[0] == "reference/response-flags.html#nr"


def test_body_of_an_answer_leads_to_its_flag(watched: Watched) -> None:
    page = watched.page
    text = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
    watched.open(HTML / "search.html", f"?q={text}")
    assert results(page)[0] == "reference/response-flags.html#uo"
    page.locator("#finder-found a").first.click()
    assert page.locator("h3:target, section:target > h3").inner_text().startswith("UO")


@pytest.mark.parametrize("count", [1, 2])
def test_pasted_lines_of_a_log_are_decoded_at_once(count: int, watched: Watched) -> None:
    page = watched.page
    watched.open(HTML / "search.html")
    own = UC.replace("2026", "2031")
    page.fill("#finder-words", " ".join([own] * count))
    page.locator(".decoder-request").wait_for()
    assert page.locator(".decoder-line").count() == count
    verdict = page.inner_text(".decoder-request h2")
    assert "closed the connection before it answered" in verdict
    assert "upstream-connection-termination" in str(
        page.locator(".decoder-request a").first.get_attribute("href")
    )
    assert any("upstream-connection-termination" in url for url in results(page)[:3])
    assert page.inner_text("#finder-status").startswith(verdict)
    assert page.get_by_role("link", name="Decode a log line").last.is_visible()
    page.fill("#finder-words", "503 NC")
    page.locator(".decoder-request").wait_for(state="detached")


@pytest.mark.parametrize("query", ["", "?q=xyzzy", "?q=网格 错误"])
def test_search_says_where_else_to_look(query: str, watched: Watched) -> None:
    watched.open(HTML / "search.html", query)
    link = watched.page.locator("main").get_by_role("link", name="What do you see?")
    link.click()
    watched.page.get_by_role("heading", name="What do you see?", level=1).wait_for()


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "'\"><script>alert(1)</script>"])
def test_typed_markup_stays_text(text: str, watched: Watched) -> None:
    page = watched.page
    watched.open(CHAPTER)
    page.keyboard.press("/")
    page.fill("#pst-search-dialog input", text)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    assert page.input_value("#finder-words") == text
    page.fill("#finder-words", f"connection refused {text}")
    assert results(page)
    assert page.locator("main img, main script:not([type])").count() == 0


@pytest.mark.parametrize("comes", [True, False])
def test_field_is_there_before_the_index(comes: bool, browser: Browser) -> None:
    with served() as address:
        page = browser.new_page()
        held: list[Route] = []
        page.route("**/finder-index.js", lambda route: held.append(route))
        page.goto(f"{address}search.html?q=UH", wait_until="domcontentloaded")
        page.fill("#finder-words", "503 NC")
        assert page.locator("#finder-found li").count() == 0
        if comes:
            held[0].continue_()
            assert results(page)[0] == "reference/response-flags.html#nc"
        else:
            held[0].abort()
            page.locator("#finder-none").wait_for()
        assert page.input_value("#finder-words") == "503 NC"
        page.close()


# Addresses that lead nowhere


LINKS = "[...document.querySelectorAll('main a')].map(link => link.href)"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("problems/gateway-tcp-prt.html", "problems/gateway-tcp-port"),
        ("gateway-tcp-port", "problems/gateway-tcp-port"),
        ("GATEWAY-TCP-PORT.html", "problems/gateway-tcp-port"),
        ("Problems/Gateway%2DTCP%2DPort/", "problems/gateway-tcp-port"),
        ("problems/gateway-tcp-port.htm?q=1#fix", "problems/gateway-tcp-port"),
        ("reference/flags", "reference/response-flags"),
        ("problem/duplicate-tls-host.html", "problems/duplicate-tls-hosts"),
        ("zh/problems/duplicate-tls-hosts", "problems/duplicate-tls-hosts"),
        ("docs/envoy/udp", "tags/udp"),
        ("tags/response_flags.html", "tags/response-flags"),
        ("search", "search"),
        ("", "index"),
        ("xyz.html", None),
        ("tags/foo.html", None),
        ("zh/problems/foo", None),
        ("a/b/c/d/e.html", None),
        ("problems/%E0%A4%A", None),
        (f"{'a/' * 200}b", None),
    ],
)
def test_page_that_is_not_there_suggests_the_nearest(
    wrong: str, right: str | None, browser: Browser
) -> None:
    with served() as address:
        watched = Watched(browser.new_page())
        page = watched.page
        page.goto(address + wrong, wait_until="networkidle")
        found = page.evaluate(LINKS)
        assert [link for link in found if page.request.get(link).status != 200] == []
        assert found[-2:] == [f"{address}index.html", f"{address}search.html"]
        assert (f"{address}{right}.html" == found[0]) if right else (len(found) == 2)
        assert page.locator("#near").is_visible() == (right is not None)
        assert len(watched.requests) <= 10
        assert [fault for fault in watched.faults if "404" not in fault] == []
        page.close()


def test_page_that_is_not_there_asks_no_other_host(browser: Browser) -> None:
    with served() as address:
        watched = Watched(browser.new_page())
        host = address.removesuffix("/guide/")
        watched.page.goto(f"{host}//127.0.0.2:9/guide/x.html", wait_until="networkidle")
        assert len(watched.requests) > 2
        assert [url for url in watched.requests if not url.startswith(f"{host}/")] == []
        links = watched.page.evaluate(LINKS)
        assert [link for link in links if not link.startswith(f"{host}/")] == []
        watched.page.close()


def test_page_that_is_not_there_helps_without_scripts(browser: Browser) -> None:
    with served() as address:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{address}xyz.html")
        assert "take away the end of the address" in page.inner_text("main")
        assert not page.locator("#near").is_visible()
        page.get_by_role("link", name="Istio Operations Guide").click()
        assert page.url == f"{address}index.html"
        context.close()
