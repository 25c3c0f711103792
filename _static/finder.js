/* The search page: finds exact strings in the lines of the book, which finder-index.js has.

   The pure part is finder.find(query, pages) and finder.isLogLine(text). The page's part only makes
   elements and sets their text, so nothing that is typed can become markup. */

"use strict";

const finder = (() => {
  const KINDS = { title: 50, symptom: 40, section: 20, line: 10 };
  const CHAPTER = 25; // chapters before pages of reference
  const LIMIT = 4; // lines that a page shows
  const RANKS = { within: 0, word: 1, typed: 2 }; // within a word, a word, a word in the typed case
  const ONE_WORD = /[\p{L}\p{N}]{2}/u; // codes are words with an underscore between them

  /* The same number of letters, so that places in it are places in the text. */
  function plain(text) {
    return text.replace(/[‘’]/g, "'").replace(/[“”]/g, '"').replace(/\s/g, " ");
  }

  /* A text of the book, plain, as it is and in lower case; kept, since each key that is typed asks. */
  const known = new Map();
  function bothCases(text) {
    if (!known.has(text)) {
      const typed = plain(text);
      known.set(text, { typed, low: typed.toLowerCase() });
    }
    return known.get(text);
  }

  /* Whether a place in a text is within a word. */
  function isWithin(text, at) {
    return ONE_WORD.test(text.slice(Math.max(at - 1, 0), at + 1));
  }

  /* The best place of a needle in a text, as {at: [start, end], rank}, or nothing. */
  function place(text, needle) {
    const { typed, low } = bothCases(text);
    const lower = needle.toLowerCase();
    let best;
    let start = low.indexOf(lower);
    while (start >= 0 && best?.rank !== RANKS.typed) {
      const end = start + needle.length;
      const isWord = !isWithin(typed, start) && !isWithin(typed, end);
      const rank = isWord ? RANKS[typed.startsWith(needle, start) ? "typed" : "word"] : RANKS.within;
      if (!best || rank > best.rank) {
        best = { at: [start, end], rank };
      }
      start = low.indexOf(lower, end);
    }
    return best;
  }

  /* Where in a text all of the needles are, in its order, and the lowest of their ranks; nothing if
     one is missing. */
  function places(text, needles) {
    const found = needles.map((needle) => place(text, needle));
    return found.every(Boolean)
      ? {
          at: found.map(({ at }) => at).sort((a, b) => a[0] - b[0]),
          rank: Math.min(...found.map(({ rank }) => rank)),
        }
      : undefined;
  }

  /* The texts of a page that have all of the needles, those of the highest rank first. Once some have
     them as words, what is within words is noise. */
  function matches(page, needles) {
    const found = [];
    const look = (kind, text, section) => {
      const there = places(text, needles);
      if (there) {
        found.push({ kind, text, section, ...there });
      }
    };
    look("title", page.title, page.sections[0]);
    page.sections.forEach((section, index) => {
      if (index > 0) {
        look("section", section.title, section);
      }
      section.lines.forEach((line) => look("line", line, section));
    });
    const words = found.filter(({ rank }) => rank > RANKS.within);
    return (words.length > 0 ? words : found).sort((one, two) => two.rank - one.rank);
  }

  function result(page, found, needles) {
    const [{ rank }] = found;
    const best = found.filter((match) => match.rank === rank);
    const isSymptom = page.symptoms.some((text) => places(text, needles)?.rank >= rank);
    const kinds = new Set([...best.map((match) => match.kind), ...(isSymptom ? ["symptom"] : [])]);
    const kind = [...kinds].reduce((sum, each) => sum + KINDS[each], 0);
    return {
      page,
      rank,
      score: kind + (page.chapter ? CHAPTER : 0) + Math.min(best.length, 9),
      matches: found.filter((match) => match.kind !== "title").slice(0, LIMIT),
      count: found.length,
    };
  }

  function inOrder(results) {
    return results.sort((one, two) => two.rank - one.rank || two.score - one.score);
  }

  /* The pages with a line that has all of the needles. */
  function search(pages, needles) {
    const results = pages
      .map((page) => ({ page, found: matches(page, needles) }))
      .filter(({ found }) => found.length > 0)
      .map(({ page, found }) => result(page, found, needles));
    return inOrder(results);
  }

  /* The pages with all of the words, on whatever lines; each shows the lines of the rarest word. */
  function scattered(pages, words) {
    const results = pages
      .map((page) => ({ page, byWord: words.map((word) => matches(page, [word])) }))
      .filter(({ byWord }) => byWord.every((found) => found.length > 0))
      .map(({ page, byWord }) => {
        const rarest = byWord.reduce((one, two) => (two.length < one.length ? two : one));
        return result(page, rarest, words);
      });
    return inOrder(results);
  }

  /* Gives {pages, isExact}: pages with a line that has exactly the query; else with a line that has
     all of its words; else with all of its words. What has them as words, not within others, comes
     first: a flag such as UT is in "route", too. */
  function find(query, pages) {
    const phrase = plain(query).trim().replace(/ +/g, " ");
    if (phrase === "") {
      return { pages: [], isExact: true };
    }
    const exact = search(pages, [phrase]);
    if (exact.length > 0) {
      return { pages: exact, isExact: true };
    }
    const words = phrase.split(" ");
    const near = search(pages, words);
    return { pages: near.length > 0 ? near : scattered(pages, words), isExact: false };
  }

  /* Whether a text looks like a line of an access log: time and quoted request, or the request and
     its status, or JSON. Its own time and id are in no line of the book. */
  const LOG_LINES = [
    /\[\d{4}-\d\d-\d\dT[^\]\s"]{1,30}\] "/,
    /"[A-Z-]+ \S+ HTTP\/[\d.]+" \d/,
    /"(start_time|response_code|response_flags)" *:/,
  ];
  function isLogLine(text) {
    return LOG_LINES.some((pattern) => pattern.test(text));
  }

  return { find, isLogLine };
})();

if (typeof document !== "undefined") {
  const AROUND = 110; // letters that are shown on each side of a match
  const form = document.getElementById("finder");
  const input = document.getElementById("finder-words");

  function make(name, className, ...children) {
    const element = document.createElement(name);
    if (className) {
      element.className = className;
    }
    element.append(...children);
    return element;
  }

  function link(href, ...children) {
    const element = make("a", "", ...children);
    element.href = href;
    return element;
  }

  function fill(text, values) {
    return text.replace(/\{([a-z]+)\}/g, (mark, name) => values[name] ?? mark);
  }

  /* A line around its first match, with every match marked. */
  function excerpt({ text, at }) {
    const start = Math.max(0, at[0][0] - AROUND);
    const end = Math.min(text.length, at[0][1] + AROUND);
    const parts = [start > 0 ? "…" : ""];
    let place = start;
    at.filter(([from, to]) => from >= place && to <= end).forEach(([from, to]) => {
      if (from >= place) {
        parts.push(text.slice(place, from), make("mark", "", text.slice(from, to)));
        place = to;
      }
    });
    parts.push(text.slice(place, end), end < text.length ? "…" : "");
    return parts;
  }

  /* To the section, and in it to the line: a text fragment, with words that make it unique, since
     the list of chapters has the titles of sections, too. */
  function address(page, { kind, section, text, at }) {
    const [from, to] = at[0];
    const after = text.slice(to, to + AROUND).split(" ").slice(0, 4).join(" ");
    const words = encodeURIComponent(text.slice(from, to) + after).replace(/-/g, "%2D");
    return `${page.url}#${section.id}${kind === "line" ? `:~:text=${words}` : ""}`;
  }

  function item({ page, matches, count }) {
    const lines = matches.map((match) => {
      const isTop = match.section === page.sections[0];
      const section = isTop ? [] : [make("small", "", match.section.title)];
      const line = make("code", "", ...excerpt(match));
      return make("li", "", link(address(page, match), ...section, line));
    });
    const more = count - matches.length;
    const isCut = more > 0 && matches.length > 0;
    const rest = isCut ? [make("small", "", fill(form.dataset.more, { count: more }))] : [];
    return make("li", "", link(page.url, page.title), make("ul", "", ...lines), ...rest);
  }

  function show() {
    const { pages, isExact } = finder.find(input.value, finderIndex);
    const lines = pages.reduce((sum, page) => sum + page.count, 0);
    const { none, some, words } = form.dataset;
    const found = fill(isExact ? some : words, { pages: pages.length, lines });
    const said = pages.length === 0 ? none : found;
    document.getElementById("finder-status").textContent = input.value.trim() === "" ? "" : said;
    document.getElementById("finder-found").replaceChildren(...pages.map(item));
    const isElsewhere = pages.length === 0 || finder.isLogLine(input.value);
    document.getElementById("finder-elsewhere").hidden = !isElsewhere;
  }

  input.value = new URLSearchParams(location.search).get("q") ?? "";
  input.addEventListener("input", show);
  input.focus();
  show();
}
