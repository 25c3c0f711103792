"""The tables of what the network and TLS say when a connection fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import run_sphinx
from lab.paths import ROOT
from reference import access_log
from reference.failures import WHOSE, table

DETAILS = access_log.texts(ROOT / "book")["details"]


@pytest.mark.parametrize("group", ["network", "tls"])
def test_a_table_has_a_row_for_each_item_of_its_group(group: str) -> None:
    found = [one for one in DETAILS if one.get("group") == group]
    rows = table(found, "Words").splitlines()[3:-1]
    assert len(rows) == 2 + len(found) > 7
    for item, row in zip(found, rows[2:], strict=True):
        assert all(f"`{words}`" in row for words in access_log.wordings(item))
        assert "{host}" not in row
        assert group == "network" or row.endswith(f"| {WHOSE[item['whose']]} |")


def test_both_groups_are_on_the_page_and_there_is_no_other() -> None:
    page = (ROOT / "book" / "reference" / "response-flags.md").read_text()
    groups = {one["group"] for one in DETAILS if "group" in one}
    assert {group for group in groups if f"```{{failures}} {group}\n" in page} == groups


def test_a_group_without_rows_is_told_with_its_place(tmp_path: Path) -> None:
    source = tmp_path / "book"
    (source / "reference").mkdir(parents=True)
    (source / "index.md").write_text("# Index\n\n```{failures} nope\nWords\n```\n")
    texts = (ROOT / "book" / access_log.TEXTS).read_text()
    (source / access_log.TEXTS).write_text(texts)
    code, output = run_sphinx(source, tmp_path / "out")
    assert code != 0
    assert "index.md:3: ERROR: no item of details has the group nope" in output
