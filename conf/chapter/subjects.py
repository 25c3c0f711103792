"""Makes the subject index of the printed edition, by rule.

Subjects are what chapters say they are about (their tags), and what a reader may have in hand:
kinds of resources, fields of manifests, annotations and labels, environment variables, and
commands. Each has the place where a chapter names it first, of the chapters that name it most;
in the one that names it most, or is tagged with it, it is treated.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.typing import ExtensionMetadata

from chapter.examples import commands
from chapter.tags import tags_of

REFERENCE = "reference/"  # looks up what other chapters treat
PLACES = 3  # of a subject in the index, at most
KIND = re.compile(r"^kind: (\w+)$", re.M)
KEY = re.compile(r"^[ -]*([a-z]\w*):", re.M)
FIELD = re.compile(r"(?:[a-z]\w*\.)*[a-z]+[A-Z]\w*|(?:[a-z]\w*\.)+[a-z]\w*")
ANNOTATION = re.compile(r"[a-z][\w.-]*\.io/[a-zA-Z][\w.-]*")
VARIABLE = re.compile(
    r"(?:PILOT|ISTIO|ENABLE|EXIT|OTEL|TERMINATION|MINIMUM|CA|GO)_[A-Z0-9_]*[A-Z0-9]"
)
COMMAND = re.compile(
    r"\b(?:(kubectl|pilot-agent)((?: -n \S+)?) ([a-z][a-z-]+)"
    r"|(istioctl) ((?:(?:x|proxy-config|manifest|tag) )?[a-z][a-z-]+))"
)


class Mention(NamedTuple):
    """Where a document names a subject."""

    docname: str
    node: nodes.Element


class SubjectIndex(SphinxPostTransform):
    """Puts a place beside what names a subject, and an entry into the index."""

    default_priority = 500
    formats = ("typst",)

    def run(self, **_kwargs: Any) -> None:
        """Change the tree, which is the whole book's."""
        found: dict[str, list[Mention]] = defaultdict(list)
        tagged: dict[str, set[str]] = defaultdict(set)
        keys = {key for block in manifests(self.document) for key in KEY.findall(block.astext())}
        for file in self.document.findall(addnodes.start_of_file):
            docname = file["docname"]
            for node in named_in(file):
                for subject in subjects_of(node, keys):
                    found[subject].append(Mention(docname, node))
            for tag in tags_of(self.env, docname):
                tagged[tag].add(docname)
                found[tag].append(Mention(docname, file))  # if nothing in it has the very word
        for number, (subject, mentions) in enumerate(sorted(found.items())):
            for main, mention in chosen(mentions, tagged[subject]):
                self.add(subject, mention, f"subject-{number}", is_main=main)

    def add(self, subject: str, mention: Mention, name: str, *, is_main: bool) -> None:
        """Put an entry into the index, and the place that it leads to beside a node."""
        node = mention.node
        if isinstance(node, addnodes.start_of_file):
            # Below its title: what stands before that is on the page before.
            node = next(node.findall(nodes.title))
        node = outermost(node)
        assert node.parent is not None
        place = node.parent.index(node) + isinstance(node, nodes.title)
        node.parent.insert(place, nodes.target("", "", ids=[name]))
        entry = ("single", subject, name, "main" if is_main else "", None)
        self.env.domains.index_domain.entries.setdefault(mention.docname, []).append(entry)


def manifests(tree: nodes.Element) -> Iterator[nodes.literal_block]:
    """The blocks of YAML."""
    return (b for b in tree.findall(nodes.literal_block) if b.get("language") == "yaml")


def named_in(file: nodes.Element) -> Iterator[nodes.Element]:
    """The words of code, and the blocks, of a document, but not of those inside it.

    Nor of its sources, in which names are those of files and repositories.
    """
    for child in file.children:
        if isinstance(child, (nodes.literal, nodes.literal_block)):
            yield child
        elif isinstance(child, nodes.Element) and not is_apart(child):
            yield from named_in(child)


def is_apart(node: nodes.Element) -> bool:
    """Whether a node is another document, or a list of sources."""
    return isinstance(node, addnodes.start_of_file) or "references" in node["classes"]


def subjects_of(node: nodes.Element, keys: set[str]) -> Iterator[str]:
    """The subjects that a word of code or a block names, `keys` being those of all manifests."""
    text = node.astext()
    if isinstance(node, nodes.literal):
        word = text.partition(":")[0]
        is_field = FIELD.fullmatch(word) and word.rpartition(".")[2] in keys
        if is_field or VARIABLE.fullmatch(word) or ANNOTATION.fullmatch(word):
            yield word
        yield from map(command, COMMAND.finditer(text))
    elif node.get("language") == "console":
        yield from (command(found) for text in commands(text) for found in COMMAND.finditer(text))
    elif node.get("language") == "yaml":
        yield from KIND.findall(text)


def command(found: re.Match[str]) -> str:
    """A command as the index has it: the program, and below it what it does."""
    program, _namespace, verb, istioctl, task = found.groups()
    return f"{istioctl or program}; {task or verb}"


def chosen(mentions: list[Mention], tagged: set[str]) -> Iterator[tuple[bool, Mention]]:
    """The first mention in each of the documents that name a subject most; is it treated there?"""
    counts = Counter(mention.docname for mention in mentions)

    def rank(docname: str) -> tuple[bool, bool, int]:
        return docname not in tagged, docname.startswith(REFERENCE), -counts[docname]

    most = sorted(counts, key=rank)
    for docname in most[: max(PLACES, len(tagged))]:
        main = docname in tagged or (docname == most[0] and not tagged)
        yield main, next(mention for mention in mentions if mention.docname == docname)


def outermost(node: nodes.Element) -> nodes.Element:
    """What holds a node in its section: a place to link to can stand before that."""
    while node.parent is not None and not isinstance(node.parent, nodes.section):
        node = node.parent
    return node


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.add_post_transform(SubjectIndex)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
