// More than the head trained in Chromium, in both engines: a network's last stages, step by step as PyTorch trains them,
// and from photos to a saved file through the page's own interface.
//
//   REKINDLE_DIST    folder of the built page (required; without it these tests are skipped)
//   REKINDLE_TUNING  folder with the case that the tests of tuning write (`tests/tests/tuning/page.rs`)
//   REKINDLE_BIN     the `rekindle` program, which makes a small network and opens what was saved
//   REKINDLE_PHOTOS, CHROMIUM: see helpers/browser.mjs

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { launch, PHOTOS, photosOf, visit } from "./helpers/browser.mjs";
import { serve } from "./helpers/server.mjs";
import { readGolden, tensorsOf } from "./helpers/tensors.mjs";

const DIST = process.env.REKINDLE_DIST;
const TUNING = process.env.REKINDLE_TUNING;
const PROGRAM = process.env.REKINDLE_BIN;
/** How far a loss may be from PyTorch's, relative. */
const LOSS = 1e-4;
/** How far a number may be from PyTorch's at the end, relative to its tensor's largest. */
const END = 1e-3;
/** How far a tensor may have moved otherwise than in PyTorch, relative: float32 in PyTorch itself comes to 3e-3. */
const MOVED = 5e-2;
/** Probabilities of two worlds may differ by this much. */
const TOLERANCE = 1e-2;
/** So strong a penalty leaves a head nearly where it began, and much to gain. */
const C = 1e-5;
/** A software WebGPU adapter compiles every kernel anew. */
const SLOW = 600_000;

let browser;
let server;
let scratch;
/** What the command line makes of the photos, once for both engines. */
let byHand;

