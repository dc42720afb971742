// For a file of tests: the page with the fake engine, served, and a browser to open it in. Both are there from the
// first test to the last.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { launch, ready, visit } from "./browser.mjs";
import { serveFake } from "./fake.mjs";

export let browser;
export let server;

before(async () => {
  server = await serveFake();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

/** Opens the page, runs the body, and fails when anything happened that must not. */
export async function onPage(options, body) {
  const { page, context, trouble } = await visit(browser, server.url, options);
  try {
    await ready(page);
    await body(page, context);
    assert.deepEqual(trouble, []);
  } finally {
    await context.close();
  }
}
