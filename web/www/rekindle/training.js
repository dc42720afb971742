// A training whose examples and steps are the page's own: the trainer in the worker, asked step by step.

import { floats, usage } from "./checks.js";

export class Training {
  #ask;

  /** @param {(op: string, args: unknown[], options?: object) => Promise<unknown>} ask asks the worker for it */
  constructor(cut, ask) {
    this.cut = Object.freeze(cut);
    this.#ask = ask;
  }

  wanted() {
    return this.#do("wanted");
  }

  async values(images) {
    return this.#do("values", floats(images, "The images"));
  }

  async step(batches) {
    if (!Array.isArray(batches)) throw usage("A step takes a list of batches.", "Give a Float32Array for each batch.");
    return this.#ask("trainingStep", [batches.map((batch) => floats(batch, "The values of a batch"))]);
  }

  async losses() {
    return (await this.#do("losses")) ?? null;
  }

  async answers(values) {
    return this.#do("answers", floats(values, "The values"));
  }

  async judged({ score, loss } = {}) {
    const { is_best: isBest, ends_phase: endsPhase, ...rest } = await this.#do("judged", score, loss);
    const end = { ...rest, isBest, endsPhase };
    // The next phase may begin elsewhere.
    if (end.endsPhase) await this.#moved();
    return end;
  }

  state() {
    return this.#do("state");
  }

  async restore(state) {
    if (!(state instanceof Uint8Array)) throw usage("This is no state.", "Give the bytes that state() answered.");
    await this.#do("restore", state);
    await this.#moved();
  }

  finish() {
    return this.#ask("trainingFinish", []);
  }

  async close() {
    await this.#ask("trainingClose", []);
  }

  async #moved() {
    this.cut = Object.freeze(await this.#do("cut"));
  }

  #do(method, ...args) {
    return this.#ask("trainingDo", [method, ...args]);
  }
}