describe("training more than the head in the page", { skip: DIST ? false : "REKINDLE_DIST is not set" }, () => {
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), "rekindle-training-"));
    server = await serve([
      { at: "empty.html", body: "<!doctype html><title>Empty</title>" },
      { at: "photos/", folder: PHOTOS },
      { at: "scratch/", folder: scratch },
      ...(TUNING ? [{ at: "tuning/", folder: resolve(TUNING) }] : []),
      { folder: resolve(DIST) },
    ]);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
    if (scratch) await rm(scratch, { recursive: true, force: true });
  });

  for (const kind of ["cpu", "webgpu"]) {
    test(
      `ten steps of a network's last stages are PyTorch's, losses and parameters: ${kind}`,
      { skip: TUNING ? false : "REKINDLE_TUNING is not set", timeout: SLOW },
      async (t) => {
        const { card } = await readGolden(join(TUNING, "case.safetensors"));
        const { device, cut, losses, state } = await onPage(async ({ kind, recipe, labels, seed }) => {
          const { Rekindle } = await import("./rekindle.js");
          const rekindle = await Rekindle.start({ device: kind });
          await rekindle.load("tuning/model.safetensors");
          const file = await (await fetch("tuning/case.safetensors")).arrayBuffer();
          const start = 8 + Number(new DataView(file).getBigUint64(0, true));
          const entries = JSON.parse(new TextDecoder().decode(file.slice(8, start)));
          const training = await rekindle.training({ recipe, labels, seed });
          const losses = [];
          for (let step = 0; (await training.wanted()).kind === "step"; step++) {
            const [from, to] = entries[`images.${step}`].data_offsets;
            const values = await training.values(new Float32Array(file.slice(start + from, start + to)));
            await training.step([values]);
            losses.push(await training.losses());
          }
          // As text: millions of numbers one by one would take the test longer than the training.
          const reader = new FileReader();
          const read = new Promise((resolve) => reader.addEventListener("load", resolve));
          reader.readAsDataURL(new Blob([await training.state()]));
          await read;
          const state = reader.result.slice(reader.result.indexOf(",") + 1);
          await training.close();
          rekindle.close();
          return { device: rekindle.device, cut: training.cut, losses, state };
        }, { kind, recipe: card.recipe, labels: card.labels, seed: card.seed });
        assert.equal(device.kind, kind);
        assert.ok(cut.value > 0, "what stands before the last stages runs compiled");
        assert.equal(losses.length, card.losses.length);
        const apart = losses.map((loss, step) => Math.abs(loss - card.losses[step]) / card.losses[step]);
        const { tensors } = tensorsOf(new Uint8Array(Buffer.from(state, "base64")));
        const [end, moved] = furthest(card.rows, (name) => tensors[`tensors:${name}`]);
        const worst = Math.max(...apart);
        t.diagnostic(`loss ${worst.toExponential(1)}, end ${end.toExponential(1)}, moved ${moved.toExponential(1)}`);
        assert.ok(worst < LOSS, `losses ${losses}, in PyTorch ${card.losses}`);
        assert.ok(end < END && moved < MOVED, `end ${end}, moved ${moved}`);
      },
    );

    test(
      `a taught network's last stages are trained, paused, called off, kept if better, saved and opened elsewhere: ${kind}`,
      { skip: PROGRAM ? false : "REKINDLE_BIN is not set", timeout: SLOW },
      async (t) => {
        const { taught, run, native } = await (byHand ??= elsewhere());
        const unseen = [...(await photosOf("tool", 2, 10)), ...(await photosOf("animal", 2, 10))];
        const { whole, uninterrupted, resumed, cancelled, worse, answers, again, saved } = await onPage(flow, {
          kind,
          model: `scratch/${relative(scratch, run.model)}`,
          taught,
          unseen: unseen.map(address),
          c: C,
        });

        const { report, progress, info } = whole;
        assert.equal(report.kept, "tuned", "a head that hardly learnt is easily beaten");
        assert.ok(report.accuracyTuned >= report.accuracyHead, JSON.stringify(report));
        assert.equal(report.trainedOn + report.heldOut, 21);
        assert.equal(report.epochs.length, 2);
        assert.equal(report.views, 2);
        // The same photos are held back, the same views drawn, the same steps taken.
        assert.equal(native.kept, "tuned");
        const lines = (await readFile(join(native.run, "metrics.jsonl"), "utf8")).trim().split("\n");
        const epochs = lines.map((line) => JSON.parse(line)).filter(({ epoch }) => epoch);
        assert.equal(epochs.length, 2);
        for (const [i, { loss, held_out_loss: heldOutLoss, accuracy }] of epochs.entries()) {
          const here = report.epochs[i];
          const apart = [here.loss / loss - 1, here.heldOutLoss / heldOutLoss - 1].map(Math.abs);
          t.diagnostic(`epoch ${i + 1}: ${apart.map((share) => share.toExponential(1)).join(", ")} from the command line`);
          assert.ok(Math.max(...apart) < TOLERANCE && here.accuracy === accuracy, JSON.stringify([here, epochs[i]]));
        }
        assert.equal(info.trained, true);
        const photos = progress.filter(({ stage, total }) => stage === "photos" && total > 0);
        assert.deepEqual(photos.at(-1), { stage: "photos", done: 21, total: 21 });
        const steps = progress.filter(({ stage }) => stage === "training");
        assert.ok(steps.length >= 2, "it tells how it goes");
        assert.ok(steps.some(({ loss }) => Number.isFinite(loss)) && steps.every(({ steps }) => steps === 4));

        // What was paused in the midst goes on to the same end.
        assert.equal(resumed.paused, true);
        assert.ok(resumed.at.step > 0 && resumed.at.step < resumed.at.steps, JSON.stringify(resumed.at));
        assert.equal(uninterrupted.report.epochs.length, uninterrupted.asked);
        assert.deepEqual(resumed.report.epochs, uninterrupted.report.epochs);
        assert.deepEqual(again, uninterrupted.answers);
        assert.match(resumed.refused.message, /differs in .*recipe/);

        assert.equal(cancelled.kind, "cancelled");
        assert.deepEqual([cancelled.before.revision, cancelled.before.trained], [cancelled.after.revision, false]);
        assert.equal(worse.report.kept, "head");
        assert.equal(worse.after.revision, worse.before.revision, "the head is as it was");
        assert.equal(worse.report.accuracy, worse.report.accuracyHead);

        const file = join(scratch, "tuned.safetensors");
        await writeFile(file, Uint8Array.from(saved));
        for (const { path, top } of await program("predict", file, ...unseen)) {
          const here = answers[unseen.indexOf(path)];
          for (const { class: name, probability } of top) {
            const found = here.find((answer) => answer.class === name).probability;
            assert.ok(Math.abs(found - probability) < TOLERANCE, `${path}: ${name} ${probability}, here ${found}`);
          }
        }
      },
    );
  }

  test("on the processor what trains is fetched once somebody trains, and knows all that was taught", { timeout: SLOW }, async () => {
    const { page, context, trouble } = await visit(browser, server.url, { query: "empty.html" });
    page.setDefaultTimeout(SLOW);
    const fetched = [];
    context.on("request", (request) => request.url().includes("/pkg/training/") && fetched.push(basename(request.url())));
    try {
      const photos = {};
      for (const name of ["animal", "tool"]) photos[name] = (await photosOf(name, 4)).map(address);
      const before = await page.evaluate(async (photos) => {
        const { Rekindle } = await import("./rekindle.js");
        const rekindle = await Rekindle.start({ device: "cpu" });
        await rekindle.load("models/squeezenet1_1.safetensors");
        const blob = async (address) => (await fetch(address)).blob();
        const ids = [];
        for (const [name, addresses] of [...Object.entries(photos), ["gone", [photos.tool[0]]]]) {
          const id = await rekindle.addClass(name);
          for (const address of addresses) ids.push((await rekindle.addExample(id, await blob(address))).id);
        }
        await rekindle.removeClass(3);
        await rekindle.fit({ c: 0.1 });
        const picture = await blob(photos.animal[0]);
        const hash = async () => {
          const bytes = await (await rekindle.saveModel()).arrayBuffer();
          return [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].join();
        };
        window.see = async () => {
          const answers = await rekindle.classify(picture, 2);
          return { answers, info: rekindle.info, classes: await rekindle.classes(), saved: await hash() };
        };
        window.rekindle = rekindle;
        return { ids, folds: await rekindle.crossValidate(), seen: await window.see() };
      }, photos);
      assert.deepEqual(fetched, [], "who does not train downloads nothing for it");

      // Without the server nothing trains, and nothing is lost.
      await context.route("**/pkg/training/**", (route) => route.abort());
      const kind = () => window.rekindle.training({ labels: [0, 1] }).then(() => "none", (error) => error.kind);
      assert.equal(await page.evaluate(kind), "network");
      await context.unroute("**/pkg/training/**");
      fetched.length = 0;

      const after = await page.evaluate(async () => {
        const { rekindle, see } = window;
        const measured = rekindle.crossValidate();
        const training = await rekindle.training({ labels: [0, 1], recipe: { batch: 2 } });
        const folds = await measured;
        const seen = await see();
        await training.close();
        const [report, again] = [await rekindle.tune({ epochs: 1 }), await rekindle.tune({ epochs: 1 })];
        const next = await rekindle.addClass("another");
        const photo = await rekindle.addExample(next, new ImageData(64, 64));
        rekindle.close();
        return { folds, seen, next, photo: photo.id, views: [report.views, again.views] };
      });
      assert.deepEqual(fetched.sort(), ["rekindle_web.js", "rekindle_web_bg.wasm"]);
      assert.deepEqual(after.seen, { ...before.seen, answers: after.seen.answers });
      for (const [i, { class: name, id, probability }] of after.seen.answers.entries()) {
        const earlier = before.seen.answers[i];
        assert.deepEqual([name, id], [earlier.class, earlier.id]);
        // The network's ReLU lifted the logits in the file.
        assert.ok(Math.abs(probability - earlier.probability) < 1e-5, JSON.stringify([after.seen, before.seen]));
      }
      const { milliseconds: _, ...folds } = before.folds;
      assert.deepEqual({ ...after.folds, milliseconds: _ }, { ...folds, milliseconds: _ });
      assert.deepEqual([after.next, after.photo], [4, before.ids.length + 1], "no id is given twice");
      assert.deepEqual(trouble, []);
    } finally {
      await context.close();
    }
  });

  test("on the processor an answer overtakes a step, and what cannot be followed is refused", { timeout: SLOW }, async () => {
    const { first, kinds } = await onPage(async (photo) => {
      const { Rekindle } = await import("./rekindle.js");
      const rekindle = await Rekindle.start({ device: "cpu" });
      await rekindle.load("models/squeezenet1_1.safetensors");
      const picture = await (await fetch(photo)).blob();
      const training = await rekindle.training({ labels: [0, 1], recipe: { tune: "full", batch: 2 } });
      const step = training.step([new Float32Array(2 * 3 * 224 * 224)]);
      const answer = rekindle.classify(picture);
      const first = await Promise.race([step.then(() => "step"), answer.then(() => "answer")]);
      await step;
      await training.close();
      const kind = (promise) => promise.then(() => "none", (error) => error.kind);
      const kinds = [
        await kind(rekindle.tune()),
        await kind(rekindle.training({ labels: [1e4] })),
        await kind(rekindle.tune({ mode: "full" })),
        await kind(rekindle.tune({ epochs: 0 })),
      ];
      rekindle.close();
      return { first, kinds };
    }, address((await photosOf("animal", 1))[0]));
    assert.equal(first, "answer");
    assert.deepEqual(kinds, ["usage", "usage", "usage", "usage"]);
  });
});

