// The worker that owns the network, and the session in WebAssembly that runs it.
//
// In:  { id, op, args } | { cancel: id } | { ping }
// Out: { id, value } | { id, progress } | { id, error: { message, help, kind } } | { pong }
//      | { event: "alive" } | { event: "crash", detail }

import { describe, failure } from "./rekindle/failure.js";
import { canvasAddsNoise, hashOf, pictureOf, pixelsOf, thumbnailOf } from "./rekindle/pictures.js";
import { ANSWER, CHANGE, LATER, LONG, Tasks } from "./rekindle/tasks.js";

/** How long a fit or a fold runs before other work has its turn, in milliseconds: less than one answer takes. */
const SLICE = 12;

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

const CALLED_OFF = { kind: "cancelled", message: "This was called off." };
const OUTDATED = {
  kind: "cancelled",
  message: "The examples changed, so that the measurement was called off.",
  help: "Fit again, then measure.",
};

let session = null;
let usesAdapter = false;

const tasks = new Tasks((id, outcome) => {
  const { value, error, progress } = outcome;
  if (error) {
    self.postMessage({ id, error: describe(error) });
    // A trap leaves the session in an unknown state: nothing after it can be trusted.
    if (error instanceof WebAssembly.RuntimeError) self.postMessage({ event: "crash", detail: describe(error) });
  } else if ("progress" in outcome) {
    self.postMessage({ id, progress });
  } else {
    self.postMessage({ id, value }, buffersOf(value));
  }
});

self.onmessage = ({ data }) => {
  if (data.ping) return self.postMessage({ pong: true });
  if (data.cancel) return tasks.cancel(data.cancel, CALLED_OFF);
  const { id, op, args } = data;
  const { lane, run, outdates = false } = operations[op];
  if (outdates) tasks.cancelLater((task) => task.op === "crossValidate", OUTDATED);
  const drop = () => args.forEach((argument) => argument?.close?.());
  tasks.add({ id, op, lane, run: () => run(...args), drop });
};

// A trap inside an async call leaves its promise unsettled and surfaces here instead.
for (const type of ["error", "unhandledrejection"]) {
  self.addEventListener(type, (event) => {
    event.preventDefault();
    self.postMessage({ event: "crash", detail: describe(event.error ?? event.reason) });
  });
}

// The page cannot see a worker die, but it sees who holds a lock.
navigator.locks?.request(self.name, () => {
  self.postMessage({ event: "alive" });
  return new Promise(() => {});
});

/** The operations. `outdates` marks those after which a measurement under way would be of something else. */
const operations = {
  open: { lane: CHANGE, run: open },

  load: { lane: CHANGE, outdates: true, run: (bytes) => session.load(bytes) },
  reset: {
    lane: CHANGE,
    outdates: true,
    run: () => {
      session.reset();
      return session.info();
    },
  },
  restore: { lane: CHANGE, outdates: true, run: restore },

  classify: { lane: ANSWER, run: classify },
  classifyLater: { lane: LATER, run: classify },

  classes: { lane: CHANGE, run: () => session.classes() },
  addClass: { lane: CHANGE, run: (name) => session.addClass(name) },
  renameClass: {
    lane: CHANGE,
    run: (id, name) => {
      session.renameClass(id, name);
      return session.info();
    },
  },
  removeClass: {
    lane: CHANGE,
    outdates: true,
    run: (id) => {
      session.removeClass(id);
      return session.info();
    },
  },

  addExample: { lane: LONG, outdates: true, run: addExample },
  removeExample: { lane: CHANGE, outdates: true, run: (id) => session.removeExample(id) },

  fit: { lane: LONG, outdates: true, run: fit },
  crossValidate: { lane: LATER, run: crossValidate },
  saveModel: { lane: LONG, run: () => session.saveModel() },
};

async function open(device) {
  if (!WebAssembly.validate(SIMD_MODULE)) {
    throw failure(
      "unsupported",
      "This browser has no WebAssembly SIMD, which the network needs.",
      "Update the browser: Chrome, Edge, Firefox and Safari have had it since 2021 to 2023.",
    );
  }
  const adapter = device === "cpu" ? { found: false, usable: false, reason: "" } : await probeWebGpu();
  if (device === "webgpu" && !adapter.found) {
    throw failure(
      "webgpu",
      `WebGPU was asked for, but ${adapter.reason}.`,
      "The processor does it too, only slower. Chrome, Edge and Safari have WebGPU where the system lets them.",
    );
  }
  const engine = await startEngine(device === "webgpu" || adapter.usable ? "gpu" : "cpu");
  session = await engine.Session.open(device, adapter.usable, adapter.reason);
  const opened = session.device();
  usesAdapter = opened.kind === "webgpu";
  return { device: opened, warnings: canvasAddsNoise() ? [CANVAS_NOISE] : [] };
}

