"""Explains the response flags of the access log, each with a recorded line.

The texts are `reference/response-flags.yaml` of the source folder, whose comments say what is in
it. The lines are from the transcripts of the example of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chapter.examples import examples_folder
from data_files import Fault, read_transcript, read_yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from reference import access_log

_ = get_translation("extensions")

TEXTS = "reference/response-flags.yaml"
EXAMPLE = "reference/response-flags"
SIDES = {"downstream": _("downstream"), "proxy": _("this proxy"), "upstream": _("upstream")}


NONE = "-"  # what the access log has in place of flags


@dataclass(frozen=True)
class Cause:
    """What may be behind a flag: how a line shows it, how to be sure, and what to do."""

    cause: str
    do: str
    decide: str = ""
    chapter: str = ""
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)  # `if`, `like`, `unlike`


@dataclass(frozen=True)
class Flag:
    """One item of the texts."""

    flag: str
    name: str
    side: str
    means: str
    status: str
    details: list[str]
    causes: list[Cause]
    bodies: list[str] = field(default_factory=list)
    unplayed: str = ""


@dataclass(frozen=True)
class Recorded:
    """Some steps of a transcript that end in a line of the access log, as `source` has them."""

    source: Path
    text: str
    line: access_log.Line


class ResponseFlags(SphinxDirective):
    """`{response-flags}` shows the table of all flags, and then a section of each."""

    def run(self) -> list[nodes.Node]:
        """The nodes to put in the directive's place."""
        folder = examples_folder(self.env) / EXAMPLE
        lines = list(recorded(folder))
        for path in (Path(self.env.srcdir) / TEXTS, *folder.glob("*.console")):
            self.env.note_dependency(path)
        flags = read(Path(self.env.srcdir))
        found = self.parse_text_to_nodes(table(flags))
        for item in flags:
            own = [one for one in lines if item.flag in one.line.flags and item.flag != NONE]
            found.append(self.section(item, own))
        return found

    def section(self, flag: Flag, lines: list[Recorded]) -> nodes.section:
        """The section of a flag, with the lines that have it."""
        if flag.flag != NONE and bool(lines) == bool(flag.unplayed):
            raise fault(flag.flag, "needs either a recorded line or `unplayed`, and not both")
        title = nodes.title("", _("No flag") if flag.flag == NONE else f"{flag.flag}: {flag.name}")
        section = nodes.section("", title, names=[anchor(flag.flag)], ids=[anchor(flag.flag)])
        self.set_source_info(title)
        if flag.flag != NONE:
            section["entry"] = flag.flag  # above the pages of the PDF, as in a dictionary
        self.state.document.note_explicit_target(section)
        section += index_entries(flag)
        section += self.parse_text_to_nodes(text(flag))
        for line in lines:
            block = nodes.literal_block(line.text, line.text, language="console")
            block["source"], block.line = str(line.source), 1
            section += block
        return section


def read(source: Path) -> list[Flag]:
    """The flags that the texts explain, in their order; `source` is the folder of the book.

    Raises Fault with file, flag and cause for an item that is not as agreed.
    """
    flags = []
    for item in read_yaml(source / TEXTS):
        name = str(item.get("flag", item))
        try:
            causes = [cause(name, one, source) for one in item.pop("causes")]
            flag = Flag(**item, causes=causes)
        except KeyError as error:
            raise fault(name, f"has no {error}") from None
        except TypeError as error:  # an unknown or a missing key
            raise fault(name, str(error).partition("() ")[2]) from None
        if flag.side not in SIDES:
            raise fault(name, f"the side {flag.side!r} is none of {', '.join(SIDES)}")
        flags.append(flag)
    return flags


def cause(flag: str, item: dict[str, Any], source: Path) -> Cause:
    """One of the causes of a flag, as the texts have it. Raises Fault, as `read` does."""
    conditions: dict[str, dict[str, Any]] = {
        key: item.pop(key) for key in ("if", "like", "unlike") if key in item
    }
    found = Cause(**item, conditions=conditions)
    for words in (found.cause, found.decide, found.do):
        if not isinstance(words, str):  # YAML takes a colon and a blank for a mapping
            raise fault(flag, f"not a text, quote it: {words}")
    if found.chapter and not (source / f"{found.chapter}.md").exists():
        raise fault(flag, f"there is no chapter {found.chapter}")
    return found


def fault(flag: str, cause: str) -> Fault:
    """What stops the build because of one flag."""
    return Fault(f"{TEXTS}: {flag}: {cause}")


def recorded(folder: Path) -> Iterator[Recorded]:
    """The access-log lines in the transcripts of a folder, each with the steps that led to it."""
    for path in sorted(folder.glob("*.console")):
        transcript = read_transcript(path)
        first = 0
        for number, step in enumerate(transcript.steps, start=1):
            text = replace(transcript, header=(), steps=transcript.steps[first:number]).text()
            for line in access_log.lines(step.output):
                yield Recorded(path, text.rstrip("\n"), line)
                text, first = "", number


def anchor(flag: str) -> str:
    """The name of the place that explains a flag."""
    return "no-flag" if flag == NONE else flag.lower()


def index_entries(flag: Flag) -> addnodes.index:
    """The entries of a flag in the book's index: by its letters, and by its name."""
    texts = [f"{flag.flag} ({flag.name})", f"{flag.name} ({flag.flag})"]
    if flag.flag == NONE:
        texts = []
    return addnodes.index(
        entries=[("single", text, anchor(flag.flag), "main", None) for text in texts]
    )


def table(flags: list[Flag]) -> str:
    """The table of all flags, in Markdown."""
    head = [_("Flag"), _("Caused by"), _("Status"), _("Name and meaning")]
    rows = [head, ["---"] * len(head)]
    for item in flags:
        link = f"[{item.flag}](#{anchor(item.flag)})"
        means = f"**{item.name}**: {item.means}"
        rows.append([link, SIDES[item.side], item.status, means])
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    # Stacked on phones, where names would break within words.
    directive = [f":::{{table}} {_('All response flags')}", ":class: stacked", ""]
    return "\n".join([*directive, *lines, ":::"])


def text(flag: Flag) -> str:
    """What a section says of its flag, in Markdown."""
    details = [
        f"`{words.replace('*', '…')}`" if words else str(_("empty")) for words in flag.details
    ]
    lines = [flag.means, ""]
    lines += [f"- {_('Caused by:')} {SIDES[flag.side]}", f"- {_('Status:')} {flag.status}"]
    lines += [f"- {_('Details:')} {', '.join(details)}"]
    if flag.bodies:
        bodies = ", ".join(f"`{body}`" for body in flag.bodies)
        lines += [f"- {_('In the body of the answer:')} {bodies}"]
    lines += [""]
    lines += [f"**{_('Usual causes')}**", ""]
    for number, each in enumerate(flag.causes, 1):
        head = f"{number}. "
        lines += [head + each.cause]
        # What is not below the cause's first letter ends the list.
        lines += [f"{'':{len(head)}}- {label} {words}" for label, words in steps(each)]
    lines += [""]
    if flag.unplayed:
        lines += [_("No line with this flag is recorded: {why}").format(why=flag.unplayed)]
    return "\n".join(map(str, lines))


def steps(each: Cause) -> Iterator[tuple[str, str]]:
    """How to be sure of a cause, and what to do, in Markdown."""
    more = f" {_('More in {link}.')}".format(link=f"[](/{each.chapter}.md)") if each.chapter else ""
    if each.decide:
        yield _("To be sure:"), each.decide
    yield _("What to do:"), f"{each.do}{more}"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_directive("response-flags", ResponseFlags)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
