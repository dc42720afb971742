// A line of photos waiting for the network. One at a time, so that hundreds of photos neither
// freeze the page nor fill the memory; what waits can be called off.

export class PhotoQueue extends EventTarget {
  #waiting = [];
  #running = false;
  #done = 0;
  #total = 0;
  #failures = [];

  get busy() {
    return this.#running;
  }

  get length() {
    return this.#waiting.length;
  }

  /** @param {{ name: string, run: () => Promise<void> }[]} jobs */
  add(jobs) {
    this.#waiting.push(...jobs);
    this.#total += jobs.length;
    if (!this.#running && jobs.length > 0) this.#work();
  }

  /** Drops what waits; the photo being looked at is finished. */
  cancel() {
    this.#total -= this.#waiting.length;
    this.#waiting = [];
  }

  async #work() {
    this.#running = true;
    while (this.#waiting.length > 0) {
      this.#report("progress", { done: this.#done, total: this.#total });
      const job = this.#waiting.shift();
      try {
        await job.run();
      } catch (error) {
        this.#failures.push({ name: job.name, error });
      }
      this.#done += 1;
    }
    const failures = this.#failures;
    const total = this.#total;
    this.#running = false;
    this.#done = 0;
    this.#total = 0;
    this.#failures = [];
    this.#report("idle", { total, failures });
  }

  #report(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
