// The worker's work: one piece at a time, answers first. The WebAssembly session holds a borrow across every
// await, so two calls at once would be refused; and a photo that somebody looks at must not wait for a fit.

/** What overtakes and what is overtaken. */
export const ANSWER = "answer"; // somebody waits for it: goes before everything but `CHANGE`s asked for before it
export const CHANGE = "change"; // over at once; in the order they were asked for
export const LONG = "long"; // the same, but takes its time: answers overtake it, between its pieces too
export const LATER = "later"; // when nothing else waits

/**
 * @typedef {object} Task
 * @property {number} id rising in the order they were asked for
 * @property {string} lane
 * @property {() => unknown} run answers a value, a promise of one, or an async generator: what it yields is told as
 *   progress, and other work may go on there
 * @property {() => void} [drop] called when the task is called off before it began
 */

export class Tasks {
  #answers = [];
  #changes = [];
  #later = [];
  #running = null;
  #working = false;
  #answeredLast = false;
  #report;

  /** @param {(id: number, outcome: { value?, progress?, error? }) => void} report */
  constructor(report) {
    this.#report = report;
  }

  /** @param {Task} task */
  add(task) {
    this.#lane(task).push(task);
    if (!this.#working) this.#work();
  }

  /** Calls a task off: at once if it waits, at the end of its piece if it has begun. */
  cancel(id, reason) {
    for (const lane of [this.#answers, this.#changes, this.#later]) {
      const task = lane.find((task) => task.id === id);
      if (task) this.#callOff(task, lane, reason);
    }
  }

  /** Calls off what is done when nothing else waits, as far as it is `which`. */
  cancelLater(which, reason) {
    for (const task of this.#later.filter(which)) this.#callOff(task, this.#later, reason);
  }

  #callOff(task, lane, reason) {
    // What has begun and knows no pieces will be over soon; its answer is as good as none.
    if (task === this.#running || task.pieces) {
      task.cancelled = reason;
      return;
    }
    lane.splice(lane.indexOf(task), 1);
    task.drop?.();
    this.#report(task.id, { error: reason });
  }

  #lane({ lane }) {
    return { [ANSWER]: this.#answers, [LATER]: this.#later }[lane] ?? this.#changes;
  }

  /** Answers and other work take turns, so that neither keeps the other waiting for more than one piece. */
  #next() {
    const ending = this.#later.find(({ cancelled }) => cancelled);
    if (ending) return ending;
    const [answer] = this.#answers;
    const [change] = this.#changes;
    const bound = answer && this.#changes.some(({ lane, id }) => lane === CHANGE && id < answer.id);
    if (answer && !bound && !(this.#answeredLast && (change ?? this.#later[0]))) return answer;
    return change ?? this.#later[0] ?? answer;
  }

  async #work() {
    this.#working = true;
    for (let task = this.#next(); task; task = this.#next()) {
      this.#running = task;
      this.#answeredLast = task.lane === ANSWER;
      await this.#advance(task);
      this.#running = null;
      await breath();
    }
    this.#working = false;
  }

  /** Does one piece of a task, and reports what came of it. */
  async #advance(task) {
    let outcome = null;
    try {
      task.pieces ??= inPieces(task.run);
      const { done, value } = task.cancelled ? await task.pieces.return() : await task.pieces.next();
      if (task.cancelled && done && value === undefined) outcome = { error: task.cancelled };
      else if (done) outcome = { value };
      else this.#report(task.id, { progress: value });
    } catch (error) {
      outcome = { error };
    }
    if (!outcome) return;
    const lane = this.#lane(task);
    lane.splice(lane.indexOf(task), 1);
    this.#report(task.id, outcome);
  }
}

async function* inPieces(run) {
  const begun = run();
  if (begun?.[Symbol.asyncIterator]) return yield* begun;
  return begun;
}

/** Lets the messages in that have come meanwhile. (A timer would wait for 4 ms.) */
function breath() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
