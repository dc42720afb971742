// One cell of the table: one engine, on one backend, with one network, in this page and no other.
//
// An engine is a module with one function, `prepare(job, bytes, picture)`, which does what the clock does
// not count (fetching scripts; what a converter would have done before) and returns:
//
//     start()   the engine comes up, with its device          }
//     load()    the model's bytes become a network            }  counted
//     pass()    the picture goes in, the answer is on the host }
//     logits()  all logits, for the comparison

/**
 * @typedef {{ engine: string, backend: "webgpu" | "wasm", network: string, preset: object,
 *             classes: number, budget: number, limit: number, runs: number, ownKernels?: boolean }} Job
 * @typedef {{ start: () => Promise<void>, load: () => Promise<void>, pass: () => Promise<unknown>,
 *             logits: () => Promise<Float32Array>, device?: () => string }} Run
 */

/** Passes that are made even when they take longer than the budget, as long as the limit is far. */
const FEWEST = 3;

/** @param {Job} job */
globalThis.measure = async (job) => {
  try {
    return await cell(job);
  } catch (error) {
    return { error: [error?.message ?? String(error), error?.help].filter(Boolean).join(" ") };
  }
};

async function cell(job) {
  const { prepare } = await import(`./${job.engine}.js`);
  const format = job.engine === "rekindle" ? "safetensors" : "onnx";
  const answer = await fetch(`models/${job.network}.${format}`);
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  /** @type {Run} */
  const run = await prepare(job, bytes, picture(job.preset));

  const begin = performance.now();
  await run.start();
  const started = performance.now();
  await run.load();
  await run.pass();
  const answered = performance.now();

  // A few passes more before the clock: WebAssembly is compiled again once it is known to be hot.
  const rest = job.limit - (performance.now() - begin);
  const budget = Math.min(job.budget, rest / 4);
  const within = (milliseconds, from = performance.now()) => () => performance.now() - from < milliseconds;
  const warming = within(budget / 4);
  for (let i = 0; i < FEWEST && warming(); i++) await run.pass();
  const times = [];
  const [inBudget, inLimit] = [within(budget), within(rest / 3)];
  while (!times.length || (times.length < FEWEST && inLimit()) || (times.length < job.runs && inBudget())) {
    const from = performance.now();
    await run.pass();
    times.push(performance.now() - from);
  }
  return {
    start: started - begin,
    answer: answered - started,
    first: answered - begin,
    warm: median(times),
    best: Math.min(...times),
    runs: times.length,
    device: run.device?.() ?? "",
    logits: [...(await run.logits())],
  };
}

function median(times) {
  const sorted = [...times].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/**
 * The same picture for all: as large as the preset would resize it to, so that nothing is resized; and the
 * centre of it as the network's numbers, in both layouts.
 */
function picture({ resize, crop, mean, std }) {
  const rgba = new Uint8Array(4 * resize * resize);
  for (let y = 0; y < resize; y++) {
    for (let x = 0; x < resize; x++) {
      const wave = 60 * Math.sin(x / 9) * Math.cos(y / 13);
      const grain = (Math.imul(x * 73856093 + y * 19349663, 2654435761) >>> 27) - 16;
      const colours = [(255 * x) / resize + wave, (255 * y) / resize - wave, 128 + wave + 2 * grain];
      const clamped = colours.map((c) => Math.min(255, Math.max(0, Math.round(c + grain))));
      rgba.set([...clamped, 255], 4 * (y * resize + x));
    }
  }
  const nhwc = new Float32Array(3 * crop * crop);
  const nchw = new Float32Array(3 * crop * crop);
  const margin = (resize - crop) / 2;
  for (let at = 0; at < crop * crop; at++) {
    const [y, x] = [Math.floor(at / crop) + margin, (at % crop) + margin];
    for (let c = 0; c < 3; c++) {
      const value = (rgba[4 * (y * resize + x) + c] / 255 - mean[c]) / std[c];
      nhwc[3 * at + c] = value;
      nchw[c * crop * crop + at] = value;
    }
  }
  return { rgba, side: resize, crop, nhwc, nchw };
}

/** Runs a script that knows nothing of modules. */
globalThis.classic = (address) =>
  new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${address} did not load`));
    document.head.append(script);
  });
