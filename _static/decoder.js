/* Shows what is known of lines of an access log: a few in full, many in a table whose rows open. It
   only makes elements and sets their text, so nothing that is pasted can become markup. */

"use strict";

// On the decoder's page, and on that of the search, which has a field of its own.
if (typeof document !== "undefined") {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement.dataset.content_root; // where links start
  const data = logData;
  const { words } = data;
  const AT_ONCE = 20; // of what may be many
  const COLUMNS = [words.answer, words.requests, words.reason, words.time];

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
    element.href = root + href;
    return element;
  }

  function button(text, press) {
    const element = make("button", "", text);
    element.type = "button";
    element.addEventListener("click", press);
    return element;
  }

  /* A number as the page's language writes it. */
  function count(number) {
    return number.toLocaleString(document.documentElement.lang);
  }

  /* The elements of the first items from `start` on, and a button that puts those of the next ones
     in its place, as `around` it. */
  function paged(items, element, around = (more) => more, start = 0) {
    const next = start + AT_ONCE;
    const elements = items.slice(start, next).map(element);
    if (next >= items.length) {
      return elements;
    }
    const left = items.length - next;
    const numbers = { next: count(Math.min(AT_ONCE, left)), left: count(left) };
    const place = around(
      button(logLines.fill(words["show-more"], numbers), () => {
        const added = paged(items, element, around, next);
        place.replaceWith(...added);
        added[0].tabIndex = -1;
        added[0].focus(); // there a reader goes on
      }),
    );
    return [...elements, place];
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
      ...(empty.length > 0 ? [make("p", "", marked(logLines.fill(words.empty, names)))] : []),
    ];
  }

  function explanation(item) {
    const value = item.page ? link({ href: item.page.href, title: item.value }) : item.value;
    return [make("code", "", value), ": ", ...marked(item.means)];
  }

  function lineSection(line, isOpen) {
    const { values } = line;
    const direction = data.directions[line.direction];
    const kinds = { body: words.body, ztunnel: words.ztunnel };
    const who = kinds[line.kind] ?? direction.name;
    const what = line.isTcp
      ? [words.tcp]
      : [values.method, values.path, values.response_code].filter((value) => value !== "-");
    const number = logLines.fill(words.line, { number: line.number });
    const request = what.length > 0 ? [", ", make("code", "", what.join(" "))] : [];
    const title = make("h3", "", `${number}: ${who}`, request);
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
    if (!line.kind) {
      say(direction.means);
    }
    section.append(list("", line.explained.map(explanation)));
    if (line.kind === "ztunnel") {
      const end = (name, parts) => [name, " ", make("code", "", Object.values(parts).join(" "))];
      const ends = [end(words.source, line.source), end(words.destination, line.destination)];
      section.append(list("", ends));
    }
    section.append(...(line.kind === "body" ? [] : [hop(line)]), details);
    if (line.more.length > 0) {
      say(logLines.fill(words.more, { names: line.more.join(", ") }));
    }
    if (line.prefix) {
      section.append(make("p", "", words.prefix, " ", make("code", "", line.prefix)));
    }
    if (line.suffix) {
      section.append(make("p", "", words.suffix, " ", make("code", "", line.suffix)));
    }
    [line.format, line.note].filter(Boolean).forEach(say);
    return section;
  }

  /* A cause, how to be sure of it, and what to do. */
  function causeParts({ cause, decide, do: todo, link: page }) {
    const more = page ? [" ", words.read, " ", link(page), "."] : [];
    return [
      make("p", "", marked(cause)),
      ...(decide ? [make("p", "", make("em", "", words.decide), " ", marked(decide))] : []),
      make("p", "", make("em", "", words.do), " ", marked(todo), more),
    ];
  }

  function requestSection(request, isOnly) {
    const verdict = accessLog.conclude(request, data);
    const section = make("section", "decoder-request", make("h2", "", marked(verdict)));
    const [first, ...others] = accessLog.causes(request, data);
    if (first) {
      const title = others.length > 0 ? words.likely : words.cause;
      section.append(make("p", "", make("strong", "", title)), ...causeParts(first));
    }
    if (others.length > 0) {
      const items = others.map((cause) => make("li", "", causeParts(cause)));
      section.append(make("p", "", make("strong", "", words.others)), make("ol", "", items));
    }
    const line = (outline) => lineSection(accessLog.explain(outline, data), isOnly);
    section.append(...paged(request.lines, line));
    return section;
  }

  function faultSection(fault) {
    const number = logLines.fill(words.line, { number: fault.number });
    const text = make("p", "", make("code", "", fault.text));
    return make("section", "decoder-fault", make("h2", "", `${number}: `, marked(fault.message)), text);
  }

  /* A row of the table; its button opens a row below it with the requests that it counts. */
  function tableRow(row) {
    const cell = (...children) => make("td", "", ...children);
    const small = (text) => make("small", "", text);
    const toggle = button([row.status, row.flags].join(" ").trim(), () => {
      const isOpen = toggle.ariaExpanded === "true";
      toggle.ariaExpanded = String(!isOpen);
      if (isOpen) {
        element.nextSibling.remove();
      } else {
        element.after(opened());
      }
    });
    toggle.ariaExpanded = "false";
    const opened = () => wideRow(...paged(row.requests, (request) => requestSection(request)));
    const times = [row.first, ...(row.last === row.first ? [] : [row.last])];
    const reason = row.details === "" ? "" : make("code", "", row.details);
    const element = make(
      "tr",
      "",
      cell(toggle),
      cell(`${count(row.requests.length)}\u00d7`),
      cell(reason, small(row.cluster)),
      make("td", "text-nowrap", times.map(small)),
    );
    return element;
  }

  function wideRow(...children) {
    const cell = make("td", "", ...children);
    cell.colSpan = COLUMNS.length;
    return make("tr", "", cell);
  }

  function table(rows) {
    const head = make("tr", "", COLUMNS.map((word) => make("th", "text-nowrap", word)));
    const body = make("tbody", "", paged(rows, tableRow, wideRow));
    return make("table", "table", make("thead", "", head), body);
  }

  /* Shows what accessLog.read() gave: its requests, or in their place the rows of a table. */
  accessLog.fillIn = ({ notes, requests, faults }, rows) => {
    const isOnly = requests.length === 1 && requests[0].lines.length === 1;
    byId("decoder-answer").replaceChildren(
      ...notes.map((note) => make("p", "", marked(note))),
      ...(rows ? [table(rows)] : requests.map((request) => requestSection(request, isOnly))),
      ...paged(faults, faultSection),
    );
  };

  accessLog.count = count;

  /* Shows what a few lines mean, and gives what decode() says of them. */
  accessLog.show = (text) => {
    accessLog.fillIn(accessLog.finish(accessLog.read(text, data)));
    return accessLog.decode(text, data);
  };
}
