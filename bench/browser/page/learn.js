// Fits and folds in this browser, timed. See ../learn.mjs.

const CLASSES = 5;
/** Photos of each class for the looks that wait. */
const LOOKED_AT = 16;
const LOOKS = 10;

/** Best times of fits and folds in the engine itself, on made-up features. */
export async function engineTimes(model, each, rounds) {
  const engine = await import("../pkg/cpu/rekindle_web.js");
  await engine.default();
  const bytes = new Uint8Array(await (await fetch(model)).arrayBuffer());
  const session = await engine.Session.open("cpu", false, "");
  const best = {};
  const keep = (name, value) => (best[name] = Math.min(best[name] ?? Infinity, value));
  let piece = 0;
  const timed = (act) => {
    const before = performance.now();
    const result = act();
    piece = Math.max(piece, performance.now() - before);
    return result;
  };
  const steps = (step) => {
    while (!timed(step).done);
  };
  const fit = () => {
    const before = performance.now();
    timed(() => session.startFit({}));
    steps(() => session.stepFit());
    const report = timed(() => session.finishFit());
    return { milliseconds: performance.now() - before, iterations: report.iterations };
  };
  for (let round = 0; round < rounds; round += 1) {
    await session.load(bytes.slice());
    const width = await widthOf(session);
    await session.load(bytes.slice());
    teach(session, each, width);
    piece = 0;
    const cold = fit();
    const refit = fit();
    session.removeExample(session.last);
    const less = fit();
    const before = performance.now();
    timed(() => session.startFolds());
    steps(() => session.stepFolds());
    const { accuracy } = timed(() => session.finishFolds());
    keep("folds", performance.now() - before);
    keep("cold", cold.milliseconds);
    keep("refit", refit.milliseconds);
    keep("less", less.milliseconds);
    keep("piece", piece);
    Object.assign(best, { accuracy, iterations: [cold, refit, less].map(({ iterations }) => iterations) });
  }
  return best;
}

/** How wide the network's features are. */
async function widthOf(session) {
  const id = await session.addExample(session.addClass("any"), new Uint8Array(64 * 64 * 4).fill(128), 64, 64);
  return session.features(id).length;
}

/**
 * Classes that overlap a little: features as a network pools them, above zero and few of them large, around a mean
 * of the class's own.
 */
function teach(session, each, width) {
  const random = generator(7);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const mean = () => Float32Array.from({ length: width }, () => Math.max(0, 0.3 * normal()));
  const common = mean();
  const means = Array.from({ length: CLASSES }, mean);
  const ids = means.map((_, k) => session.addClass(`class ${k}`));
  let id = 1000;
  for (let i = 0; i < each; i += 1) {
    for (const [k, own] of means.entries()) {
      const features = common.map((value, f) => Math.max(0, value + 0.3 * own[f] + 0.4 * normal()));
      session.restoreExample(++id, ids[k], features);
    }
  }
  session.last = id;
}

/** What a look takes through the page's worker, with nothing else to do and while it fits and measures. */
export async function waits(model) {
  const { Rekindle } = await import("../rekindle.js");
  const rekindle = await Rekindle.start({ device: "cpu" });
  await rekindle.load(model);
  const random = generator(3);
  const picture = (k) => {
    const image = new ImageData(64, 64);
    for (let i = 0; i < image.data.length; i += 1) image.data[i] = 40 * k + 80 * random();
    return image;
  };
  const look = async () => {
    const before = performance.now();
    await rekindle.classify(picture(0));
    return performance.now() - before;
  };
  for (let k = 0; k < CLASSES; k += 1) {
    const id = await rekindle.addClass(`class ${k}`);
    for (let i = 0; i < LOOKED_AT; i += 1) await rekindle.addExample(id, picture(k));
  }
  await rekindle.fit();
  await look();
  const idle = [];
  for (let i = 0; i < LOOKS; i += 1) idle.push(await look());
  let busy = true;
  const work = (async () => {
    for (let i = 0; i < 3; i += 1) {
      await rekindle.fit({ c: 10 ** i });
      await rekindle.crossValidate();
    }
    busy = false;
  })();
  const during = [];
  while (busy) during.push(await look());
  await work;
  rekindle.close();
  idle.sort((a, b) => a - b);
  return {
    each: LOOKED_AT,
    count: LOOKS,
    idle: idle[LOOKS >> 1],
    idleLongest: idle.at(-1),
    looks: during.length,
    longest: Math.max(...during),
  };
}

function generator(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
