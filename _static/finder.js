/* The search page: it takes what somebody has in the clipboard, and ranks the pages of the book.

   The pure part is finder.find(query). finder-index.js hands it the words of all sections, and
   finder/….js the lines of a page, which only show: the order does not wait for them. The page's
   part makes elements and sets their text, so nothing that is typed can become markup. */

"use strict";

const finder = (() => {
  const SHOWN = { sure: 8, unsure: 3 }; // results
  const SURE = 0.5; // of what a query says, from which a page with it is what was looked for
  const LINES = 4; // of each of them
  const OTHERS = 2; // sections beside the best one that these may be from
  // What a word counts by where it is, or by how sure it is; chosen by tests/book/searches.yaml.
  const POINTS = { heading: 2.3, title: 1.2, tag: 1.2, lead: 0.4, page: 0.2, similar: 0.8 };
  const CHAPTER = 1.3; // chapters before pages of reference
  const SYMPTOM = { chapter: 3, entry: 9.5 }; // a body of an answer first leads to its flag
  const LENGTH = { share: 0.5, power: 0.75 }; // what long sections lose for having many words
  const LEAD = 2; // sections that tell what a page is about
  const FUZZY = { from: 4, long: 8 }; // letters of words that may differ by one letter, and by two
  const LONGEST = 4000; // letters that are read of a query, its last: a log ends with the error
  const NAME = /[\p{L}\p{N}]+(?:[-_][\p{L}\p{N}]+)*(?:\.(?:yaml|console)\b)?/gu;
  const ENDING = /(?<=...)(?:ings?|ions?|ed|es|e|(?<![sui])s)$/;
  const kept = new Map(); // the lines of pages by their names
  let book; // the index, with what begin() makes of it

  // From a text to words

  /* The words of a text in lower case and without endings, as finder.py has them: of a name such as
     directResponse or virtual-service its parts and the whole, as [{word, at: [start, end]}]. */
  function words(text) {
    return [...text.matchAll(NAME)].flatMap((match) => {
      const at = [match.index, match.index + match[0].length];
      const apart = match[0]
        .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
        .replace(/([A-Z])([A-Z][a-z])/g, "$1 $2");
      const parts = apart.toLowerCase().split(/[-_. ]/);
      const found = parts.map((part) => ({ word: stem(part), at }));
      const whole = { word: stem(parts.join("")), at, isWhole: true };
      return parts.length > 1 ? [...found, whole] : found;
    });
  }

  function stem(word) {
    return word === "https" ? word : word.replace(ENDING, "");
  }

  /* The same without the wholes. */
  function parts(text) {
    return words(text).filter(({ isWhole }) => !isWhole).map(({ word }) => word);
  }

  // From the index to units, which are what results lead to: chapters, and entries of reference

  function begin(index) {
    const places = index.places.split(" ").map((steps) => {
      let at = 0;
      return new Set(steps.split(",").map((step) => (at += Number(step))));
    });
    const list = index.words.split(" ");
    const lengths = places.flatMap((sections) => [...sections]);
    const sizes = new Map();
    lengths.forEach((place) => sizes.set(place, (sizes.get(place) ?? 0) + 1));
    book = {
      list,
      places: new Map(list.map((word, at) => [word, places[at]])),
      count: sizes.size,
      blanks: new RegExp(index.blanks, "g"),
      ignored: new Set(index.ignored.map(stem)),
      synonyms: Object.entries(index.synonyms).map(([typed, said]) => [parts(typed), parts(said)]),
    };
    const average = lengths.length / sizes.size;
    let place = 0;
    book.units = index.pages.flatMap((page) => {
      const sections = page.sections.map(([id, title], number) => {
        const size = (LENGTH.share * (sizes.get(place) ?? 0)) / average + 1 - LENGTH.share;
        const words = new Set(parts(title));
        return { id, title, number, words, place: place++, length: size ** LENGTH.power };
      });
      const groups = page.isChapter ? [sections] : sections.map((section) => [section]);
      return groups.map((sections) => unit(page, sections));
    });
  }

  function unit(page, sections) {
    return {
      page,
      sections,
      words: new Set(parts(page.title)),
      name: new Set(parts(sections[0].title.split(":")[0])), // the letters of a flag
      tags: new Set(parts(page.tags.join(" "))),
      symptoms: page.symptoms
        .filter(([, number]) => sections.some((section) => section.number === number))
        .map(([text, number]) => ({ pieces: pieces(text), number }))
        .filter(({ pieces }) => pieces.length > 0),
    };
  }

  function keep(name, lines) {
    kept.set(name, lines);
  }

  /* A known symptom as the words between its blanks. */
  function pieces(text) {
    return text.split(book.blanks).map(parts).filter((piece) => piece.length > 0);
  }

  // From a query to words of the book

  /* Whether the words of the pieces stand in a list of words, in the order of the pieces. */
  function contains(list, pieces) {
    let from = 0;
    return pieces.every((piece) => {
      const fits = (_, at) => at >= from && piece.every((word, next) => list[at + next] === word);
      const at = list.findIndex(fits);
      from = at + piece.length;
      return at >= 0;
    });
  }

  /* How rare a word of the book is. */
  function rarity(word) {
    return Math.log(book.count / (book.places.get(word)?.size ?? 1));
  }

  /* The words of the book that a query stands for, each with its points. */
  function meanings(query) {
    const found = new Map();
    const add = (word, share) => {
      found.set(word, Math.max(found.get(word) ?? 0, share * rarity(word)));
    };
    words(query.replace(book.blanks, " ")).forEach(({ word }) => {
      if (book.places.has(word)) {
        add(word, 1);
      } else if (!book.ignored.has(word)) {
        similar(word).forEach((other) => add(other, POINTS.similar));
      }
    });
    synonyms(parts(query))
      .flatMap(([, words]) => words)
      .filter((word) => book.places.has(word))
      .forEach((word) => add(word, 1));
    return found;
  }

  /* What is typed for something else in a query, and what that is. */
  function synonyms(said) {
    return book.synonyms.filter(([typed]) => contains(said, [typed]));
  }

  /* The words of the book that begin with a word, as one types; else the nearest with its first
     letter. */
  function similar(word) {
    if (word.length < FUZZY.from || /^\d+$/.test(word)) {
      return [];
    }
    const begun = book.list.filter((other) => other.startsWith(word));
    if (begun.length > 0) {
      return begun.slice(0, LINES);
    }
    const limit = word.length < FUZZY.long ? 1 : 2;
    const near = book.list
      .filter((other) => other[0] === word[0] && Math.abs(other.length - word.length) <= limit)
      .map((other) => ({ other, away: distance(word, other) }))
      .filter(({ away }) => away <= limit);
    const least = Math.min(...near.map(({ away }) => away));
    return near.filter(({ away }) => away === least).map(({ other }) => other);
  }

  /* How many letters to change, add, take away or swap to get from one word to the other. */
  function distance(one, other) {
    let before = [];
    let row = Array.from({ length: other.length + 1 }, (_, index) => index);
    for (let i = 1; i <= one.length; i += 1) {
      const next = [i];
      for (let j = 1; j <= other.length; j += 1) {
        const same = one[i - 1] === other[j - 1] ? 0 : 1;
        const isSwap = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
        const swapped = isSwap ? before[j - 2] + 1 : Infinity;
        next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + same, swapped));
      }
      [before, row] = [row, next];
    }
    return row[other.length];
  }

  // From words to results

  function sum(values) {
    return values.reduce((total, value) => total + value, 0);
  }

  /* What the words of a query count in a unit: in its best section, and in its title, its subjects
     and the rest of it. */
  function weigh(unit, wanted) {
    const has = (section, word) => book.places.get(word).has(section.place);
    const some = (sections) => (word) => sections.some((section) => has(section, word));
    const points = (test) =>
      sum([...wanted].filter(([word]) => test(word)).map(([, value]) => value));
    const sections = unit.sections
      .map((section) => {
        const heading = points((word) => section.words.has(word) && has(section, word));
        const inside = points((word) => has(section, word)) + (POINTS.heading - 1) * heading;
        return { section, score: inside / section.length };
      })
      .sort((one, two) => two.score - one.score);
    const name = unit.page.isChapter ? unit.words : unit.name;
    const page = points(some(unit.sections));
    const score =
      sections[0].score +
      POINTS.page * page +
      POINTS.lead * points(some(unit.sections.slice(0, LEAD))) +
      POINTS.title * points((word) => name.has(word)) +
      POINTS.tag * points((word) => unit.tags.has(word));
    return { score, page, sections: sections.map(({ section }) => section) };
  }

  /* The known symptoms of a unit that a query has, the longest one first. To an entry its own name
     is one, if the query is no more than that, but for a status as in "503 UC": a flag has more
     causes than any chapter tells of. */
  function known(unit, said) {
    const name = said.filter((word) => !/^[1-5]\d\d$/.test(word));
    const isNamed = ({ title }) => name.length > 0 && contains(parts(title), [name]);
    const names = unit.page.isChapter ? [] : unit.sections.filter(isNamed);
    return unit.symptoms
      .filter(({ pieces }) => contains(said, pieces))
      .concat(names.map(({ number }) => ({ pieces: [said], number })))
      .map(({ pieces, number }) => ({ number, score: sum(pieces.flat().map(rarity)) }))
      .sort((one, two) => two.score - one.score);
  }

  function rank(unit, wanted, said) {
    const { score, page, sections } = weigh(unit, wanted);
    const symptoms = known(unit, said);
    const symptom = sum(symptoms.map((one) => one.score));
    const { isChapter } = unit.page;
    const points = isChapter
      ? CHAPTER * score + SYMPTOM.chapter * symptom
      : score + SYMPTOM.entry * symptom;
    return { unit, page, sections, points, symptom: symptoms[0]?.number };
  }

  /* How much of what a query says a unit has, from 0 to 1: rare words say more than others, and
     those that the book lacks most of all. */
  function coverage(unit, query) {
    const said = parts(query.replace(book.blanks, " "));
    const meant = new Set(synonyms(said).flatMap(([typed]) => typed));
    const has = (word) => unit.sections.some(({ place }) => book.places.get(word)?.has(place));
    const isThere = (word) =>
      meant.has(word) || (book.places.has(word) ? has(word) : similar(word).some(has));
    const asked = [...new Set(said)].filter((word) => !book.ignored.has(word));
    return sum(asked.filter(isThere).map(rarity)) / sum(asked.map(rarity));
  }

  function isKnown({ symptom }) {
    return Number(symptom !== undefined);
  }

  /* The best results for a query, the best one first: the page, the section that fits best, and if
     that one is an entry, which the page has many of. They are fewer, and not sure, if the best one
     neither has a known symptom of the query nor enough of its words. */
  function find(query) {
    const text = query.slice(-LONGEST).replace(/\\[nrt"]/g, " ");
    const wanted = meanings(text);
    const said = parts(text);
    const ranked = book.units
      .map((unit) => rank(unit, wanted, said))
      .filter(({ page, symptom }) => page > 0 || symptom !== undefined)
      .sort((one, two) => isKnown(two) - isKnown(one) || two.points - one.points);
    const best = ranked[0];
    const isSure = best && (isKnown(best) > 0 || coverage(best.unit, text) >= SURE);
    return ranked.slice(0, isSure ? SHOWN.sure : SHOWN.unsure).map(({ unit, sections, symptom }) => {
      const section = sections.find(({ number }) => number === symptom) ?? sections[0];
      const others = sections.filter((one) => one !== section).slice(0, OTHERS);
      return { page: unit.page, section, isEntry: !unit.page.isChapter, others, wanted, isSure };
    });
  }

  /* The lines of a result that have the most of the query, once its page's are there, each with the
     places of the matches and the rarest of them; of an entry its first line, too. */
  function lines({ page, section, isEntry, others, wanted }) {
    const seen = new Set();
    const found = [section, ...others].flatMap((section) => {
      const texts = kept.get(page.name)?.[section.number] ?? [];
      return texts.map((text) => ({ section, text, ...matches(text, wanted) }));
    });
    const first = isEntry ? found.slice(0, 1) : [];
    const best = found
      .filter(({ points }) => points > 0)
      .sort((one, two) => two.points - one.points);
    return [...first, ...best]
      .filter(({ text }) => !seen.has(text) && seen.add(text))
      .slice(0, LINES);
  }

  function matches(text, wanted) {
    const found = words(text).filter(({ word }) => wanted.has(word));
    const points = sum([...new Set(found.map(({ word }) => word))].map((word) => wanted.get(word)));
    const rarest = [...found].sort((one, two) => wanted.get(two.word) - wanted.get(one.word))[0];
    const at = joined(found.map((one) => one.at), text);
    return { points, at, rarest: rarest?.at ?? [0, 0] };
  }

  /* Places in a text, those made one between which nothing but a blank stands. */
  function joined(places, text) {
    const found = [];
    places.forEach(([from, to]) => {
      const last = found.at(-1);
      if (last && (from < last[1] || text.slice(last[1], from).trim() === "")) {
        last[1] = Math.max(last[1], to);
      } else {
        found.push([from, to]);
      }
    });
    return found;
  }

  /* Whether a text looks like a line of an access log: time and quoted request, or the request and
     its status, or JSON. */
  const TIME = String.raw`\[\d{4}-\d\d-\d\dT[^\]\s"]{1,30}\] "`;
  const LOG_LINES = [
    new RegExp(TIME),
    /"[A-Z-]+ \S+ HTTP\/[\d.]+" \d/,
    /"(start_time|response_code|response_flags)" *:/,
  ];
  function isLogLine(text) {
    return LOG_LINES.some((pattern) => pattern.test(text));
  }

  /* Lines of an access log as they were before the field made blanks of their ends. */
  function apart(text) {
    return text.replace(new RegExp(` (?=${TIME})`, "g"), "\n");
  }

  return { begin, keep, find, lines, words, isLogLine, apart };
})();

