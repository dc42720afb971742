// The page's networks with their real weights in Chromium: do they give the numbers that torchvision and
// timm gave, from the photo's file to the logits? `tests/tests/real_weights.rs` asks the same of the
// native build, of the same numbers.
//
//   REKINDLE_DIST  folder of the built page (required; without it these tests are skipped)
//   REKINDLE_PHOTOS, CHROMIUM: see helpers/browser.mjs

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { launch, PHOTOS, visit } from "./helpers/browser.mjs";
import { serve } from "./helpers/server.mjs";
import { readGolden } from "./helpers/tensors.mjs";

const DIST = process.env.REKINDLE_DIST;
const GOLDEN = resolve(import.meta.dirname, "../goldens/real.safetensors");
const NETWORKS = ["squeezenet1_1", "efficientnet_lite0"];
/** How many of the best classes the golden keeps. */
const KEPT = 5;
/** On the processor a logit may differ by this much, as natively. */
const ON_CPU = 1e-3;
/** On WebGPU a logit may differ by this share of the photo's greatest, from the same pixels. */
const ON_WEBGPU = 1e-4;
/** And by this where the adapter resizes too: some pixel of the network's square is one level off. */
const FROM_BITMAPS = 2e-3;
/** A software WebGPU adapter takes seconds for a photo, and longer for the first. */
const PHOTOS_ON_WEBGPU = 3;
const SLOW = 600_000;

let golden;
let browser;
let server;

describe("PyTorch's numbers in the page", { skip: DIST ? false : "REKINDLE_DIST is not set" }, () => {
  before(async () => {
    golden = await readGolden(GOLDEN);
    // The page itself would start a network of its own beside those that are asked here.
    server = await serve([
      { at: "empty.html", body: "<!doctype html><title>Empty</title>" },
      { at: "photos/", folder: PHOTOS },
      { folder: resolve(DIST) },
    ]);
    browser = await launch();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  for (const network of NETWORKS) {
    test(`${network} on the processor: every photo`, { timeout: SLOW }, async (t) => {
      const photos = golden.card.photos.map((_, i) => i);
      assert.ok(photos.length >= 100, `${photos.length} photos`);
      const { device, answers } = await logits(network, "cpu", photos);
      assert.equal(device.kind, "cpu");
      const worst = furthest(network, photos, answers, (truth, found) => Math.abs(found - truth));
      t.diagnostic(`worst difference of a logit ${worst.toExponential(1)}, ${photos.length} photos`);
      assert.ok(worst < ON_CPU, `${worst}`);
    });

    test(`${network} on WebGPU: a few photos`, { timeout: SLOW }, async (t) => {
      const step = Math.floor(golden.card.photos.length / PHOTOS_ON_WEBGPU);
      const photos = Array.from({ length: PHOTOS_ON_WEBGPU }, (_, i) => i * step);
      const share = (truth, found, greatest) => Math.abs(found - truth) / Math.abs(greatest);
      // Pixels are cut out on the processor; files, bitmaps and frames never leave the adapter.
      const forms = ["pixels", "file", "frame"];
      const { device, answers } = await logits(network, "webgpu", photos, forms);
      assert.equal(device.kind, "webgpu");
      for (const [i, form] of forms.entries()) {
        const allowed = form === "pixels" ? ON_WEBGPU : FROM_BITMAPS;
        const some = answers.filter((_, answer) => answer % forms.length === i);
        const worst = furthest(network, photos, some, share);
        t.diagnostic(`${form}: worst difference ${worst.toExponential(1)} of a photo's greatest logit`);
        assert.ok(worst < allowed, `${form}: ${worst}`);
      }
    });
  }
});

/**
 * All classes of photos, best first, from the page's own interface. Each photo is asked about in some forms, one
 * after the other: as a file, as pixels in main memory, as a video's frame.
 */
async function logits(network, device, photos, forms = ["file"]) {
  const { page, context, trouble } = await visit(browser, server.url, { query: "empty.html" });
  page.setDefaultTimeout(SLOW);
  try {
    const answer = await page.evaluate(
      async ({ network, device, photos, forms }) => {
        const { Rekindle } = await import("./rekindle.js");
        const rekindle = await Rekindle.start({ device });
        const { classes } = await rekindle.load(`models/${network}.safetensors`);
        const answers = [];
        for (const photo of photos) {
          const response = await fetch(`photos/${photo}`);
          const file = await response.blob();
          const asStored = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
          const bitmap = await createImageBitmap(file, asStored);
          const { width, height } = bitmap;
          const canvas = new OffscreenCanvas(width, height).getContext("2d");
          canvas.drawImage(bitmap, 0, 0);
          const pictures = {
            file: () => file,
            pixels: () => canvas.getImageData(0, 0, width, height),
            frame: () => new VideoFrame(bitmap, { timestamp: 0 }),
          };
          for (const form of forms) {
            const picture = pictures[form]();
            const all = await rekindle.classify(picture, classes.length);
            picture.close?.();
            answers.push(all.map(({ index, logit }) => ({ index, logit })));
          }
        }
        rekindle.close();
        return { device: rekindle.device, answers };
      },
      { network, device, forms, photos: photos.map((photo) => golden.card.photos[photo]) },
    );
    assert.deepEqual(trouble, []);
    return answer;
  } finally {
    await context.close();
  }
}

/**
 * The greatest `distance(truth, found, best truth)` over photos. The best class has to be the same. The
 * k-th best logit is compared, which tells that no other class is among the best, and that of the k-th
 * best class: two classes may change places only where their logits are as good as equal.
 */
function furthest(network, photos, answers, distance) {
  const index = golden.tensors[`${network}/top5/index`];
  const logit = golden.tensors[`${network}/top5/logit`];
  let worst = 0;
  for (const [i, photo] of photos.entries()) {
    const name = `${network}: ${golden.card.photos[photo]}`;
    const ranked = answers[i];
    const of = new Map(ranked.map(({ index, logit }) => [index, logit]));
    const first = photo * KEPT;
    assert.equal(ranked[0].index, index[first], `${name}: best class`);
    for (let k = 0; k < KEPT; k++) {
      for (const found of [ranked[k].logit, of.get(index[first + k])]) {
        const far = distance(logit[first + k], found, logit[first]);
        assert.ok(Number.isFinite(far), `${name}: a logit of ${found}`);
        worst = Math.max(worst, far);
      }
    }
  }
  return worst;
}
