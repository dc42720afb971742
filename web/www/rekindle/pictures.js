// Pictures in the worker: from a file to pixels, as they were stored, upright: no colour conversion, so that the
// network sees what the command line sees.

import { failure } from "./failure.js";

/** Photos larger than this on either side are scaled down: a canvas beyond it fails on phones. */
const LARGEST_SIDE = 4096;
/** A canvas with more pixels than this is not kept for the next picture. */
const KEPT_PIXELS = 1 << 21;

/** @returns {ImageBitmap | ImageData | Promise<ImageBitmap>} */
export function pictureOf(source) {
  return source instanceof Blob ? decode(source) : source;
}

/** The SHA-256 of a file; `null` for a picture that was none, and where the page has not been sent safely. */
export async function hashOf(source) {
  if (!(source instanceof Blob) || !crypto.subtle) return null;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await source.arrayBuffer()));
}

/** A picture's pixels in main memory; it is not resized unless it is enormous. */
export function pixelsOf(picture) {
  if (picture instanceof ImageData) return picture;
  const scale = Math.min(1, LARGEST_SIDE / Math.max(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const context = drawing(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  if (width * height > KEPT_PIXELS) canvas = null;
  return pixels;
}

/** The centre square of a photo, small, as a JPEG for display only. */
export async function thumbnailOf(picture, side) {
  const { width, height } = picture;
  const square = Math.min(width, height);
  const bitmap = await createImageBitmap(
    picture,
    (width - square) >> 1,
    (height - square) >> 1,
    square,
    square,
    { resizeWidth: side, resizeHeight: side, resizeQuality: "medium" },
  );
  const context = drawing(side, side);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
}

/**
 * A picture that is no file, as a small one: its shorter side is `side` at most. It is kept for who trains more than
 * the head, whose random views are parts of the picture.
 */
export async function keepsakeOf(picture, side) {
  const scale = Math.min(1, side / Math.min(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  const bitmap = picture instanceof ImageData ? await createImageBitmap(picture) : picture;
  context.drawImage(bitmap, 0, 0, width, height);
  if (bitmap !== picture) bitmap.close();
  // Where WebP cannot be written it is PNG.
  return canvas.convertToBlob({ type: "image/webp", quality: 0.95 });
}

/** Writes known pixels and reads them back; privacy modes that add noise are found out this way. */
export function canvasAddsNoise() {
  const side = 16;
  const written = new ImageData(side, side);
  for (let i = 0; i < written.data.length; i += 4) {
    written.data.set([(i * 7) & 255, (i * 13 + 40) & 255, (i * 29 + 90) & 255, 255], i);
  }
  const context = drawing(side, side);
  context.putImageData(written, 0, 0);
  const read = context.getImageData(0, 0, side, side);
  return read.data.some((value, i) => value !== written.data[i]);
}

let canvas = null;
let context = null;

/**
 * An empty canvas in main memory: read-back from a GPU canvas is slow and may round. It is one canvas, used again
 * and again: a live view would leave hundreds of megabytes behind before anybody collected them.
 */
function drawing(width, height) {
  if (!canvas) {
    canvas = new OffscreenCanvas(width, height);
    context = canvas.getContext("2d", { willReadFrequently: true });
  } else if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  } else {
    context.clearRect(0, 0, width, height);
  }
  return context;
}

async function decode(blob) {
  const name = blob.name ? `“${blob.name}”` : "This file";
  if (blob.size === 0) {
    throw failure("decode", `${name} is empty.`, "Choose another photo.");
  }
  try {
    return await createImageBitmap(blob, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    if (await isHeic(blob)) {
      throw failure(
        "heic",
        `${name} is a HEIC photo, which this browser cannot read.`,
        "Export it as JPEG, or on an iPhone choose Settings, Camera, Formats, Most Compatible.",
      );
    }
    throw failure(
      "decode",
      `${name} is not a picture this browser can read.`,
      "JPEG, PNG, WebP, GIF and AVIF work. The file may be damaged or have the wrong ending.",
    );
  }
}

async function isHeic(blob) {
  const head = await blob.slice(0, 32).arrayBuffer().catch(() => new ArrayBuffer(0));
  const text = new TextDecoder("latin1").decode(head);
  return text.slice(4, 8) === "ftyp" && /hei[cxms]|hev[cxms]|mif1|msf1/.test(text.slice(8));
}
