"""The commands that play examples on clusters: record, matrix, mutate and try."""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

from lab.errors import LabError
from lab.files.example import Example, find_all, load
from lab.paths import TEST_EXAMPLES
from lab.plays import matrix as table
from lab.plays import mutations
from lab.versions import ISTIO, ISTIOS, OTHERS

from cluster.errors import ClusterError
from cluster.kept import Say
from cluster.ready import istio_called, ready, side_by_side
from cluster.recording import choosing, keeping, mutating, trying, watching
from cluster.recording.several import Crew, Job, summary
from cluster.saying import clock, short
from cluster.world import World


def add_parsers(commands: Any) -> None:
    """Tells an argparse's subparsers of these commands."""
    named: dict[str, Any] = {"nargs": "*", "metavar": "EXAMPLE"}
    at_once: dict[str, Any] = {"type": int, "metavar": "N", "help": "N clusters side by side"}

    parser = commands.add_parser("record", help="play examples, each on a new cluster, and keep it")
    parser.add_argument("example", **named, help="its part/name; else all recorded on one")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    parser.add_argument("--at-once", **at_once)
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="what commits touched, and others in turn"
    )
    parser.add_argument("--since", metavar="COMMIT", help="touched since then, with --minutes")

    parser = commands.add_parser("matrix", help="play examples on a cluster of another Istio")
    parser.add_argument("example", **named, help="its part/name; else all")
    parser.add_argument("--istio", default=OTHERS[0], help=f"one of {', '.join(ISTIOS)}")

    parser = commands.add_parser("mutate", help="change values of manifests: is it noticed?")
    parser.add_argument("example", **named, help="its part/name; else all")
    parser.add_argument("--values", type=int, default=mutations.SAMPLE, help="of each example")
    parser.add_argument("--change", metavar="NAME", help="just this one, and keep nothing")
    parser.add_argument("--at-once", **at_once)

    parser = commands.add_parser("try", help="play an example, then open a shell on its cluster")
    parser.add_argument("example", metavar="EXAMPLE", help="its part/name")


def record(asked: argparse.Namespace) -> int:
    """Each example on a cluster of its own, apart from one that a reader has up."""
    say, examples = clock(), [load(name) for name in asked.example]
    if asked.minutes:
        examples = _chosen(asked, say)
    elif not examples:
        examples = longest_first(_all())
    ready(ISTIO, say)
    if asked.example and len(examples) == 1:
        return _record_one(_world(asked, "record"), examples[0], say, check=asked.check)
    words = ("record", *(["--check"] if asked.check else []))
    jobs = [Job(example.name, (*words, str(example.folder))) for example in examples]
    began = time.monotonic()
    limit = asked.minutes * 60 * choosing.MORE if asked.minutes else math.inf
    done = _crew(asked, say, limit).run(jobs)
    say(summary(done, time.monotonic() - began))
    return 1 if any(one.code for one in done) else 0


def longest_first(examples: list[Example]) -> list[Example]:
    """In the order in which clusters side by side have the least to wait for each other's end."""
    return sorted(examples, key=choosing.seconds_of, reverse=True)


def _all() -> list[Example]:
    """Those of the guide, and those of the tests."""
    return [*find_all(), *find_all(TEST_EXAMPLES)]


def _chosen(asked: argparse.Namespace, say: Say) -> list[Example]:
    """What a run of CI plays in the given minutes."""
    at_once = asked.at_once or side_by_side()
    chosen = choosing.choose(_all(), asked.minutes, asked.since, at_once)
    for line in choosing.described(chosen):
        say(line)
    return [one.example for one in chosen if one.played]


def _world(asked: argparse.Namespace, name: str) -> World:
    return World(asked.folder.with_name(f"{asked.folder.name}-{name}"))


def _crew(asked: argparse.Namespace, say: Say, limit: float = math.inf) -> Crew:
    at_once = asked.at_once or side_by_side()
    places = [asked.folder.with_name(f"{asked.folder.name}-{n + 1}") for n in range(at_once)]
    logs = asked.folder.with_name(f"{asked.folder.name}-plays")
    say(f"{at_once} clusters side by side; what is printed there is in {short(logs)}")
    return Crew(places, logs, say, limit)


