// The published types hold: a consumer's code passes the TypeScript compiler.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";

test("code of another page that uses the API passes the type checker", (t) => {
  let compiler;
  try {
    const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
    compiler = join(dirname(manifest), "bin/tsc");
  } catch {
    t.skip("typescript is not installed: npm install in tests/browser");
    return;
  }
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      compiler,
      ...["--noEmit", "--strict", "--target", "es2022", "--module", "es2022"],
      ...["--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"],
      resolve(import.meta.dirname, "types.ts"),
    ],
    { encoding: "utf8", cwd: "/" },
  );
  assert.equal(status, 0, stdout);
});
