/* Reads what holds an access log by keys: objects of JSON, with Istio's keys or others, pairs such
   as `status=503`, the log of ztunnel; and what an Envoy's answer says in its body.

   `data` is what conf/reference/decoder.py writes into the page. */

"use strict";

const logObjects = (() => {
  const { FORMS, NONE, absent, complete, fill } = logFields;
  const LIMIT = { depth: 8, key: 64, names: 2000 };
  // In JSON, what a client writes cannot shift a field, so it may be anything.
  const LAX = ["word", "path", "name", "details", "phrase", "address", "server", "text", "free"];
  const ZTUNNEL = /\bsrc\.(addr|workload)\b|\bztunnel::proxy::/;
  const BODY = "upstream connect error or disconnect/reset before headers";
  const REASON = "reset reason: ";
  const FAILURE = /transport failure reason: ([^"'\\<>\r\n]*)/;

  // Objects

  function isObject(value) {
    return typeof value === "object" && value !== null && !Array.isArray(value);
  }

  /* A name of a key without what differs between spellings. */
  function plain(name) {
    return name.toLowerCase().replace(/[\s_.:@/-]/g, "");
  }

  /* The key of the access log by each of its names, plain. */
  function aliases(data) {
    const known = new Map();
    for (const { key } of data.fields) {
      for (const name of [key, ...(data.aliases[key] ?? [])]) {
        known.set(plain(name), key);
      }
    }
    return known;
  }

  /* The values of an object and of those in it: [the keys that lead there, the value] each. */
  function* leaves(object, path = []) {
    for (const [key, value] of Object.entries(object)) {
      if (isObject(value) && path.length < LIMIT.depth) {
        yield* leaves(value, [...path, key]);
      } else {
        yield [[...path, key], value];
      }
    }
  }

  /* A value as the text log would have it, or undefined if it does not fit its form. */
  function converted(value, { key, form }, data) {
    if (value === null) {
      return NONE;
    }
    const isList = key === "response_flags" && Array.isArray(value);
    const items = isList ? value : [value];
    if (items.some((item) => !["string", "number"].includes(typeof item))) {
      return undefined;
    }
    let text = items.join(",");
    if (key === "response_flags") {
      const short = (name) => data.flags.find((flag) => flag.name === name)?.flag ?? name;
      text = text === "" ? NONE : text.split(",").map(short).join(",");
    }
    const timed = form === "number" && text.match(/^(\d+(?:\.\d+)?)(ms|s)$/);
    if (timed) {
      text = String(Math.round(Number(timed[1]) * (timed[2] === "s" ? 1000 : 1)));
    }
    const isTime = form === "time" && text.length < LIMIT.key; // of any format, or made unreadable
    const isFit = isTime || LAX.includes(form) || FORMS[form].test(text);
    return isFit ? text : undefined;
  }

  /* What an object says by Istio's keys, and of those that it lacks by others: {values, more,
     isRunning} or {message}. */
  function readDefault(object, data) {
    const values = {};
    for (const field of data.fields) {
      const { key, form } = field;
      const value = Object.hasOwn(object, key) ? (object[key] ?? NONE) : NONE;
      const text = converted(value, field, data);
      if (text === undefined) {
        const found = typeof value === "object" ? "{" : String(value).slice(0, 24);
        return { message: fill(data.messages.value, { key, expected: data.forms[form], found }) };
      }
      values[key] = text;
    }
    const known = new Set(data.fields.map(({ key }) => key));
    const rest = Object.entries(object).filter(([key]) => !known.has(key));
    if (rest.length === 0) {
      return { values, more: [], isRunning: false };
    }
    const others = readAliases(Object.fromEntries(rest), data);
    for (const [key, text] of Object.entries(others.values)) {
      values[key] = Object.hasOwn(object, key) ? values[key] : text;
    }
    return { values, more: others.more, isRunning: isRunning(object) };
  }

  /* The names that a path of keys may stand for: with all of them, and without those in front that
     only hold others. */
  function namesOf(path, data) {
    const start = path.findIndex((key) => !data.containers.includes(plain(key)));
    const count = start < 0 ? path.length : start + 1;
    return path.slice(0, count).map((_, index) => plain(path.slice(index).join("")));
  }

  const tables = new WeakMap();

  /* The key for which a path of keys stands, and how far its name is from Istio's: {key, rank}, or
     nothing. Kept for the next line, which mostly has the same keys. */
  function meaning(path, data) {
    const table = tables.get(data) ?? { known: aliases(data), kept: new Map() };
    tables.set(data, table);
    const id = path.join("\n");
    if (!table.kept.has(id) && table.kept.size < LIMIT.names) {
      const names = namesOf(path, data);
      const skipped = names.findIndex((name) => table.known.has(name));
      const key = table.known.get(names[skipped]);
      const rank = skipped * 2 + (plain(key ?? "") === names[skipped] ? 0 : 1);
      table.kept.set(id, key && { key, rank });
    }
    return table.kept.get(id);
  }

  /* What an object says by other names of keys, also inside of other objects. The name that is
     nearest to Istio's counts, and a value that does not fit is none. */
  function readAliases(object, data) {
    const best = {};
    for (const [path, value] of leaves(object)) {
      const { key, rank } = meaning(path, data) ?? {};
      const field = key && data.fields.find((one) => one.key === key);
      const text = field && converted(value, field, data);
      if (text !== undefined && rank < (best[key]?.rank ?? Infinity)) {
        best[key] = { text, rank, top: path[0] };
      }
    }
    const values = Object.fromEntries(Object.entries(best).map(([key, { text }]) => [key, text]));
    const used = new Set(Object.values(best).map(({ top }) => top));
    return { values, more: Object.keys(object).filter((key) => !used.has(key)) };
  }

  /* An object that is a line of an access log: {values, more, isRunning} or {message}; nothing if
     it is none, for want of a status with flags or details. */
  function readObject(object, data) {
    const has = (key) => Object.hasOwn(object, key);
    if (has("response_code") && has("start_time")) {
      return readDefault(object, data);
    }
    const { values, more } = readAliases(object, data);
    const isKnown = (key) => Object.hasOwn(values, key);
    if (!isKnown("response_code") || !(isKnown("response_flags") || isKnown("response_code_details"))) {
      return null;
    }
    const partly = absent(values, data);
    return { values: complete(values, data), more, isRunning: isRunning(object), partly };
  }

  /* Whether the line was written before the end, by the key of Envoy's %ACCESS_LOG_TYPE%. */
  function isRunning(object) {
    return isEarly(String(object.access_log_type ?? ""));
  }

  function isEarly(type) {
    return /\b(Tcp(ConnectionStart|UpstreamConnected|Periodic)|Downstream(?!End\b)[A-Z]\w+)\b/.test(type);
  }

  /* The object that a list of attributes of OpenTelemetry stands for, or nothing: each has a `key`,
     and a `value` by the name of its type. */
  function attributes(list) {
    const isOne = (item) => isObject(item) && typeof item.key === "string" && isObject(item.value);
    return list.length > 0 && list.every(isOne)
      ? Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]))
      : null;
  }

  // Parts of objects

  /* The members of an object of which the beginning or the end is missing: those that are whole. */
  function readMembers(text) {
    const at = text.search(/"[\w.@-]{1,64}"\s*:/);
    let inner = at < 0 ? "" : text.slice(at).replace(/[\s,}\]]+$/, "");
    for (let tries = 0; inner !== "" && tries < 4; tries += 1) {
      try {
        return JSON.parse(`{${inner}}`);
      } catch {
        inner = inner.slice(0, Math.max(inner.lastIndexOf(',"'), inner.lastIndexOf(",\n"), 0));
      }
    }
    return null;
  }

  // Pairs

  /* The value that begins at a place, with or without quotes, and the place after it. */
  function pairValue(line, at) {
    if (line[at] !== '"') {
      const end = line.slice(at).search(/\s|$/) + at;
      return { value: line.slice(at, end), end };
    }
    let end = at + 1;
    while (end < line.length && line[end] !== '"') {
      end += line[end] === "\\" ? 2 : 1;
    }
    return { value: line.slice(at + 1, end).replace(/\\(.)/g, "$1"), end: end + 1 };
  }

  /* The pairs of a line such as `status=503 flags="UF"`, or nothing if it has fewer than two. */
  function readPairs(line) {
    const object = {};
    let from = 0;
    for (let at = line.indexOf("="); at >= 0; at = line.indexOf("=", from)) {
      const [key] = line.slice(Math.max(from, at - LIMIT.key), at).match(/[\w.@-]*$/);
      const { value, end } = pairValue(line, at + 1);
      if (key !== "" && !Object.hasOwn(object, key)) {
        object[key] = value;
      }
      from = Math.max(key === "" ? at + 1 : end, at + 1);
    }
    return Object.keys(object).length > 1 ? object : null;
  }

  // ztunnel

  function isZtunnel(text) {
    return ZTUNNEL.test(text);
  }

  /* A line of ztunnel's access log, by its keys, or nothing if it has no addresses and no error. */
  function readZtunnel(pairs, data) {
    const texts = [...leaves(pairs)].filter(([, value]) => typeof value === "string");
    const flat = Object.fromEntries(texts.map(([path, value]) => [path.join("."), value]));
    const error = flat.error ?? flat.err ?? "";
    if (!(flat["src.addr"] && flat["dst.addr"]) && error === "") {
      return null;
    }
    const side = (name) => {
      const parts = ["addr", "workload", "namespace", "identity", "service", "hbone_addr"];
      const known = parts.filter((part) => flat[`${name}.${part}`]);
      return Object.fromEntries(known.map((part) => [part, flat[`${name}.${part}`]]));
    };
    const identity = flat["src.identity"] ?? "";
    const isOf = (item) => item.identity === undefined || item.identity === (identity !== "");
    const known = data.ztunnel.errors.find((item) => error.includes(item.contains) && isOf(item));
    const own = {
      start_time: flat.time ?? flat.timestamp,
      duration: flat.duration?.match(/^(\d+)ms$/)?.[1],
      downstream_remote_address: flat["src.addr"],
      upstream_host: flat["dst.addr"],
    };
    const values = Object.fromEntries(Object.entries(own).filter(([, value]) => value));
    return {
      kind: "ztunnel",
      values: complete(values, data),
      partly: absent(values, data),
      more: [],
      isRunning: (flat.message ?? "").includes("connection opened"),
      source: side("src"),
      destination: side("dst"),
      identity,
      direction: flat.direction ?? "",
      sent: flat.bytes_sent ?? "",
      received: flat.bytes_recv ?? "",
      error,
      means: known?.means ?? "",
      remedies: known?.remedies ?? [],
    };
  }

  /* A line of ztunnel's in text format: what stands before its pairs is time, level and message. */
  function readZtunnelText(line, data) {
    const at = line.search(ZTUNNEL);
    const head = line.slice(0, at);
    const time = head.match(/\d{4}-\d\d-\d\dT[\d:.]+Z/);
    const pairs = readPairs(line.slice(at));
    // Before 2024, the error stood without quotes at the end.
    const [, err] = line.match(/ err=(.*)$/) ?? [];
    const own = { message: head, ...(time ? { time: time[0] } : {}), ...(err ? { err } : {}) };
    const result = pairs && readZtunnel({ ...pairs, ...own }, data);
    const prefix = time ? head.slice(0, time.index).trim() : "";
    return result && { ...result, prefix };
  }

  // Bodies

  /* The flag whose answers have a text in their body, and that text; the longest one counts. */
  function flagOf(text, data) {
    const whole = text.trim().replace(/^["'`\s]+|["'`\s.]+$/g, "");
    let best = null;
    for (const { flag, bodies } of data.flags.filter((item) => item.flag !== NONE)) {
      for (const body of bodies) {
        // Other programs say such things too, but not in these words as a whole.
        const isThere = body.startsWith(REASON)
          ? text.includes(body)
          : whole.startsWith(body) || whole.endsWith(body);
        if (isThere && body.length > (best?.body.length ?? 0)) {
          best = { flag, body };
        }
      }
    }
    return best;
  }

  /* What a text proves that a proxy answers without a flag, or nothing. */
  function withoutFlag(text, data) {
    return data.bodies.find((body) => text.includes(body.text))?.values;
  }

  /* The record of a body, or of an exception's text that holds one: its flag, and the details that
     Envoy logs with this reason; or nothing. */
  function readBody(line, data) {
    const found = flagOf(line, data);
    const own = found ? { response_flags: found.flag } : withoutFlag(line, data);
    if (!own) {
      return null;
    }
    const values = { ...own };
    const { body = "" } = found ?? {};
    if (body.startsWith(REASON)) {
      const reason = body.slice(REASON.length).replaceAll(" ", "_");
      values.response_code_details = `upstream_reset_before_response_started{${reason}}`;
    }
    const failure = line.match(FAILURE)?.[1].replace(/[\s#$%)\]},.;]+$/, "");
    if (failure) {
      values.upstream_transport_failure_reason = failure;
    }
    const text = line.slice(0, 2000);
    const partly = absent(values, data);
    return { kind: "body", values: complete(values, data), more: [], isRunning: false, partly, text };
  }

  /* Whether a body begins in a line, and its reason does not stand there any more. */
  function isBodyOpen(line, data) {
    return line.includes(BODY) && !flagOf(line, data);
  }

  return {
    REASON,
    attributes,
    isBodyOpen,
    isEarly,
    isObject,
    isZtunnel,
    readBody,
    readMembers,
    readObject,
    readPairs,
    readZtunnel,
    readZtunnelText,
  };
})();