/** Photos of three classes, a small network that sees little, and what the command line makes of it. */
async function elsewhere() {
  const taught = {};
  for (const name of ["animal", "tool", "windmill"]) {
    const photos = await photosOf(name, 7);
    taught[name] = photos.map(address);
    await mkdir(join(scratch, "photos", name), { recursive: true });
    for (const photo of photos) await copyFile(photo, join(scratch, "photos", name, basename(photo)));
  }
  const train = ["train", join(scratch, "photos"), "--model", "squeezenet1_1", "--input", "64", "--out", scratch];
  const [run] = await program(...train);
  const [native] = await program(
    ...[...train, "--tune", "last", "--c", `${C}`, "--epochs", "2", "--batch", "9", "--lr", "2e-4", "--seed", "3"],
    ...["--dropout", "0"],
  );
  return { taught, run, native };
}

/** In the page: teaches three classes and trains, once to the end, once with a break, once called off, once badly. */
async function flow({ kind, model, taught, unseen, c }) {
  const { Rekindle } = await import("./rekindle.js");
  const rekindle = await Rekindle.start({ device: kind });
  await rekindle.load(model);
  const blob = async (address) => (await fetch(address)).blob();
  for (const [name, photos] of Object.entries(taught)) {
    const id = await rekindle.addClass(name);
    for (const photo of photos) await rekindle.addExample(id, await blob(photo));
  }
  const fit = () => rekindle.fit({ c });
  const options = { epochs: 2, batch: 9, lr: 2e-4, seed: 3, recipe: { dropout: 0 } };
  const ask = async () => {
    const answers = [];
    for (const photo of unseen) {
      const all = await rekindle.classify(await blob(photo), 3);
      answers.push(all.map(({ class: name, probability }) => ({ class: name, probability })));
    }
    return answers;
  };

  await fit();
  const progress = [];
  const report = await rekindle.tune({ ...options, onProgress: (told) => progress.push(told) });
  const whole = { report, progress, info: rekindle.info };
  const answers = await ask();
  const saved = Array.from(new Uint8Array(await (await rekindle.saveModel()).arrayBuffer()));

  // So long that a pause comes before the end wherever the steps are quick.
  const long = { ...options, epochs: kind === "cpu" ? 60 : 10 };
  await fit();
  const uninterrupted = { asked: long.epochs, report: await rekindle.tune(long), answers: await ask() };
  await fit();
  const pause = new AbortController();
  let at = null;
  const onProgress = (told) => {
    // The processor tells in the midst of steps, too.
    if (told.stage !== "training" || told.step === 0) return;
    at ??= told;
    pause.abort();
  };
  const paused = await rekindle.tune({ ...long, pause: pause.signal, onProgress });
  const refused = await rekindle.tune({ ...long, lr: 1e-4, state: paused.state }).catch(({ message }) => ({ message }));
  const resumed = { at, refused, paused: paused.paused, report: await rekindle.tune({ ...long, state: paused.state }) };
  const again = await ask();

  await fit();
  const stop = new AbortController();
  const before = rekindle.info;
  const reason = await rekindle
    .tune({ ...long, signal: stop.signal, onProgress: ({ stage }) => stage === "training" && stop.abort() })
    .then(() => "none", (error) => error.kind);
  const cancelled = { kind: reason, before, after: rekindle.info };

  const worse = { before: rekindle.info, report: await rekindle.tune({ ...options, epochs: 1, lr: 1e3 }) };
  worse.after = rekindle.info;
  rekindle.close();
  return { whole, uninterrupted, resumed, cancelled, worse, answers, again, saved };
}

