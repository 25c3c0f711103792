const open = async () => {
  globalThis.pdfjsLib = await import("/pdfjs/build/pdf.mjs");
  pdfjsLib.GlobalWorkerOptions.workerSrc = "/pdfjs/build/pdf.worker.mjs";
  return pdfjsLib.getDocument({ url: "/book.pdf" }).promise;
};

// What one copies of the first page of /book.pdf that has a text, from there on.
window.copied = async (text) => {
  const book = await open();
  for (let number = 1; number <= book.numPages; number += 1) {
    const page = await book.getPage(number);
    const content = await page.getTextContent();
    if (!content.items.map(({ str }) => str).join("").includes(text)) continue;
    const container = document.body.appendChild(document.createElement("div"));
    const viewport = page.getViewport({ scale: 1 });
    await new pdfjsLib.TextLayer({ textContentSource: content, container, viewport }).render();
    getSelection().selectAllChildren(container);
    return getSelection().toString().split(text)[1];
  }
  return "";
};

// Asks the search of pdf.js for texts in some pages of /book.pdf: gives those that it lacks there.
window.missing = async ({ texts, first, count }) => {
  const book = await open();
  const { EventBus, FindState, PDFFindController } = await import("/pdfjs/web/pdf_viewer.mjs");
  const eventBus = new EventBus();
  const linkService = { page: 1, pagesCount: count };
  const controller = new PDFFindController({ eventBus, linkService });
  controller.setDocument({ numPages: count, getPage: (page) => book.getPage(first + page - 1) });

  const find = (query) => new Promise((done) => {
    const hear = ({ state, rawQuery }) => {
      if (state !== FindState.PENDING && rawQuery === query) {
        eventBus.off("updatefindcontrolstate", hear);
        done(state !== FindState.NOT_FOUND);
      }
    };
    eventBus.on("updatefindcontrolstate", hear);
    eventBus.dispatch("find", { type: "", query, caseSensitive: true, matchDiacritics: true });
  });

  const lost = [];
  for (const text of texts) {
    if (!await find(text)) lost.push(text);
  }
  return lost;
};
