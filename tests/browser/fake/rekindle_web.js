// Stands in for the WebAssembly module where only the page is tested: the same class, toy features
// (mean colours on an 8 × 8 grid) and a softmax fitted by plain gradient descent. Deterministic.

const GRID = 8;
const FEATURES = GRID * GRID * 3;
const ORIGINAL = ["red fox", "goldfish", "daisy", "lemon", "lakeside", "jay", "violin", "coal mine"];
/** Passes over the examples that a fit makes. */
const STEPS = 60;

export default async function init() {}

/** What a test may change, in the worker: how long things take, in milliseconds, and who hears of them. */
self.fake = { look: 15, load: 20, step: 0, onLook() {}, onFit() {} };
new BroadcastChannel("fake").onmessage = ({ data }) => Object.assign(self.fake, data);

export class Session {
  #info = null;
  #head = null;
  #original = null;
  #revision = 0;
  #classes = new Map();
  #examples = new Map();
  #nextClass = 1;
  #nextExample = 1;
  #fit = null;
  #folds = null;
  #device;

  static async open(device, webgpuUsable, reason) {
    const session = new Session();
    const webgpu = device === "webgpu" || (device === "auto" && webgpuUsable);
    session.#device = webgpu
      ? { kind: "webgpu", name: "Fake adapter", reason: device === "auto" ? reason : "it was asked for" }
      : { kind: "cpu", name: "WebAssembly with SIMD", reason: device === "auto" ? reason : "it was asked for" };
    return session;
  }

  device() {
    return this.#device;
  }

