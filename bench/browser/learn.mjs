// How long the page takes to learn: fits and their folds in Chromium, on the processor, and what an answer waits
// while they go on.
//
// For five classes of so many photos each, from made-up features of the network's width:
//
//   cold      a fit from nothing
//   refit     again, with nothing changed
//   one less  again, with a photo removed
//   folds     five folds, after the fit
//   piece     the longest single step of all these: what a look may have to wait for
//
// Then through the page's own worker, with photos: a look while nothing else is done, and the longest one while the
// page fits and measures.
//
//     cargo xtask web && cd bench/browser && npm ci && node learn.mjs

import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { serve } from "../../tests/browser/helpers/server.mjs";

const HELP = `node learn.mjs [options]

  --photos A,B       photos of each of five classes (default: 80,400)
  --network NAME     of those in the page (default: efficientnet_lite0)
  --rounds N         measure so many times, keep the best (default: 3)
  --page DIR         the built page (default: dist)
`;

const here = import.meta.dirname;
const { values: options } = parseArgs({
  options: {
    photos: { type: "string", default: "80,400" },
    network: { type: "string", default: "efficientnet_lite0" },
    rounds: { type: "string", default: "3" },
    page: { type: "string", default: resolve(here, "../../dist") },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(HELP);
  process.exit();
}

const server = await serve([
  { at: "learn.html", body: "<!doctype html><title>Learning</title>" },
  { at: "learn/", folder: join(here, "page") },
  { folder: resolve(options.page) },
]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage();
  await page.goto(`${server.url}learn.html`);
  const model = `models/${options.network}.safetensors`;
  const ms = (value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`.padStart(10);
  console.log(`${options.network}, ${browser.version()}, the best of ${options.rounds}`);
  console.log(["photos", "cold", "refit", "one less", "folds", "piece"].map((name) => name.padStart(10)).join(""));
  for (const each of options.photos.split(",").map(Number)) {
    const best = await page.evaluate(
      async ({ each, model, rounds }) => {
        const { engineTimes } = await import("./learn/learn.js");
        return engineTimes(model, each, rounds);
      },
      { each, model, rounds: Number(options.rounds) },
    );
    const { cold, refit, less, folds, piece } = best;
    console.log(`${`5 × ${each}`.padStart(10)}${[cold, refit, less, folds, piece].map(ms).join("")}`);
    console.log(`${"".padStart(10)}(${best.iterations.join(", ")} iterations, ${best.accuracy.toFixed(3)} in the folds)`);
  }
  const waits = await page.evaluate(async (model) => {
    const { waits } = await import("./learn/learn.js");
    return waits(model);
  }, model);
  console.log(
    `a look ${ms(waits.idle).trim()} (longest of ${waits.count}: ${ms(waits.idleLongest).trim()}); ` +
      `the longest of ${waits.looks} while 5 × ${waits.each} photos were fitted and measured: ${ms(waits.longest).trim()}`,
  );
} finally {
  await browser.close();
  await server.close();
}
