/* Reads one line of an access log in text format: Istio's default, or an older default.

   Of what stands behind the last field nothing is taken for a field; of a value that does not fit
   its form nothing is made. `data` is what conf/reference/decoder.py writes into the page. */

"use strict";

const logFields = (() => {
  const LIMIT = { guesses: 100, copy: 20000 };
  const NONE = "-";
  // The beginning of a line; or of its request, where the time is missing or has another form.
  const START = /\[?\d{4}-\d\d-\d\dT[^\]\s"]{1,30}\] "/;
  const REQUEST = /(?:"|^)(?:[A-Z]{3,20}|-) [^\s"]\S* (?:HTTP\/[\d.]{1,3}|-)" (?:\d{3}|0|-) /;
  // What is left of a line, from its status on, or from its flags on: flags, and details.
  const REST = /^(?:[^"]{0,2000}HTTP\/[\d.]{1,3}" )?((?:\d{3}|0) )?(-|[A-Z]+(?:,[A-Z]+)*)(?: (\S+)|$)/;
  // What a value of each form looks like, in time that grows with its length and no faster.
  const FORMS = {
    time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$/,
    word: /^[^\s"]*$/,
    path: /^\S+$/,
    name: /^[^\s"[\]]+( [^\s"[\]]+)*$/,
    number: /^(\d+|-)$/,
    status: /^(\d{3}|0|-)$/,
    flags: /^(-|[A-Z]+(,[A-Z]+)*)$/,
    details: /^(-|[A-Za-z][^\s"]*|)$/,
    phrase: /^(-|[A-Za-z]([^"]*[^\s"-])?)$/,
    address: /^(-|[^\s"]*:\d+|[/@][^\s"]*|envoy:[^\s"]+|)$/,
    server: /^[^\s":|=]*$/,
    text: /^[^"]*$/,
    free: /^[^]*$/,
  };
  // The fields that a client fills, side by side.
  const CLIENTS = ["x_forwarded_for", "user_agent", "request_id", "authority"];
  // What looks like the fields before or behind the one in which clients write what they like.
  const FIELDS = /HTTP\/[\d.]{1,3}" \d{3} |" \d+ \d+ |" "[^\s"]*" "[^\s"]*" "[^\s"]*" [^\s"]+ [^\s"]+ /;
  // Names of routes that Istio makes: for no name, for hosts it does not know, for an HTTPRoute.
  const OWN_ROUTE = /^(-|default|block_all|allow_any(_dynamic_dns)?|[a-z\d-]+(\.[a-z\d-]+)+\.\d+)$/;
  // A word of a name that somebody gave; an id or a number is none, but for a short one.
  const PLAIN = /^([A-Za-z][\w./:@-]*|\d{1,2})$/;
  const ID = /^(?=[a-f-]*\d)[\da-f-]{6,}$/i;
  // What no name of a route holds: frames, quotes, brackets, and the sign of a field with its key.
  const ODD = /[|│┃║¦"'`<>(){}[\]\\=;,*]|[^\S ]| {2}/;
  // What may follow a name at once: marks, a tag, an escaped line end, the next line.
  const CLOSING = /^(["'`],|[|│┃║¦"'`>)}\]\\;,.*]+(\s|$)|<\/?[a-z]{1,10} ?\/?>|\\[nrt]|\[\d{4}-)/;

  function fill(text, values) {
    const filled = text.replace(/\{([a-z]+)\}/g, (mark, name) => {
      return Object.hasOwn(values, name) ? String(values[name]) : mark;
    });
    // A word begins a sentence, an address stays as it is.
    return filled.replace(/^[a-z]+(?= )/, (word) => word[0].toUpperCase() + word.slice(1));
  }

  /* The item of `details` that explains a text with a reason, if the line has these values. */
  function detailOf(reason, values, data) {
    const text = reason.replace(/\s/g, "_").toLowerCase();
    return data.details.find(
      (detail) =>
        [detail.contains].flat().some((part) => text.includes(part.toLowerCase())) &&
        Object.entries(detail.where ?? {}).every(([key, own]) => values[key] === own),
    );
  }

  /* All keys of a record, with what is known of them. */
  function complete(values, data) {
    const own = (key) => (Object.hasOwn(values, key) ? values[key] : NONE);
    return Object.fromEntries(data.fields.map(({ key }) => [key, own(key)]));
  }

  /* The keys that a record does not have. */
  function absent(values, data) {
    return data.fields.map(({ key }) => key).filter((key) => !Object.hasOwn(values, key));
  }

  // Faults

  /* {message} that says what was expected at field `index` of a format, what was found at the
     column, and what is understood; `values` are those before it. */
  function fault(name, index, at, line, { format, values, data }) {
    const field = format[index];
    const skipped = name === "before" && field.before.startsWith(" ") ? 1 : 0;
    const count = Object.keys(values).length;
    const isTold = Object.hasOwn(values, "response_flags");
    const told = { count, code: values.response_code, flags: values.response_flags };
    const known = isTold ? data.messages.known : data.messages[count > 0 ? "some" : "none"];
    const message = fill(data.messages[name].replace("{known}", () => known), {
      ...told,
      number: index + 1,
      length: format.length,
      name: field.name,
      column: at + skipped + 1,
      expected: name === "before" ? field.before.trim() : data.forms[field.form],
      found: line.slice(at + skipped, at + skipped + 24),
    });
    return { message, isCut: name === "end", index, values };
  }

  // The end of a line

  /* The name of the route that a text begins with, and what stands behind it: {value, suffix}, or
     {isOpen} where the text can be read in two ways, or nothing if no name stands there. */
  function readRoute(text) {
    let end = text.search(ODD);
    if (end < 0) {
      end = text.length;
    } else if (text[end] === "=") {
      end = text.lastIndexOf(" ", end) + 1;
    }
    const parts = text.slice(0, end).trimEnd().split(" ");
    const isTorn = /\S[|│┃║¦"'`<>(){}[\]\\;,*]/.test(text.slice(Math.max(end - 1, 0), end + 1));
    if (parts[0] === "" || (isTorn && !CLOSING.test(text.slice(end)))) {
      return null;
    }
    const plain = parts[0].replace(/[.:!?]+$/, "");
    const first = OWN_ROUTE.test(plain) ? plain : parts[0];
    if (parts.length === 1 || OWN_ROUTE.test(first)) {
      return { value: first, suffix: text.slice(first.length).trim() };
    }
    const isName = parts.every((word) => PLAIN.test(word) && !ID.test(word));
    return isName
      ? { value: parts.join(" "), suffix: text.slice(end).trim() }
      : { isOpen: true };
  }

  /* The last field of a line, from `start`. */
  function readLast(line, start, index, state) {
    const field = state.format[index];
    const rest = line.slice(start);
    if (field.form === "name") {
      const route = readRoute(rest);
      if (!route || route.isOpen) {
        const name = rest.trim() === "" ? "end" : route ? "behind" : "field";
        return fault(name, index, start, line, state);
      }
      return route;
    }
    const isQuoted = field.before.endsWith('"');
    const end = isQuoted ? rest.indexOf('"') : rest.search(/\s|$/);
    const value = rest.slice(0, end);
    if (end < 0 || !FORMS[field.form].test(value)) {
      return fault(end < 0 ? "end" : "field", index, start, line, state);
    }
    return { value, suffix: rest.slice(end + (isQuoted ? 1 : 0)).trim() };
  }

  // A line in text format

  /* The fields from number `first` up to `stop`, the first one's value being at `start`. Gives
     {values, at}, with the place after them, and the `suffix` behind the last; or a fault. */
  function readFields(line, start, first, stop, state) {
    const { format } = state;
    const values = { ...state.values };
    const now = { ...state, values };
    let at = start;
    for (let i = first; i < stop; i += 1) {
      const field = format[i];
      const next = format[i + 1];
      at += i > first ? field.before.length : 0;
      if (!next) {
        const last = readLast(line, at, i, now);
        if (!last.message) {
          values[field.key] = last.value;
        }
        return last.message ? last : { values, at: line.length, suffix: last.suffix };
      }
      const end = line.indexOf(next.before, at);
      const value = line.slice(at, end < 0 ? line.length : end);
      const isPart = /^[^\s"]*$/.test(value) || FORMS[field.form].test(value.replace(/"$/, ""));
      if (end < 0 && isPart) {
        return fault("end", i, at, line, now);
      }
      if (!FORMS[field.form].test(value)) {
        const space = value.indexOf(" ");
        const isNext = space > 0 && FORMS[field.form].test(value.slice(0, space));
        return isNext
          ? fault("before", i + 1, at + space, line, now)
          : fault("field", i, at, line, now);
      }
      values[field.key] = value;
      at = end;
    }
    return { values, at };
  }

  /* A line of a format from field number `first`, whose value begins at `at`. Envoy escapes no
     quotes, so the field in which clients write what they like ends where all that follows fits.
     If it then holds what looks like fields, or another end fits better, what it may be is left out. */
  function readFormat(line, at, first, format, data) {
    const free = format.findIndex((field) => field.form === "free");
    const head = readFields(line, at, first, free, { format, values: {}, data });
    if (head.message) {
      return head;
    }
    const state = { format, values: head.values, data };
    const { before, key } = format[free];
    if (!line.startsWith(before, head.at)) {
      return fault("before", free, head.at, line, state);
    }
    const start = head.at + before.length;
    const after = format[free + 1].before;
    let found = null;
    let failed = null;
    let end = line.indexOf(after, start);
    for (let guess = 0; end >= 0 && guess < LIMIT.guesses; guess += 1) {
      const values = { ...head.values, [key]: line.slice(start, end) };
      const tail = readFields(line, end + after.length, free + 1, format.length, { ...state, values });
      const isOther = found ? tail.suffix === "" : FIELDS.test(values[key]);
      if (!tail.message && isOther) {
        return { values: without(head.values, CLIENTS), note: data.messages.forged };
      }
      if (!found && !tail.message && values[key].includes('" "')) {
        return { ...tail, values: without(tail.values, CLIENTS), note: data.messages.quoted };
      }
      found ??= tail.message ? null : tail;
      failed ??= tail.message ? tail : null;
      // What follows may be the next line, if the breaks between lines were lost.
      const isAlone = found && (!found.suffix.includes('"') || START.test(found.suffix));
      end = isAlone ? -1 : line.indexOf(after, end + 1);
    }
    const behind = found?.suffix?.replace(/\s+/g, " ") ?? "";
    if (FIELDS.test(behind) && !START.test(behind)) {
      return { values: without(head.values, CLIENTS), note: data.messages.forged };
    }
    return found ?? failed ?? fault("end", free, start, line, state);
  }

  function without(values, keys) {
    return Object.fromEntries(Object.entries(values).filter(([key]) => !keys.includes(key)));
  }

  /* Whether a bracket is open at the end: a format with blanks in the details was cut at one. */
  function isOpen(text) {
    const count = (mark) => text.split(mark).length;
    return ["{}", "[]", "()"].some(([open, close]) => count(open) > count(close));
  }

  /* What can be said of a line that ends too early: the fields that are whole, if the flags are
     among them; or nothing. */
  function readCut(line, result, data) {
    const { values, index } = result;
    if (!result.isCut || !Object.hasOwn(values, "response_flags")) {
      return null;
    }
    const details = "response_code_details";
    const cut = line.slice(line.lastIndexOf(" ") + 1);
    const isWhole = data.fields[index].key === details && /[})]$/.test(cut) && !isOpen(cut);
    const known = isWhole ? { ...values, [details]: cut } : values;
    return { values: known, note: result.message, isCut: true };
  }

  /* Whether one blank too many, in place of an empty field, would give these values too. */
  function isShifted({ values, suffix }) {
    const { response_code_details: details, connection_termination_details: end } = values;
    const isLonger = suffix !== "" || values.route_name?.includes(" ");
    return (details === "" && end !== NONE) || (values.requested_server_name === "" && isLonger);
  }

  /* Istio's default format, or else an older one; {values}, {values, note} of a cut line, or the
     fault of the default format. */
  function readFormats(line, at, first, data) {
    const result = readFormat(line, at, first, data.fields, data);
    if (isOpen(result.values?.response_code_details ?? "")) {
      return { message: data.messages.open };
    }
    if (!result.message) {
      return result;
    }
    for (const { means, fields } of data.formats) {
      const older = readFormat(line, at, first, fields, data);
      if (!older.message) {
        return { ...older, format: means };
      }
    }
    return readCut(line, result, data) ?? result;
  }

  /* The rest of a line whose beginning is missing: {at, key, text}, with the place and the key of
     its first field, and a blank behind its last value if it is just status, flags and details;
     nothing unless it has flags that are known, or details, which it needs if it has no status. */
  function restOf(line, data) {
    const [whole, code, flags = "", details = ""] = line.match(REST) ?? [];
    const isFlag = (name) => data.flags.some(({ flag }) => flag === name);
    const isKnown = flags !== NONE && flags.split(",").every(isFlag);
    const isDetailed = Boolean(details && detailOf(details, {}, data));
    if (!(code ? isKnown || (flags === NONE && isDetailed) : isKnown && isDetailed)) {
      return null;
    }
    const at = whole.length - [code, flags, details && ` ${details}`].join("").length;
    const key = code ? "response_code" : "response_flags";
    return { at, key, text: whole === line ? `${line} ` : line };
  }

  /* Where a line in text format begins, the number of its first field, and the text to read;
     nothing if none begins here. */
  function findText(line, data) {
    const found = line.match(START) ?? line.match(REQUEST);
    if (found) {
      const from = /^["[]/.test(found[0]) ? found.index + 1 : found.index;
      return { at: found.index, from, first: START.test(line) ? 0 : 1, text: line };
    }
    const { at, key, text } = restOf(line, data) ?? {};
    const first = data.fields.findIndex((field) => field.key === key);
    return text && { at, from: at, first, text };
  }

  /* A line in text format: where it begins, and what was read; nothing if none begins here. */
  function readText(line, data) {
    const { at, from, first, text } = findText(line, data) ?? {};
    if (text === undefined) {
      return null;
    }
    const { values, ...result } = readFormats(text, from, first, data);
    if (result.message) {
      return { ...result, at };
    }
    delete values.none; // a field of an older format that has no meaning any more
    // Markdown escapes bars. Envoy writes no backslash into the name of a cluster.
    const cluster = values.upstream_cluster?.replaceAll("\\|", "|");
    const known = cluster === undefined ? values : { ...values, upstream_cluster: cluster };
    const partly = absent(known, data);
    const isDoubtful = !result.note && !result.format && isShifted({ ...result, values });
    if (isDoubtful) {
      return { at, message: data.messages.doubt, isDoubtful };
    }
    const found = { ...result, at, values: complete(known, data), more: [], isUntimed: first > 0 };
    return partly.length > 0 ? { ...found, partly } : found;
  }

  // Copies

  const ENTITIES = { quot: '"', 34: '"', x22: '"', amp: "&", lt: "<", gt: ">", nbsp: " ", 39: "'" };

  function unescaped(text) {
    return text.replace(/&#?(quot|34|x22|amp|lt|gt|nbsp|39);/g, (_, name) => ENTITIES[name]);
  }

  function typed(text) {
    return text
      .replace(/[“”„‟″＂]/g, '"')
      .replace(/[‐‑‒–—−]/g, "-")
      .replace(/[\u200b\u2060\ufeff\u00ad]/g, "")
      .replace(/[^\S\t\n\r ]/g, " ");
  }

  /* Runs of blanks outside of quotes, and in the request, made one. */
  function single(text) {
    const one = (part) => part.replace(/[\t ]+/g, " ");
    const isRequest = (part) => /^[A-Z-]{1,20}[\t ]+\S+[\t ]+\S+$/.test(part);
    const parts = text.split('"');
    return parts.map((part, i) => (i % 2 && !isRequest(part) ? part : one(part))).join('"');
  }

  /* A line as it may have been before it was copied: without the marks of HTML, of word processors,
     of CSV, of strings in JSON and of tables, without further blanks. Each is made from the one
     before. */
  function* copies(line) {
    const steps = [
      unescaped,
      typed,
      (text) => text.replaceAll('""', '"'),
      (text) => text.replace(/\\(["\\/|])/g, "$1"),
      (text) => (/^\s*\|\s/.test(text) ? text.replace(/(^|\s+)\|(\s+|$)/g, " ").trim() : text),
      single,
    ];
    let text = line;
    for (const step of line.length > LIMIT.copy ? [] : steps) {
      const changed = step(text);
      if (changed !== text) {
        text = changed;
        yield text;
      }
    }
  }

  /* Whether a line was read to its end. */
  function isWhole(result) {
    return Boolean(result && !result.message && !result.note);
  }

  /* Whether Istio gives this name to routes by itself. */
  function isOwn(route) {
    return OWN_ROUTE.test(route);
  }

  return {
    FORMS,
    NONE,
    START,
    REQUEST,
    absent,
    complete,
    copies,
    detailOf,
    fill,
    isOwn,
    isWhole,
    readText,
  };
})();