/** Runs a function in an empty page that has Rekindle beside it. */
async function onPage(work, argument) {
  const { page, context, trouble } = await visit(browser, server.url, { query: "empty.html" });
  page.setDefaultTimeout(SLOW);
  try {
    const answer = await page.evaluate(work, argument);
    assert.deepEqual(trouble, []);
    return answer;
  } finally {
    await context.close();
  }
}

/** The worst differences of numbers at the end, and of how far tensors moved. */
function furthest(rows, tensor) {
  let [end, moved] = [0, 0];
  for (const { name, largest, norm, moved: far, places } of rows) {
    const values = tensor(name);
    assert.ok(values, `there is no ${name}`);
    let [off, way] = [0, 0];
    for (const [place, before, wanted] of places) {
      end = Math.max(end, Math.abs(values[place] - wanted) / largest);
      off += (values[place] - wanted) ** 2;
      way += (wanted - before) ** 2;
      if (far === 0) assert.equal(values[place], before, `${name} did not move in PyTorch`);
    }
    if (way > 0) moved = Math.max(moved, Math.sqrt(off / way));
    const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    assert.ok(Math.abs(length - norm) < END * norm, `${name}: a length of ${length}, in PyTorch ${norm}`);
  }
  return [end, moved];
}

function address(photo) {
  return `photos/${relative(PHOTOS, photo)}`;
}

async function program(...args) {
  const said = [...args, "--json", "--quiet", "--device", "cpu"];
  const { stdout } = await promisify(execFile)(PROGRAM, said, { maxBuffer: 1 << 24 });
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}
