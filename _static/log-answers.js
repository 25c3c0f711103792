/* Says what lines of the access log mean: who made the answer, and why.

   accessLog.decode(text, data) gives a plain object with all that is known of some lines. A page
   that may get many takes accessLog.read() and summary(), and explains only what it shows. All
   texts come from `data`, which conf/reference/decoder.py writes into the page out of
   book/reference/access-log.yaml and response-flags.yaml. */

"use strict";

const accessLog = (() => {
  const { NONE, fill, isNone, records } = logLines;
  const { detailOf } = logFields;
  const REASONS = [
    "upstream_transport_failure_reason",
    "response_code_details",
    "connection_termination_details",
  ];
  const GRPC = /^\/[\w.]+\/\w+$/; // a path of package, service and method
  const UNMATCHED = "filter_chain_not_found"; // the details that connections have too
  const CELL = 200; // characters
  const CLOCKS = 1000; // milliseconds by which those of two machines may differ
  // Addresses and long numbers; a number of three digits may be an error of the system.
  const VARIES = /((\d{1,3}\.){3}\d{1,3}|\[?([\da-f]{0,4}:){3,7}[\da-f]{0,4}\]?)(:\d+)?|\d{4,}/g;

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

  function clusterOf(values, data) {
    return data.clusters.find((known) => values.upstream_cluster.startsWith(known.starts));
  }

  /* Whether a record is of a TCP connection. If the protocol was not pasted, the details tell. */
  function isConnection({ values, kind, partly }) {
    const { protocol, response_code: code, response_code_details: details } = values;
    const isTold = !partly?.includes("protocol") || isNone(details) || details === UNMATCHED;
    return !kind && protocol === NONE && ["0", NONE].includes(code) && isTold;
  }

  /* What joins a line to others and counts it, and its record; explain() takes much longer. */
  function outline(record, data) {
    const { values } = record;
    const start = Date.parse(values.start_time) || 0;
    return {
      ...record,
      isTcp: isConnection(record),
      direction: direction(values, clusterOf(values, data)),
      flags: values.response_flags.split(",").filter((flag) => flag !== NONE),
      start,
      end: start + (Number(values.duration) || 0),
    };
  }

  /* All that is known of a line that read() gave. */
  function explain(outline, data) {
    const line = { ...outline };
    const { values } = line;
    const cluster = clusterOf(values, data);
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
      ? { ...known, value: flag }
      : { value: flag, means: data.words["unknown-flag"] };
  }

  /* What the three fields with reasons say, the most exact one first. */
  function explainDetails(line, data) {
    const found = REASONS.map((key) => {
      const value = line.values[key];
      const known = detailOf(value, line.values, data);
      const values = { host: host(line, data), code: line.values.response_code };
      const means = known && fill(known.means, values);
      return known && { value, key, means };
    });
    return found.filter(Boolean);
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
    const isLocal = isClosedHere(line);
    if (!isLocal && line.flags.some((flag) => ["DC", "DR"].includes(flag))) {
      return say("client");
    }
    // No proxy makes a 101 itself.
    const isBegun = isLocal ? Number(code) > 0 : code === "101" && line.flags.some(isSide("proxy"));
    if (isBegun || details.startsWith("upstream_reset_after_response_started")) {
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
    if (code === NONE && line.partly?.includes("response_code") && reason) {
      return reason;
    }
    if (code === "0" || code === NONE) {
      return because("nothing");
    }
    const giver = { UAEX: "authorizer", RFCF: "cache" };
    const named = line.flags.find((flag) => flag in giver);
    if (named) {
      return because(giver[named]);
    }
    const isFailure = (flag) => isSide("upstream")(flag) || ["UO", "NC"].includes(flag);
    if (code === "200" && line.flags.some(isFailure)) {
      return because("grpc"); // only to its clients does a proxy tell so of a failure
    }
    const isUnsaid = isNone(details) && line.flags.every((flag) => flag === "URX");
    return because(isUnsaid ? "unsaid" : "proxy");
  }

  // From what they mean to causes

  /* What conditions of causes may ask of a line, whose request has other lines, too. */
  function facts(line, others) {
    const { values } = line;
    const name = values.requested_server_name;
    const isAsked = name === values.authority.replace(/:\d+$/, "");
    const isGrpc = values.protocol === "HTTP/2" && GRPC.test(values.path);
    const isTold =
      !line.partly?.includes("response_code_details") || REASONS.some((key) => !isNone(values[key]));
    return {
      ...values,
      by: line.direction === "unknown" ? undefined : line.direction,
      reason: isTold ? REASONS.map((key) => values[key].replace(/\s/g, "_")).join("|") : undefined,
      kind: line.isTcp ? "tcp" : isGrpc ? "grpc" : "http",
      also: others.flatMap(({ flags }) => flags).join() || NONE,
      sni: isNone(name) ? "none" : isAsked ? "same" : "other",
    };
  }

  /* Whether a value is as one of some conditions says, as response-flags.yaml describes them;
     undefined if nobody knows. */
  function holds(value, conditions) {
    const results = [conditions].flat().map((condition) => {
      const [, from, to] = condition.match(/^(\d+)\.\.(\d+)$/) ?? [];
      const [, sign, limit] = condition.match(/^(<|>=|>)(\d+)$/) ?? [];
      const isNumber = from !== undefined || sign !== undefined;
      if (value === undefined || (isNumber && isNone(value))) {
        return undefined;
      }
      const number = Number(value);
      if (from !== undefined) {
        return number >= Number(from) && number <= Number(to);
      }
      if (sign !== undefined) {
        return { "<": number < limit, ">": number > limit, ">=": number >= limit }[sign];
      }
      const isNot = condition.startsWith("!");
      return new RegExp(condition.slice(Number(isNot)), "i").test(value) !== isNot;
    });
    return results.includes(true) || (results.includes(undefined) ? undefined : false);
  }

  /* The flags whose causes are those of a line: its own, but that retries failed is none beside
     another; or else those that have such details. */
  function blamed({ flags, values }, data) {
    const own = flags.filter((flag) => flag !== "URX");
    const details = values.response_code_details;
    const told = isNone(details) || details === "via_upstream" ? "" : details;
    const implied = data.flags.filter((item) => told && item.details.includes(told));
    return [own, flags, implied.map(({ flag }) => flag)].find((some) => some.length > 0) ?? [];
  }

  /* The causes that a line leaves open, the likeliest first; if its flags leave none, or it has no
     flag, those of lines without one. */
  function leftOpen(line, others, rest, data) {
    if (line.isRunning) {
      return [];
    }
    if (line.kind === "ztunnel") {
      const todo = line.remedies.join(" ");
      return todo ? [{ cause: line.means, decide: "", do: todo, link: null }] : [];
    }
    const known = { ...facts(line, others), rest };
    const missing = new Set(line.partly);
    const ask = ([key, conditions]) => holds(missing.has(key) ? undefined : known[key], conditions);
    const all = (conditions) => Object.entries(conditions ?? {}).map(ask);
    const count = (conditions) => all(conditions).filter((result) => result === true).length;
    const leaves = (flag) => {
      const causes = data.flags.find((item) => item.flag === flag)?.causes ?? [];
      return causes.filter((cause) => !all(cause.if).includes(false));
    };
    const found = blamed(line, data).flatMap(leaves);
    return (found.length > 0 ? found : leaves(NONE))
      .map((cause) => ({ cause, score: count(cause.like) - count(cause.unlike) }))
      .sort((one, two) => two.score - one.score)
      .map(({ cause: { cause, decide, do: todo, link } }) => ({ cause, decide, do: todo, link }));
  }

  // From lines to requests

  /* Whether two connections were open at one time, or nobody knows: an address is used again. */
  function isTogether(one, two) {
    const isKnown = one.start > 0 && two.start > 0;
    return !isKnown || (one.start <= two.end + CLOCKS && two.start <= one.end + CLOCKS);
  }

  /* The lines of each request: those of HTTP by its id, those of a TCP connection by the address
     that it comes from. Where one proxy saw requests and the other bytes, the line of the bytes
     belongs to the last request, whose end it may explain. Yields after each line. */
  function* joined(lines) {
    const groups = new Map(lines.map((line) => [line, [line]]));
    const join = (one, two) => {
      const both = [groups.get(one), groups.get(two)];
      const [few, many] = both.sort((some, others) => some.length - others.length);
      if (few !== many) {
        few.forEach((line) => {
          many.push(line);
          groups.set(line, many);
        });
      }
    };
    const ids = new Map();
    const leaving = new Map();
    const arriving = new Map();
    const flagged = new Map(); // the first two lines with each flag
    for (const line of [...lines].sort((one, two) => one.end - two.end)) {
      const { request_id: id, upstream_local_address: to } = line.values;
      const { downstream_remote_address: from } = line.values;
      for (const flag of line.kind ? [] : line.flags) {
        flagged.set(flag, [...(flagged.get(flag) ?? []), line].slice(0, 2));
      }
      if (!line.isTcp && !isNone(id)) {
        join(ids.get(id) ?? line, line);
        ids.set(id, line);
      }
      for (const [own, others, address] of [
        [leaving, arriving, to],
        [arriving, leaving, from],
      ]) {
        const other = others.get(address);
        if (other && (line.isTcp || other.isTcp) && isTogether(line, other)) {
          join(line, other);
          if (line.isTcp !== other.isTcp) {
            others.delete(address);
          }
        }
        if (!isNone(address)) {
          own.set(address, line);
        }
      }
      yield;
    }
    // The body of an answer is that of the only line with its flag.
    for (const body of lines.filter(({ kind }) => kind === "body")) {
      const [line, another] = flagged.get(body.flags[0]) ?? [];
      if (line && !another) {
        join(line, body);
      }
    }
    return [...new Set(groups.values())];
  }

  /* For each line of a request the one whose proxy called its proxy: by their connection, or, as
     only the last of several tries has its address in the caller's line, by the endpoint. Tunnels
     hide the addresses of waypoints; what came before one called it. */
  function callers(lines) {
    const leaving = new Map(lines.map((line) => [line.values.upstream_local_address, line]));
    const outbound = lines.filter((line) => !line.isTcp && line.direction !== "inbound");
    const calling = new Map(outbound.map((line) => [line.values.upstream_host, line]));
    const isBefore = (line) => (other) => other.direction !== "waypoint" && other.start <= line.start;
    const found = new Map();
    for (const line of lines) {
      const { downstream_remote_address: from, downstream_local_address: at } = line.values;
      const isEndpoint = !line.isTcp && line.direction === "inbound" && !isNone(at);
      const connected = isNone(from) ? undefined : leaving.get(from);
      const before = line.direction === "waypoint" ? outbound.findLast(isBefore(line)) : undefined;
      const caller = connected ?? (isEndpoint ? calling.get(at) : before);
      if (caller && caller !== line) {
        found.set(line, caller);
      }
    }
    return found;
  }

  /* The lines of one request, from the client's end to the server's: by time, as far as clocks
     tell it, and none before its caller's. */
  function inOrder(lines) {
    const rank = (line) => (line.direction === "inbound" ? 1 : 0);
    const sorted = [...lines].sort((one, two) => one.start - two.start || rank(one) - rank(two));
    const caller = callers(sorted);
    const placed = new Set();
    const ordered = [];
    for (const line of sorted) {
      const chain = [];
      for (let next = line; next && !placed.has(next); next = caller.get(next)) {
        placed.add(next);
        chain.push(next);
      }
      chain.reverse().forEach((one) => ordered.push(one));
    }
    return ordered;
  }

  /* The line of the first proxy that saw a request, and not just bytes or a body. */
  function front(lines) {
    return lines.find((line) => !line.isTcp && !line.kind) ?? lines[0];
  }

  function isFaulty({ flags, values }) {
    return flags.length > 0 || !isNone(values.connection_termination_details);
  }

  function isPassedOn(line) {
    return line.values.response_code_details === "via_upstream";
  }

  /* Whether this proxy, and no client, ended the connection. */
  function isClosedHere(line) {
    return line.values.response_code_details.startsWith("downstream_local_disconnect");
  }

  /* The line that tells who made the answer which the front line's downstream got. */
  function decisive(lines) {
    let line = front(lines);
    if (line.isTcp) {
      return lines.findLast(isFaulty) ?? line;
    }
    const callees = new Map([...callers(lines)].map(([callee, caller]) => [caller, callee]));
    for (let count = 1; count < lines.length; count += 1) {
      const next = callees.get(line);
      // A connection that a proxy ended is the reason of what its other end says of it.
      if (!next) {
        break;
      }
      const isEnd = next.isTcp ? isFaulty(next) : isClosedHere(next);
      if (isPassedOn(line) ? next.isTcp : !isEnd) {
        break;
      }
      line = next;
    }
    return line;
  }

  function isAnswered(line) {
    return isPassedOn(line) && line.flags.length === 0 && Number(line.values.response_code) < 500;
  }

  /* What a proxy called, in letters. */
  function upstream({ values, direction }) {
    return `${values.upstream_cluster} ${direction === "inbound" ? values.upstream_host : ""}`;
  }

  /* Reads a text in steps, as it may have 100,000 lines: yields the number of the line after
     each, and reads no more after next(true). Returns {requests, faults, notes}. A request has its
     `lines` from client to server and the `decisive` one; a fault has the `number` of a line, the
     `message` that says what was not understood, and the beginning of its `text`. */
  function* read(text, data) {
    const faults = [];
    const lines = [];
    for (const record of records(text, data)) {
      if (record.message) {
        faults.push(record);
      } else {
        lines.push(outline(record, data));
      }
      if (yield record.number) {
        break;
      }
    }
    const answering = new Map(lines.filter(isPassedOn).map((line) => [upstream(line), "failed"]));
    lines.filter(isAnswered).forEach((line) => answering.set(upstream(line), "answered"));
    const requests = [];
    for (const group of yield* joined(lines)) {
      const ordered = inOrder(group);
      const line = decisive(ordered);
      const rest = answering.get(upstream(line)) ?? "none";
      requests.push({ lines: ordered, decisive: line, rest });
      yield;
    }
    const notes = lines.length === 0 && faults.length === 0 ? [data.messages.nothing] : [];
    return { requests, faults, notes };
  }

  /* The causes that a request leaves open, the likeliest first. */
  function causes(request, data) {
    const { lines, decisive: line } = request;
    const others = lines.filter((other) => other !== line);
    return leftOpen(explain(line, data), others, request.rest, data);
  }

  /* The verdict on a request that read() gave. */
  function conclude(request, data) {
    const line = explain(request.decisive, data);
    const { name } = data.directions[line.direction];
    const place = fill(data.words["in-line"], { number: line.number, direction: name });
    return request.lines.length > 1 ? `${place} ${line.verdict}` : line.verdict;
  }

  /* The last value that a generator gives. */
  function finish(steps) {
    let step = steps.next();
    while (!step.done) {
      step = steps.next();
    }
    return step.value;
  }

  /* Gives {requests, faults, notes} as read() does, with all lines explained. A request has its
     `verdict`, the number of the `decisive` line, and its `lines`. Never throws. */
  function decode(text, data) {
    const { requests, faults, notes } = finish(read(text, data));
    const whole = (request) => ({
      verdict: conclude(request, data),
      decisive: request.decisive.number,
      causes: causes(request, data),
      lines: request.lines.map((line) => explain(line, data)),
    });
    return { requests: requests.map(whole), faults, notes };
  }

  // From requests to a table

  /* The reasons in a line, without what is different in each: addresses and long numbers. */
  function reasons({ values }) {
    const { response_code_details: details, connection_termination_details: end } = values;
    const failure = values.upstream_transport_failure_reason;
    const isNew = !details.includes(failure);
    const found = [details, end, isNew ? failure : NONE].filter((text) => !isNone(text));
    return found.join(", ").slice(0, CELL).replace(VARIES, "…");
  }

  /* 0 for what a proxy says went wrong, 1 for other errors, 2 for what is fine. */
  function badness(status, line, data) {
    const sides = line.flags.map((flag) => data.flags.find((item) => item.flag === flag)?.side);
    if (sides.length > 0) {
      return sides.every((side) => side === "downstream") ? 1 : 0;
    }
    if (line.isTcp) {
      return isFaulty(line) ? 0 : 2;
    }
    if (status === "0" || Number(status) >= 500) {
      return isPassedOn(line) ? 1 : 0;
    }
    return Number(status) >= 400 ? 1 : 2;
  }

  /* Counts requests that read() gave, in steps. Returns rows of those that have the same `status`,
     `flags`, `details` and `cluster`, with the `first` and the `last` time, the worst row first,
     and of those that are as bad the longest. */
  function* summary(requests, data) {
    const rows = new Map();
    for (const request of requests) {
      const line = request.decisive;
      const { values, isTcp } = front(request.lines);
      const cells = {
        status: isTcp ? data.words.tcp : values.response_code,
        flags: line.flags.join(",").slice(0, CELL),
        details: reasons(line),
        cluster: values.upstream_cluster.slice(0, CELL),
      };
      const key = JSON.stringify(cells);
      const time = values.start_time;
      const row = rows.get(key) ?? {
        ...cells,
        requests: [],
        first: time,
        last: time,
        badness: badness(values.response_code, line, data),
      };
      row.requests.push(request);
      row.first = time < row.first ? time : row.first;
      row.last = time > row.last ? time : row.last;
      rows.set(key, row);
      yield;
    }
    return [...rows.values()].sort(
      (one, two) => one.badness - two.badness || two.requests.length - one.requests.length,
    );
  }

  return { read, summary, explain, causes, conclude, finish, decode };
})();