def _record_one(world: World, example: Example, say: Say, *, check: bool) -> int:
    say(f"{example.name}: begins")
    played, new = keeping.play(example, ISTIO, world, say)
    for number, what in sorted(played.moving.items()):
        print(f"cluster: {example.name}: state {number} was not at rest: {what}", file=sys.stderr)
    if not check:
        written = keeping.save(example, played, new)
        say(f"{example.name}: {'written' if written else 'nothing differs'}")
        return 0
    wrong = keeping.compare(example, played, new)
    _complain(wrong)
    say(f"{example.name}: {'differs' if wrong else 'nothing differs'}")
    return 1 if wrong else 0


def matrix(asked: argparse.Namespace) -> int:
    """What each example does on a cluster of another Istio, into the table of versions."""
    istio, say, wrong = istio_called(asked.istio), clock(), []
    examples = [load(name) for name in asked.example] or find_all()
    ready(istio, say)
    world = _world(asked, "matrix")
    for example in examples:
        say(f"{example.name} on Istio {istio.label}: begins")
        with keeping.up(example, istio, world, say):
            found = watching.differences(example, world, say)
        row, unexplained = table.column(example, istio.label, found)
        said = f"differs in {len(found)} outputs" if found else "held"
        say(f"{example.name} on Istio {istio.label}: {said}")
        wrong += unexplained
        if not unexplained:
            table.save_column(example, istio.label, row)
    _complain(wrong)
    return 1 if wrong else 0


def mutate(asked: argparse.Namespace) -> int:
    """Whether transcripts notice when values of the manifests change."""
    say = clock()
    examples = [load(name) for name in asked.example] or find_all()
    ready(ISTIO, say)
    if asked.change:
        return _mutate_one(asked, examples[0], say)
    crew, found = _crew(asked, say), {}
    for example in examples:
        began = time.monotonic()
        found[example.name] = _outcomes(crew, example, asked.values)
        mutations.save(example, found[example.name], time.monotonic() - began)
    wrong = list(mutations.judge(found))
    for line in mutations.summary(found):
        print(line)
    _complain(wrong)
    return 1 if wrong else 0


def _outcomes(crew: Crew, example: Example, size: int) -> mutations.Outcomes:
    """What became of each change of a sample. Raises ClusterError if a play failed."""
    changes = {_title(example, change): change for change in mutations.sample(example, size)}
    jobs = [
        Job(title, ("mutate", f"--change={change.name}", str(example.folder)))
        for title, change in changes.items()
    ]
    done = {one.title: one for one in crew.run(jobs)}
    if failed := [title for title in changes if done[title].code]:
        raise ClusterError(f"no outcome of {', '.join(failed)}")
    known = {outcome.value: outcome for outcome in mutations.Outcome}
    return {
        change: known[done[title].outcome.partition(" by ")[0]] for title, change in changes.items()
    }


def _title(example: Example, change: mutations.Mutation) -> str:
    """What a play calls itself in the one line that says what became of it."""
    return f"{example.name}/{' '.join(str(change).split())}"


def _mutate_one(asked: argparse.Namespace, example: Example, say: Say) -> int:
    for change in (one for path in example.manifests for one in mutations.mutations(path)):
        if change.name == asked.change:
            outcome, where = mutating.outcome(example, change, _world(asked, "mutate"), say)
            say(f"{_title(example, change)}: {outcome.value}{f' by {where}' if where else ''}")
            return 0
    raise ClusterError(f"{example.name} has no value {asked.change!r}")


def trial(asked: argparse.Namespace) -> int:
    """On the cluster that a reader has up, or on one that ends with the shell."""
    world, example = World(asked.folder), load(asked.example)
    if world.first:
        if example.settings.get("meshConfig"):
            raise ClusterError(
                "the cluster that is up has not the meshConfig of this example",
                remedy="end it, and try again: make cluster-down",
            )
        return _try_on(world, example, "It stays, with all that you made, until make cluster-down.")
    say = clock()
    ready(ISTIO, say)
    own = _world(asked, "try")
    with keeping.up(example, ISTIO, own, say):
        return _try_on(own, example, "It ends with this shell.")


def _try_on(world: World, example: Example, end: str) -> int:
    rc = trying.play(example, world, lambda line: print(line, flush=True))
    print(f"\nYou are in {short(example.folder)}, as a client outside of a cluster that is up.")
    print(f"kubectl and istioctl are there, and you may do anything. {end} Leave with exit.")
    return trying.shell(example, world, rc)


def _complain(wrong: list[LabError] | list[str]) -> None:
    for one in wrong:
        print(f"cluster: {one}", file=sys.stderr)
