/* Reads what people paste: lines of Istio's access log, and what stands around them.

   logLines.records(text, data) gives what was found, one after the other, so that a page can take
   them in slices. `data` is what conf/reference/decoder.py writes into the page. */

"use strict";

const logLines = (() => {
  const LIMIT = { characters: 200000, guesses: 100 };
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

  /* The records of a text: each has the `number` of its line, and either the `values` of its fields
     by key, the keys that are `more`, its `prefix`, and whether it `isRunning`; or the `message`
     that says what was not understood, and the beginning of its `text`. Never throws. */
  function* records(text, data) {
    const pasted = split(String(text));
    for (let index = 0; index < pasted.length; index += 1) {
      const line = pasted[index];
      if (line.trim() !== "") {
        const { message, ...found } = read(line, data);
        const number = index + 1;
        yield message ? { number, message, text: line.slice(0, 120) } : { number, ...found };
      }
    }
  }

  /* Envoy writes "-" for what is not there, and an empty text for what is there and empty. */
  function isNone(value) {
    return value === NONE || value === "";
  }

  return { records, fill, isNone, NONE };
})();
