// Rekindle for any web page: a typed facade over the worker that runs the network.
// Types and documentation: rekindle.d.ts.

/** An error with a sentence that says what happened, and often one that says what to do. */
export class RekindleError extends Error {
  constructor({ message, help, kind }) {
    super(message);
    this.name = "RekindleError";
    this.help = help;
    this.kind = kind ?? "unknown";
  }
}

export class Rekindle extends EventTarget {
  #worker;
  #pending = new Map();
  #nextId = 1;
  #stopped = null;
  #device = null;
  #warnings = [];
  #info = null;

  static async start({ device = "auto", base = new URL("./", import.meta.url) } = {}) {
    const rekindle = new Rekindle(new URL("worker.js", new URL(base, document.baseURI)));
    try {
      const opened = await rekindle.#call("open", [device]);
      rekindle.#device = opened.device;
      rekindle.#warnings = opened.warnings;
    } catch (error) {
      rekindle.close();
      throw error;
    }
    return rekindle;
  }

  constructor(workerUrl) {
    super();
    this.#worker = new Worker(workerUrl, { type: "module", name: "rekindle" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#stop({
        kind: "worker",
        message: `The worker did not start${event.message ? `: ${event.message}` : "."}`,
        help: "Reload the page. Browsers from before 2023 cannot run module workers.",
      });
    };
  }

  get device() {
    return this.#device;
  }

  get warnings() {
    return this.#warnings;
  }

  get info() {
    return this.#info;
  }

  async load(source, onProgress) {
    const bytes = await bytesOf(source, onProgress);
    this.#info = await this.#call("load", [bytes], [bytes.buffer]);
    this.#emit("model", this.#info);
    return this.#info;
  }

  async classify(source, topK = 5) {
    const [picture, transfer] = await portable(source);
    return this.#call("classify", [picture, topK], transfer);
  }

  addClass(name) {
    return this.#call("addClass", [name]);
  }

  async renameClass(index, name) {
    await this.#call("renameClass", [index, name]);
    await this.#refresh();
  }

  removeClass(index) {
    return this.#call("removeClass", [index]);
  }

  classes() {
    return this.#call("classes", []);
  }

  async addExample(classIndex, source, { thumbnail = 0 } = {}) {
    const [picture, transfer] = await portable(source);
    return this.#call("addExample", [classIndex, picture, thumbnail], transfer);
  }

  removeExample(id) {
    return this.#call("removeExample", [id]);
  }

  async fit(options = {}) {
    const report = await this.#call("fit", [options]);
    await this.#refresh();
    this.#emit("fit", report);
    return report;
  }

  async saveModel() {
    const bytes = await this.#call("saveModel", []);
    return new Blob([bytes], { type: "application/octet-stream" });
  }

  async reset() {
    await this.#call("reset", []);
    await this.#refresh();
  }

  close() {
    this.#worker.terminate();
    this.#stop({ kind: "closed", message: "Rekindle was closed." }, false);
  }

  async #refresh() {
    this.#info = await this.#call("info", []);
    this.#emit("model", this.#info);
  }

  #call(op, args, transfer = []) {
    if (this.#stopped) return Promise.reject(new RekindleError(this.#stopped));
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      this.#pending.set(id, { resolve, reject });
      try {
        this.#worker.postMessage({ id, op, args }, transfer);
      } catch (error) {
        this.#pending.delete(id);
        reject(new RekindleError({ kind: "transfer", message: error.message }));
      }
    });
  }

  #receive({ id, value, error, event, detail }) {
    if (event === "crash") return this.#stop(detail);
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    if (error) waiting?.reject(new RekindleError(error));
    else waiting?.resolve(value);
  }

  #stop(reason, announce = true) {
    if (this.#stopped) return;
    this.#stopped = reason;
    for (const { reject } of this.#pending.values()) reject(new RekindleError(reason));
    this.#pending.clear();
    if (announce) this.#emit("crash", reason);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * What can travel to the worker: a blob and raw pixels are copied, a bitmap is handed over. A bitmap of a video's
 * frame or a canvas may lie on the graphics adapter, and stays there.
 */
async function portable(source) {
  if (source instanceof Blob || source instanceof ImageData) return [source, []];
  if (source instanceof HTMLVideoElement && source.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
    throw new RekindleError({
      kind: "not-ready",
      message: "The video has no picture yet.",
      help: "Wait for its “playing” event.",
    });
  }
  try {
    if (source instanceof HTMLImageElement) await source.decode();
    const bitmap = await createImageBitmap(source, {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
    return [bitmap, [bitmap]];
  } catch (error) {
    throw new RekindleError({
      kind: "decode",
      message: `The picture could not be read: ${error.message}`,
      help: "Pictures from another site need the attribute crossorigin and that site's consent.",
    });
  }
}

/** Bytes that may be handed over to the worker. A caller's own array is copied, never emptied. */
async function bytesOf(source, onProgress) {
  if (source instanceof Uint8Array) return source.slice();
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  const address = source instanceof Response ? source.url : new URL(source, document.baseURI).href;
  const name = address.split(/[?#]/)[0].split("/").pop();
  try {
    const response = source instanceof Response ? source : await fetch(address);
    if (response.ok) return await readAll(response, onProgress);
    throw new RekindleError({
      kind: "network",
      message: `The server answered ${response.status} for “${name}”.`,
      help: "Check that the file lies where the page expects it.",
    });
  } catch (error) {
    if (error instanceof RekindleError) throw error;
    throw new RekindleError({
      kind: "network",
      message: `“${name}” could not be fetched.`,
      help: "Check the connection and try again.",
    });
  }
}

async function readAll(response, onProgress) {
  // Content-Length counts compressed bytes; it says nothing of the size when there is an encoding.
  const encoded = response.headers.has("content-encoding");
  const total = encoded ? null : Number(response.headers.get("content-length")) || null;
  const parts = [];
  let received = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    received += value.length;
    onProgress?.(received, total);
  }
  const bytes = new Uint8Array(received);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
