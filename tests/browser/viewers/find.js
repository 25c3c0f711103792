// Asks the search of pdf.js for texts in some pages of /book.pdf: gives those that it lacks there.

window.missing = async ({ texts, first, count }) => {
  globalThis.pdfjsLib = await import("/pdfjs/build/pdf.mjs");
  pdfjsLib.GlobalWorkerOptions.workerSrc = "/pdfjs/build/pdf.worker.mjs";
  const { EventBus, FindState, PDFFindController } = await import("/pdfjs/web/pdf_viewer.mjs");
  const book = await pdfjsLib.getDocument({ url: "/book.pdf" }).promise;
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
