/* The buttons that copy, and what keyboards need of wide blocks. Everything else on a page works
   without scripts. */

"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const status = document.getElementById("status");

  /* A word of a command, in quotes where a shell would read anything else into it. */
  function quoted(word) {
    return /^[\w./:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  }

  /* The command that applies the file of a block, from where this page has it: its address on the
     site, or its path, which on Windows has a slash before the drive only as an address. */
  function apply(button) {
    const url = new URL(button.closest(".code-block-caption").querySelector("a.download").href);
    const path = () => decodeURIComponent(url.pathname).replace(/^\/(?=[A-Za-z]:)/, "");
    return `kubectl apply -f ${quoted(url.protocol === "file:" ? path() : url.href)}`;
  }

  /* The commands of a transcript, each without its prompt and its output. */
  function commands(block) {
    return JSON.parse(block.querySelector("[data-commands]")?.dataset.commands ?? "[]");
  }

  const blockOf = (element) => element.closest(".literal-block-wrapper, .bare-block");

  function textOf(element) {
    const block = blockOf(element);
    if (element.matches(".gp")) {
      return commands(block)[[...block.querySelectorAll(".gp")].indexOf(element)];
    }
    if (element.dataset.copy === "apply") {
      return apply(element);
    }
    return commands(block).join("\n") || block.querySelector("pre").textContent.trimEnd();
  }

  /* Browsers offer a clipboard to pages from https and from files; elsewhere a selection helps,
     which takes the focus. */
  async function copy(element) {
    const text = textOf(element);
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return;
    }
    const focused = document.activeElement;
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    focused.focus({ preventScroll: true });
    if (!isCopied) {
      throw new Error("copy");
    }
  }

  /* A press of a button, or of the prompt of a single command, which is one too. */
  document.addEventListener("click", async (event) => {
    const element = event.target.closest("button:is(.copy, .gp)");
    if (!element || !blockOf(element)) {
      return;
    }
    const { copied, failed } = document.body.dataset;
    const said = await copy(element).then(() => copied, () => failed);
    element.dataset.said = said;
    status.textContent = said;
    setTimeout(() => {
      delete element.dataset.said;
      status.textContent = "";
    }, 2000);
  });

  /* What follows waits until the browser has laid out the page, so that it need not do so twice.

     In a long list of chapters, this one is in view. */
  const list = document.getElementById("chapters");
  const current = list.querySelector("a.current");
  const listObserver = new ResizeObserver(() => {
    if (current && current.offsetTop > list.clientHeight / 2) {
      list.scrollTop = current.offsetTop - list.clientHeight / 3;
    }
    listObserver.disconnect();
  });
  listObserver.observe(list);

  /* On a phone it covers the page, and goes when one has chosen from it. */
  list.addEventListener("click", (event) => {
    if (event.target.closest("a")) {
      list.togglePopover(false);
    }
  });

  /* A fix beside the short answer says if it does not fit, and if there is more below. */
  const fix = document.querySelector(".glance-fix pre");
  function markFix() {
    const { classList } = fix.closest(".glance-fix");
    const hidden = fix.scrollHeight - fix.clientHeight;
    const hasMore = fix.scrollTop < hidden - 1;
    classList.toggle("is-cut", hidden > 1);
    classList.toggle("has-more", hasMore);
  }
  fix?.addEventListener("scroll", markFix, { passive: true });

  /* What scrolls can be scrolled by keys only when it can have the focus. */
  const wideObserver = new ResizeObserver((entries) => {
    const scrolls = ({ target }) =>
      target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight + 1;
    // All questions before the first change, or each would make the browser measure again.
    const found = entries.map((entry) => [entry.target, scrolls(entry)]);
    if (entries.some(({ target }) => target === fix)) {
      markFix();
    }
    found.forEach(([target, isWide]) => {
      if (isWide) {
        target.setAttribute("tabindex", "0");
      } else {
        target.removeAttribute("tabindex");
      }
    });
  });
  document
    .querySelectorAll("pre, .pst-scrollable-table-container, figure")
    .forEach((element) => wideObserver.observe(element));
});
