"""What the tests in a real browser share: the machine's Chromium, with a profile of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from browser.tabs import OTHER_HOST, Watched
from playwright.sync_api import Browser, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, with a profile that is new and goes with it."""
    path = shutil.which("chromium")
    assert path, "there is no chromium: install it, on Debian with apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A new tab; after the test its pages must have had no fault, and loaded nothing but files."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    watched = Watched(context.new_page())
    yield watched
    assert watched.faults == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:"))] == []
    context.close()
