/* The form of the decoder's page: takes lines that are typed, pasted or dropped, those of a file,
   and those in a link, and reads them in slices, so that the page answers meanwhile. They stay in
   the browser. */

"use strict";

if (typeof document !== "undefined" && document.getElementById("decoder")) {
  const byId = (id) => document.getElementById(id);
  const form = byId("decoder");
  const input = byId("decoder-input");
  const answer = byId("decoder-answer");
  const FEW = 10; // requests that are shown without a table
  const SLICE = 30; // milliseconds
  const SHOWN = 200000; // characters: a field with millions is slow
  const MOST = { characters: 50000000, lines: 300000 };

  let current = {}; // what is being read; another text, or none, takes its place
  let pasted = { shown: "", text: "" }; // what the field shows of a text

  function say(id, text = "") {
    byId(id).textContent = text;
  }

  /* Says one of the decoder's texts, once they are there. */
  async function tell(id, choose, values = {}) {
    await loadDecoder();
    say(id, logLines.fill(choose(logData.words), values));
  }

  // From a text to its answer

  /* Lets the browser do what it has to. */
  function pause() {
    return new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage("");
    });
  }

  /* Runs a generator in slices, and gives its last value; runs it no further once another text is
     being read. */
  async function inSlices(steps, run) {
    for (;;) {
      const end = performance.now() + SLICE;
      let step = steps.next(run.isStopped);
      while (!step.done && performance.now() < end) {
        step = steps.next(run.isStopped);
      }
      if (step.done) {
        return step.value;
      }
      progress(run, step.value);
      await pause();
      if (run !== current) {
        return undefined;
      }
    }
  }

  function progress(run, number) {
    if (byId("decoder-running").hidden) {
      byId("decoder-running").hidden = false;
      byId("decoder-progress").max = run.text.split("\n").length;
      tell("decoder-status", (words) => words.reading, { lines: accessLog.count(byId("decoder-progress").max) });
    }
    byId("decoder-progress").value = number ?? byId("decoder-progress").max;
  }

  /* Clears the answer and ends what is being read; the new run is that of a text. */
  function begin(text) {
    current = { text, isStopped: false };
    answer.replaceChildren();
    answer.ariaBusy = "true";
    byId("decoder-running").hidden = true;
    byId("decoder-link").hidden = true;
    say("decoder-said");
    say("decoder-status");
    return current;
  }

  function end() {
    byId("decoder-running").hidden = true;
    answer.ariaBusy = "false";
  }

  /* Reads a text and shows what it says. */
  async function show(text) {
    const run = begin(text);
    await loadDecoder();
    const { words } = logData;
    const { count } = accessLog;
    const found = await inSlices(accessLog.read(text, logData), run);
    const { requests = [], faults = [] } = found ?? {};
    const isMany = requests.length > FEW;
    const rows = isMany ? await inSlices(accessLog.summary(requests, logData), run) : undefined;
    if (run !== current) {
      return;
    }
    const lines = requests.reduce((sum, request) => sum + request.lines.length, 0);
    const counts = { lines: count(lines), requests: count(requests.length) };
    if (isMany) {
      found.notes.push(logLines.fill(words.many, counts));
    }
    if (isMany && faults.length > 0) {
      found.notes.push(logLines.fill(words.faults, { faults: count(faults.length) }));
    }
    if (run.isStopped) {
      found.notes.unshift(words.stopped);
    }
    end();
    accessLog.fillIn(found, rows);
    const first = isMany ? [] : requests.slice(0, 3);
    const verdicts = first.map((request) => accessLog.conclude(request, logData));
    const messages = isMany ? [] : faults.map((fault) => fault.message);
    byId("decoder-status").textContent = [
      ...found.notes,
      ...[...verdicts, ...messages.slice(0, 3)].slice(0, 3),
    ].join(" ");
  }

  // Where a text comes from

  /* The text of which the field shows the beginning. */
  function whole() {
    return input.value === pasted.shown ? pasted.text : input.value;
  }

  /* As much of a text as is read at all. */
  function beginning(text) {
    let end = 0;
    for (let lines = 0; lines < MOST.lines && end >= 0; lines += 1) {
      end = text.indexOf("\n", end) + 1 || -1;
    }
    return text.slice(0, end < 0 ? MOST.characters : Math.min(end, MOST.characters));
  }

  /* Takes a text into the field, or its beginning, and shows what it says. */
  async function take(text, isCut = false) {
    const taken = beginning(text);
    input.value = taken.slice(0, SHOWN);
    pasted = { shown: input.value, text: taken };
    const isLess = isCut || taken.length < text.length;
    const isPart = taken.length > SHOWN;
    const run = begin(taken);
    say("decoder-part");
    await loadDecoder();
    if (run !== current) {
      return;
    }
    if (isLess || isPart) {
      const { count } = accessLog;
      const values = { shown: count(SHOWN), characters: count(taken.length) };
      tell("decoder-part", (words) => (isLess ? words.cut : words.part), values);
    }
    await show(taken);
  }

  /* Takes a text that comes soon, unless another one comes before; or says why it does not. */
  async function takeSoon(promised, fault, isCut) {
    const run = begin("");
    const text = await promised.catch(() => undefined);
    if (run !== current) {
      return;
    }
    if (text === undefined) {
      end();
      tell("decoder-part", fault);
    } else {
      await take(text, isCut);
    }
  }

  function takeFile(file) {
    const { characters } = MOST;
    takeSoon(file.slice(0, characters).text(), (words) => words.unreadable, file.size > characters);
  }

  function takeIfLong(event, text) {
    if (text.length > SHOWN) {
      event.preventDefault();
      take(text);
    }
  }

  function openLink(address) {
    if (logLink.has(address)) {
      takeSoon(logLink.read(address), (words) => words.broken);
    }
  }

  /* Copies a link with the text in it, or shows it to be copied. */
  async function copyLink() {
    const field = byId("decoder-link");
    const text = whole();
    field.hidden = true;
    if (text.trim() === "") {
      await loadDecoder();
      say("decoder-said", logData.messages.nothing);
      return;
    }
    field.value = text.length > SHOWN ? "" : await logLink.make(document.URL, text);
    if (field.value === "") {
      tell("decoder-said", (words) => words.long);
      return;
    }
    try {
      await navigator.clipboard.writeText(field.value);
      tell("decoder-said", (words) => words.copied);
    } catch {
      field.hidden = false;
      field.select();
      tell("decoder-said", (words) => words.select);
    }
  }

  // What the form does

  for (const wanting of ["focusin", "dragenter"]) {
    form.addEventListener(wanting, loadDecoder, { once: true });
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await show(whole());
    if (answer.getBoundingClientRect().top > window.innerHeight / 2) {
      answer.scrollIntoView();
    }
  });
  form.addEventListener("reset", () => {
    begin("");
    end();
    pasted = { shown: "", text: "" };
    say("decoder-part");
    input.focus();
  });
  input.addEventListener("paste", (event) => {
    takeIfLong(event, event.clipboardData.getData("text/plain"));
  });
  input.addEventListener("input", (event) => {
    say("decoder-part");
    if (event.inputType === "insertFromPaste" || event.inputType === "insertFromDrop") {
      show(input.value);
    }
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      show(whole());
    }
  });
  form.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) {
      event.preventDefault();
    }
  });
  form.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file) {
      event.preventDefault();
      takeFile(file);
    } else {
      takeIfLong(event, event.dataTransfer.getData("text/plain"));
    }
  });
  byId("decoder-file").addEventListener("change", ({ target }) => {
    if (target.files.length > 0) {
      takeFile(target.files[0]);
    }
  });
  byId("decoder-stop").addEventListener("click", () => {
    current.isStopped = true;
    answer.tabIndex = -1;
    answer.focus(); // the button goes
  });
  byId("decoder-copy").addEventListener("click", copyLink);
  document.querySelectorAll("#decoder [data-example]").forEach((button) => {
    button.addEventListener("click", () => take(button.dataset.example));
  });
  window.addEventListener("hashchange", (event) => openLink(event.newURL));
  openLink(document.URL);
}
