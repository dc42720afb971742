// Rekindle beside ONNX Runtime Web and TensorFlow.js in one browser, in one run: the same networks, weights
// and picture, each on WebGPU and on WebAssembly (SIMD, one thread).
//
// For each engine, backend and network a fresh browser measures
//
//   start   the engine comes up: WebAssembly compiled, device opened and (Rekindle) checked
//   answer  from the model's bytes in memory to the first logits on the host
//   first   both: what a visitor waits for, downloads aside
//   warm    median latency of further passes at batch 1
//   best    the fastest of them, for machines that have other things to do
//   off by  largest difference of a logit from the reference's, as a share of the largest logit
//
//     cargo build --release && cargo xtask web
//     cd bench/browser && npm ci && node run.mjs
//
// `node run.mjs --help` lists the options. Without `--adapter real`, WebGPU runs on SwiftShader, on the
// processor: such times compare shaders, not graphics adapters.

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { serve } from "../../tests/browser/helpers/server.mjs";
import { MODELS, makeModel } from "./models.mjs";
import { ENGINES, compare, heading, line, summary } from "./report.mjs";

const HELP = `node run.mjs [options]

  --networks A,B     the networks (default: squeezenet1_1, efficientnet_lite0, mobilenet_v3_large, resnet18)
  --all              those and resnet50, vit_b_16
  --engines A,B      of ${ENGINES.join(", ")} (default: all)
  --backends A,B     of wasm, webgpu (default: both)
  --kernels          Rekindle's own WebGPU kernels beside Burn's instead of other engines
  --adapter WHICH    swiftshader (default) or real
  --rounds N         measure each cell in so many fresh browsers, keep its best times (default: 1)
  --runs N           warm passes, at most (default: 50)
  --budget SECONDS   time for them (default: 10); three passes are made if the limit allows
  --limit SECONDS    time for one cell in all (default: 240)
  --page DIR         the built page (default: dist)
  --json FILE        write everything measured there
`;

const NETWORKS = ["squeezenet1_1", "efficientnet_lite0", "mobilenet_v3_large", "resnet18"];
const LARGE = ["resnet50", "vit_b_16"];
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--enable-unsafe-webgpu",
];

const here = import.meta.dirname;
const root = resolve(here, "../..");
const text = (value) => ({ type: "string", default: value });
const { values: options } = parseArgs({
  options: {
    networks: text(""),
    all: { type: "boolean", default: false },
    engines: text(ENGINES.join(",")),
    backends: text("wasm,webgpu"),
    kernels: { type: "boolean", default: false },
    adapter: text("swiftshader"),
    rounds: text("1"),
    runs: text("50"),
    budget: text("10"),
    limit: text("240"),
    page: text(join(root, "dist")),
    json: text(""),
    help: { type: "boolean", default: false },
  },
});
const say = (message) => process.stderr.write(`${message}\n`);

/** Everything a cell loads, from this machine. The server knows no `.mjs`: modules are renamed. */
function layers() {
  const modules = join(here, "node_modules");
  const ort = join(modules, "onnxruntime-web/dist");
  const tfjs = join(modules, "@tensorflow");
  const script = (at, file) => ({ at, body: readFileSync(file) });
  return [
    { at: "rekindle/", folder: join(resolve(options.page), "pkg") },
    { at: "models/", folder: MODELS },
    script("onnxruntime/wasm.js", join(ort, "ort.wasm.bundle.min.mjs")),
    script("onnxruntime/webgpu.js", join(ort, "ort.webgpu.bundle.min.mjs")),
    { at: "onnxruntime/", folder: ort },
    script("tfjs/tf-core.js", join(tfjs, "tfjs-core/dist/tf-core.es2017.min.js")),
    ...["wasm", "webgpu"].map((backend) =>
      script(
        `tfjs/tf-backend-${backend}.js`,
        join(tfjs, `tfjs-backend-${backend}/dist/tf-backend-${backend}.es2017.min.js`),
      ),
    ),
    { at: "tfjs/", folder: join(tfjs, "tfjs-backend-wasm/dist") },
    { folder: join(here, "page") },
  ];
}

