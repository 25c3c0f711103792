"""The tables of what the network and TLS say when a connection fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import run_sphinx
from lab.paths import EXAMPLES, ROOT
from reference import access_log
from reference.failures import WHOSE, runs, table

DETAILS = access_log.texts(ROOT / "book")["details"]
RUNS = runs(EXAMPLES, DETAILS)


@pytest.mark.parametrize("group", ["network", "tls"])
def test_a_table_has_a_row_for_each_item_of_its_group(group: str) -> None:
    found = [one for one in DETAILS if one.get("group") == group]
    rows = table(found, "Words", RUNS).splitlines()[3:-1]
    assert len(rows) == 2 + len(found) > 7
    for item, row in zip(found, rows[2:], strict=True):
        wordings = access_log.wordings(item)
        assert all(f"`{words}`" in row for words in wordings)
        assert "{host}" not in row
        place = RUNS.get(wordings[0], "not recorded")
        assert row.endswith(
            f"| {WHOSE[item['whose']]} | {place} |" if group == "tls" else place + " |"
        )


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("Connection_refused", "recorded under [UF](#uf)"),
        ("WRONG_VERSION_NUMBER", "recorded under [UF](#uf)"),
        ("verify_SAN_list", "recorded under [UF](#uf)"),
        ("unable_to_get_local_issuer_certificate", "recorded under [UF](#uf)"),
        ("certificate_has_expired", "recorded under [UF](#uf)"),
        ("certificate_is_not_yet_valid", "recorded under [UF](#uf)"),
        ("ALERT_CERTIFICATE_EXPIRED", "recorded under [UF](#uf)"),
        ("ALERT_UNKNOWN_CA", "recorded under [UF](#uf)"),
        ("ALERT_HANDSHAKE_FAILURE", "recorded under [UF](#uf)"),
        ("UNRECOGNIZED_NAME", "recorded in [](/problems/plaintext-to-tls.md)"),
        ("CERTIFICATE_REQUIRED", None),
        ("CERTIFICATE_VERIFY_FAILED", None),  # each recorded one says why
    ],
)
def test_a_row_leads_to_the_line_that_its_item_explains(words: str, place: str | None) -> None:
    assert RUNS.get(words) == place


def test_a_line_of_the_pages_own_example_goes_before_that_of_a_chapter(tmp_path: Path) -> None:
    line = (
        '[now] "GET / HTTP/1.1" 503 URX,UF why - "TLS_error:|1:SSL routines:WRONG_VERSION_NUMBER"\n'
    )
    for name in ("problems/a", "problems/b", "reference/response-flags"):
        path = tmp_path / name / "1.console"
        path.parent.mkdir(parents=True)
        path.write_text(f"$ call\n{line}")
    assert runs(tmp_path, DETAILS) == {"WRONG_VERSION_NUMBER": "recorded under [UF](#uf)"}
    path.unlink()
    assert runs(tmp_path, DETAILS) == {"WRONG_VERSION_NUMBER": "recorded in [](/problems/a.md)"}


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
