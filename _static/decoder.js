/* Decodes lines of Istio's access log in the reader's browser; what is pasted stays there.

   The pure part is accessLog.decode(text, data): it knows how lines are written and gives a plain
   object. The page's part, at the end, shows that object: it only makes elements and sets their
   text, so nothing that is pasted can become markup. All texts come from `data`, which
   conf/decoder.py writes into the page out of book/reference/access-log.yaml and
   response-flags.yaml. */

"use strict";

const accessLog = (() => {
  const LIMIT = { lines: 1000, characters: 200000, guesses: 100 };
  const NONE = "-";
  const START = /\[\d{4}-\d\d-\d\dT[^\]\s"]{1,30}\] "/;
  // What %ACCESS_LOG_TYPE% is of a line that was written before the end: in front of it, or by key.
  const RUNNING = /\b(Tcp(ConnectionStart|UpstreamConnected|Periodic)|Downstream(?!End\b)[A-Z]\w+)\b/;
  const TYPE = /"access_log_type":\s*"(\w+)"/;
  const COLOURS = /\x1b\[[\d;]*m/g;
  // What a value of each form looks like, in time that grows with its length and no faster.
  const FORMS = {
    time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$/,
    word: /^[^\s"]*$/,
    path: /^\S+$/,
    name: /^[^\s"[\]]+( [^\s"[\]]+)*$/,
    number: /^(\d+|-)$/,
    status: /^(\d{3}|0|-)$/,
    flags: /^(-|[A-Z]+(,[A-Z]+)*)$/,
    phrase: /^(-|[^-\s"][^"]*)$/,
    address: /^(-|[^\s"]+:\d+|[/@][^\s"]*|envoy:[^\s"]+|)$/,
    text: /^[^"]*$/,
    free: /^[^]*$/,
  };

  function fill(text, values) {
    const filled = text.replace(/\{([a-z]+)\}/g, (mark, name) => {
      return Object.hasOwn(values, name) ? String(values[name]) : mark;
    });
    // A word begins a sentence, an address stays as it is.
    return filled.replace(/^[a-z]+(?= )/, (word) => word[0].toUpperCase() + word.slice(1));
  }

  // From a line to values by key, or to a message

  /* Fields from number `first` up to `stop` of a line in text format, the first one's literal text
     being at `at`: {values, at} with the place after them, or {message}. */
  function readFields(line, at, first, stop, data) {
    const values = {};
    for (let i = first; i < stop; i += 1) {
      const field = data.fields[i];
      const next = data.fields[i + 1];
      const start = at + field.before.length;
      if (!line.startsWith(field.before, at)) {
        return fault("before", i, at, line, data);
      }
      const end = next ? line.indexOf(next.before, start) : line.length;
      const value = line.slice(start, end < 0 ? line.length : end);
      const isCut = end < 0 && FORMS[field.form].test(value.replace(/"$/, ""));
      if (isCut) {
        return fault("end", i, start, line, data);
      }
      if (!FORMS[field.form].test(value)) {
        const space = value.indexOf(" ");
        const isNext = next && space > 0 && FORMS[field.form].test(value.slice(0, space));
        return isNext
          ? fault("before", i + 1, start + space, line, data)
          : fault("field", i, start, line, data);
      }
      values[field.key] = value;
      at = end;
    }
    return { values, at };
  }

  function fault(message, index, at, line, data) {
    const field = data.fields[index];
    const skipped = message === "before" && field.before.startsWith(" ") ? 1 : 0;
    return {
      message: fill(data.messages[message], {
        number: index + 1,
        count: data.fields.length,
        name: field.name,
        column: at + skipped + 1,
        expected: message === "before" ? field.before.trim() : data.forms[field.form],
        found: line.slice(at + skipped, at + skipped + 24),
      }),
    };
  }

  /* A line in text format that begins at `at`. Envoy escapes no quotes, so the field in which
     clients write what they like ends where all that follows fits. */
  function readText(line, at, data) {
    const free = data.fields.findIndex((field) => field.form === "free");
    const count = data.fields.length;
    const head = readFields(line, at, 0, free, data);
    if (head.message) {
      return head;
    }
    const start = head.at + data.fields[free].before.length;
    let result = fault("before", free, head.at, line, data);
    if (!line.startsWith(data.fields[free].before, head.at)) {
      return result;
    }
    result = fault("end", free, start, line, data);
    let end = start - 1;
    for (let guess = 0; guess < LIMIT.guesses; guess += 1) {
      end = line.indexOf(data.fields[free + 1].before, end + 1);
      if (end < 0) {
        return result;
      }
      const tail = readFields(line, end, free + 1, count, data);
      if (!tail.message) {
        const own = { [data.fields[free].key]: line.slice(start, end) };
        return { values: { ...head.values, ...own, ...tail.values }, more: [] };
      }
      result = guess === 0 ? tail : result;
    }
    return result;
  }

  /* An object of JSON by the keys of Istio's default; what it leaves out is empty. */
  function readObject(object, data) {
    const missing = ["start_time", "response_code"].filter((key) => !Object.hasOwn(object, key));
    if (missing.length > 0) {
      return { message: fill(data.messages.keys, { keys: missing.join(", ") }) };
    }
    const values = {};
    for (const { key, form } of data.fields) {
      const value = Object.hasOwn(object, key) ? (object[key] ?? NONE) : NONE;
      const text = typeof value === "object" ? "{" : String(value);
      if (typeof value === "object" || !(FORMS[form].test(text) || form === "text")) {
        const found = text.slice(0, 24);
        return { message: fill(data.messages.value, { key, expected: data.forms[form], found }) };
      }
      values[key] = text;
    }
    const known = new Set(data.fields.map((field) => field.key));
    return { values, more: Object.keys(object).filter((key) => !known.has(key)) };
  }

  function readJson(line, at, data) {
    let object;
    try {
      object = JSON.parse(line.slice(at, line.lastIndexOf("}") + 1));
    } catch {
      return { message: fill(data.messages.json, {}) };
    }
    return readObject(object, data);
  }

  /* A pasted line: {values, more, prefix}, or {message}. */
  function read(line, data) {
    if (line.length > LIMIT.characters) {
      const numbers = { length: line.length, limit: LIMIT.characters };
      return { message: fill(data.messages.long, numbers) };
    }
    const isText = line.search(START);
    const at = isText >= 0 ? isText : line.search(/\{\s*"/);
    if (at >= 0) {
      const result = (isText >= 0 ? readText : readJson)(line, at, data);
      if (!result.message && isOpen(result.values.response_code_details)) {
        return { message: fill(data.messages.open, {}) };
      }
      if (!result.message) {
        const prefix = line.slice(0, at).trim();
        const type = isText >= 0 ? prefix : (line.match(TYPE)?.[1] ?? "");
        return { ...result, prefix, isRunning: RUNNING.test(type) };
      }
      return { message: otherFormat(line.slice(isText >= 0 ? at : 0), data) ?? result.message };
    }
    return { message: otherFormat(line, data) ?? fill(data.messages.start, {}) };
  }

  /* Whether a brace is open at the end: a format with blanks in the details was cut at one. */
  function isOpen(text) {
    return text.split("{").length > text.split("}").length;
  }

  function otherFormat(line, data) {
    const beginning = line.slice(0, 2000);
    return data.others.find((other) => new RegExp(other.pattern).test(beginning))?.means;
  }

  // From values to what they mean

  /* Envoy writes "-" for what is not there, and an empty text for what is there and empty. */
  function isNone(value) {
    return value === NONE || value === "";
  }

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

  function describe({ values, more, prefix, isRunning }, number, data) {
    const cluster = data.clusters.find((known) => values.upstream_cluster.startsWith(known.starts));
    const line = {
      number,
      values,
      more,
      prefix,
      isRunning,
      isTcp: values.protocol === NONE && ["0", NONE].includes(values.response_code),
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
    line.remedies = remedies(line, cluster);
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

  /* What was pasted, in lines: JSON that is spread over several is one. */
  function split(text) {
    const lines = text.replace(COLOURS, "").split(/\r\n|\r|\n/).map((line) => line.trimEnd());
    const isSpread = lines.length > 1 && /^\s*\{\s*$/.test(lines[0]);
    if (isSpread && text.length <= LIMIT.characters) {
      try {
        return [JSON.stringify(JSON.parse(text))];
      } catch {
        return lines;
      }
    }
    return lines;
  }

  /* Gives {requests, faults, notes}. A request has its `verdict`, the number of the `decisive`
     line, and its `lines` from client to server; a fault has the `number` of a line, the `message`
     that says what was not understood, and the beginning of its `text`. Never throws. */
  function decode(text, data) {
    const pasted = split(String(text));
    const faults = [];
    const groups = [];
    const notes = [];
    if (pasted.length > LIMIT.lines) {
      notes.push(fill(data.messages.many, { count: pasted.length, limit: LIMIT.lines }));
    }
    pasted.slice(0, LIMIT.lines).forEach((text, index) => {
      if (text.trim() === "") {
        return;
      }
      const result = read(text, data);
      if (result.message) {
        faults.push({ number: index + 1, message: result.message, text: text.slice(0, 120) });
        return;
      }
      const line = describe(result, index + 1, data);
      const group = groups.find((lines) => lines.some((other) => isSameRequest(line, other)));
      if (group) {
        group.push(line);
      } else {
        groups.push([line]);
      }
    });
    if (groups.length === 0 && faults.length === 0) {
      notes.push(data.messages.nothing);
    }
    return { requests: groups.map((lines) => request(lines, data)), faults, notes };
  }

  return { decode, fill };
})();

// On the decoder's page, and on that of the search, which has a field of its own.
if (typeof document !== "undefined" && document.getElementById("access-log-data")) {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("access-log-data").textContent);
  const { words } = data;
  const input = byId("decoder-input");

  /* An element with children; a string among them is text. */
  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) {
      element.className = className;
    }
    element.append(...children.flat());
    return element;
  }

  /* The text's parts; those between backquotes are code. */
  function marked(text) {
    return text.split("`").map((part, index) => (index % 2 ? make("code", "", part) : part));
  }

  function link({ href, title }) {
    const element = make("a", "", title);
    element.href = href;
    return element;
  }

  function list(className, items) {
    return make("ul", className, items.map((item) => make("li", "", item)));
  }

  /* Downstream, proxy and upstream with the addresses of a line. */
  function hop({ values }) {
    const address = (key) => make("code", "", values[key] === "-" ? words.none : values[key]);
    const box = (title, ...rest) => make("li", "", make("strong", "", title), ...rest);
    const upstream = box(words.upstream, address("upstream_host"));
    if (values.upstream_host === "-") {
      upstream.className = "decoder-none";
    }
    if (values.upstream_cluster !== "-") {
      upstream.append(make("small", "", values.upstream_cluster));
    }
    const arrives = [make("small", "", words.arrives), address("downstream_local_address")];
    const leaves = [make("small", "", words.leaves), address("upstream_local_address")];
    return make(
      "ol",
      "decoder-hop",
      box(words.downstream, address("downstream_remote_address")),
      box(words.proxy, ...arrives, ...leaves),
      upstream,
    );
  }

  function fieldTable(line) {
    const head = [words.field, words.value, words.means].map((word) => make("th", "", word));
    const rows = line.fields
      .filter((field) => !field.isEmpty)
      .map((field) => {
        const name = make("td", "", field.name, make("small", "", field.operator));
        const value = make("td", "", make("code", "", field.value));
        return make("tr", "", name, value, make("td", "", marked(field.means.join(" "))));
      });
    const empty = line.fields.filter((field) => field.isEmpty).map((field) => field.name);
    const names = { count: empty.length, names: empty.join(", ") };
    return [
      make("table", "table", make("thead", "", make("tr", "", head)), make("tbody", "", rows)),
      ...(empty.length > 0 ? [make("p", "", marked(accessLog.fill(words.empty, names)))] : []),
    ];
  }

  function explanation(item) {
    const value = item.page ? link({ href: item.page.href, title: item.value }) : item.value;
    return [make("code", "", value), ": ", ...marked(item.means)];
  }

  function lineSection(line, isOpen) {
    const { values } = line;
    const direction = data.directions[line.direction];
    const what = line.isTcp
      ? [words.tcp]
      : [values.method, values.path, values.response_code].filter((value) => value !== "-");
    const number = accessLog.fill(words.line, { number: line.number });
    const title = make("h3", "", `${number}: ${direction.name}, `, make("code", "", what.join(" ")));
    const details = make("details", "", make("summary", "", words.fields));
    const fill = () => details.append(...fieldTable(line));
    if (isOpen) {
      details.open = true;
      fill();
    } else {
      details.addEventListener("toggle", fill, { once: true }); // of 1,000 lines, few are opened
    }
    const section = make("section", "decoder-line", title);
    const say = (text) => section.append(make("p", "", marked(text)));
    say(direction.means);
    section.append(list("", line.explained.map(explanation)), hop(line), details);
    if (line.more.length > 0) {
      say(accessLog.fill(words.more, { names: line.more.join(", ") }));
    }
    if (line.prefix) {
      section.append(make("p", "", words.prefix, " ", make("code", "", line.prefix)));
    }
    return section;
  }

  function requestSection(request, isOpen) {
    const decisive = request.lines.find((line) => line.number === request.decisive);
    const { remedies } = decisive;
    const links = new Map(
      decisive.explained.flatMap((item) => item.links.map((page) => [page.href, page])),
    );
    const section = make("section", "decoder-request", make("h2", "", marked(request.verdict)));
    if (remedies.length > 0) {
      section.append(make("p", "", words.do), list("", remedies.map(marked)));
    }
    if (links.size > 0) {
      section.append(make("p", "", words.links), list("", [...links.values()].map(link)));
    }
    section.append(...request.lines.map((line) => lineSection(line, isOpen)));
    return section;
  }

  function faultSection(fault) {
    const number = accessLog.fill(words.line, { number: fault.number });
    const text = make("p", "", make("code", "", fault.text));
    return make("section", "decoder-fault", make("h2", "", `${number}: `, marked(fault.message)), text);
  }

  /* Shows what some lines mean, and gives what decode() says of them. */
  accessLog.show = (text) => {
    const answer = accessLog.decode(text, data);
    const { notes, requests } = answer;
    const isOnly = requests.length === 1 && requests[0].lines.length === 1;
    byId("decoder-answer").replaceChildren(
      ...notes.map((note) => make("p", "", note)),
      ...requests.map((request) => requestSection(request, isOnly)),
      ...answer.faults.map(faultSection),
    );
    return answer;
  };

  function show() {
    const { requests, faults, notes } = accessLog.show(input.value);
    const said = [...requests.map((request) => request.verdict), ...faults.map((f) => f.message)];
    byId("decoder-status").textContent = [...notes, ...said.slice(0, 3)].join(" ");
  }

  function listen() {
    byId("decoder").addEventListener("submit", (event) => {
      event.preventDefault();
      show();
      const answer = byId("decoder-answer");
      if (answer.getBoundingClientRect().top > window.innerHeight / 2) {
        answer.scrollIntoView();
      }
    });
    byId("decoder").addEventListener("reset", () => {
      byId("decoder-answer").replaceChildren();
      byId("decoder-status").textContent = "";
      input.focus();
    });
    input.addEventListener("input", (event) => {
      if (event.inputType === "insertFromPaste" || event.inputType === "insertFromDrop") {
        show();
      }
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        show();
      }
    });
    document.querySelectorAll("#decoder [data-example]").forEach((button) => {
      button.addEventListener("click", () => {
        input.value = data.examples[Number(button.dataset.example)];
        show();
      });
    });
  }

  if (input) {
    listen();
  }
}