/** What is measured: one job for each cell, those to be compared side by side. */
function jobs(cards) {
  const list = (names) => names.split(",").filter(Boolean);
  const backends = options.kernels ? ["webgpu"] : list(options.backends);
  const engines = options.kernels
    ? [true, false].map((own) => ({ engine: "rekindle", ownKernels: own, label: own ? "own kernels" : "burn kernels" }))
    : list(options.engines).map((engine) => ({ engine, label: engine }));
  const seconds = (option) => 1000 * Number(options[option]);
  const common = { runs: Number(options.runs), budget: seconds("budget"), limit: seconds("limit") };
  return [...cards].flatMap(([network, { preset, classes }]) =>
    backends.flatMap((backend) =>
      engines.map((engine) => ({ network, backend, preset, classes: classes.length, ...common, ...engine })),
    ),
  );
}

/** A page in a browser of its own: nothing that an earlier cell compiled or left running is there. */
async function visit(url) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: options.adapter === "real" ? FLAGS : [...FLAGS, "--use-webgpu-adapter=swiftshader"],
  });
  try {
    const page = await browser.newPage();
    await page.goto(url);
    await page.waitForFunction(() => globalThis.measure);
    return { browser, page };
  } catch (error) {
    await browser.close();
    throw error;
  }
}

/** One cell in a fresh page. Whatever goes wrong becomes its result. */
async function measure(url, job) {
  const { browser, page, error } = await visit(url).catch(({ message }) => ({ error: message }));
  if (error) return { ...job, error };
  let timer;
  const trouble = new Promise((resolve) => {
    const fail = (error) => resolve({ error });
    timer = setTimeout(fail, job.limit, `no result within ${job.limit / 1000} s`);
    // A trap in WebAssembly leaves its promise open and is reported here instead.
    page.on("pageerror", (error) => fail(`uncaught: ${error.message}`));
    page.on("crash", () => fail("the page crashed"));
  });
  const measured = page.evaluate((job) => globalThis.measure(job), job);
  const result = await Promise.race([trouble, measured.catch(({ message }) => ({ error: message }))]);
  clearTimeout(timer);
  await browser.close();
  return { ...job, ...result };
}

async function main() {
  if (options.help) return process.stdout.write(HELP);
  const asked = options.networks ? options.networks.split(",") : NETWORKS;
  const networks = options.all ? [...new Set([...asked, ...LARGE])] : asked;
  const cards = new Map();
  for (const name of networks) {
    const { card, megabytes } = makeModel(name);
    say(`${name}: ${megabytes.toFixed(1)} MB of random weights`);
    cards.set(name, card);
  }
  const server = await serve(layers());
  const all = jobs(cards);
  const best = new Map();
  try {
    const versions = await describe(server.url);
    for (let round = 1; round <= Number(options.rounds); round++) {
      for (const job of all) {
        const result = await measure(server.url, job);
        const former = best.get(job);
        best.set(job, former ? faster(former, result) : result);
        say(`${round}  ${line(result)}`);
      }
    }
    const results = compare([...best.values()]);
    process.stdout.write(`${versions.join("\n")}\n\n${heading()}\n`);
    for (const result of results) process.stdout.write(`${line(result)}\n`);
    process.stdout.write(`\n${summary(results).join("\n")}\n`);
    if (options.json) {
      const lean = results.map(({ logits, preset, ...rest }) => rest);
      writeFileSync(options.json, `${JSON.stringify({ versions, options, results: lean }, null, 2)}\n`);
    }
  } finally {
    await server.close();
  }
}

/** The better of each time, from two rounds; a failure counts only where there is nothing else. */
function faster(a, b) {
  if (a.error || b.error) return a.error ? b : a;
  const least = (key) => Math.min(a[key], b[key]);
  const first = a.first < b.first ? a : b;
  return { ...a, start: first.start, answer: first.answer, first: first.first, warm: least("warm"), best: least("best") };
}

/** What was compared: the browser, its adapter, and the versions of all. */
async function describe(url) {
  const { browser, page } = await visit(url);
  const adapter = await page.evaluate(async () => {
    const { vendor, architecture, description } = (await navigator.gpu?.requestAdapter())?.info ?? {};
    return [vendor, architecture, description].filter(Boolean).join(" ") || "none";
  });
  await browser.close();
  const version = (name) => {
    const file = join(here, "node_modules", name, "package.json");
    return `${name} ${JSON.parse(readFileSync(file, "utf8")).version}`;
  };
  const others = ["onnxruntime-web", "@tensorflow/tfjs-core"].map(version).join(", ");
  const build = statSync(join(resolve(options.page), "pkg/gpu/rekindle_web_bg.wasm"));
  return [
    `Chromium ${browser.version()}, WebGPU adapter: ${adapter}`,
    `Rekindle built ${build.mtime.toISOString().slice(0, 16)}, ${others}`,
  ];
}

await main();
