"""The response flags: what the book says of each, what Envoy accepts, and what was recorded."""

from __future__ import annotations

import json
import mmap
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run_sphinx
from data_files import Fault
from lab.paths import EXAMPLES, ROOT
from lab.proxy.envoy import binary
from markdown_it import MarkdownIt
from reference import access_log, response_flags
from reference.response_flags import Flag, Recorded

TEXTS = response_flags.read(ROOT / "book")
FLAGS = [item for item in TEXTS if item.flag != response_flags.NONE]
LINES = list(response_flags.recorded(EXAMPLES / response_flags.EXAMPLE))

each_flag = pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.flag)
each_line = pytest.mark.parametrize(
    "recorded", LINES, ids=lambda recorded: "+".join(recorded.line.flags)
)


# Envoy


def listener_for(flags: list[str]) -> dict[str, Any]:
    """A listener that logs what has one of these flags."""
    extensions = "type.googleapis.com/envoy.extensions"
    log = {
        "name": "log",
        "filter": {"responseFlagFilter": {"flags": flags}},
        "typedConfig": {
            "@type": f"{extensions}.access_loggers.stream.v3.StdoutAccessLog",
        },
    }
    proxy = {
        "@type": f"{extensions}.filters.network.tcp_proxy.v3.TcpProxy",
        "statPrefix": "any",
        "cluster": "any",
    }
    return {
        "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}},
        "accessLog": [log],
        "filterChains": [{"filters": [{"name": "tcp", "typedConfig": proxy}]}],
    }


