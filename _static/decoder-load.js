/* Loads what decodes lines of an access log once it is wanted: it is more than the rest of a page,
   and few come for it. */

"use strict";

const loadDecoder = (() => {
  const { src, dataset } = document.currentScript;
  let loaded;

  function part(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(name, src).href;
      script.async = false; // they run in this order
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    });
  }

  /* Gives a promise of all parts; each is asked for once, and again where one did not come. */
  return () => {
    loaded ??= Promise.all(dataset.parts.split(" ").map(part));
    loaded.catch(() => (loaded = undefined));
    return loaded;
  };
})();
