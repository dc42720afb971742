// TensorFlow.js, given an exported ONNX network (which it cannot read itself).
//
// `translate` does what TensorFlow's converter does to a graph model before it is published, and does it
// before the clock starts: batch norms are folded into convolutions, kernels are stored as [rows, columns,
// in, out] and maps as [batch, rows, columns, channels], biases and the activations that tfjs can fuse are
// part of their convolution or matrix product. Shapes are static, the batch is one image.

import { parseOnnx } from "./onnx.js";

export async function prepare({ backend }, bytes, { nhwc, crop }) {
  await classic("tfjs/tf-core.js");
  await classic(`tfjs/tf-backend-${backend}.js`);
  const { tf } = globalThis;
  const plan = translate(parseOnnx(bytes));
  let weights;
  const pass = async () => {
    const output = tf.tidy(() => {
      const image = tf.tensor4d(nhwc, [1, crop, crop, 3]);
      return execute(tf, plan, weights, image);
    });
    const logits = await output.data();
    output.dispose();
    return logits;
  };
  return {
    async start() {
      if (backend === "wasm") {
        tf.wasm.setWasmPaths(new URL("tfjs/", import.meta.url).href);
        tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
      }
      if (!(await tf.setBackend(backend))) throw new Error(`tfjs has no backend ${backend} here`);
      await tf.ready();
    },
    async load() {
      weights = new Map();
      for (const [name, { dims, data }] of plan.weights) weights.set(name, tf.tensor(data, dims, "float32"));
    },
    pass,
    logits: pass,
  };
}

/** Activations that tfjs computes as part of a convolution or a matrix product. */
const FUSED = { Relu: "relu", Clip: "relu6", Sigmoid: "sigmoid" };

/**
 * @param {import("./onnx.js").OnnxModel} model
 * @returns {{ steps: object[], weights: Map<string, import("./onnx.js").Constant>,
 *             integers: Map<string, number[]>, input: string, output: string }}
 */
export function translate({ steps, constants, input, output }) {
  const users = new Map();
  for (const step of steps) {
    for (const name of step.inputs) users.set(name, [...(users.get(name) ?? []), step]);
  }
  /** The step that alone uses a value, if it is of that kind. */
  const only = (value, isWanted) => {
    const [user, ...more] = users.get(value) ?? [];
    return user && !more.length && isWanted(user) ? user : null;
  };
  const weights = new Map();
  const integers = new Map();
  for (const [name, { dims, data }] of constants) {
    if (data instanceof Float32Array) weights.set(name, { dims, data });
    else integers.set(name, data);
  }
  const done = new Set();
  const translated = [];
  for (const step of steps) {
    if (done.has(step)) continue;
    const next = { ...step };
    const take = (other) => {
      done.add(other);
      next.output = other.output;
    };
    if (step.op === "Conv") {
      const norm = only(next.output, (user) => user.op === "BatchNormalization");
      const [kernel, bias] = folded(step, norm, weights);
      if (norm) take(norm);
      const [out, each, rows, columns] = kernel.dims;
      next.depthwise = step.attributes.group === out && each === 1 && out > 1;
      if (!next.depthwise && step.attributes.group !== 1) {
        throw new Error(`${step.name}: tfjs has no grouped convolutions`);
      }
      weights.set(`${next.output}:kernel`, {
        dims: next.depthwise ? [rows, columns, out, 1] : [rows, columns, each, out],
        data: kernelLast(kernel.data, out, each, rows * columns),
      });
      weights.set(`${next.output}:bias`, { dims: [out], data: bias });
      next.inputs = [step.inputs[0], `${next.output}:kernel`, `${next.output}:bias`];
    }
    if (step.op === "MatMul" && constants.has(step.inputs[1])) {
      const isBias = (user) => user.op === "Add" && constants.get(user.inputs[1])?.dims.length === 1;
      const bias = only(next.output, isBias);
      if (bias) {
        next.inputs = [...step.inputs, bias.inputs[1]];
        take(bias);
      }
      next.op = "Linear";
    }
    if (next.op === "Conv" || next.op === "Linear") {
      const activation = only(next.output, (user) => isFusable(user, constants));
      if (activation) {
        next.activation = FUSED[activation.op];
        take(activation);
      }
    }
    // What is left of shapes: only the class token's, which is repeated for each image of one.
    if (step.op === "Shape") integers.set(step.output, [1]);
    else if (step.op === "Concat" && step.inputs.every((name) => integers.has(name))) {
      integers.set(step.output, step.inputs.flatMap((name) => integers.get(name)));
    } else translated.push(next);
  }
  const used = new Set(translated.flatMap((step) => step.inputs));
  for (const name of weights.keys()) if (!used.has(name)) weights.delete(name);
  return { steps: translated, weights, integers, input, output };
}