def validated(flags: list[str]) -> subprocess.CompletedProcess[str]:
    """What Envoy says of a configuration with an access log for these flags."""
    resources = {"listeners": [listener_for(flags)], "clusters": [{"name": "any"}]}
    config = {"staticResources": resources}
    command = [str(binary()), "--mode", "validate", "--config-yaml", json.dumps(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_envoy_accepts_every_flag() -> None:
    said = validated([flag.flag for flag in FLAGS])
    assert said.returncode == 0, said.stderr


def test_envoy_knows_no_other_flag() -> None:
    said = validated(["NOPE"])
    assert said.returncode != 0
    listed = re.search(r"value must be in list \[([A-Z ]+)\]", said.stderr)
    assert listed
    assert set(listed[1].split()) == {flag.flag for flag in FLAGS}


def test_the_long_names_and_the_bodies_are_in_envoy() -> None:
    with binary().open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
        assert [flag.name for flag in FLAGS if code.find(flag.name.encode()) < 0] == []
        bodies = [body.removeprefix("reset reason: ") for flag in FLAGS for body in flag.bodies]
        long = [body for body in bodies if len(body) > 11]  # compilers make numbers of shorter ones
        assert len(long) > 10
        assert [body for body in long if code.find(body.encode()) < 0] == []


def test_a_body_names_one_flag() -> None:
    bodies = [body for flag in FLAGS for body in flag.bodies]
    assert len({*bodies}) == len(bodies) > 10


# The texts


def test_no_flag_is_explained_twice() -> None:
    assert len({flag.flag for flag in FLAGS}) == len(FLAGS)


@each_flag
def test_the_meaning_is_one_short_sentence(flag: Flag) -> None:
    assert re.fullmatch(r"[A-Z].*\.", flag.means)
    assert len(flag.means.split()) <= 25


@pytest.mark.parametrize("flag", TEXTS, ids=lambda flag: flag.flag)
def test_each_cause_says_what_to_do_and_asks_only_for_what_a_line_has(flag: Flag) -> None:
    keys = {field["key"] for field in access_log.fields(ROOT / "book")}
    keys |= {"by", "reason", "kind", "also", "sni", "rest"}  # what log-answers.js adds
    assert flag.causes
    for cause in flag.causes:
        assert re.fullmatch(r"[A-Z`].*\.", cause.cause)
        assert re.fullmatch(r"[A-Z`].*\.", cause.do)
        assert re.fullmatch(r"([A-Z`].*[.?])?", cause.decide)
        for asked in cause.conditions.values():
            assert {*asked} <= keys
            for condition in asked.values():
                for text in condition if isinstance(condition, list) else [condition]:
                    re.compile(text.removeprefix("!"))


@pytest.mark.parametrize("flag", TEXTS, ids=lambda flag: flag.flag)
def test_the_causes_of_a_flag_are_one_list_with_what_to_do_below_each(flag: Flag) -> None:
    lists = [
        token for token in MarkdownIt().parse(response_flags.text(flag)) if "list_o" in token.type
    ]
    causes = [token.level for token in lists if token.type == "ordered_list_open"]
    steps = [token.level for token in lists if token.type == "bullet_list_open"]
    assert (causes, steps) == ([0], [0, *[2] * len(flag.causes)])


@each_flag
def test_a_flag_has_a_recorded_line_or_a_reason_why_not(flag: Flag) -> None:
    assert any(flag.flag in recorded.line.flags for recorded in LINES) != bool(flag.unplayed)


@each_line
def test_a_recorded_line_is_as_its_flags_say(recorded: Recorded) -> None:
    line = recorded.line
    known = {flag.flag: flag for flag in TEXTS}
    for name in line.flags:
        assert known[name].status == "any" or line.status in known[name].status.split(", ")
        assert any(matches(pattern, line.details) for pattern in known[name].details)


def matches(pattern: str, details: str) -> bool:
    return details.startswith(pattern[:-1]) if pattern.endswith("*") else details == pattern


# Faults in the texts

GOOD = {
    "flag": "UH",
    "name": "NoHealthyUpstream",
    "side": "upstream",
    "means": "There is no endpoint.",
    "status": "503",
    "details": ["no_healthy_upstream"],
    "causes": [{"cause": "No pod is ready.", "do": "Look."}],
}


def book_of(root: Path, **changes: Any) -> Path:
    """The sources of a book of one flag, whose item has these changes; None removes a key."""
    item = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    sources = {
        "book/index.md": "# Index\n\n```{toctree}\nreference/response-flags\n```\n",
        "book/reference/response-flags.md": "# Flags\n\n## All\n\n```{response-flags}\n```\n",
        "book/reference/response-flags.yaml": yaml.safe_dump([item]),
    }
    for name, text in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "book"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"frogs": "1"}, "got an unexpected keyword argument 'frogs'"),
        ({"means": None}, "missing 1 required positional argument: 'means'"),
        ({"side": "left"}, "the side 'left' is none of downstream, proxy, upstream"),
        ({"causes": None}, "has no 'causes'"),
        ({"causes": [{"cause": "x"}]}, "missing 1 required positional argument: 'do'"),
        ({"causes": [{"cause": "x", "do": {"Do": "it"}}]}, "not a text, quote it: {'Do': 'it'}"),
        (
            {"causes": [{"cause": "x", "do": "it", "chapter": "problems/nope"}]},
            "there is no chapter problems/nope",
        ),
    ],
)
def test_a_faulty_item_is_named_with_file_flag_and_cause(
    tmp_path: Path, changes: dict[str, Any], cause: str
) -> None:
    with pytest.raises(Fault) as caught:
        response_flags.read(book_of(tmp_path, **changes))
    assert str(caught.value) == f"reference/response-flags.yaml: UH: {cause}"


@pytest.mark.parametrize(
    ("changes", "recorded"), [({}, False), ({"unplayed": "Nobody knows."}, True)]
)
def test_the_build_needs_either_a_line_or_a_reason(
    tmp_path: Path, changes: dict[str, Any], recorded: bool
) -> None:
    source = book_of(tmp_path, **changes)
    if recorded:
        example = tmp_path / "examples" / response_flags.EXAMPLE
        example.mkdir(parents=True)
        (example / "1.console").write_text('$ call\n[now] "GET / HTTP/1.1" 503 UH why - "-"\n')
    code, output = run_sphinx(source, tmp_path / "out")
    assert code != 0
    (line,) = output.splitlines()  # and no traceback
    assert "reference/response-flags.yaml: UH: needs either a recorded line or `unplayed`" in line


def test_what_is_no_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    texts = book_of(tmp_path) / response_flags.TEXTS
    texts.write_text("- flag: UH\n- means: a: b\n")
    with pytest.raises(Fault) as caught:
        response_flags.read(tmp_path / "book")
    cause = "not valid YAML: mapping values are not allowed in this context"
    assert str(caught.value) == f"{texts}:2: {cause}"
