// The worker that owns the network, and the session in WebAssembly that runs it.
//
// In:  { id, op, args } | { cancel: id } | { pause: id } | { ping }
// Out: { id, value } | { id, progress } | { id, error: { message, help, kind } } | { pong }
//      | { event: "alive" } | { event: "crash", detail }

import { describe, failure } from "./rekindle/failure.js";
import { canvasAddsNoise, hashOf, keepsakeOf, pictureOf, pixelsOf, thumbnailOf } from "./rekindle/pictures.js";
import { ANSWER, CHANGE, LATER, LONG, Tasks } from "./rekindle/tasks.js";

/** How long a fit or a fold runs before other work has its turn, in milliseconds: less than one answer takes. */
const SLICE = 12;
/**
 * How long a training runs before other work has its turn, in milliseconds. On an adapter that is a step at least; the
 * processor stops in the midst of one.
 */
const trainingSlice = () => (usesAdapter ? 100 : 50);

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
/** What is of the examples as they are, and why a change of them calls it off. */
const OUTDATED = {
  crossValidate: {
    kind: "cancelled",
    message: "The examples changed, so that the measurement was called off.",
    help: "Fit again, then measure.",
  },
  tune: {
    kind: "cancelled",
    message: "The examples changed, so that the training was called off.",
    help: "Fit again, then train.",
  },
};

let session = null;
let usesAdapter = false;
/** What the session was opened with. */
let opened = [];
/** Whether the engine trains more than heads; if not, a larger one does, which is fetched then. */
let trains = false;
/** That larger engine, once it has been asked for. */
let larger = null;
/** What a session does not tell of itself: the model's file, and what its head was fitted by. */
let [file, fitted] = [null, undefined];
/** The same of the examples, by their ids: `{ classId, hash, photo }`. Photos are for who trains more than the head. */
const examples = new Map();
/** Trainings of a page's own, by numbers. */
const trainings = new Map();
let nextTraining = 1;
/** Tasks that are to be paused, by their ids. */
const pausing = new Set();

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
  if (data.pause) return void pausing.add(data.pause);
  const { id, op, args } = data;
  const { lane, run, outdates = false, pausable = false } = operations[op];
  if (outdates) for (const [op, why] of Object.entries(OUTDATED)) tasks.cancelLater((task) => task.op === op, why);
  const drop = () => args.forEach((argument) => argument?.close?.());
  // Only what can be paused asks for it.
  const last = pausable ? [() => pausing.delete(id)] : [];
  tasks.add({ id, op, lane, run: () => run(...args, ...last), drop });
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

/**
 * The operations. `outdates` marks those after which a measurement or a training under way would be of something else.
 */
const operations = {
  open: { lane: CHANGE, run: open },

  load: {
    lane: CHANGE,
    outdates: true,
    run: async (bytes, kept) => {
      const info = await session.load(bytes);
      file = kept;
      examples.clear();
      return info;
    },
  },
  reset: {
    lane: CHANGE,
    outdates: true,
    run: () => {
      session.reset();
      examples.clear();
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
      for (const [example, { classId }] of examples) if (classId === id) examples.delete(example);
      return session.info();
    },
  },

  addExample: { lane: LONG, outdates: true, run: addExample },
  removeExample: {
    lane: CHANGE,
    outdates: true,
    run: (id) => {
      session.removeExample(id);
      examples.delete(id);
    },
  },

  fit: { lane: LONG, outdates: true, run: fit },
  crossValidate: { lane: LATER, run: crossValidate },
  saveModel: { lane: LONG, run: () => session.saveModel() },

  tune: { lane: LATER, pausable: true, run: tune },
  training: { lane: LONG, run: beginTraining },
  trainingDo: { lane: LONG, run: (number, method, ...args) => training(number)[method](...args) },
  trainingStep: { lane: LONG, run: stepTraining },
  trainingFinish: { lane: LONG, outdates: true, run: finishTraining },
  trainingClose: { lane: CHANGE, run: closeTraining },
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
  trains = device === "webgpu" || adapter.usable;
  opened = [device, adapter.usable, adapter.reason];
  const engine = await startEngine(trains ? "gpu" : "cpu");
  session = await engine.Session.open(...opened);
  const on = session.device();
  usesAdapter = on.kind === "webgpu";
  return { device: on, warnings: canvasAddsNoise() ? [CANVAS_NOISE] : [] };
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
    // A file is a handle, and costs nothing. What was none is kept small.
    const photo = source instanceof Blob ? source : await keepsakeOf(picture, 2 * session.info().inputSize);
    examples.set(id, { classId, hash, photo });
    return { id, thumbnail, features: session.features(id), hash, photo };
  } finally {
    picture.close?.();
  }
}

/** Teaches a fresh session what another one had been taught. */
function restore(taught) {
  teach(session, taught);
  for (const { id, classId, hash, photo } of taught.examples) examples.set(id, { classId, hash, photo });
  return session.info();
}

function teach(fresh, { classes, examples }) {
  for (const { id, name } of classes) fresh.restoreClass(id, name);
  for (const { id, classId, features, hash } of examples) {
    fresh.restoreExample(id, classId, features);
    if (hash) fresh.setFile(id, hash);
  }
}

