/* Takes pasted text apart into lines and objects, and puts pieces of lines together; what they say,
   it does not know. */

"use strict";

const logPieces = (() => {
  const { START } = logFields;
  const LIMIT = { line: 2000000, blanks: 6 };
  const COLOURS = /\x1b(\[[\d;?]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\))/g;
  // What a line of JSON begins with that is not the first one of its object.
  const GOES_ON = /^\s*(["{}[\],:\-\d]|true|false|null)/;

  // Lines

  /* The lines of a text, each with its number, without a list of all of them: peek(index) looks at
     one that comes, take(count) leaves some behind. */
  function lineReader(text) {
    const ends = /\r\n|\r|\n/g;
    const queue = [];
    let at = 0;
    let number = 0;
    function load() {
      ends.lastIndex = at;
      const end = ends.exec(text);
      const line = text.slice(at, end ? end.index : text.length);
      const isPlain = line.length > LIMIT.line || !line.includes("\x1b");
      const raw = isPlain ? line : line.replace(COLOURS, "");
      number += 1;
      queue.push({ number, raw, text: raw.trimEnd() });
      at = end ? ends.lastIndex : text.length + 1;
    }
    return {
      peek(index = 0) {
        while (queue.length <= index && at <= text.length) {
          load();
        }
        return queue[index];
      },
      take: (count) => queue.splice(0, count),
    };
  }

  // Objects of JSON

  /* Takes objects of JSON out of lines, also out of arrays: feed() takes the next line, and says
     whether it can belong to what came before. */
  function objectScanner() {
    const found = []; // {text, line}: whole objects, and the number of the line on which each began
    const open = []; // the brackets that are open
    let isText = false;
    let parts = [];
    let last = "";
    let begun = 0;
    let lines = 0;

    function step(character, line, at) {
      last = /\s/.test(character) ? last : character;
      if (character === '"') {
        isText = true;
      } else if (character === "{" || character === "[") {
        open.push(character);
      } else if (character === "}" || character === "]") {
        open.pop();
      }
      if (open.length === 0) {
        found.push({ text: [...parts, line.slice(begun, at + 1)].join("\n"), line: lines });
        parts = [];
      }
    }

    /* Whether a new value may begin here. */
    function isPlace(character) {
      const inArray = open.at(-1) === "[";
      return !"{[".includes(character) || last === ":" || (inArray && "[,".includes(last));
    }

    function feed(line) {
      const isNext = GOES_ON.test(line) && !START.test(line) && isPlace(line.trimStart()[0]);
      if (open.length > 0 && !isNext) {
        return false;
      }
      begun = 0;
      scanner.rest = "";
      for (let at = 0; at < line.length; at += 1) {
        const character = line[at];
        if (isText) {
          at += character === "\\" ? 1 : 0;
          isText = character !== '"';
        } else if (open.length > 0 || character === "{") {
          begun = open.length === 0 ? at : begun;
          step(character, line, at);
        } else if (!/[\s,[\]]/.test(character)) {
          scanner.rest = line.slice(at);
          break;
        }
      }
      if (open.length > 0) {
        parts.push(line.slice(begun));
      }
      lines += 1;
      scanner.isOpen = open.length > 0;
      scanner.isTorn = isText;
      return true;
    }

    const scanner = { found, feed, rest: "", isOpen: false, isTorn: false };
    return scanner;
  }

  // Pieces of a line

  /* Pieces without the frame that all of them have, and without the indentation of what follows. */
  function unframed(texts) {
    const [frame] = texts[0].match(/^\s*[│┃║¦>|]+ ?/) ?? [""];
    const mark = frame.trim()[0];
    const isFramed = mark && texts.every((text) => text.trimStart().startsWith(mark));
    const inner = isFramed ? texts.map((text) => text.replace(/^\s*[│┃║¦>|]+ ?/, "")) : texts;
    const ends = isFramed && mark === "|" ? /\s*\|\s*$/ : /\s*[│┃║¦]\s*$/;
    const plain = inner.map((text) => text.replace(ends, ""));
    const indents = plain.slice(1).map((text) => text.search(/\S|$/));
    const indent = Math.min(...indents);
    const isIndented = indent > 1 || (indent === 1 && plain[0].startsWith(" "));
    return isIndented ? plain.map((text, i) => (i ? text.slice(indent) : text)) : plain;
  }

  /* The subsets of some numbers, but of the first few ones only. */
  function subsets(numbers) {
    const few = numbers.slice(0, LIMIT.blanks);
    return [...Array(2 ** few.length).keys()].map((choice) => {
      return new Set(few.filter((_, bit) => choice & (1 << bit)));
    });
  }

  /* The lines that some pieces may have been. What wraps words leaves out a blank at each end, but
     where it broke a word that is longer than its width. A terminal fills its width; if a piece is
     shorter, it lost a blank at its end, or at its beginning, as the last one may have. */
  function joints(texts) {
    const last = texts.length - 1;
    const width = Math.max(...texts.slice(0, last).map((text) => text.length));
    const missing = texts.map((text, i) => (i < last ? width - text.length : 0));
    const joined = (glue) => texts.map((text, i) => (i > 0 && glue(i) ? " " : "") + text).join("");
    const where = (isFit) => [...texts.keys()].filter(isFit);
    if (Math.max(...missing) > 2) {
      const isFull = (i) => i < last && missing[i] === 0;
      const isOneWord = (i) => isFull(i) && !texts[i].includes(" ");
      const full = subsets(where((i) => isFull(i) && !isOneWord(i)));
      return full.map((broken) => joined((i) => !broken.has(i - 1) && !isOneWord(i - 1)));
    }
    if (texts.slice(1).some((text) => text.startsWith(" "))) {
      return [joined((i) => missing[i - 1] > 0)];
    }
    if (Math.max(...missing) === 0) {
      return [texts.join("")];
    }
    return subsets(where((i) => missing[i] > 0 || i === last)).map((before) => {
      const isBehind = (i) => missing[i] > 1 || (missing[i] > 0 && !before.has(i));
      return joined((i) => isBehind(i - 1) || before.has(i) || missing[i] > 1);
    });
  }

  /* Whether the last one of some pieces is so short that the next line cannot go on with it: a
     terminal would have filled the width, and what wraps words would have put one more there. */
  function isLast(texts, next) {
    if (next === undefined) {
      return true;
    }
    const width = Math.max(...texts.slice(0, -1).map((text) => text.length));
    const [word] = next.trim().split(" ", 1);
    return texts.at(-1).length + 1 + Math.min(word.length, width) < width;
  }

  return { isLast, joints, lineReader, objectScanner, unframed };
})();
