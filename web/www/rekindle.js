// Rekindle for any web page: a typed facade over the worker that runs the network.
// Types and documentation: rekindle.d.ts.

import { className, fitOptions, identity, oneOf, trainingOptions, tuneOptions, whole } from "./rekindle/checks.js";
import { RekindleError } from "./rekindle/error.js";
import { Link } from "./rekindle/link.js";
import { Record } from "./rekindle/record.js";
import { bytesOf, portable } from "./rekindle/source.js";
import { Training } from "./rekindle/training.js";

export { RekindleError, Training };

const DEVICES = ["auto", "webgpu", "cpu"];
const MOST_CLASSES = 1_000_000;
const LARGEST_THUMBNAIL = 4096;

export class Rekindle extends EventTarget {
  #worker;
  #choice;
  #link = null;
  #restarting = null;
  #device = null;
  #warnings = [];
  #info = null;
  /** The model file as it was opened, for a new worker. */
  #file = null;
  #record = new Record();
  /** Heads counted by workers before this one. */
  #revisions = 0;
  /** Settled when all that was asked for so far is on its way to the worker. */
  #sent = Promise.resolve();
  /** The same without files that are still being fetched: what an answer must not overtake. */
  #sentAtOnce = Promise.resolve();

  static async start({ device = "auto", base = new URL("./", import.meta.url) } = {}) {
    oneOf(device, DEVICES, "The device");
    const rekindle = new Rekindle(new URL("worker.js", new URL(base, document.baseURI)), device);
    await rekindle.#open();
    return rekindle;
  }

