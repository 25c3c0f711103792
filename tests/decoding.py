"""How often the decoder is right: what people paste, and what its first advice must be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from lab.paths import ROOT
from py_mini_racer import MiniRacer
from reference import decoder

CASES = ROOT / "tests" / "book" / "decoder-cases.yaml"


def scripts(names: Iterable[str]) -> str:
    """The text of some scripts of the HTML edition."""
    return "\n".join((ROOT / "_static" / name).read_text() for name in names)


RUN = scripts(decoder.PARTS)  # what decodes, without a page
SCRIPT = scripts(decoder.SCRIPTS)
LONGEST = 10_000  # milliseconds in which a call must end; a slow machine needs 100


@dataclass(frozen=True)
class Case:
    """What somebody pastes, as the head of the file of cases says."""

    name: str
    source: str
    text: str
    proves: str
    first: list[str]
    understood: str
    never: list[str] = field(default_factory=list)
    verdict: list[str] = field(default_factory=list)
    page: str = ""

    def faults(self, answer: dict[str, Any]) -> Iterator[str]:
        """What is wrong with an answer of the decoder."""
        requests = answer["requests"]
        told = [one for one in requests if one["causes"]] or requests  # of several, what failed
        causes = told[0]["causes"] if told else []
        said = [fault["message"] for fault in answer["faults"]]
        verdict = " ".join([told[0]["verdict"]] if told else said)
        texts = [f"{one['cause']} {one['decide']} {one['do']}" for one in causes]
        if bool(requests) == (self.understood == "named"):
            yield f"it is not {self.understood}: {verdict}"
            return
        first = " ".join([verdict, *texts[:1]])
        if self.first and not any(found(pattern, first) for pattern in self.first):
            yield f"the first cause has none of {self.first}: {first}"
        for pattern in self.never:
            yield from (f"{pattern!r} is said: {text}" for text in texts if found(pattern, text))
        for pattern in self.verdict:
            if not found(pattern, verdict):
                yield f"the verdict has no {pattern!r}: {verdict}"


def found(pattern: str, text: str) -> bool:
    """Whether a text has something that a pattern of a case describes."""
    return re.search(pattern, text, re.IGNORECASE) is not None


def cases() -> list[Case]:
    """All that are written down."""
    return [Case(**item) for item in yaml.safe_load(CASES.read_text())]


class Decoder:
    """The scripts of the decoder's page, in V8 without a browser."""

    def __init__(self) -> None:
        """Loads what the page loads, and the data that is in it; links are names of pages."""
        link = lambda page, _: decoder.Link(href=page, title=page)  # noqa: E731
        self.data = decoder.script_data(ROOT / "book", link)
        self.engine = MiniRacer()
        self.engine.eval(f"{RUN}\nconst data = {json.dumps(self.data)};")
        self.engine.eval("const run = (text) => JSON.stringify(accessLog.decode(text, data));")

    def decode(self, text: str) -> dict[str, Any]:
        """What the page shows of a text."""
        answer: dict[str, Any] = json.loads(self.engine.call("run", text, timeout=LONGEST))
        return answer


def main() -> None:
    """Prints which cases are not right, and why."""
    engine, every = Decoder(), cases()
    wrong = [
        (case, faults) for case in every if (faults := [*case.faults(engine.decode(case.text))])
    ]
    for case, faults in wrong:
        print(f"{case.name}\n  {case.proves}", *faults, sep="\n  - ")
    print(f"{len(every) - len(wrong)} of {len(every)} are right")


if __name__ == "__main__":
    main()
