# Prints the traces of a collector's file exporter as trees, the oldest first.
# Usage: kubectl logs deploy/collector | python3 spans.py [TEXT], for traces that have the text.
"""Each line: when a span began and how long it took, then its service, its name and its kind.

A span whose parent is not there stands at the left, as one without a parent does, and says so.
Names of Services are printed without the domain of the cluster.
Where a span links to others, the numbers of their traces are told.
"""

import json
import sys

DOMAIN = ".svc.cluster.local"
KINDS = ["", "internal", "server", "client", "producer", "consumer"]


def spans(lines):
    """The spans of OTLP in JSON, each with the name of its service; other lines are skipped."""
    for line in lines:
        if not line.startswith('{"resourceSpans"'):
            continue
        for resource in json.loads(line)["resourceSpans"]:
            attributes = {
                each["key"]: each["value"].get("stringValue")
                for each in resource["resource"].get("attributes", ())
            }
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    span["service"] = attributes.get("service.name", "?")
                    span["start"] = int(span["startTimeUnixNano"])
                    span["end"] = int(span["endTimeUnixNano"])
                    yield span


def tree(trace, zero, parent="", depth=0):
    """A line for each span below `parent`, in the order of their beginnings."""
    known = {span["spanId"] for span in trace}
    for span in trace:
        above = span.get("parentSpanId", "")
        if (above if above in known else "") != parent:
            continue
        start, length = (span["start"] - zero) / 1e6, (span["end"] - span["start"]) / 1e6
        name, kind = span["name"].replace(DOMAIN, ""), KINDS[span.get("kind", 0)]
        notes = [kind] * bool(kind)
        notes += ["error"] * (span.get("status", {}).get("code") == 2)
        notes += ["its parent is missing"] * bool(above and above not in known)
        for link in span.get("links", ()):
            notes.append(f"links to {numbers.get(link['traceId'], 'a trace that is not here')}")
        indent = "  " * depth
        print(
            f"{start:8.1f} ms {length:8.1f} ms  {indent}{span['service']}: {name}"
            f" ({', '.join(notes)})"
        )
        tree(trace, zero, span["spanId"], depth + 1)


traces = {}
for span in sorted(spans(sys.stdin), key=lambda span: span["start"]):
    traces.setdefault(span["traceId"], []).append(span)
wanted = sys.argv[1] if len(sys.argv) > 1 else ""
shown = [trace for trace in traces.values() if wanted in json.dumps(trace)]
numbers = {trace[0]["traceId"]: f"trace {number}" for number, trace in enumerate(shown, 1)}
for number, trace in enumerate(shown, 1):
    print(f"trace {number}: {len(trace)} spans" if len(trace) > 1 else f"trace {number}: 1 span")
    tree(trace, trace[0]["start"])
