/* What the theme and the copy button lack. Everything else on a page works without scripts. */

"use strict";

/* A key for the search beside the theme's Ctrl-K, and both in a drawer, too: it closes first, or the
   search would open behind it. Hears of a key before the theme does. */
window.addEventListener("keydown", (event) => {
  const { key, target, altKey, ctrlKey, metaKey } = event;
  const isTyping = target.closest("input, textarea, #pst-search-dialog");
  const isSlash = key === "/" && !isTyping && !altKey && !ctrlKey && !metaKey;
  if (isSlash || (/^k$/i.test(key) && (ctrlKey || metaKey))) {
    closeDrawer();
  }
  if (isSlash) {
    event.preventDefault();
    document.querySelector(".search-button__button").click();
  }
}, true);

function closeDrawer() {
  const drawer = document.querySelector("dialog[open]:not(#pst-search-dialog)");
  drawer?.close();
  drawer?.querySelector(":focus")?.blur(); // or the search would give the focus back to it
}

document.addEventListener("DOMContentLoaded", () => {
  const status = document.getElementById("status");

  /* A drawer covers a phone, and goes when one has chosen from it. What opened it, or the search,
     gets the focus back, which the theme takes from it; a link that was chosen leads it on. */
  let opener;
  document.addEventListener("click", ({ target, isTrusted }) => {
    const button = target.closest(".sidebar-toggle, .search-button__button");
    const link = target.closest("dialog a");
    if (isTrusted && (button || link)) {
      opener = button;
    }
    if (link) {
      closeDrawer();
    }
  }, true);
  document.querySelectorAll("dialog").forEach((dialog) => {
    dialog.addEventListener("close", () => {
      const focused = document.activeElement;
      if (focused === document.body || dialog.contains(focused)) {
        opener?.focus({ preventScroll: true });
      }
    });
  });

  /* The contents mark the section that one reads. The theme marks the heading that last came into
     view, and misses those that one scrolls past; a jump is its own for a second. */
  const contents = document.getElementById("pst-page-toc-nav");
  let jumped = -Infinity;
  function follow() {
    const links = [...contents.querySelectorAll("a[href^='#']")].filter((link) => link.hash);
    const above = links.filter((link) => {
      const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      return target && target.getBoundingClientRect().top < innerHeight * 0.3;
    });
    const current = above.at(-1);
    links.forEach((link) => {
      link.classList.toggle("active", link === current);
      link.removeAttribute("aria-current");
    });
    current?.setAttribute("aria-current", "true");
    const pane = contents.closest(".bd-sidebar-secondary");
    if (current && pane && !pane.contains(document.activeElement)) {
      const below = current.getBoundingClientRect().top - pane.getBoundingClientRect().top;
      pane.scrollTop += below - pane.clientHeight / 2;
    }
  }
  if (contents) {
    window.addEventListener("hashchange", () => { jumped = performance.now(); });
    document.addEventListener("scroll", () => requestAnimationFrame(() => {
      if (performance.now() - jumped > 1000) {
        follow();
      }
    }), { passive: true });
  }

  /* The copy button shows what became of a press; this says it, and gives the focus back. */
  new MutationObserver((changes) => {
    const { target } = changes.at(-1);
    const isDone = target.classList.contains("success");
    say(isDone ? target.dataset.tooltip : "");
    if (isDone) {
      target.focus({ preventScroll: true });
    }
  }).observe(document.querySelector("article"), {
    attributeFilter: ["data-tooltip"],
    subtree: true,
  });

  function say(text) {
    status.textContent = text;
  }

  /* Copy what a function gives for a button, and show for a moment that it was. */
  function copy(button, textOf) {
    const { copy_success: copied, copy_failure: failed } = messages[locale]; // the copy button's
    let said = copied;
    try {
      ClipboardJS.copy(textOf(button));
    } catch {
      said = failed;
    }
    button.focus({ preventScroll: true });
    button.dataset.said = said;
    say(said);
    setTimeout(() => {
      delete button.dataset.said;
      say("");
    }, 2000);
  }

  /* The command behind a prompt: the text up to its output, or the next prompt. */
  function command(prompt) {
    const block = prompt.closest("pre");
    const range = document.createRange();
    range.selectNodeContents(block);
    range.setStartAfter(prompt);
    const others = [...block.querySelectorAll(".gp, .go")];
    const next = others.find((part) => range.comparePoint(part, 0) === 0);
    if (next) {
      range.setEndBefore(next);
    }
    return range.toString().trimEnd();
  }

  /* A prompt is a button that copies its command. */
  document.querySelectorAll(".highlight .gp").forEach((prompt) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "gp";
    button.textContent = prompt.textContent;
    button.setAttribute("aria-label", document.body.dataset.command);
    button.addEventListener("click", () => copy(button, command));
    prompt.replaceWith(button);
  });

  /* A word of a command, in quotes where a shell would read anything else into it. */
  function quoted(word) {
    return /^[\w./:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  }

  /* The command that takes the file of a block from where this page has it: its address on the
     site, or for kubectl its path, which on Windows has a slash before the drive only as an
     address. */
  function apply(button) {
    const url = new URL(button.closest(".code-block-caption").querySelector("a.download").href);
    const isPath = url.protocol === "file:" && button.dataset.command.startsWith("kubectl");
    const path = () => decodeURIComponent(url.pathname).replace(/^\/(?=[A-Za-z]:)/, "");
    return `${button.dataset.command} ${quoted(isPath ? path() : url.href)}`;
  }
  document.querySelectorAll("button.apply").forEach((button) => {
    button.addEventListener("click", () => copy(button, apply));
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
  if (fix) {
    fix.addEventListener("scroll", markFix, { passive: true });
    new ResizeObserver(markFix).observe(fix);
  }

  /* What scrolls can be scrolled by keys only when it can have the focus; the theme knows of code
     and tables. */
  const figures = new ResizeObserver((entries) => {
    entries.forEach(({ target }) => {
      target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
    });
  });
  document.querySelectorAll("figure").forEach((figure) => figures.observe(figure));

  /* The field above the tables of symptoms leaves the rows whose first cell has all of its words. */
  const filter = document.querySelector(".filter input");
  function leaveRows() {
    const words = filter.value.toLowerCase().split(/\s+/);
    document.querySelectorAll("table.symptoms tbody tr").forEach((row) => {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    const sections = [...document.querySelectorAll("section section:has(table.symptoms)")];
    sections.forEach((section) => {
      section.hidden = !section.querySelector("tbody tr:not([hidden])");
    });
    document.querySelector(".filter-none").hidden = sections.some((section) => !section.hidden);
  }
  if (filter) {
    filter.addEventListener("input", leaveRows);
    window.addEventListener("pageshow", leaveRows); // with what the browser has kept in the field
  }

  /* A search is a part of the address of its page, which servers limit; a log ends with the error. */
  document.addEventListener("submit", ({ target }) => {
    const field = target.elements.q;
    if (field) {
      field.value = field.value.slice(-2000);
    }
  });

  /* Paper is white. */
  const root = document.documentElement.dataset;
  window.addEventListener("beforeprint", () => {
    root.before = root.theme;
    root.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    root.theme = root.before;
  });
});
