// Every WGSL text there is, before the compiler that Chromium has for them. It is called Tint, and it
// refuses some of what naga lets pass, such as a barrier that not every thread may reach.
//
//   REKINDLE_TEXTS  folder with the `texts.json` that the shaders' own tests write (required; without
//                   it these tests are skipped)
//   CHROMIUM: see helpers/browser.mjs

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch, visit } from "./helpers/browser.mjs";
import { refused } from "./helpers/compile.mjs";
import { serve } from "./helpers/server.mjs";

const TEXTS = process.env.REKINDLE_TEXTS;
/** Fewer texts than this are a list that was not written to its end. */
const FEWEST = 500;
const FEWEST_WITH_HALVES = 100;

/** What has to be refused, or the refusals are not seen. naga lets the second pass. */
const BROKEN = [
  { name: "a sum of two types", half: false, body: "data[0] = data[1] + 1i;" },
  {
    name: "a barrier for some threads",
    half: false,
    body: "if (data[id.x] > 0.0) { workgroupBarrier(); }",
  },
  { name: "a sum of a half and a whole", half: true, body: "data[0] = f32(f16(data[1]) + data[2]);" },
].map(({ name, half, body }) => ({
  name,
  half,
  tier: "none",
  source: `${half ? "enable f16;" : ""}
    @group(0) @binding(0) var<storage, read_write> data: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(local_invocation_id) id: vec3u) { ${body} }`,
}));

let texts;
let browser;
let server;
/** Kept: the package does not bear that its parts are collected one by one. */
const dawn = {};

describe("every WGSL text", { skip: TEXTS ? false : "REKINDLE_TEXTS is not set" }, () => {
  before(async () => {
    texts = JSON.parse(await readFile(join(TEXTS, "texts.json"), "utf8"));
    server = await serve([
      { at: "index.html", body: "<!doctype html><title>Texts</title>" },
      { at: "helpers/", folder: join(import.meta.dirname, "helpers") },
    ]);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  test("the list is whole", () => {
    assert.ok(texts.length >= FEWEST, `${texts.length} texts`);
    assert.equal(new Set(texts.map(({ source }) => source)).size, texts.length);
    const halves = texts.filter(({ half }) => half);
    assert.ok(halves.length >= FEWEST_WITH_HALVES, `${halves.length} texts with half precision`);
    // A text that two classes of adapters share is listed for the lesser one only.
    for (const tier of ["Software", "Baseline"]) {
      assert.ok(texts.some((text) => text.tier === tier), `no text for ${tier}`);
    }
  });

  test("compiles in Chromium", async (t) => {
    const mine = texts.filter(({ half }) => !half);
    // The rest of the way to the driver takes a software adapter long: once for each operation.
    const samples = oneOfEach(mine.filter(({ tier }) => tier === "Software"));
    const answer = await inChromium(mine, samples);
    assert.deepEqual(answer.broken, namesOfBroken(false), "what is wrong is not found");
    assertNone(answer.refused);
    assertNone(answer.withoutPipeline);
    t.diagnostic(`${mine.length} texts, ${samples.length} pipelines`);
  });

  // Chromium's software adapter has no `shader-f16`, and without it the first line of these texts is an
  // error. Writing f32 for f16 would hide just the mistakes that are looked for. So they are shown to the
  // same compiler as it comes for Node, with an adapter that has every feature and runs nothing.
  test("with half precision compiles in Chromium's compiler", async (t) => {
    let create;
    try {
      ({ create } = await import("webgpu"));
    } catch (error) {
      t.skip(`the package webgpu is not here: ${error.message}`);
      return;
    }
    const mine = texts.filter(({ half }) => half);
    dawn.gpu = create(["backend=null"]);
    dawn.adapter = await dawn.gpu.requestAdapter();
    dawn.device = await dawn.adapter.requestDevice({ requiredFeatures: ["shader-f16"] });
    const broken = await refused(dawn.device, BROKEN);
    assert.deepEqual(unique(broken), namesOfBroken(true), "what is wrong is not found");
    assertNone(await refused(dawn.device, mine));
    t.diagnostic(`${mine.length} texts`);
  });
});

/** What Chromium refuses of `texts` and of the broken ones, and which of `samples` get no pipeline. */
async function inChromium(texts, samples) {
  const { page, context, trouble } = await visit(browser, server.url);
  try {
    const answer = await page.evaluate(
      async ({ texts, broken, samples }) => {
        const { refused, withoutPipeline } = await import("./helpers/compile.mjs");
        const adapter = await navigator.gpu.requestAdapter();
        const device = await adapter.requestDevice();
        return {
          broken: await refused(device, broken),
          refused: await refused(device, texts),
          withoutPipeline: await withoutPipeline(device, samples),
        };
      },
      { texts, samples, broken: BROKEN.filter(({ half }) => !half) },
    );
    assert.deepEqual(trouble, []);
    return { ...answer, broken: unique(answer.broken) };
  } finally {
    await context.close();
  }
}

/** The shortest text of every operation: its name up to the first number. */
function oneOfEach(texts) {
  const shortest = new Map();
  for (const text of texts) {
    const [operation] = text.name.split(/_\d/);
    const known = shortest.get(operation);
    if (!known || text.source.length < known.source.length) shortest.set(operation, text);
  }
  return [...shortest.values()];
}

function namesOfBroken(half) {
  return BROKEN.filter((text) => half || !text.half).map(({ name }) => name);
}

function unique(found) {
  return [...new Set(found.map(({ name }) => name))];
}

function assertNone(found) {
  const lines = found.slice(0, 20).map(({ name, tier, message }) => `${name} (${tier}): ${message}`);
  assert.equal(found.length, 0, `${found.length} refused, among them\n${lines.join("\n")}`);
}
