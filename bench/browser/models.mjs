// One set of random weights in two forms: a model file of Rekindle's, and the ONNX file that
// `rekindle export` makes of it.
//
// Names, shapes and the model's card come from an export with `--weights random`. Its numbers are of no
// use for a comparison: a deep network that was never trained answers with zeros, nearly. Ours are drawn
// at scales that keep the signal alive, from the tensors' names alone, so every run has the same.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseOnnx } from "./page/onnx.js";

const root = resolve(import.meta.dirname, "../..");
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");

/** The `rekindle` program that writes the networks. */
export const PROGRAM = resolve(process.env.REKINDLE_BIN ?? join(target, "release/rekindle"));

/** Where the networks are kept. */
export const MODELS = join(target, "browser-bench");

/** The metadata string in both kinds of file. */
const CARD = "rekindle";

/**
 * Writes `<name>.safetensors` and `<name>.onnx` into {@link MODELS}, unless they are there already.
 * @returns {{ card: { preset: object, classes: string[] }, megabytes: number }}
 */
export function makeModel(name) {
  const age = (file) => (existsSync(file) ? statSync(file).mtimeMs : 0);
  if (!age(PROGRAM)) {
    throw new Error(`${PROGRAM} is not there: run \`cargo build --release\`, or set REKINDLE_BIN`);
  }
  mkdirSync(MODELS, { recursive: true });
  const [onnx, model] = ["onnx", "safetensors"].map((ending) => join(MODELS, `${name}.${ending}`));
  if (Math.min(age(onnx), age(model)) < Math.max(age(PROGRAM), age(import.meta.filename))) {
    exportOnnx([name, "--weights", "random"], onnx);
    writeFileSync(model, modelFile(parseOnnx(readFileSync(onnx))));
    exportOnnx([model], onnx);
  }
  const { metadata } = parseOnnx(readFileSync(onnx));
  return { card: JSON.parse(metadata[CARD]), megabytes: statSync(model).size / 1e6 };
}

function exportOnnx(model, out) {
  const options = ["--onnx", "--out", out, "--quiet", "--offline"];
  execFileSync(PROGRAM, ["export", ...model, ...options], { stdio: ["ignore", "ignore", "inherit"] });
}

/** A safetensors file with the network's card and tensors, the numbers drawn anew. */
function modelFile({ constants, metadata }) {
  const header = { __metadata__: { [CARD]: metadata[CARD] } };
  const parts = [];
  let end = 0;
  for (const [name, { dims }] of constants) {
    const state = stateName(name, constants);
    if (!state) continue;
    const shape = name.endsWith(".T") ? [...dims].reverse() : dims;
    const bytes = Buffer.from(numbers(state, shape).buffer);
    header[state] = { dtype: "F32", shape, data_offsets: [end, (end += bytes.length)] };
    parts.push(bytes);
  }
  let json = JSON.stringify(header);
  json += " ".repeat(-Buffer.byteLength(json) & 7);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
  return Buffer.concat([length, Buffer.from(json), ...parts]);
}

/** What PyTorch calls a constant of the ONNX file; null for those that are a step's own, such as `low_7`. */
function stateName(name, constants) {
  if (/^\w+_\d+$/.test(name)) return null;
  if (name.endsWith(".T")) return name.slice(0, -2);
  // The bias that belongs to `<weight>.T` is called `<weight>.bias`.
  const weight = name.replace(/\.bias$/, "");
  return constants.has(`${weight}.T`) ? weight.replace(/weight$/, "bias") : name;
}

/** Numbers for a tensor of that name: matrices by fan-in, factors around one, the rest around zero. */
function numbers(name, shape) {
  const next = uniform(name);
  const fanIn = shape.slice(1).reduce((product, axis) => product * axis, 1);
  const draw = {
    factor: () => 0.5 + next(),
    shift: () => 0.2 * next() - 0.1,
    matrix: () => (2 * next() - 1) * Math.sqrt(6 / fanIn),
  };
  const isFactor = /running_var$|weight$/.test(name) && shape.length === 1;
  const kind = isFactor ? "factor" : shape.length === 1 ? "shift" : "matrix";
  return Float32Array.from({ length: shape[0] * fanIn }, draw[kind]);
}

/** Numbers from 0 to 1 that follow from a name: mulberry32, seeded with FNV-1a. */
function uniform(name) {
  let state = [...name].reduce((hash, c) => Math.imul(hash ^ c.codePointAt(0), 16777619), 2166136261);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
