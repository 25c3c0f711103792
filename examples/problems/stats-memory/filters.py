# Prints what the filters istio.stats in a configuration do to labels, a line for each change.
# Usage: istioctl proxy-config listeners POD -o json | python3 filters.py
import json
import sys


def changes(part, direction=""):
    """Each change in a part of the configuration, with the direction of its listener."""
    if isinstance(part, list):
        for item in part:
            yield from changes(item, direction)
    if not isinstance(part, dict):
        return
    direction = part.get("trafficDirection", direction)
    if part.get("name") == "istio.stats":
        for metric in part["typedConfig"].get("metrics", []):
            place = f"{direction} {metric['name']}"
            for label, value in metric.get("dimensions", {}).items():
                yield f"{place} {label} = {value}"
            for label in metric.get("tagsToRemove", []):
                yield f"{place} {label} is removed"
    for inner in part.values():
        yield from changes(inner, direction)


print(*sorted(set(changes(json.load(sys.stdin)))), sep="\n")
