// The worker that owns the network. It answers one request at a time, in order: the WebAssembly
// session holds a borrow across every await, so two calls at once would be refused.
//
// In:  { id, op, args }
// Out: { id, value } | { id, error: { message, help, kind } } | { event: "crash", detail }

/** Photos larger than this on either side are scaled down: a canvas beyond it fails on phones. */
const LARGEST_SIDE = 4096;

/** The smallest module that uses a SIMD instruction; validating it tells whether SIMD works here. */
const SIMD_MODULE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
]);

const CANVAS_NOISE = {
  kind: "canvas-noise",
  message: "This browser changes the pixels a page reads, to prevent fingerprinting.",
  help: "Answers may differ a little from those elsewhere. Allow canvas access for this page to avoid it.",
};

let session = null;
let usesAdapter = false;
let tail = Promise.resolve();

self.onmessage = ({ data }) => {
  tail = tail.then(() => answer(data));
};

// A trap inside an async call leaves its promise unsettled and surfaces here instead.
for (const type of ["error", "unhandledrejection"]) {
  self.addEventListener(type, (event) => {
    event.preventDefault();
    self.postMessage({ event: "crash", detail: describe(event.error ?? event.reason) });
  });
}

async function answer({ id, op, args }) {
  try {
    const { value, transfer = [] } = (await operations[op](...args)) ?? {};
    self.postMessage({ id, value: await value }, transfer);
  } catch (error) {
    self.postMessage({ id, error: describe(error) });
    if (error instanceof WebAssembly.RuntimeError) {
      // A trap leaves the session in an unknown state: nothing after it can be trusted.
      self.postMessage({ event: "crash", detail: describe(error) });
    }
  }
}

const operations = {
  async open(device) {
    if (!WebAssembly.validate(SIMD_MODULE)) {
      throw failure(
        "unsupported",
        "This browser has no WebAssembly SIMD, which the network needs.",
        "Update the browser: Chrome, Edge, Firefox and Safari have had it since 2021 to 2023.",
      );
    }
    const adapter = device === "auto" ? await probeWebGpu() : { usable: false, reason: "" };
    const engine = await startEngine(device === "webgpu" || adapter.usable ? "gpu" : "cpu");
    session = await engine.Session.open(device, adapter.usable, adapter.reason);
    const opened = session.device();
    usesAdapter = opened.kind === "webgpu";
    const warnings = canvasAddsNoise() ? [CANVAS_NOISE] : [];
    return { value: { device: opened, warnings } };
  },

  load: async (bytes) => ({ value: await session.load(bytes) }),
  info: () => ({ value: session.info() }),

  async classify(source, topK) {
    const picture = await pictureOf(source);
    if (onAdapter(picture)) {
      const answers = await session.classifyFrame(picture, topK);
      if (answers) {
        picture.close();
        return { value: answers };
      }
    }
    const { data, width, height } = pixelsOf(picture);
    return { value: await session.classify(bytesOf(data), width, height, topK) };
  },

  addClass: (name) => ({ value: session.addClass(name) }),
  renameClass: (index, name) => ({ value: session.renameClass(index, name) }),
  removeClass: (index) => ({ value: session.removeClass(index) }),
  classes: () => ({ value: session.classes() }),

  async addExample(classIndex, source, thumbnailSide) {
    const picture = await pictureOf(source);
    const thumbnail = thumbnailSide > 0 ? await thumbnailOf(picture, thumbnailSide) : null;
    if (onAdapter(picture)) {
      const id = await session.addFrame(classIndex, picture);
      if (id !== undefined) {
        picture.close();
        return { value: { id, thumbnail } };
      }
    }
    const { data, width, height } = pixelsOf(picture);
    const id = await session.addExample(classIndex, bytesOf(data), width, height);
    return { value: { id, thumbnail } };
  },

  removeExample: (id) => ({ value: session.removeExample(id) }),
  fit: async (options) => ({ value: await session.fit(options) }),

  async saveModel() {
    const bytes = await session.saveModel();
    return { value: bytes, transfer: [bytes.buffer] };
  },

  reset: () => ({ value: session.reset() }),
};

