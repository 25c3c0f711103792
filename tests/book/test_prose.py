"""What the chapters say: what may age is dated, and what one copies is fit for production."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import front_matter
from lab.files.example import find_all
from lab.files.manifests import read_manifest
from lab.paths import ROOT
from lab.versions import ISTIO

BOOK = ROOT / "book"
PAGES = sorted(BOOK.rglob("*.md"))
EXAMPLES = find_all()

# Words of a statement that is true for a while.
AGEING = re.compile(
    r"\b(newest|latest|current|currently|today|nowadays|recent|recently|so far|upcoming)\b", re.I
)
DATED = re.compile(r"\b20\d\d\b|\b\d+\.\d+\b")


def statements(text: str) -> Iterator[str]:
    """The lines of prose, without what is quoted: a line holds a sentence."""
    text = re.sub(r"\A---\n.*?^---\n", "", text, flags=re.M | re.S)
    text = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`|\]\([^)\n]*\)|\"[^\"\n]*\"", "", text)
    yield from filter(None, text.splitlines())


def undated(text: str) -> list[str]:
    return [line for line in statements(text) if AGEING.search(line) and not DATED.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(BOOK)))
def test_what_may_age_has_a_date_or_a_version(page: Path) -> None:
    assert undated(page.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The newest release is out.", True),
        ("The newest release was 1.31.0 in November 2026.", False),
        ("Node waits 5 s today.", True),
        ("See [the page](https://istio.io/latest/docs/).", False),
        ("```\nlatest\n```\nIt is `latest`.", False),
    ],
)
def test_a_statement_that_ages_is_found(text: str, found: bool) -> None:
    assert bool(undated(text)) == found


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_each_chapter_says_on_which_istio_it_ran(example: Any) -> None:
    text = (BOOK / f"{example.name}.md").read_text()
    for head in re.findall(r"^\| Applies to .*\n\|.*\n\| Istio \| (.*) \|$", text, re.M):
        assert head.startswith(f"{ISTIO.label} (run)")
    assert not re.search(r"\b1\.\d+-dev\b|-rc\.\d", text)
    commits = set(re.findall(r"`([0-9a-f]{12})`", text))
    assert not commits or ISTIO.commit in commits


# Values for production


SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LEAST = {
    # What each field must have at least, in seconds; the first that fits the end of a name counts.
    "terminationGracePeriodSeconds": 30.0,  # Kubernetes' own default
    "RefreshRate": 5.0,  # Envoy's own default for names
    "refresh_rate": 5.0,
    "interval": 1.0,
    "imeout": 1.0,
    "Duration": 1.0,
}


def seconds(value: object) -> float | None:
    """A duration, as manifests write it, in seconds; None for anything else."""
    if isinstance(value, int):
        return float(value)
    found = re.fullmatch(r"([\d.]+)(ms|s|m|h)", str(value))
    return float(found[1]) * SECONDS[found[2]] if found else None


def hasty(value: Any, path: str = "") -> Iterator[str]:
    """The fields below that are shorter than anybody would have them, with their values."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from hasty(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from hasty(inner, path)
    elif path.endswith("proxy.istio.io/config"):  # YAML inside of YAML
        yield from hasty(yaml.safe_load(value), path)
    else:
        least = next((number for end, number in LEAST.items() if path.endswith(end)), 0.0)
        found = seconds(value)
        if found is not None and 0 < found < least:
            yield f"{path.lstrip('.')}: {value}"


def copied() -> list[Path]:
    """The manifests that a reader may copy: all but those that show a fault, or serve the run."""
    return [
        path
        for example in EXAMPLES
        for path in example.manifests
        if path.name not in front_matter(BOOK / f"{example.name}.md").get("faults", [])
    ]


@pytest.mark.parametrize("path", copied(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_one_copies_has_values_for_production(path: Path) -> None:
    assert [one for item in read_manifest(path.read_text(), path) for one in hasty(item)] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_faults_are_files_of_the_example_and_no_fix(example: Any) -> None:
    matter = front_matter(BOOK / f"{example.name}.md")
    faults = matter.get("faults", [])
    assert set(faults) <= {path.name for path in example.manifests}
    assert matter.get("fix") not in faults


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"idleTimeout": "0.05s"}, True),
        ({"idleTimeout": "4s"}, False),
        ({"timeout": "0s"}, False),  # none at all
        ({"terminationGracePeriodSeconds": 15}, True),
        ({"terminationGracePeriodSeconds": 60}, False),
        ({"patch": [{"dns_refresh_rate": "1s"}]}, True),
        ({"annotations": {"proxy.istio.io/config": "a: b\ndrainDuration: 10ms\n"}}, True),
        ({"data": {"server.py": "import time\nif timeout: 0.1s\n"}}, False),
    ],
)
def test_a_hasty_value_is_found(fields: dict[str, Any], found: bool) -> None:
    assert bool([*hasty(fields)]) == found
