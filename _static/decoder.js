/* The decoder's page: it shows what accessLog.decode() says of the lines that a reader pastes, which
   stay in the browser. It only makes elements and sets their text, so nothing that is pasted can
   become markup. */

"use strict";

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
    const what = line.isTcp
      ? [words.tcp]
      : [values.method, values.path, values.response_code].filter((value) => value !== "-");
    const number = logLines.fill(words.line, { number: line.number });
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
    const number = logLines.fill(words.line, { number: fault.number });
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
