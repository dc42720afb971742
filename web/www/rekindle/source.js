// What callers bring, pictures and model files, in a form that travels to the worker.

import { RekindleError } from "./error.js";

/**
 * A picture for the worker, and what of it is handed over: a blob and raw pixels are copied, a bitmap is handed
 * over. A bitmap of a video's frame or a canvas may lie on the graphics adapter, and stays there.
 */
export async function portable(source) {
  if (source instanceof Blob || source instanceof ImageData) return [source, []];
  if (source instanceof HTMLVideoElement && source.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
    throw new RekindleError({
      kind: "not-ready",
      message: "The video has no picture yet.",
      help: "Wait for its “playing” event.",
    });
  }
  try {
    if (source instanceof HTMLImageElement) await source.decode();
    const bitmap = await createImageBitmap(source, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
    return [bitmap, [bitmap]];
  } catch (error) {
    throw new RekindleError({
      kind: "decode",
      message: `The picture could not be read: ${error.message}`,
      help: "Pictures from another site need the attribute crossorigin and that site's consent.",
    });
  }
}

/** A model file's bytes, which may be handed over to the worker. A caller's own array is copied, never emptied. */
export async function bytesOf(source, onProgress) {
  if (source instanceof Uint8Array) return source.slice();
  if (source instanceof Blob) {
    try {
      return new Uint8Array(await source.arrayBuffer());
    } catch (error) {
      throw new RekindleError({
        kind: "file",
        message: `The file could not be read: ${error.message}`,
        help: "It may have been moved or changed. Choose it again.",
      });
    }
  }
  if (!(source instanceof Response || source instanceof URL || typeof source === "string")) {
    throw new RekindleError({
      kind: "usage",
      message: "This is no model file.",
      help: "Give an address, a Response, a Blob or a Uint8Array.",
    });
  }
  const address = source instanceof Response ? source.url : new URL(source, document.baseURI).href;
  const name = address.split(/[?#]/)[0].split("/").pop();
  try {
    const response = source instanceof Response ? source : await fetch(address);
    if (response.ok) return await readAll(response, onProgress);
    throw new RekindleError({
      kind: "network",
      message: `The server answered ${response.status} for “${name}”.`,
      help: "Check that the file lies where the page expects it.",
    });
  } catch (error) {
    if (error instanceof RekindleError) throw error;
    throw new RekindleError({
      kind: "network",
      message: `“${name}” could not be fetched.`,
      help: "Check the connection and try again.",
    });
  }
}

async function readAll(response, onProgress) {
  // Content-Length counts compressed bytes; it says nothing of the size when there is an encoding.
  const encoded = response.headers.has("content-encoding");
  const total = encoded ? null : Number(response.headers.get("content-length")) || null;
  const parts = [];
  let received = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    onProgress?.(received, total);
  }
  const bytes = new Uint8Array(received);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