function isFusable(step, constants) {
  const bound = (at) => constants.get(step.inputs[at])?.data[0];
  return step.op in FUSED && (step.op !== "Clip" || (bound(1) === 0 && bound(2) === 6));
}

/** A convolution's kernel and bias with the batch norm behind it multiplied in. */
function folded({ inputs }, norm, weights) {
  const { dims, data } = weights.get(inputs[1]);
  const [out] = dims;
  const kernel = { dims, data: Float32Array.from(data) };
  const bias = Float32Array.from(weights.get(inputs[2])?.data ?? new Float32Array(out));
  if (!norm) return [kernel, bias];
  const [gamma, beta, mean, variance] = norm.inputs.slice(1).map((name) => weights.get(name).data);
  const size = data.length / out;
  for (let c = 0; c < out; c++) {
    const factor = gamma[c] / Math.sqrt(variance[c] + norm.attributes.epsilon);
    for (let i = c * size; i < (c + 1) * size; i++) kernel.data[i] *= factor;
    bias[c] = (bias[c] - mean[c]) * factor + beta[c];
  }
  return [kernel, bias];
}

/** `[out, each, area]` to `[area, each, out]`, which for a depthwise kernel is `[area, channel]` too. */
function kernelLast(data, out, each, area) {
  const turned = new Float32Array(data.length);
  for (let o = 0; o < out; o++) {
    for (let e = 0; e < each; e++) {
      for (let a = 0; a < area; a++) turned[(a * each + e) * out + o] = data[(o * each + e) * area + a];
    }
  }
  return turned;
}

/** One pass. Maps (four axes straight from the picture) stay channels last until a step asks otherwise. */
function execute(tf, { steps, integers, input, output }, weights, image) {
  const values = new Map([[input, image]]);
  const isMap = new Set([input]);
  for (const step of steps) {
    const rule = RULES[step.op];
    if (!rule) throw new Error(`${step.name}: no translation of ${step.op} to tfjs`);
    const maps = step.inputs.some((name) => isMap.has(name));
    const given = step.inputs.map((name) => values.get(name) ?? weights.get(name) ?? integers.get(name));
    const stays = maps && !rule.flat;
    if (maps && rule.flat) {
      for (const [i, name] of step.inputs.entries()) {
        if (isMap.has(name)) given[i] = tf.transpose(given[i], [0, 3, 1, 2]);
      }
    }
    const made = (rule.flat ?? rule)(tf, given, step, stays);
    values.set(step.output, made);
    if (stays && made.rank === 4) isMap.add(step.output);
  }
  return values.get(output);
}

/** Symmetric or other pads in tfjs's form. `more` is added below and to the right. */
function pads([top, left, bottom, right], more = [0, 0]) {
  return [[0, 0], [top, bottom + more[0]], [left, right + more[1]], [0, 0]];
}

function convolve(tf, [x, filter, bias], { attributes, activation, depthwise }) {
  const { strides, dilations } = attributes;
  const pad = samePads(x, attributes) ? "same" : pads(attributes.pads);
  const options = { x, filter, bias, strides, pad, dilations, activation: activation ?? "linear" };
  return depthwise ? tf.fused.depthwiseConv2d(options) : tf.fused.conv2d(options);
}