if (typeof document !== "undefined") {
  const AROUND = 110; // letters that are shown on each side of a match
  const byId = (id) => document.getElementById(id);
  const form = byId("finder");
  const input = byId("finder-words");
  const scripts = new Map(); // by their addresses, as promises

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

  /* Runs a script once; what comes of it is whether it was there. */
  function load(address) {
    if (!scripts.has(address)) {
      const script = make("script");
      script.src = address;
      const loaded = new Promise((resolve) => {
        script.onload = () => resolve(true);
        script.onerror = () => resolve(false);
      });
      scripts.set(address, loaded);
      document.head.append(script);
    }
    return scripts.get(address);
  }

  /* A line around its rarest match, with every match marked. */
  function excerpt({ text, at, rarest }) {
    const start = Math.max(0, rarest[0] - AROUND);
    const end = Math.min(text.length, rarest[1] + AROUND);
    const parts = [start > 0 ? "…" : ""];
    let place = start;
    at.filter(([from, to]) => from >= start && to <= end).forEach(([from, to]) => {
      parts.push(text.slice(place, from), make("mark", "", text.slice(from, to)));
      place = to;
    });
    parts.push(text.slice(place, end), end < text.length ? "…" : "");
    return parts;
  }

  function item(result) {
    const { page, section, isEntry } = result;
    const lines = finder.lines(result).map((line) => {
      const isInTitle = isEntry && line.section === section;
      const name = isInTitle ? [] : [make("small", "", line.section.title)];
      return make("li", "", link(`${page.url}#${line.section.id}`, ...name, make("code", "", ...excerpt(line))));
    });
    const titles = new Set([page.title, ...(isEntry ? [section.title] : [])]);
    const top = link(isEntry ? `${page.url}#${section.id}` : page.url, [...titles].join(": "));
    return make("li", "", top, make("ul", "", ...lines));
  }

  /* Shows what a line of an access log means, as the decoder says it, and gives its verdict; of a
     line that is not whole, what was found says more than what is missing. */
  function decode(text, isDecoded) {
    byId("finder-elsewhere").hidden = !finder.isLogLine(text) && text !== "";
    const shown = isDecoded ? accessLog.show(finder.apart(text)) : undefined;
    if (!shown || shown.faults.length > 0) {
      byId("decoder-answer").replaceChildren();
      return "";
    }
    return shown.requests[0]?.verdict ?? "";
  }

  async function show() {
    const text = input.value.trim();
    // Where the decoder does not come, there are still results.
    const isDecoded = finder.isLogLine(text) && (await loadDecoder().then(() => true, () => false));
    const verdict = decode(text, isDecoded);
    const isThere = await load(form.dataset.index);
    const results = isThere && text !== "" ? finder.find(text) : [];
    const fill = () => byId("finder-found").replaceChildren(...results.map(item));
    if (text !== input.value.trim()) {
      return;
    }
    const isNothing = text !== "" && results.length === 0;
    const { none, near, some } = form.dataset;
    const found = (results[0]?.isSure ? some : near).replace("{count}", results.length);
    const said = isNothing ? none : found;
    // The verdict stands below, to be seen.
    const heard = make("span", "visually-hidden", `${verdict} `);
    byId("finder-status").replaceChildren(...(text === "" ? [] : [heard, said]));
    byId("finder-none").hidden = !isNothing;
    fill();
    await Promise.all(results.map(({ page }) => load(`finder/${page.name}.js`)));
    if (text === input.value.trim()) {
      fill();
    }
  }

  if (input.value === "") {
    input.value = new URLSearchParams(location.search).get("q") ?? "";
  }
  input.addEventListener("input", show);
  /* The arrow keys go from the field through what was found, and back; so does Escape at once. */
  byId("main-content").addEventListener("keydown", (event) => {
    const stops = [input, ...document.querySelectorAll("#finder-found > li > a")];
    const item = document.activeElement.closest("#finder-found > li");
    const at = stops.indexOf(item?.firstElementChild ?? document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Escape: item ? 0 : -1 }[event.key];
    if (at >= 0 && stops[to] && !event.ctrlKey && !event.altKey && !event.metaKey) {
      event.preventDefault();
      stops[to].focus();
    }
  });
  /* What was found is there again for who comes back. */
  byId("finder-found").addEventListener("click", () => {
    history.replaceState(null, "", `?q=${encodeURIComponent(input.value.slice(-2000))}`);
  });
  input.focus();
  show();
}
