// The line to one worker: requests and their answers, and whether there is still somebody at the other end.

import { RekindleError } from "./error.js";

/** Milliseconds between two questions whether the worker lives, while something is asked of it. */
const BEAT = 2000;
/** After so many questions without any word from the worker it is called silent. */
const SILENT = 5;
/** After so many beats a request is called long. */
const LONG = 60;

const DIED = {
  kind: "crash",
  message: "The network stopped unexpectedly: the browser ended its worker.",
  help: "Often the device is short of memory. What was taught is kept: start again.",
};

export class Link {
  #worker;
  #pending = new Map();
  #nextId = 1;
  #ended = null;
  #onEnd;
  #onStall;
  #vigil = new AbortController();
  #beat = 0;
  #unanswered = 0;
  #stalled = false;

  /**
   * @param {URL} url
   * @param {(reason: object) => void} onEnd called once, when the worker has died
   * @param {(reason: object | null) => void} onStall called when it has long been silent, with null when it is back
   */
  constructor(url, { onEnd, onStall }) {
    this.#onEnd = onEnd;
    this.#onStall = onStall;
    const name = `rekindle-${Date.now()}-${Math.random()}`;
    try {
      this.#worker = new Worker(url, { type: "module", name });
    } catch (error) {
      throw new RekindleError(notStarted(error.message));
    }
    this.#worker.onmessage = ({ data }) => this.#receive(data, name);
    this.#worker.onmessageerror = () => this.#end(DIED);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#end(notStarted(event.message));
    };
  }

  /**
   * Asks the worker for something. When `signal` aborts, what waits is called off, and the promise is rejected
   * (kind `"cancelled"`) once the worker has let go of it. When `pause` aborts, what can be paused comes to an end at
   * once, with where it stands.
   */
  call(op, args = [], { transfer = [], signal, pause, onProgress } = {}) {
    const refusal = this.#ended ?? (signal?.aborted ? CANCELLED : null);
    if (refusal) {
      for (const item of transfer) item.close?.();
      return Promise.reject(new RekindleError(refusal));
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const cancel = () => this.#worker.postMessage({ cancel: id });
      const hold = () => this.#worker.postMessage({ pause: id });
      signal?.addEventListener("abort", cancel, { once: true });
      pause?.addEventListener("abort", hold, { once: true });
      const release = () => {
        signal?.removeEventListener("abort", cancel);
        pause?.removeEventListener("abort", hold);
      };
      this.#pending.set(id, { op, resolve, reject, onProgress, release, beats: 0 });
      try {
        this.#worker.postMessage({ id, op, args }, transfer);
        if (pause?.aborted) hold();
        this.#watch();
      } catch (error) {
        this.#pending.delete(id);
        release();
        reject(new RekindleError({ kind: "transfer", message: error.message }));
      }
    });
  }

  /** Ends the worker without a word to anybody but those who wait for it. */
  close() {
    this.#finish({ kind: "closed", message: "Rekindle was closed." });
  }

  #receive(data, name) {
    this.#unanswered = 0;
    if (data.event === "alive") return this.#keepVigil(name);
    if (data.event === "crash") return this.#end(data.detail);
    this.#recovered();
    const waiting = this.#pending.get(data.id);
    if (!waiting) return;
    if ("progress" in data) {
      // What gets on may take its time.
      waiting.beats = 0;
      return waiting.onProgress?.(data.progress);
    }
    this.#pending.delete(data.id);
    waiting.release();
    if (data.error) waiting.reject(new RekindleError(data.error));
    else waiting.resolve(data.value);
  }

  /**
   * The browser ends a worker for want of memory without an event. The worker held a lock with its name, which
   * comes free then. (Pages that are not secure have no locks: there only the silence shows it.)
   */
  #keepVigil(name) {
    navigator.locks
      ?.request(name, { signal: this.#vigil.signal }, () => this.#end(DIED))
      .catch(() => {}); // closed by ourselves
  }

  #watch() {
    this.#beat ||= setInterval(() => {
      if (this.#pending.size === 0) {
        clearInterval(this.#beat);
        this.#beat = 0;
        return;
      }
      this.#worker.postMessage({ ping: true });
      this.#unanswered += 1;
      let long = false;
      for (const waiting of this.#pending.values()) long ||= ++waiting.beats > LONG && waiting.op !== "open";
      if (this.#unanswered > SILENT) this.#stall(`has been silent for ${(SILENT * BEAT) / 1000} seconds`);
      else if (long) this.#stall(`has been at one task for ${(LONG * BEAT) / 60_000} minutes`);
    }, BEAT);
  }

  #stall(what) {
    if (this.#stalled) return;
    this.#stalled = true;
    this.#onStall({
      kind: "stall",
      message: `The network ${what}.`,
      help: "It may be busy, or stuck. Wait, or start again: what was taught is kept.",
    });
  }

  #recovered() {
    const long = [...this.#pending.values()].some(({ beats }) => beats > LONG);
    if (!this.#stalled || long) return;
    this.#stalled = false;
    this.#onStall(null);
  }

  #end(reason) {
    if (this.#finish(reason)) this.#onEnd(reason);
  }

  #finish(reason) {
    if (this.#ended) return false;
    this.#ended = reason;
    clearInterval(this.#beat);
    this.#vigil.abort();
    this.#worker.terminate();
    for (const { reject, release } of this.#pending.values()) {
      release();
      reject(new RekindleError(reason));
    }
    this.#pending.clear();
    return true;
  }
}

const CANCELLED = { kind: "cancelled", message: "This was called off." };

function notStarted(why) {
  return {
    kind: "worker",
    message: `The worker did not start${why ? `: ${why}` : "."}`,
    help: "Reload the page. Browsers from before 2023 cannot run module workers.",
  };
}
