/* Says what lines of the access log mean: who made the answer, and why.

   accessLog.decode(text, data) gives a plain object with all that the page shows. All texts come
   from `data`, which conf/reference/decoder.py writes into the page out of
   book/reference/access-log.yaml and response-flags.yaml. */

"use strict";

const accessLog = (() => {
  const { NONE, fill, isNone, records } = logLines;

  // From values to what they mean

  function ip(address) {
    return address.replace(/:\d+$/, "");
  }

  /* The key in data.directions. An application and its sidecar share the pod's address; a gateway
     is called at its own. */
  function direction(values, cluster) {
    if (!cluster) {
      return "unknown";
    }
    const own = ip(values.upstream_local_address);
    if (cluster.direction !== "outbound" || isNone(own)) {
      return cluster.direction;
    }
    if (own === ip(values.downstream_remote_address)) {
      return "sidecar";
    }
    return own === ip(values.downstream_local_address) ? "gateway" : "outbound";
  }

  function describe({ values, more, prefix, isRunning, ...found }, number, data) {
    const cluster = data.clusters.find((known) => values.upstream_cluster.startsWith(known.starts));
    const line = {
      ...found, // what only some lines have, such as `suffix`, `note` and `partly`
      number,
      values,
      more,
      prefix,
      isRunning,
      isTcp: !found.kind && values.protocol === NONE && ["0", NONE].includes(values.response_code),
      direction: direction(values, cluster),
      flags: values.response_flags.split(",").filter((flag) => flag !== NONE),
    };
    const side = cluster?.direction;
    line.fields = data.fields.map((field) => ({
      name: field.name,
      key: field.key,
      operator: field.operator,
      value: values[field.key],
      isEmpty: isNone(values[field.key]),
      means: [
        field.means,
        field[line.isTcp ? "tcp" : "http"],
        side && field[side],
        field.key === "upstream_cluster" && cluster?.means,
      ].filter(Boolean),
    }));
    line.details = explainDetails(line, data);
    line.explained = [...line.flags.map((flag) => explainFlag(flag, data)), ...line.details];
    line.verdict = verdict(line, data);
    line.remedies = found.remedies ?? remedies(line, cluster);
    return line;
  }

  function host(line, data) {
    const address = line.values.upstream_host;
    if (isNone(address)) {
      return data.verdicts["no-host"];
    }
    return line.direction === "inbound"
      ? data.verdicts["own-host"].replace("{address}", () => address)
      : address;
  }

  function explainFlag(flag, data) {
    const known = data.flags.find((item) => item.flag === flag);
    return known
      ? { ...known, value: flag, do: known.remedies }
      : { value: flag, means: data.words["unknown-flag"], do: [], links: [] };
  }

  /* What the three fields with reasons say, the most exact one first. */
  function explainDetails(line, data) {
    const keys = [
      "upstream_transport_failure_reason",
      "response_code_details",
      "connection_termination_details",
    ];
    const found = keys.map((key) => {
      const value = line.values[key];
      const text = value.replace(/\s/g, "_").toLowerCase();
      const known = data.details.find(
        (detail) =>
          text.includes(detail.contains.toLowerCase()) &&
          Object.entries(detail.where ?? {}).every(([key, own]) => line.values[key] === own),
      );
      const values = { host: host(line, data), code: line.values.response_code };
      const means = known && fill(known.means, values);
      return known && { value, key, means, do: known.remedies ?? [], links: known.links };
    });
    return found.filter(Boolean);
  }

  /* What to do: what the exact reason asks for, or else each flag; that retries failed is no cause. */
  function remedies(line, cluster) {
    const exact = [...(cluster?.remedies ?? []), ...line.details.flatMap((item) => item.do)];
    const causes = line.explained.filter((item) => item.value !== "URX" && item.do.length > 0);
    const flagged = (causes.length > 0 ? causes : line.explained).flatMap((item) => item.do);
    return [...new Set(exact.length > 0 ? exact : flagged)];
  }

  /* One to three sentences: who made the answer, and why. */
  function verdict(line, data) {
    const code = line.values.response_code;
    const say = (name) => fill(data.verdicts[name], { host: host(line, data), code });
    const flags = line.explained.filter((item) => line.flags.includes(item.value));
    const reasons = line.details.filter((item) => item.value !== "via_upstream");
    const reason = (reasons[0] ?? flags[0])?.means;
    const because = (name) => [say(name), reason].filter(Boolean).join(" ");
    const details = line.values.response_code_details;
    const isSide = (side) => (flag) =>
      data.flags.some((item) => item.flag === flag && item.side === side);

    if (line.kind) {
      return [say(line.kind), line.means || reason].filter(Boolean).join(" ");
    }
    if (line.isRunning) {
      return say(line.isTcp ? "tcp-open" : "http-open");
    }
    if (line.isTcp) {
      if (line.flags.length > 0 || reasons.length > 0) {
        return because("tcp-failed");
      }
      const isSilent = line.values.bytes_received === "0" && line.values.bytes_sent === "0";
      return say(isSilent ? "tcp-silent" : "tcp");
    }
    if (line.flags.some((flag) => ["DC", "DR"].includes(flag))) {
      return say("client");
    }
    if (details.startsWith("upstream_reset_after_response_started")) {
      return because("cut");
    }
    if (details === "via_upstream") {
      const isCut = line.flags.some((flag) => flag !== "URX" && isSide("upstream")(flag));
      const name = line.direction === "inbound" ? "application" : "upstream";
      const isUnclear = name === "upstream" && Number(code) >= 400;
      if (line.flags.join() === "URX" && Number(code) < 400) {
        return say("retried");
      }
      return because(isCut ? "cut" : isUnclear ? "upstream-error" : name);
    }
    if (code === "0" || code === NONE) {
      return because("nothing");
    }
    const giver = { UAEX: "authorizer", RFCF: "cache" };
    const named = line.flags.find((flag) => flag in giver);
    if (named) {
      return because(giver[named]);
    }
    return because(isNone(details) && line.flags.length === 0 ? "unsaid" : "proxy");
  }

  // From lines to requests

  /* Whether the proxy of one line called the proxy of the other. */
  function isCaller(line, other) {
    const from = line.values;
    const to = other.values;
    const isConnection =
      !isNone(from.upstream_local_address) &&
      from.upstream_local_address === to.downstream_remote_address;
    const isEndpoint =
      !line.isTcp &&
      line.direction !== "inbound" &&
      other.direction === "inbound" &&
      !isNone(from.upstream_host) &&
      from.upstream_host === to.downstream_local_address;
    return line !== other && line.isTcp === other.isTcp && (isConnection || isEndpoint);
  }

  function isSameRequest(line, other) {
    if (line.isTcp || other.isTcp) {
      return isCaller(line, other) || isCaller(other, line);
    }
    const id = line.values.request_id;
    return !isNone(id) && id === other.values.request_id;
  }

  /* The lines of one request, from the client's end to the server's. */
  function inOrder(lines) {
    const rank = (line) => (line.direction === "inbound" ? 1 : 0);
    const time = (line) => line.values.start_time;
    const sorted = [...lines].sort((one, two) => {
      if (time(one) !== time(two)) {
        return time(one) < time(two) ? -1 : 1;
      }
      return rank(one) - rank(two);
    });
    for (const line of [...sorted]) {
      const first = sorted.findIndex((other) => isCaller(line, other));
      const at = sorted.indexOf(line);
      if (first >= 0 && first < at) {
        sorted.splice(at, 1);
        sorted.splice(first, 0, line);
      }
    }
    return sorted;
  }

  /* The line that tells who made the answer which the first line's downstream got. */
  function decisive(lines) {
    if (lines[0].isTcp) {
      return lines.findLast((line) => line.flags.length > 0) ?? lines[0];
    }
    const left = lines.slice(1);
    let line = lines[0];
    while (line.values.response_code_details === "via_upstream") {
      const at = left.findLastIndex((other) => isCaller(line, other));
      if (at < 0) {
        break;
      }
      [line] = left.splice(at, 1);
    }
    return line;
  }

  function request(lines, data) {
    const sorted = inOrder(lines);
    const line = decisive(sorted);
    const name = data.directions[line.direction].name;
    const place = fill(data.words["in-line"], { number: line.number, direction: name });
    return {
      verdict: lines.length > 1 ? `${place} ${line.verdict}` : line.verdict,
      decisive: line.number,
      lines: sorted,
    };
  }

  /* Gives {requests, faults, notes}. A request has its `verdict`, the number of the `decisive`
     line, and its `lines` from client to server; a fault has the `number` of a line, the `message`
     that says what was not understood, and the beginning of its `text`. Never throws. */
  function decode(text, data) {
    const faults = [];
    const groups = [];
    for (const record of records(text, data)) {
      if (record.message) {
        faults.push(record);
        continue;
      }
      const line = describe(record, record.number, data);
      const group = groups.find((lines) => lines.some((other) => isSameRequest(line, other)));
      if (group) {
        group.push(line);
      } else {
        groups.push([line]);
      }
    }
    const notes = groups.length === 0 && faults.length === 0 ? [data.messages.nothing] : [];
    return { requests: groups.map((lines) => request(lines, data)), faults, notes };
  }

  return { decode };
})();