/**
 * Starts one of the two builds of the engine: "gpu" drives graphics adapters and the CPU, "cpu" only the
 * CPU and is a twentieth of its size.
 */
async function startEngine(build) {
  const folder = new URL(`./pkg/${build}/`, import.meta.url);
  // Asked for at once: the module need not wait for its glue.
  const module = fetch(new URL("rekindle_web_bg.wasm", folder));
  module.catch(() => {}); // whoever awaits it says so; if the glue fails, nobody does
  let engine;
  try {
    engine = await import(new URL("rekindle_web.js", folder));
    await engine.default({ module_or_path: module });
  } catch (error) {
    throw failure(
      "engine",
      `The WebAssembly part of the page did not start: ${error.message}`,
      "Check that the folder pkg/ lies beside this page and that the server sends .wasm files, then reload.",
    );
  }
  return engine;
}

/** Whether WebGPU is worth using: a real adapter with what the engine needs; and if not, why not. */
async function probeWebGpu() {
  const no = (reason) => ({ usable: false, reason });
  if (!navigator.gpu) return no("this browser has no WebGPU");
  let adapter = null;
  try {
    adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    return no(`WebGPU did not start: ${error.message}`);
  }
  if (!adapter) return no("WebGPU found no graphics adapter");
  const info = adapter.info ?? {};
  const software =
    info.isFallbackAdapter ||
    adapter.isFallbackAdapter ||
    /swiftshader|llvmpipe|basic render/i.test(`${info.architecture} ${info.description}`);
  if (software) return no("WebGPU has only a software adapter here, and the CPU path is faster");
  if (!adapter.features.has("timestamp-query")) {
    return no("the graphics adapter lacks the WebGPU feature timestamp-query");
  }
  const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(" ");
  return { usable: true, reason: name || "a graphics adapter was found" };
}

/**
 * A picture as it was stored, upright: no colour conversion, so that the network sees what the command line
 * sees.
 */
function pictureOf(source) {
  return source instanceof Blob ? decode(source) : source;
}

/** Whether the picture may go straight to the graphics adapter, without being read back. */
function onAdapter(picture) {
  return usesAdapter && !(picture instanceof ImageData);
}

/** A picture's pixels in main memory; it is not resized unless it is enormous. The picture is used up. */
function pixelsOf(bitmap) {
  if (bitmap instanceof ImageData) return bitmap;
  try {
    const scale = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
    const width = Math.max(1, Math.round(bitmap.width * scale));
    const height = Math.max(1, Math.round(bitmap.height * scale));
    const context = drawing(width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  } finally {
    bitmap.close();
  }
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
  const head = new TextDecoder("latin1").decode(await blob.slice(0, 32).arrayBuffer());
  return head.slice(4, 8) === "ftyp" && /hei[cxms]|hev[cxms]|mif1|msf1/.test(head.slice(8));
}

/** The centre square of a photo, small, as a JPEG for display only. */
async function thumbnailOf(picture, side) {
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
  const canvas = new OffscreenCanvas(side, side);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.8 });
}

/** A canvas in main memory: read-back from a GPU canvas is slow and may round. */
function drawing(width, height) {
  return new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
}

/** Writes known pixels and reads them back; privacy modes that add noise are found out this way. */
function canvasAddsNoise() {
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

function bytesOf(clamped) {
  return new Uint8Array(clamped.buffer, clamped.byteOffset, clamped.byteLength);
}

function failure(kind, message, help) {
  return Object.assign(new Error(message), { kind, help });
}

function describe(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    return {
      kind: "crash",
      message: "The network stopped unexpectedly.",
      help: "Reload the page. If it happens again, add ?device=cpu to the address.",
    };
  }
  return {
    kind: error?.kind ?? "unknown",
    message: error?.message ?? String(error),
    help: error?.help,
  };
}
