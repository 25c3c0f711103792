/* Finds lines of an access log in what people paste: one after the other, in pieces that a terminal
   broke, and inside of what log stores wrap around them.

   logLines.records(text, data) gives what was found, one after the other, so that a page can take
   them in slices. `data` is what conf/reference/decoder.py writes into the page. log-fields.js reads
   a line of text, log-objects.js what has keys, and log-pieces.js knows how lines break. */

"use strict";

const logLines = (() => {
  const { NONE, START, REQUEST, absent, copies, detailOf, fill, isOwn, isWhole, readText } = logFields;
  const { isLast, joints, lineReader, objectScanner, unframed } = logPieces;
  const { REASON, attributes, isBodyOpen, isEarly, isObject, isZtunnel } = logObjects;
  const { readBody, readMembers, readObject, readPairs, readZtunnel, readZtunnelText } = logObjects;
  const LIMIT = { characters: 200000, document: 2000000, joined: 20000, pieces: 60, rows: 10000, depth: 24 };
  const OBJECT = /\{\s*"/;
  // What begins an object, or an array of them, that may go on in the next lines.
  const DOCUMENT = /^[\s,[]*(\{|$)|[:=>\s][[{]$/;
  const MEMBER = /^[\w.@-]{0,64}"?[\w.@-]{1,64}"\s{0,9}:/;
  const PAIR = /^(?:\| *)?([\w.@-]{1,64})(?::\s+|\t\s*|\s*\|\s*|\s{2,})(\S.*?)(?:\s*\|)?$/;
  // What stands below the names of a table's columns.
  const RULE = /^\|?(\s*:?-+:?\s*\|)+(\s*:?-+:?)?\s*$/;
  // Lines that say nothing: marks of a block of code, or no letter and no digit.
  const SILENT = /^(\{(noformat|code)(:\w+)?\}|[^\p{L}\p{N}[{]*)$/u;
  const FRAME = /^\s*[│┃║¦>|]|[│┃║¦]\s*$/;
  const WORD = /^[\w.-]{1,60}$/;
  // What of a result goes out; the rest is for this file.
  const KEYS = [
    ...["values", "more", "prefix", "suffix", "isRunning", "kind", "partly", "note", "format", "text"],
    ...["source", "destination", "identity", "direction", "sent", "received", "error"],
    ...["means", "remedies", "product"],
  ];

  // Objects

  function parsed(text) {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }

  /* What stands in a value of JSON: lines by keys, and lines in the texts that log stores keep. */
  function* inside(value, data, depth = 0, seen = new Set()) {
    if (depth > LIMIT.depth || seen.has(value)) {
      return;
    }
    if (typeof value === "string") {
      seen.add(value); // some stores keep a line twice
      for (const result of records(value, data)) {
        if (!result.message || START.test(result.text)) {
          yield result;
        }
      }
    } else if (Array.isArray(value)) {
      const object = attributes(value);
      for (const item of object ? [object] : value) {
        yield* inside(item, data, depth + 1, seen);
      }
    } else if (isObject(value)) {
      const isTunnel = Object.hasOwn(value, "src.addr") || isObject(value.src);
      const result = (isTunnel && readZtunnel(value, data)) || readObject(value, data);
      if (result) {
        yield result;
      } else {
        yield* inside(Object.values(value), data, depth + 1, seen);
      }
    }
  }

  /* What an object that was pasted says, or the message that it is no access log. */
  function readJson(text, line, data) {
    const value = parsed(text);
    const results = value === undefined ? [] : [...inside(value, data)];
    if (results.length > 0) {
      return results;
    }
    const message = data.messages[value === undefined ? "json" : "keys"];
    const part = value === undefined && readPart(line, data);
    return [part || (readBody(line, data) ?? named(line, data) ?? { message })];
  }

  /* What an object says that is not whole, or nothing. */
  function readPart(text, data) {
    const object = readMembers(text);
    const result = object && readObject(object, data);
    if (!result || result.message) {
      return null;
    }
    const partly = result.partly ?? absent(object, data);
    return { prefix: "", ...result, partly, note: data.messages.json, isTorn: true };
  }

  // One line

  /* The message that names what a line is that is not Istio's access log, or nothing. Envoy's own
     log does not tell on which side a handshake failed. */
  function named(line, data) {
    const beginning = line.slice(0, 2000);
    const other = data.others.find(({ pattern }) => new RegExp(pattern).test(beginning));
    const failure = beginning.includes("OPENSSL_internal") && detailOf(beginning, {}, data);
    const host = data.verdicts["other-side"];
    const told = failure ? [data.messages.handshake, fill(failure.means, { host })] : [];
    return other && { message: [other.means, ...told].join(" "), product: other.product };
  }

  /* What a line says as it is: a list, because a line may hold several. */
  function readAsIs(line, data) {
    const text = readText(line, data);
    const object = line.search(OBJECT);
    if (object >= 0 && (!text || object < text.at)) {
      const scanner = objectScanner();
      scanner.feed(line.slice(object));
      const prefix = line.slice(0, object).trim();
      const texts = scanner.found.length > 0 ? scanner.found.map((item) => item.text) : [""];
      const results = texts.flatMap((item) => readJson(item, line, data));
      return results.map((item) => ({ prefix, ...item, isTorn: scanner.isOpen }));
    }
    if (!text) {
      const part = MEMBER.test(line) && readPart(line, data);
      const pairs = readPairs(line);
      const result =
        part ||
        (isZtunnel(line) && readZtunnelText(line, data)) ||
        (pairs && readObject(pairs, data)) ||
        readBody(line, data) ||
        named(line, data);
      return [{ prefix: "", ...(result || { message: data.messages.start, isUnknown: true }) }];
    }
    if (text.message) {
      const isTimed = START.test(line);
      return [{ ...text, ...(named(isTimed ? line.slice(text.at) : line, data) ?? {}) }];
    }
    const prefix = line.slice(0, text.at).trim();
    const next = text.suffix?.match(START);
    const suffix = next ? text.suffix.slice(0, next.index).trim() : text.suffix;
    const result = { ...text, prefix, suffix, isRunning: isEarly(prefix) };
    return next ? [result, ...readLine(text.suffix.slice(next.index), data)] : [result];
  }

  /* How much was understood. */
  function rank(results) {
    const ranks = results.map((result) => {
      const whole = result.isUntimed ? 3 : 4;
      return isWhole(result) ? whole : !result.message ? 2 : result.isUnknown ? 0 : 1;
    });
    return Math.min(...ranks);
  }

  /* What a line says as it is, or else as it may have been before somebody copied it. */
  function readLine(line, data) {
    if (line.length > LIMIT.characters) {
      const numbers = { length: line.length, limit: LIMIT.characters };
      return [{ message: fill(data.messages.long, numbers) }];
    }
    let best = readAsIs(line, data);
    const [{ isDoubtful }] = best;
    for (const copy of rank(best) < 4 ? copies(line) : []) {
      const results = readAsIs(copy, data);
      const isClear = !isDoubtful || results.every(isClearer);
      if (rank(results) > rank(best) && isClear) {
        best = results;
      }
    }
    return best;
  }

  /* Whether a line has nothing in it that a further blank could have made. */
  function isClearer({ values, suffix }) {
    return values?.connection_termination_details === NONE && suffix === "";
  }

  // Pieces

  /* The lines that may be pieces of the one that comes: up to an empty one, or the next request. */
  function pieces(lines) {
    const found = [lines.peek().raw];
    let length = found[0].length;
    const isBegun = START.test(found[0]) || REQUEST.test(found[0]);
    const begins = isBegun ? [START, REQUEST, OBJECT] : [START, /^\s*\{\s*"/];
    while (found.length < LIMIT.pieces) {
      const text = lines.peek(found.length)?.raw ?? "";
      length += text.length;
      if (text.trim() === "" || length > LIMIT.joined || begins.some((begin) => begin.test(text))) {
        break;
      }
      found.push(text);
    }
    return found;
  }

  /* What some pieces say in the way in which they read whole: {results}, or {isOver} if more pieces
     would not help. Where another way reads whole too, such as with a blank more in a user agent,
     what differs is left out. */
  function readPieces(texts, data) {
    // A single word at the end of two pieces may be anything, unless it completes a known name.
    const isWord = texts.length === 2 && !/[\s"]/.test(texts[1]);
    const isWholeLine = (results) => {
      const [{ values, kind }] = results;
      const isSure = kind || !isWord || /[{,]\s*"/.test(texts[0]) || isOwn(values?.route_name ?? "");
      return rank(results) > 2 && isSure;
    };
    const readings = [...new Set(joints(texts))].map((text) => readLine(text, data));
    // As a last resort, the last piece may have lost a blank at its beginning.
    const spare = () => [readLine(`${texts.slice(0, -1).join("")} ${texts.at(-1)}`, data)];
    const whole = readings.filter(isWholeLine);
    const [first, ...others] = whole.length > 0 ? whole : spare().filter(isWholeLine);
    if (!first || first.length > 1) {
      return { results: first, isOver: !first && !readings.some(isTooShort) };
    }
    const [result] = first;
    const isSame = (key) => others.every(([other]) => other.values[key] === result.values[key]);
    const keys = Object.keys(result.values);
    const unsure = keys.filter((key) => !isSame(key));
    if (unsure.length === 0) {
      return { results: first };
    }
    const values = Object.fromEntries(keys.map((key) => [key, isSame(key) ? result.values[key] : NONE]));
    const partly = [...new Set([...(result.partly ?? []), ...unsure])];
    const note = fill(data.messages.unsure, { keys: unsure.join(", ") });
    return { results: [{ ...result, values, partly, note }] };
  }

  /* Whether a line ends too early. */
  function isTooShort(results) {
    return results.some((result) => result.isCut || (!isWhole(result) && result.isTorn));
  }

  /* What a line that was broken into pieces says, and of how many: {results, count}; or nothing,
     if no number of them gives a line that reads whole. */
  function join(lines, data) {
    const texts = pieces(lines);
    for (let count = 2; count <= texts.length; count += 1) {
      const some = unframed(texts.slice(0, count));
      const next = unframed(texts.slice(0, count + 1))[count];
      const isEnd = isLast(some, next);
      const { results, isOver } = isEnd ? readPieces(some, data) : {};
      if (results || (isOver && !isBodyOpen(some.join(" "), data))) {
        return results ? { results, count } : null;
      }
    }
    return null;
  }

  /* Whether a line ends too early, or stands in a frame. */
  function isPiece(results, text, data) {
    const isFramed = results[0].message && FRAME.test(text) && START.test(text);
    const isTime = /\[\d{4}-\d\d-\d\dT[\d:.]+Z?\]?$/.test(text);
    return isTooShort(results) || isFramed || isTime || isBodyOpen(text, data);
  }

  /* What a line says whose name of a route may go on in the word of the next one: both in one if
     that is a name of Istio's; else, if the name is none yet, the line without a route. */
  function withTail(result, texts, data) {
    const [joined] = readLine(texts.join(""), data);
    if (isWhole(joined) && isOwn(joined.values.route_name)) {
      return joined;
    }
    const values = { ...result.values, route_name: NONE };
    const partly = [...(result.partly ?? []), "route_name"];
    const note = fill(data.messages.tail, { found: texts[1] });
    return isOwn(result.values.route_name) ? null : { ...result, values, partly, note };
  }

  /* What the lines that come say as far as they belong together, in a list; it takes them. */
  function readNext(lines, data) {
    const { text } = lines.peek();
    const results = readLine(text, data);
    if (isPiece(results, text, data)) {
      const joined = join(lines, data);
      if (joined) {
        lines.take(joined.count);
        return joined.results;
      }
    }
    const [{ values, suffix }] = results;
    const both = unframed([text, lines.peek(1)?.text ?? ""]);
    const isEnd = values?.route_name !== NONE && /^[│┃║¦>|\s]*$/.test(suffix ?? "-");
    const found = isEnd && WORD.test(both[1]) && withTail(results[0], both, data);
    lines.take(found ? 2 : 1);
    return found ? [found] : results;
  }

  /* How many of the next lines are like the first one, such as with a key and a value. */
  function countLike(pattern, lines, limit = LIMIT.pieces) {
    let count = 0;
    while (count < limit && pattern.test((lines.peek(count)?.text ?? "").trimStart())) {
      count += 1;
    }
    return count;
  }

  /* The same for lines that are members of an object without its braces, or a key and a value each. */
  function* readLoose(lines, data) {
    const isJson = MEMBER.test(lines.peek().text.trimStart());
    const taken = lines.take(countLike(isJson ? MEMBER : PAIR, lines));
    const texts = taken.map((line) => line.text.trim());
    const pairs = () => Object.fromEntries(texts.map((text) => text.match(PAIR).slice(1)));
    const result = isJson ? readPart(texts.join("\n"), data) : readObject(pairs(), data);
    yield* result ? [{ prefix: "", ...result }] : taken.flatMap(({ text }) => readLine(text, data));
  }

  /* The cells of a row of a table in Markdown. Bars in the name of a cluster have no blanks. */
  function cells(row) {
    const inner = row.replace(/^\s*\|/, "").replace(/\|\s*$/, "");
    return ` ${inner} `.split(/(?<=\s)\|(?=\s)/).map((cell) => cell.trim().replace(/^`(.*)`$/, "$1"));
  }

  /* The same for a table in Markdown: with a line in each row, or with a key and a value in each. */
  function* readTable(lines, data) {
    const names = cells(lines.take(2)[0].text);
    const rows = lines.take(countLike(/\|/, lines, LIMIT.rows));
    const table = rows.map(({ text }) => cells(text));
    const whole = names.length === 2 && readObject(Object.fromEntries(table), data);
    if (whole) {
      yield { prefix: "", ...whole };
      return;
    }
    for (const [i, line] of rows.entries()) {
      const pairs = names.map((name, column) => [name, table[i][column] ?? NONE]);
      const result = readObject(Object.fromEntries(pairs), data);
      const results = result ? [{ prefix: "", ...result }] : readLine(line.text, data);
      yield* results.map((one) => ({ ...one, line }));
    }
  }

  /* The same for lines that begin an object or an array of JSON. */
  function* readDocument(lines, data) {
    const first = lines.peek();
    if (/^\{.*\}$/.test(first.text) && parsed(first.text) !== undefined) {
      lines.take(1); // most documents are such, and need no scanner
      yield* readJson(first.text, first.text, data).map((result) => ({ prefix: "", ...result }));
      return;
    }
    const scanner = objectScanner();
    const start = /^[\s,[]*(\{|$)/.test(first.text) ? 0 : first.text.length - 1;
    let count = 0;
    let length = 0;
    do {
      const line = lines.peek(count);
      length += line?.text.length ?? 0;
      if (!line || length > LIMIT.document || !scanner.feed(line.text.slice(count ? 0 : start))) {
        break;
      }
      count += 1;
    } while (scanner.isOpen && !scanner.isTorn);
    if (length > LIMIT.document) {
      const numbers = { length, limit: LIMIT.document };
      lines.take(Math.max(count, 1));
      yield { message: fill(data.messages.long, numbers) };
    } else if (scanner.isOpen && scanner.found.length === 0) {
      const joined = join(lines, data);
      const isShort = count < LIMIT.pieces; // else to look again from each line would take long
      const taken = lines.take(joined?.count ?? (isShort ? 1 : count)).map((line) => line.text);
      yield* joined?.results ?? readJson("", taken.join(" "), data);
    } else {
      lines.take(count);
      for (const { text } of scanner.found) {
        for (const result of readJson(text, text, data)) {
          yield { prefix: first.text.slice(0, start).trim(), suffix: scanner.rest, ...result };
        }
      }
    }
  }

  /* What reads the lines that come, or nothing if they say nothing. */
  function reader(lines) {
    const { text } = lines.peek();
    const isLoose = (pattern) => !START.test(text) && countLike(pattern, lines) > 1;
    if (text.length > LIMIT.characters) {
      return DOCUMENT.test(text) ? readDocument : readNext;
    }
    if (SILENT.test(text)) {
      return null;
    }
    if (DOCUMENT.test(text) && !START.test(text)) {
      return readDocument;
    }
    if (text.includes("|") && !START.test(text) && RULE.test(lines.peek(1)?.text ?? "")) {
      return readTable;
    }
    return isLoose(MEMBER) || isLoose(PAIR) ? readLoose : readNext;
  }

  /* The records of a text, each with the `number` of its line. What was understood has the `values`
     of all fields by key, the keys that are `more`, `prefix` and `suffix` that stand around the line,
     and whether it `isRunning`. It may have `partly`, the keys that it lacks, `note`, where it ends
     too early, `format`, the name of an older one, and a `kind`: "body", with its `text`, or
     "ztunnel", with what that logs. What was not understood has the `message` that says why, the
     beginning of its `text`, and the `product` that wrote it, if that is known. Never throws. */
  function* records(text, data) {
    const lines = lineReader(String(text));
    const around = String(text).includes(REASON) ? data.around.map((one) => new RegExp(one)) : [];
    let body = "";
    for (let line = lines.peek(); line; line = lines.peek()) {
      const read = reader(lines);
      if (!read) {
        lines.take(1);
        continue;
      }
      for (const result of read(lines, data)) {
        const from = result.line ?? line;
        if (result.isUnknown && around.some((pattern) => pattern.test(from.text))) {
          continue;
        }
        // An exception tells its reason more than once.
        const same = result.kind === "body" ? JSON.stringify(result.values) : "";
        if (same === "" || same !== body) {
          yield result.message ? failed(result, from) : { number: from.number, ...shown(result) };
        }
        body = same || (result.isUnknown ? body : "");
      }
    }
  }

  function failed({ message, product, text }, line) {
    const found = { number: line.number, message, text: (text ?? line.text).slice(0, 120) };
    return product ? { ...found, product } : found;
  }

  /* A result without what only this file needs, and without an empty suffix. */
  function shown(result) {
    const isThere = (key) => result[key] !== undefined && !(key === "suffix" && result.suffix === "");
    return Object.fromEntries(KEYS.filter(isThere).map((key) => [key, result[key]]));
  }

  /* Envoy writes "-" for what is not there, and an empty text for what is there and empty. */
  function isNone(value) {
    return value === NONE || value === "";
  }

  return { records, fill, isNone, NONE };
})();
