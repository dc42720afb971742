// Chromium as the tests want it, and the page as a visitor meets it.

import { mkdir, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";

const root = resolve(import.meta.dirname, "../../..");

/** Folder with the sample photos, one folder for each class. */
export const PHOTOS = resolve(process.env.REKINDLE_PHOTOS ?? join(root, "assets/photos"));

/** Where screenshots go. */
export const SCREENSHOTS = resolve(
  process.env.REKINDLE_SCREENSHOTS ?? join(root, "target/browser-screenshots"),
);

export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
export const DESKTOP = { viewport: { width: 1280, height: 800 } };

/** How long anything may take: these tests share their machine with long builds. */
const PATIENCE = 300_000;

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
    ],
  });
}

/**
 * A page in a context of its own. It keeps count of what must not happen: requests to other
 * origins, errors nobody caught, and violations of the security policy.
 */
export async function visit(browser, url, { query = "", context: options = DESKTOP } = {}) {
  const context = await browser.newContext({ acceptDownloads: true, ...options });
  context.setDefaultTimeout(PATIENCE);
  context.setDefaultNavigationTimeout(PATIENCE);
  const page = await context.newPage();
  const origin = new URL(url).origin;
  const trouble = [];
  context.on("request", (request) => {
    const to = new URL(request.url());
    if (!["blob:", "data:"].includes(to.protocol) && to.origin !== origin) {
      trouble.push(`request to ${to.href}`);
    }
  });
  page.on("pageerror", (error) => trouble.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) trouble.push(message.text());
  });
  await page.goto(url + query);
  return { page, context, trouble };
}

/** Waits until a network is in place, and fails with the page's own words when it says why not. */
export async function ready(page, timeout = PATIENCE) {
  const outcome = await Promise.race([
    page.waitForSelector("body.ready", { timeout }).then(() => null),
    page.waitForSelector(".notice.error", { timeout }).then((notice) => notice.textContent()),
  ]);
  if (outcome !== null) throw new Error(`the page says: ${outcome}`);
}

/** Waits for the answer to what is on the stage, and reads it off the page. */
export async function answers(page, timeout = PATIENCE) {
  await page.waitForFunction(
    () =>
      !document.querySelector("#stage").classList.contains("busy") &&
      document.querySelector("#answers .answer") !== null,
    null,
    { timeout },
  );
  const rows = await page.$$eval("#answers .answer", (rows) =>
    rows.map(({ dataset }) => ({
      class: dataset.class,
      index: Number(dataset.index),
      probability: Number(dataset.probability),
    })),
  );
  return rows.sort((a, b) => b.probability - a.probability);
}

/** Puts a photo on the stage and reads the answer. */
export async function classify(page, file, timeout) {
  const name = file.split("/").at(-1);
  await page.setInputFiles("#look-files", file);
  await page.waitForFunction(
    (name) => document.querySelector("#stage-photo").alt === name,
    name,
  );
  return answers(page, timeout);
}

/** Names the two cards the page starts with and gives them photos. */
export async function teach(page, classes, timeout = PATIENCE) {
  for (const [i, { name, files }] of classes.entries()) {
    const card = page.locator(".class-card").nth(i);
    const input = card.getByLabel("Class name");
    await input.fill(name);
    await input.press("Enter");
    await card.locator("[data-role=class-files]").setInputFiles(files);
    await card
      .locator(".class-count", { hasText: new RegExp(`^${files.length} photos?$`) })
      .waitFor({ timeout });
  }
  await page.waitForSelector('#fit[data-state="done"]', { timeout });
}

/** The first `count` photos of a class folder, by name. */
export async function photosOf(name, count, from = 0) {
  const folder = join(PHOTOS, name);
  const files = (await readdir(folder)).filter((file) => file.endsWith(".webp")).sort();
  return files.slice(from, from + count).map((file) => join(folder, file));
}

export async function screenshot(page, name, { fullPage = true } = {}) {
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage });
}
