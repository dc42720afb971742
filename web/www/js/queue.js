// A line of photos waiting for the network. One at a time, so that hundreds of photos neither
// freeze the page nor fill the memory; what waits can be called off, and the line can be held.

/** What a job fails with when it was not its fault: it is tried once more. */
const NOT_ITS_FAULT = ["crash", "closed"];

/**
 * @typedef {object} Job
 * @property {string} name
 * @property {() => Promise<void>} run
 * @property {() => void} [drop] called when the job is over or was called off
 */

/**
 * @fires PhotoQueue#progress with `{ done, total }`, before each job
 * @fires PhotoQueue#idle with `{ total, failures }`, when no job is left
 */
export class PhotoQueue extends EventTarget {
  #waiting = [];
  #current = null;
  #held = false;
  #done = 0;
  #total = 0;
  #failures = [];

  /** Whether a job runs or waits. */
  get busy() {
    return this.#current !== null || this.#waiting.length > 0;
  }

  /** Jobs that wait. */
  get length() {
    return this.#waiting.length;
  }

  /** @param {Job[]} jobs */
  add(jobs) {
    this.#waiting.push(...jobs);
    this.#total += jobs.length;
    this.#work();
  }

  /** Drops what waits, or some of it; the photo being looked at is finished. */
  cancel(which = () => true) {
    const dropped = this.#waiting.filter(which);
    this.#waiting = this.#waiting.filter((job) => !dropped.includes(job));
    this.#total -= dropped.length;
    for (const job of dropped) job.drop?.();
    if (!this.#current && !this.busy) this.#finish();
  }

  /** Lets nothing new begin. Resolves when the photo being looked at is finished. */
  async hold() {
    this.#held = true;
    await this.#current;
  }

  /** Goes on after {@link hold}. */
  release() {
    this.#held = false;
    this.#work();
  }

  async #work() {
    if (this.#current) return;
    while (this.#waiting.length > 0 && !this.#held) {
      this.#report("progress", { done: this.#done, total: this.#total });
      this.#current = this.#run(this.#waiting.shift());
      await this.#current;
      this.#current = null;
    }
    if (this.#waiting.length === 0) this.#finish();
  }

  async #run(job) {
    try {
      await job.run();
    } catch (error) {
      if (NOT_ITS_FAULT.includes(error.kind) && !job.triedBefore) {
        job.triedBefore = true;
        this.#held = true;
        this.#waiting.push(job);
        return;
      }
      this.#failures.push({ name: job.name, error });
    }
    job.drop?.();
    this.#done += 1;
  }

  #finish() {
    if (this.#total === 0) return;
    const [failures, total] = [this.#failures, this.#done];
    this.#done = 0;
    this.#total = 0;
    this.#failures = [];
    this.#report("idle", { total, failures });
  }

  #report(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