async function classify(source, topK) {
  const picture = await pictureOf(source);
  try {
    const answers = onAdapter(picture) ? await session.classifyFrame(picture, topK) : null;
    if (answers) return answers;
    const { data, width, height } = pixelsOf(picture);
    return await session.classify(bytesOf(data), width, height, topK);
  } finally {
    picture.close?.();
  }
}

async function addExample(classId, source, thumbnailSide) {
  const picture = await pictureOf(source);
  try {
    const thumbnail = thumbnailSide > 0 ? await thumbnailOf(picture, thumbnailSide) : null;
    const hash = await hashOf(source);
    let id = onAdapter(picture) ? await session.addFrame(classId, picture) : undefined;
    if (id === undefined) {
      const { data, width, height } = pixelsOf(picture);
      id = await session.addExample(classId, bytesOf(data), width, height);
    }
    if (hash) session.setFile(id, hash);
    return { id, thumbnail, features: session.features(id), hash };
  } finally {
    picture.close?.();
  }
}

/** Teaches a fresh session what another one had been taught. */
function restore({ classes, examples }) {
  for (const { id, name } of classes) session.restoreClass(id, name);
  for (const { id, classId, features, hash } of examples) {
    session.restoreExample(id, classId, features);
    if (hash) session.setFile(id, hash);
  }
  return session.info();
}

async function* fit(recipe) {
  session.startFit(recipe);
  try {
    // Beginning and ending are pieces of their own: each goes through all the photos.
    for (let progress = { done: false, iterations: 0 }; !progress.done; progress = slice(() => session.stepFit())) {
      yield { iterations: progress.iterations };
    }
    yield {};
    return { report: session.finishFit(), info: session.info() };
  } finally {
    session.dropFit();
  }
}

async function* crossValidate() {
  session.startFolds();
  try {
    for (let progress = { done: false }; !progress.done; progress = slice(() => session.stepFolds())) {
      const { folds: done, of: total } = progress;
      yield { done, total };
    }
    yield {};
    return session.finishFolds();
  } finally {
    session.dropFolds();
  }
}

/** Steps until other work has its turn, or until the end. */
function slice(step) {
  const until = performance.now() + SLICE;
  for (;;) {
    const progress = step();
    if (progress.done || performance.now() >= until) return progress;
  }
}

/**
 * Starts one of the two builds of the engine: "gpu" drives graphics adapters and the CPU, "cpu" only the
 * CPU and is a twentieth of its size.
 */
async function startEngine(build) {
  const folder = new URL(`./pkg/${build}/`, import.meta.url);
  // Fetched at once: the WebAssembly module need not wait for its JavaScript.
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

/** Whether there is an adapter that the engine can drive, whether it is worth using, and if not, why not. */
async function probeWebGpu() {
  const no = (reason, found = false) => ({ found, usable: false, reason });
  if (!navigator.gpu) return no("this browser has no WebGPU");
  let adapter = null;
  try {
    adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    return no(`WebGPU did not start: ${error.message}`);
  }
  if (!adapter) return no("WebGPU found no graphics adapter");
  // Without it CubeCL traps.
  if (!adapter.features.has("timestamp-query")) {
    return no("the graphics adapter lacks the WebGPU feature timestamp-query");
  }
  const info = adapter.info ?? {};
  const software =
    info.isFallbackAdapter ||
    adapter.isFallbackAdapter ||
    /swiftshader|llvmpipe|basic render/i.test(`${info.architecture} ${info.description}`);
  if (software) return no("WebGPU has only a software adapter here, and the CPU path is faster", true);
  const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(" ");
  return { found: true, usable: true, reason: name || "a graphics adapter was found" };
}

/** Whether the picture may go straight to the graphics adapter, without being read back. */
function onAdapter(picture) {
  return usesAdapter && !(picture instanceof ImageData);
}

function bytesOf(clamped) {
  return new Uint8Array(clamped.buffer, clamped.byteOffset, clamped.byteLength);
}

/** What of an answer is handed over rather than copied. */
function buffersOf(value) {
  return [value, value?.features].filter((part) => ArrayBuffer.isView(part)).map((part) => part.buffer);
}
