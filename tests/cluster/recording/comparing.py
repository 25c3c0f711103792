"""Compares two recordings of one example: what may differ between clusters is named by its role.

Pods and Services have other addresses on each cluster, and pods other names. So has the template of
a Deployment that was restarted, as the time is in it. In both recordings they become roles, such as
`<pod shop/ledger>`, before anything is compared; what else may differ is masked as in replays.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from lab.files.masks import mask
from lab.files.recording import Recording, State
from lab.files.transcript import Transcript
from lab.objects.pod import Pod

_NODE_PORT = re.compile(r"(?<=:)3[0-2]\d{3}(?=/(?:TCP|UDP))")
_WORD = re.compile(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")


@dataclass(frozen=True)
class Roles:
    """What stands for an address or a pod's name, by the address or name."""

    words: dict[str, str]

    @classmethod
    def of(cls, states: Iterable[State]) -> Roles:
        words = {}
        for state in states:
            for item in state.objects:
                metadata = item["metadata"]
                if item["kind"] == "Pod":
                    pod = Pod(item)
                    role = f"{pod.namespace}/{pod.deployment}"
                    words[pod.name] = f"<name of {role}>"
                    words[pod.id] = f"<id of {role}>"
                    if template := pod.labels.get("pod-template-hash"):
                        words[template] = f"<template of {pod.deployment}>"
                        words[f"{pod.deployment}-{template}"] = f"<replicas of {pod.deployment}>"
                    if "podIP" in item["status"]:
                        words[pod.address] = f"<pod {role}>"
                if item["kind"] == "Service" and item["spec"].get("clusterIP", "None") != "None":
                    role = f"{metadata['namespace']}/{metadata['name']}"
                    words[item["spec"]["clusterIP"]] = f"<service {role}>"
        return cls(words)

    def named(self, text: str) -> str:
        """A text with roles for addresses and names."""
        return _WORD.sub(lambda found: self.words.get(found[0], found[0]), text)


def lines(output: Iterable[str], roles: Roles) -> list[str]:
    """An output as it is compared; columns lose their widths, which follow from names."""
    named = (_NODE_PORT.sub("<node-port>", roles.named(mask(line))) for line in output)
    return [" ".join(line.split()) for line in named]


def differing(old: Transcript, new: Transcript, before: Roles, after: Roles) -> dict[int, str]:
    """What differs in the outputs, as a diff by the line of the command.

    All commands, without a diff, if they are not the same.
    """
    if [step.command for step in old.steps] != [step.command for step in new.steps]:
        return {step.line: "other commands" for step in new.steps}
    pairs = (
        (one.line, lines(one.output, before), lines(other.output, after))
        for one, other in zip(old.steps, new.steps, strict=True)
    )
    return {line: diff(then, now) for line, then, now in pairs if then != now}


def diff(recorded: list[str], now: list[str]) -> str:
    """What differs in two outputs, for who reads a log."""
    return "\n".join(unified_diff(recorded, now, "recorded", "now", lineterm="", n=1))


def differing_states(old: Recording, new: Recording) -> list[str]:
    """What differs in the states of two recordings, a line for each proxy or list of objects."""
    if len(old.states) != len(new.states):
        return [f"{len(old.states)} states have become {len(new.states)}"]
    before, after = _texts(Roles.of(old.states)), _texts(Roles.of(new.states))
    found = []
    for number, (one, other) in enumerate(zip(old.states, new.states, strict=True), 1):
        left, right = _canonical(one, before), _canonical(other, after)
        found += [
            f"state {number}: {what} differs"
            for what in sorted(left.keys() | right.keys())
            if left.get(what) != right.get(what)
        ]
    return found


def _canonical(state: State, text: Callable[[object], str]) -> dict[str, list[str]]:
    """Each part of a state as sorted texts."""
    parts = {"the list of objects": [text(item) for item in state.objects]}
    for proxy, resources in state.proxies.items():
        for kind, items in resources.items():
            name = f"{kind} of {json.loads(text(proxy))}"
            parts.setdefault(name, []).extend(map(text, items))
    return {name: sorted(texts) for name, texts in parts.items()}


def _texts(roles: Roles) -> Callable[[object], str]:
    """What gives a resource as a text to compare; most are in many states, and are read once."""

    @functools.cache
    def of(dumped: str) -> str:
        return json.dumps(_ordered(json.loads(roles.named(dumped))), sort_keys=True)

    return lambda value: of(json.dumps(value))


def _ordered(value: Any) -> Any:
    """A resource whose endpoints are in order, as istiod sends them in any; without node ports."""
    if isinstance(value, dict):
        inner = {key: _ordered(one) for key, one in value.items() if key != "nodePort"}
        if "lbEndpoints" in inner:
            inner["lbEndpoints"].sort(key=json.dumps)
        return inner
    return [_ordered(one) for one in value] if isinstance(value, list) else value
