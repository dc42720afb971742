// A static server for tests: one folder under a sub-path, with the headers a careful host sends.
// Layered folders let the fake engine lie over the page's own files.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
  ".safetensors": "application/octet-stream",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
};

const POLICY =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; " +
  "media-src 'self' blob:; style-src 'self'; connect-src 'self'; worker-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/**
 * Serves `layers` under `/some/where/`.
 * A layer is `{ at, folder }` (a prefix and a folder) or `{ at, body }` (one path and its content);
 * the first that has the file wins.
 * @returns {Promise<{ url: string, close: () => Promise<void> }>}
 */
export async function serve(layers) {
  const prefix = "/some/where/";
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    if (!path.startsWith(prefix)) return refuse(response);
    const wanted = normalize(path.slice(prefix.length) || "index.html");
    if (wanted.startsWith("..")) return refuse(response);
    const headers = {
      "content-security-policy": POLICY,
      "content-type": TYPES[extname(wanted)] ?? "application/octet-stream",
      "x-content-type-options": "nosniff",
    };
    for (const { at = "", folder, body } of layers) {
      if (body !== undefined) {
        if (wanted !== at) continue;
        response.writeHead(200, { ...headers, "content-length": Buffer.byteLength(body) });
        return response.end(body);
      }
      if (!wanted.startsWith(at)) continue;
      const file = join(folder, wanted.slice(at.length));
      const found = await stat(file).catch(() => null);
      if (!found?.isFile()) continue;
      response.writeHead(200, { ...headers, "content-length": found.size });
      return createReadStream(file).pipe(response);
    }
    refuse(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}${prefix}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
      }),
  };
}

function refuse(response) {
  response.writeHead(404, { "content-type": "text/plain" });
  response.end("not found");
}