async function* fit(recipe) {
  session.startFit(recipe);
  try {
    // Beginning and ending are pieces of their own: each goes through all the photos.
    for (let progress = { done: false, iterations: 0 }; !progress.done; progress = slice(() => session.stepFit())) {
      yield { iterations: progress.iterations };
    }
    yield {};
    const report = session.finishFit();
    fitted = recipe;
    return { report, info: session.info() };
  } finally {
    session.dropFit();
  }
}

async function* crossValidate() {
  let measured = null;
  const step = () => {
    // Another session, to which this one handed over meanwhile, begins again.
    if (measured !== session) (measured = session).startFolds();
    return session.stepFolds();
  };
  try {
    for (let progress = { done: false }; !progress.done; progress = slice(step)) {
      const { folds: done, of: total } = progress;
      yield { done, total };
    }
    return session.finishFolds();
  } finally {
    session.dropFolds();
  }
}

/** Trains the last stages of the network: computes what stands before them once, then goes on from the head. */
async function* tune({ recipe, seed, heldOut, memory, state }, isPaused) {
  yield* whenItTrains({ stage: "photos", done: 0, total: 0 });
  let tuning = session.tuning(JSON.stringify(recipe), seed, heldOut, memory);
  try {
    while (!tuning.divide()) yield { stage: "photos", done: 0, total: 0 };
    if (state) tuning.restore(state);
    const missing = tuning.missing();
    let done = 0;
    for (let pauses = false; !pauses; pauses = isPaused()) {
      if (done < missing.length) {
        await take(tuning, missing[done++]);
        yield { stage: "photos", done, total: missing.length };
        continue;
      }
      const told = await tuning.advance(trainingSlice());
      if (told.done) {
        const [ended] = [tuning, (tuning = null)];
        return { report: session.finishTuning(ended), info: session.info() };
      }
      yield { stage: "training", ...told };
    }
    const [left, at] = [tuning, await tuning.state()];
    tuning = null;
    session.leaveTuning(left);
    return { state: at };
  } finally {
    tuning?.free();
  }
}

/** Shows a training an example's photo. */
async function take(tuning, id) {
  const { photo } = examples.get(id) ?? {};
  if (!photo) {
    throw failure(
      "file",
      "A photo is no longer at hand: it came from a camera or a canvas, and nothing but its features was kept.",
      "Remove it and take it again.",
    );
  }
  const picture = await pictureOf(photo);
  try {
    const { data, width, height } = pixelsOf(picture);
    await tuning.take(id, bytesOf(data), width, height);
  } finally {
    picture.close?.();
  }
}

async function* beginTraining({ recipe, labels, seed }) {
  yield* whenItTrains();
  const begun = session.training(JSON.stringify(recipe), labels, seed);
  const number = nextTraining++;
  trainings.set(number, begun);
  return { number, cut: begun.cut() };
}

function training(number) {
  const found = trainings.get(number);
  if (!found) throw failure("closed", "This training is over.", "Begin another one.");
  return found;
}

async function* stepTraining(number, batches) {
  const under = training(number);
  under.begin(batches);
  while (!under.goOn(trainingSlice())) yield;
}

async function finishTraining(number) {
  const ended = training(number);
  trainings.delete(number);
  await session.finishTraining(ended);
  return session.info();
}

function closeTraining(number) {
  trainings.get(number)?.free();
  trainings.delete(number);
}

/** Waits for an engine that trains, while other work has its turn, and hands over to it. */
async function* whenItTrains(told) {
  if (trains) return;
  larger ??= startEngine("training");
  let waits = true;
  const settled = larger.then(
    () => (waits = false),
    () => (waits = false),
  );
  while (waits) {
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, 20))]);
    if (waits) yield told;
  }
  let engine;
  try {
    engine = await larger;
  } catch (error) {
    larger = null;
    throw failure(
      "network",
      `What trains a network could not be fetched. ${error.message}`,
      "Check the connection, then begin the training again.",
    );
  }
  // Two may have waited for it. From here on nobody else has a turn.
  if (!trains) await handOver(engine);
}

/**
 * Puts a session of another engine in the place of this one: it knows all that was taught, and answers alike. What the
 * first one took of the worker's memory stays with it, since a module's memory never shrinks.
 */
async function handOver(engine) {
  const next = await engine.Session.open(...opened);
  try {
    const info = session.info();
    if (info) {
      await next.load(new Uint8Array(await file.arrayBuffer()));
      const taught = [...examples].map(([id, { classId, hash }]) => {
        return { id, classId, hash, features: session.features(id) };
      });
      teach(next, { classes: session.classes(), examples: taught });
      if (info.classIds) next.restoreHead(await session.saveModel(), info.classIds, fitted);
    }
    next.restoreCounters(session.counters());
  } catch (error) {
    next.free();
    throw error;
  }
  session.free();
  [session, trains] = [next, true];
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
 * Starts one of the builds of the engine: "gpu" drives graphics adapters and the CPU, "cpu" only the CPU and is a ninth of
 * its size, "training" the same, and trains more than heads there.
 */
async function startEngine(build) {
  const folder = new URL(`./pkg/${build}/`, import.meta.url);
  // Fetched at once: the WebAssembly module need not wait for its JavaScript.
  const module = fetch(new URL("rekindle_web_bg.wasm", folder));
  module.catch(() => {}); // whoever awaits it says so; if the glue fails, nobody does
  let engine;
  try {
    // A script that once could not be fetched is not fetched again: it waits until the larger part is there.
    if (session) await module;
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
  return [value, value?.features, value?.state].filter((part) => ArrayBuffer.isView(part)).map((part) => part.buffer);
}
