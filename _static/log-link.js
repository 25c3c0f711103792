/* Puts a text into the fragment of an address, the part behind "#", which browsers send to nobody,
   and takes it out again: compressed where the browser can do that, and in letters that no program
   changes. */

"use strict";

const logLink = (() => {
  const LONGEST = 8000; // characters of an address: chats and mail cut longer ones
  const PACKED = "#log=";
  const PLAIN = "#log-plain=";

  async function through(bytes, transform) {
    const stream = new Blob([bytes]).stream().pipeThrough(transform);
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  /* The address of a page with a text in it, or nothing if that is too long. */
  async function make(page, text) {
    const bytes = new TextEncoder().encode(text);
    const canPack = "CompressionStream" in globalThis;
    const packed = canPack ? await through(bytes, new CompressionStream("deflate-raw")) : bytes;
    if (packed.length > LONGEST) {
      return "";
    }
    const letters = btoa(String.fromCharCode(...packed))
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replaceAll("=", "");
    const address = `${page.split("#")[0]}${canPack ? PACKED : PLAIN}${letters}`;
    return address.length > LONGEST ? "" : address;
  }

  function has(address) {
    return [PACKED, PLAIN].some((mark) => address.includes(mark));
  }

  /* The text in an address. Throws if there is none, or one that was cut. */
  async function read(address) {
    if (address.length > LONGEST) {
      throw new RangeError("longer than those that are made here");
    }
    const isPacked = address.includes(PACKED);
    const letters = address.split(isPacked ? PACKED : PLAIN)[1];
    const found = atob(letters.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(found, (letter) => letter.charCodeAt(0));
    const isText = new TextDecoder("utf-8", { fatal: true });
    return isText.decode(
      isPacked ? await through(bytes, new DecompressionStream("deflate-raw")) : bytes,
    );
  }

  return { make, has, read };
})();