  async load(bytes) {
    await pause(self.fake.load);
    let file;
    try {
      file = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      throw failure("weights", "This is not a safetensors file.", "Open a file that was saved here or by rekindle train.");
    }
    this.#classes.clear();
    this.#examples.clear();
    this.#original = file.head ?? toyHead(ORIGINAL);
    this.#info = {
      architecture: file.architecture,
      inputSize: 224,
      parameters: file.parameters,
      timm: null,
      head: file.head ? "linear" : "original",
    };
    this.#answerBy(this.#original);
    return this.info();
  }

  info() {
    if (!this.#info) return null;
    const { ids } = this.#head;
    const head = ids ? "linear" : this.#info.head;
    const classes = this.#names();
    return {
      ...this.#info,
      head,
      classes,
      trainable: head === "original" ? null : classes,
      classIds: ids ?? null,
      revision: this.#revision,
    };
  }

  async classify(rgba, width, height, topK) {
    const head = this.#head;
    const names = this.#names();
    self.fake.onLook();
    await pause(self.fake.look);
    const logits = apply(head, features(rgba, width, height));
    const probabilities = softmax(logits);
    return probabilities
      .map((probability, index) => ({
        class: names[index],
        id: head.ids?.[index] ?? null,
        index,
        probability,
        logit: logits[index],
      }))
      .sort((a, b) => b.probability - a.probability)
      .slice(0, topK);
  }

  addClass(name) {
    // As a panic in WebAssembly shows itself: a trap outside of any promise somebody holds.
    if (name === "trap") {
      setTimeout(() => {
        throw new WebAssembly.RuntimeError("unreachable");
      });
      return new Promise(() => {});
    }
    // As a text that is none does: the glue asks for its length, and the memory traps.
    if (typeof name !== "string") throw new WebAssembly.RuntimeError("unreachable");
    const id = this.#nextClass;
    this.restoreClass(id, name);
    return id;
  }

  restoreClass(id, name) {
    this.#freeName(name);
    this.#classes.set(id, name);
    this.#nextClass = Math.max(this.#nextClass, id + 1);
  }

  renameClass(id, name) {
    this.#known(id);
    this.#freeName(name, id);
    this.#classes.set(id, name);
  }

  removeClass(id) {
    this.#known(id);
    this.#classes.delete(id);
    for (const [example, { classId }] of this.#examples) if (classId === id) this.#examples.delete(example);
    if (this.#head.ids?.includes(id)) this.#answerBy(this.#original);
  }

  classes() {
    return [...this.#classes].map(([id, name]) => ({ id, name, examples: this.#of(id).length }));
  }

  async addExample(classId, rgba, width, height) {
    this.#known(classId);
    await pause(self.fake.look);
    const id = this.#nextExample;
    this.restoreExample(id, classId, features(rgba, width, height));
    return id;
  }

  setFile() {}

  restoreExample(id, classId, x) {
    this.#known(classId);
    this.#examples.set(id, { classId, x: Array.from(x) });
    this.#nextExample = Math.max(this.#nextExample, id + 1);
  }

  removeExample(id) {
    if (!this.#examples.delete(id)) throw failure("usage", `there is no example ${id}`, "It may be gone already.");
  }

  features(id) {
    return Float32Array.from(this.#examples.get(id).x);
  }

  startFit() {
    self.fake.onFit();
    const ids = [...this.#classes.keys()];
    if (ids.length < 2) throw failure("train", "only 1 of the classes have images", "Give two classes two photos each.");
    this.#fit = { head: emptyHead(ids), steps: 0 };
  }

  stepFit() {
    spin(self.fake.step);
    descend(this.#fit.head, this.#examples.values());
    this.#fit.steps += 1;
    return { iterations: this.#fit.steps, done: this.#fit.steps >= STEPS };
  }

  finishFit() {
    const { head } = this.#fit;
    this.#answerBy(head);
    const all = [...this.#examples.values()];
    const right = all.filter(({ x, classId }) => head.ids[indexOfMax(apply(head, x))] === classId).length;
    return { iterations: STEPS, objective: 0.1, trainAccuracy: right / all.length };
  }

  dropFit() {
    this.#fit = null;
  }

  startFolds() {
    const least = Math.min(...[...this.#classes.keys()].map((id) => this.#of(id).length));
    this.#folds = { total: least < 2 ? 0 : Math.min(5, least), grouped: false, steps: 0, right: 0, heads: [] };
  }

  stepFolds() {
    spin(self.fake.step);
    const work = this.#folds;
    if (!work.grouped) {
      work.grouped = true;
      return { done: false };
    }
    if (work.total === 0) return { done: true };
    const all = [...this.#examples.values()];
    const fold = Math.floor(work.steps / STEPS);
    const head = (work.heads[fold] ??= emptyHead([...this.#classes.keys()]));
    descend(head, all.filter((_, i) => i % work.total !== fold));
    work.steps += 1;
    if (work.steps % STEPS === 0) {
      const held = all.filter((_, i) => i % work.total === fold);
      work.right += held.filter(({ x, classId }) => head.ids[indexOfMax(apply(head, x))] === classId).length;
    }
    return { folds: Math.floor(work.steps / STEPS), of: work.total, done: work.steps >= STEPS * work.total };
  }

  finishFolds() {
    if (this.#folds.total === 0) return null;
    return { accuracy: this.#folds.right / this.#examples.size, folds: this.#folds.total, together: 0 };
  }

  dropFolds() {
    this.#folds = null;
  }

  async saveModel() {
    const { architecture, parameters } = this.#info;
    const { weight, bias } = this.#head;
    const head = { classes: this.#names(), weight, bias };
    return new TextEncoder().encode(JSON.stringify({ architecture, parameters, head }));
  }

  reset() {
    this.#classes.clear();
    this.#examples.clear();
    this.#answerBy(this.#original);
  }

  #answerBy(head) {
    this.#head = head;
    this.#revision += 1;
  }

  #names() {
    const { ids, classes } = this.#head;
    return ids ? ids.map((id) => this.#classes.get(id)) : classes;
  }

  #of(id) {
    return [...this.#examples.values()].filter(({ classId }) => classId === id);
  }

  #known(id) {
    if (!this.#classes.has(id)) throw failure("usage", `there is no class ${id}`, "Add the class first.");
  }

  #freeName(name, except) {
    for (const [id, other] of this.#classes) {
      if (other === name && id !== except) throw failure("usage", `there is a class “${name}” already`, "Choose another name.");
    }
  }
}

function features(rgba, width, height) {
  const sums = new Float64Array(FEATURES);
  const counts = new Float64Array(GRID * GRID);
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      const cell = Math.floor((y * GRID) / height) * GRID + Math.floor((x * GRID) / width);
      const at = (y * width + x) * 4;
      for (let c = 0; c < 3; c += 1) sums[cell * 3 + c] += rgba[at + c] / 255 - 0.5;
      counts[cell] += 1;
    }
  }
  return Array.from(sums, (sum, i) => sum / Math.max(1, counts[Math.floor(i / 3)]));
}

function toyHead(classes) {
  const weight = classes.map((_, k) =>
    Array.from({ length: FEATURES }, (_, i) => 3 * Math.sin((k + 1) * 12.9898 + i * 78.233)),
  );
  return { classes, weight, bias: classes.map(() => 0) };
}

function emptyHead(ids) {
  return { ids, weight: ids.map(() => new Array(FEATURES).fill(0)), bias: ids.map(() => 0) };
}

/** One pass over the examples. */
function descend(head, examples) {
  for (const { x, classId } of examples) {
    const probabilities = softmax(apply(head, x));
    for (const [k, id] of head.ids.entries()) {
      const error = (id === classId ? 1 : 0) - probabilities[k];
      for (let i = 0; i < FEATURES; i += 1) head.weight[k][i] += 0.03 * error * x[i];
      head.bias[k] += 0.03 * error;
    }
  }
}

function failure(kind, message, help) {
  return Object.assign(new Error(message), { kind, help });
}

/** Keeps the worker busy, as a solver does. */
function spin(milliseconds) {
  const until = performance.now() + milliseconds;
  while (performance.now() < until);
}

function apply({ weight, bias }, x) {
  return weight.map((row, k) => row.reduce((sum, w, i) => sum + w * x[i], bias[k]));
}

function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

function indexOfMax(values) {
  return values.indexOf(Math.max(...values));
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
