// Stands in for the WebAssembly module where only the page is tested: the same class, toy features
// (mean colours on an 8 × 8 grid) and a softmax fitted by plain gradient descent. Deterministic.

const GRID = 8;
const FEATURES = GRID * GRID * 3;
const ORIGINAL = ["red fox", "goldfish", "daisy", "lemon", "lakeside", "jay", "violin", "coal mine"];

export default async function init() {}

export class Session {
  #info = null;
  #head = null;
  #original = null;
  #classes = [];
  #examples = [];
  #nextId = 1;
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
    await pause(20);
    let file;
    try {
      file = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      throw Object.assign(new Error("This is not a safetensors file."), {
        kind: "weights",
        help: "Open a file that was saved here or by rekindle train.",
      });
    }
    this.#classes = [];
    this.#examples = [];
    this.#original = toyHead(ORIGINAL);
    this.#head = file.head ?? this.#original;
    this.#info = {
      architecture: file.architecture,
      inputSize: 224,
      parameters: file.parameters,
      trainable: file.head ? ["head"] : null,
    };
    return this.info();
  }

  info() {
    if (!this.#info) return null;
    const head = this.#head === this.#original ? "original" : "linear";
    return { ...this.#info, classes: this.#head.classes, head };
  }

  async classify(rgba, width, height, topK) {
    await pause(15);
    const logits = apply(this.#head, features(rgba, width, height));
    const probabilities = softmax(logits);
    return probabilities
      .map((probability, index) => ({
        class: this.#head.classes[index],
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
    return this.#classes.push(name) - 1;
  }

  renameClass(index, name) {
    this.#classes[index] = name;
    if (this.#head !== this.#original) this.#head.classes = [...this.#classes];
  }

  removeClass(index) {
    this.#classes.splice(index, 1);
    this.#examples = this.#examples
      .filter((example) => example.label !== index)
      .map((example) => (example.label > index ? { ...example, label: example.label - 1 } : example));
  }

  classes() {
    return this.#classes.map((name, index) => ({
      name,
      examples: this.#examples.filter(({ label }) => label === index).length,
    }));
  }

  async addExample(label, rgba, width, height) {
    await pause(15);
    const id = this.#nextId++;
    this.#examples.push({ id, label, x: features(rgba, width, height) });
    return id;
  }

  removeExample(id) {
    this.#examples = this.#examples.filter((example) => example.id !== id);
  }

  async fit() {
    const started = performance.now();
    const classes = [...this.#classes];
    this.#head = descend(classes, this.#examples);
    const right = this.#examples.filter(
      ({ x, label }) => indexOfMax(apply(this.#head, x)) === label,
    ).length;
    const least = Math.min(...this.classes().map(({ examples }) => examples));
    return {
      iterations: 60,
      objective: 0.1,
      trainAccuracy: right / this.#examples.length,
      crossValidation: least >= 3 ? right / this.#examples.length : null,
      folds: least >= 3 ? Math.min(5, least) : null,
      milliseconds: performance.now() - started,
    };
  }

  async saveModel() {
    const { architecture, parameters } = this.#info;
    return new TextEncoder().encode(JSON.stringify({ architecture, parameters, head: this.#head }));
  }

  reset() {
    this.#classes = [];
    this.#examples = [];
    this.#head = this.#original;
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

function descend(classes, examples) {
  const head = {
    classes,
    weight: classes.map(() => new Array(FEATURES).fill(0)),
    bias: classes.map(() => 0),
  };
  for (let step = 0; step < 60; step += 1) {
    for (const { x, label } of examples) {
      const probabilities = softmax(apply(head, x));
      for (let k = 0; k < classes.length; k += 1) {
        const error = (k === label ? 1 : 0) - probabilities[k];
        for (let i = 0; i < FEATURES; i += 1) head.weight[k][i] += 0.03 * error * x[i];
        head.bias[k] += 0.03 * error;
      }
    }
  }
  return head;
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
