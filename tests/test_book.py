"""The book as a reader gets it: the HTML edition, its downloads, its copy buttons, its coverage."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from bs4 import BeautifulSoup, Tag
from lab import transcript
from lab.paths import EXAMPLES, RECORDINGS, ROOT
from sphinx.errors import ExtensionError
from stamp import stamp_text

from examples import is_tabular

CONF = ROOT / "conf"


def start_sphinx(source: Path, out: Path, builder: str = "html") -> subprocess.Popen[str]:
    """Start a build of a book as the Makefile does, in a process of its own."""
    command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-c", str(CONF)]
    command += ["-d", str(out / "doctrees"), "-b", builder, str(source), str(out / builder)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1795000000", "NO_COLOR": "1"},
    )


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two builds of the book, made side by side, each from nothing."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    running = [start_sphinx(ROOT / "book", folder) for folder in folders]
    outputs = [build.communicate()[0] for build in running]
    assert outputs == ["", ""]
    assert [build.returncode for build in running] == [0, 0]
    return folders[0] / "html", folders[1] / "html"


@pytest.fixture(scope="session")
def html(builds: tuple[Path, Path]) -> Path:
    return builds[0]


@pytest.fixture(scope="session")
def pages(html: Path) -> dict[Path, BeautifulSoup]:
    """Each page of the book, parsed."""
    files = sorted(path for path in html.rglob("*.html") if "_static" not in path.parts)
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}


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
    one, two = map(files_below, builds)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


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
    addresses = {address for text in texts for address in css_addresses(text)}
    assert addresses
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


# The examples


def test_every_example_has_a_page_that_offers_its_zip(html: Path) -> None:
    for folder in example_folders():
        name = folder.relative_to(EXAMPLES).as_posix()
        page = BeautifulSoup((html / f"{name}.html").read_text(), "html.parser")
        zip_name = f"../_downloads/examples/{name.replace('/', '-')}.zip"
        assert page.select(f'a[href="{zip_name}"]'), name
        assert f"$ make try EXAMPLE={name}" in page.get_text()


def test_zip_holds_the_files_of_its_example(html: Path) -> None:
    zips = {f"{f.parent.name}-{f.name}.zip": f for f in example_folders()}
    folder = html / "_downloads" / "examples"
    assert sorted(path.name for path in folder.iterdir()) == sorted(zips)
    for name, example in zips.items():
        with zipfile.ZipFile(folder / name) as archive:
            packed = {entry: archive.read(entry) for entry in archive.namelist()}
        files = example_files(example)
        assert packed == {f"{example.name}/{file.name}": file.read_bytes() for file in files}


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
        "Outputs on this page: Istio 1.30.0, 1.31.0, Envoy 1.40.0, recorded 2026-11-22."
    )


def test_stamp_names_the_recording_that_lacks_a_version(tmp_path: Path) -> None:
    path = recorded_state(tmp_path / "state.json", istio="1.31.0")
    with pytest.raises(ExtensionError, match=re.escape(str(path))):
        stamp_text([path])


# The copy buttons


def settings() -> dict[str, Any]:
    """The settings in conf.py."""
    values: dict[str, Any] = {"__file__": str(CONF / "conf.py")}
    exec((CONF / "conf.py").read_text(), values)  # noqa: S102 (a file of our own)
    return values


def copied(block: Tag, conf: dict[str, Any]) -> str:
    """What sphinx-copybutton puts on the clipboard for a block, by its rules and our settings."""
    lines, kept = block.get_text().splitlines(), []
    prompt = conf["copybutton_prompt_text"]
    if not any(line.startswith(prompt) for line in lines):
        return "\n".join(lines)
    goes_on = in_document = False
    for line in lines:
        if line.startswith(prompt) or goes_on or in_document:
            kept.append(line.removeprefix(prompt))
            goes_on = line.endswith(conf["copybutton_line_continuation_character"])
            in_document ^= conf["copybutton_here_doc_delimiter"] in line
        elif not line.strip() and conf["copybutton_copy_empty_lines"]:
            kept.append(line)
    return "\n".join(kept)


def test_copy_button_copies_what_the_lab_plays(
    pages: dict[Path, BeautifulSoup], tmp_path: Path
) -> None:
    conf, file = settings(), tmp_path / "block.console"
    for path, page in pages.items():
        for block in page.select("div.highlight-console:not(.output) pre"):
            file.write_text(block.get_text())
            steps = transcript.read(file).steps
            assert copied(block, conf) == "\n".join(step.command for step in steps), path


def test_blocks_without_a_command_have_no_copy_button(pages: dict[Path, BeautifulSoup]) -> None:
    selector = settings()["copybutton_selector"]
    for path, page in pages.items():
        with_button = page.select(selector)
        for block in page.select("div.highlight-console pre, div.highlight-text pre"):
            has_command = re.search(r"^\$ ", block.get_text(), re.MULTILINE) is not None
            assert (block in with_button) == has_command, f"{path}: {block.get_text()}"


@pytest.mark.parametrize(
    ("text", "tabular"),
    [
        ("$ kubectl get pods\nNAME   READY\nshop   1/1\n", True),
        ("NAME   READY\n" + "x" * 121, False),
        ("$ kubectl apply \\\n    -f shop.yaml\nservice/shop created\n", False),
    ],
)
def test_only_transcripts_with_a_table_scroll(text: str, tabular: bool) -> None:
    assert is_tabular(text) == tabular


def test_manifests_are_copied_whole(pages: dict[Path, BeautifulSoup]) -> None:
    conf = settings()
    for path, page in pages.items():
        manifests = page.select("div.highlight-yaml pre")
        with_button = page.select(conf["copybutton_selector"])
        for block in manifests:
            assert block in with_button, path
            assert copied(block, conf) == block.get_text().rstrip("\n"), path


# The checks that tie chapters to examples, each provoked in a book of one chapter

FAULTY = """\
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
    build = start_sphinx(root / "book", root / "out", builder="dummy")
    output, _ = build.communicate()
    assert build.returncode != 0
    return output.replace(f"{root.resolve()}/", "")


@pytest.mark.parametrize(
    "place",
    [
        "examples/part/chapter/unused.yaml:1: WARNING: this file is not shown in the chapter",
        "examples/part/orphan/alone.yaml:1: WARNING: this file is not shown in the chapter",
        "book/part/chapter.md:7: WARNING: this block is neither from a file",
        "book/part/chapter.md:11: WARNING: this block is neither from a file",
        "book/part/chapter.md:16: WARNING: this block is neither from a file",
        "book/part/other.md:3: ERROR: there is no example in examples/part/other",
    ],
)
def test_fault_is_reported_with_file_and_line(report: str, place: str) -> None:
    assert place in report


def test_nothing_but_the_faults_is_reported(report: str) -> None:
    assert len(re.findall("WARNING|ERROR", report)) == 6


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