/** Whether these pads are what TensorFlow calls `same`, for which its kernels are made. */
function samePads(x, { kernel_shape, strides, dilations, pads: [top, left, bottom, right] }) {
  return [[top, bottom], [left, right]].every(([before, after], axis) => {
    const length = x.shape[1 + axis];
    const kernel = (kernel_shape[axis] - 1) * dilations[axis] + 1;
    const total = Math.max(0, (Math.ceil(length / strides[axis]) - 1) * strides[axis] + kernel - length);
    return before === total >> 1 && after === total - (total >> 1);
  });
}

function pool(tf, kind, [x], { attributes: { kernel_shape, strides, pads: around, ceil_mode } }) {
  // Rounded up: as if there were more below and to the right, where a step would else fall over the edge.
  const more = [0, 1].map((axis) => {
    const free = x.shape[1 + axis] + around[axis] + around[axis + 2] - kernel_shape[axis];
    const over = free % strides[axis];
    return ceil_mode && over ? strides[axis] - over : 0;
  });
  const padding = pads(around, more);
  const pad = padding.flat().some((n) => n > 0) ? padding : "valid";
  return tf[kind](x, kernel_shape, strides, pad);
}

function linear(tf, [x, b, bias], { activation }) {
  const a = x.rank === 2 ? x : tf.reshape(x, [-1, x.shape.at(-1)]);
  const product = tf.fused.matMul({ a, b, bias, activation: activation ?? "linear" });
  return x.rank === 2 ? product : tf.reshape(product, [...x.shape.slice(0, -1), b.shape[1]]);
}

function layerNorm(tf, [x, scale, shift], { attributes: { epsilon } }) {
  const { mean, variance } = tf.moments(x, -1, true);
  const factor = tf.mul(tf.rsqrt(tf.add(variance, epsilon)), scale);
  return tf.add(tf.mul(tf.sub(x, mean), factor), shift);
}

const hardSigmoid = (tf, x) => tf.mul(tf.relu6(tf.add(x, 3)), 1 / 6);

/** Each operator: `(tf, inputs, step, whether they are maps)`. Those under `flat` want ONNX's order of axes. */
const RULES = {
  Conv: convolve,
  Linear: linear,
  MaxPool: (tf, given, step) => pool(tf, "maxPool", given, step),
  AveragePool: (tf, given, step) => pool(tf, "avgPool", given, step),
  GlobalAveragePool: (tf, [x]) => tf.mean(x, [1, 2], true),
  Relu: (tf, [x]) => tf.relu(x),
  Clip: (tf, [x, low, high]) => (low && high ? tf.relu6(x) : x),
  Sigmoid: (tf, [x]) => tf.sigmoid(x),
  Tanh: (tf, [x]) => tf.tanh(x),
  HardSigmoid: (tf, [x]) => hardSigmoid(tf, x),
  HardSwish: (tf, [x]) => tf.mul(x, hardSigmoid(tf, x)),
  Gelu: (tf, [x]) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  Add: (tf, [a, b]) => tf.add(a, b),
  Mul: (tf, [a, b]) => tf.mul(a, b),
  Concat: (tf, parts, { attributes: { axis } }, maps) => tf.concat(parts, maps && axis === 1 ? 3 : axis),
  Softmax: (tf, [x]) => tf.softmax(x),
  Identity: (tf, [x]) => x,
  // One row and one column: the order of the axes makes no difference, and tfjs reshapes for nothing.
  Flatten: (tf, [x], step, maps) => {
    const flat = maps && x.shape[1] * x.shape[2] > 1 ? tf.transpose(x, [0, 3, 1, 2]) : x;
    return tf.reshape(flat, [x.shape[0], -1]);
  },
  LayerNormalization: { flat: layerNorm },
  MatMul: { flat: (tf, [a, b]) => tf.matMul(a, b) },
  Reshape: { flat: (tf, [x, shape]) => tf.reshape(x, shape) },
  Transpose: { flat: (tf, [x], { attributes: { perm } }) => tf.transpose(x, perm) },
  // The other way round too: axes of length one in the shape keep their length.
  Expand: { flat: (tf, [x, shape]) => tf.broadcastTo(x, shape.map((n, axis) => Math.max(n, x.shape[axis]))) },
  Gather: { flat: (tf, [x, [index]], { attributes: { axis } }) => tf.gather(x, index, axis) },
};