  constructor(workerUrl, device = "auto") {
    super();
    this.#worker = workerUrl;
    this.#choice = device;
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

  get taught() {
    return this.#record.classes;
  }

  async load(source, onProgress) {
    const { bytes, file } = await this.#inOrder(async () => {
      const bytes = await bytesOf(source, onProgress);
      return { bytes, file: new Blob([bytes]) };
    }, false);
    const info = await this.#call("load", [bytes, file], { transfer: [bytes.buffer] });
    this.#file = file;
    this.#record.clear();
    this.#taught("all");
    return this.#show(info);
  }

  async classify(source, topK = 5, { background = false, signal } = {}) {
    whole(topK, 1, MOST_CLASSES, "topK");
    const before = this.#sentAtOnce;
    const [picture, transfer] = await portable(source);
    await before;
    return this.#call(background ? "classifyLater" : "classify", [picture, topK], { transfer, signal });
  }

  async addClass(name) {
    const wanted = await this.#inOrder(() => className(name));
    const id = await this.#call("addClass", [wanted]);
    this.#record.addClass(id, wanted);
    this.#taught("class");
    return id;
  }

  async renameClass(id, name) {
    const [known, wanted] = await this.#inOrder(() => [identity(id, "class"), className(name)]);
    const info = await this.#call("renameClass", [known, wanted]);
    this.#record.renameClass(known, wanted);
    this.#taught("name");
    this.#show(info);
  }

  async removeClass(id) {
    const known = await this.#inOrder(() => identity(id, "class"));
    const info = await this.#call("removeClass", [known]);
    this.#record.removeClass(known);
    this.#taught("class");
    this.#show(info);
  }

  async classes() {
    await this.#inOrder(() => {});
    return this.#call("classes");
  }

  async addExample(classId, source, { thumbnail = 0, signal } = {}) {
    const [picture, transfer] = await this.#inOrder(() => {
      identity(classId, "class");
      whole(thumbnail, 0, LARGEST_THUMBNAIL, "The side of the thumbnail");
      return portable(source);
    });
    const { id, thumbnail: small, features, hash, photo } = await this.#call(
      "addExample",
      [classId, picture, thumbnail],
      { transfer, signal },
    );
    this.#record.addExample(classId, id, { features, hash, photo });
    this.#taught("example");
    return { id, thumbnail: small };
  }

  async removeExample(id) {
    const known = await this.#inOrder(() => identity(id, "example"));
    await this.#call("removeExample", [known]);
    this.#record.removeExample(known);
    this.#taught("example");
  }

  async fit(options = {}) {
    const called = performance.now();
    const recipe = await this.#inOrder(() => fitOptions(options));
    const { report, info } = await this.#call("fit", [recipe], { signal: options.signal });
    const told = { ...report, milliseconds: performance.now() - called };
    this.#show(info);
    this.#emit("fit", told);
    return told;
  }

  async crossValidate({ signal, onProgress } = {}) {
    const called = performance.now();
    await this.#inOrder(() => {});
    const report = await this.#call("crossValidate", [], {
      signal,
      // The number of folds is known once the photos that belong together are.
      onProgress: ({ done, total }) => total && onProgress?.(done, total),
    });
    return report && { ...report, milliseconds: performance.now() - called };
  }

  async tune(options = {}) {
    const called = performance.now();
    const asked = await this.#inOrder(() => tuneOptions(options));
    const { signal, pause, onProgress } = options;
    const { report, info, state } = await this.#call("tune", [asked], { signal, pause, onProgress });
    const milliseconds = performance.now() - called;
    if (state) return { paused: true, state, milliseconds };
    const told = { paused: false, ...report, milliseconds };
    this.#show(info);
    this.#emit("tune", told);
    return told;
  }

  async training(options) {
    const asked = await this.#inOrder(() => trainingOptions(options));
    const { number, cut } = await this.#call("training", [asked]);
    return new Training(cut, async (op, args, options) => {
      const answer = await this.#call(op, [number, ...args], options);
      return op === "trainingFinish" ? this.#show(answer) : answer;
    });
  }

  async saveModel() {
    await this.#inOrder(() => {});
    const bytes = await this.#call("saveModel");
    return new Blob([bytes], { type: "application/octet-stream" });
  }

  async reset() {
    await this.#inOrder(() => {});
    const info = await this.#call("reset");
    this.#record.clear();
    this.#taught("all");
    this.#show(info);
  }

  restart({ device = this.#choice } = {}) {
    this.#restarting ??= this.#startAgain(device).finally(() => (this.#restarting = null));
    return this.#restarting;
  }

  close() {
    this.#link?.close();
  }

  async #open() {
    const link = new Link(this.#worker, {
      onEnd: (reason) => this.#emit("crash", reason),
      onStall: (reason) => (reason ? this.#emit("stall", reason) : this.#emit("recover", null)),
    });
    this.#link = link;
    try {
      const { device, warnings } = await link.call("open", [this.#choice]);
      this.#device = device;
      this.#warnings = warnings;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  async #startAgain(device) {
    this.#choice = oneOf(device, DEVICES, "The device");
    this.#link.close();
    this.#revisions = this.#info?.revision ?? 0;
    await this.#open();
    if (!this.#file) return null;
    const bytes = await bytesOf(this.#file);
    await this.#call("load", [bytes, this.#file], { transfer: [bytes.buffer] });
    const info = await this.#call("restore", [this.#record.snapshot()]);
    this.#taught("all");
    return this.#show(info);
  }

  /**
   * Makes something ready to be sent, and resolves to it when all that was asked for before is on its way: what
   * takes its time (a file that is fetched, a picture that is copied) is not overtaken.
   */
  #inOrder(prepare, atOnce = true) {
    const before = this.#sent;
    const prepared = (async () => prepare())();
    const turn = before.then(() => prepared);
    // A caller that awaits the turn sends before one that awaits what follows from it.
    const sent = turn.then(
      () => {},
      () => {},
    );
    this.#sent = sent;
    if (atOnce) this.#sentAtOnce = sent;
    return turn;
  }

  #call(op, args, options) {
    return this.#link.call(op, args, options);
  }

  /** Keeps what the worker says of its model, and passes it on. */
  #show(info) {
    this.#info = info && { ...info, revision: this.#revisions + info.revision };
    this.#emit("model", this.#info);
    return this.#info;
  }

  #taught(change) {
    this.#emit("taught", { change, classes: this.taught });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
