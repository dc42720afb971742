// Reads as much of an ONNX file as `rekindle export` writes. The messages and field numbers are those of
// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Works in a page and in Node.

/**
 * @typedef {{ dims: number[], data: Float32Array | number[] }} Constant
 * @typedef {{ op: string, name: string, inputs: string[], output: string,
 *             attributes: Record<string, number | number[]> }} Step
 * @typedef {{ steps: Step[], constants: Map<string, Constant>, input: string, output: string,
 *             metadata: Record<string, string> }} OnnxModel
 */

const FLOAT = 1;
const INT64 = 7;

/**
 * @param {Uint8Array} bytes
 * @returns {OnnxModel}
 */
export function parseOnnx(bytes) {
  const metadata = {};
  let graph = null;
  for (const { field, value } of fields(bytes)) {
    if (field === 7) graph = value;
    if (field === 14) {
      const [key, text] = strings(value, [1, 2]);
      metadata[key] = text;
    }
  }
  if (!graph) throw new Error("this is no ONNX file: it has no graph");
  const model = { steps: [], constants: new Map(), input: "", output: "", metadata };
  for (const { field, value } of fields(graph)) {
    if (field === 1) model.steps.push(step(value));
    if (field === 5) model.constants.set(...tensor(value));
    if (field === 11) [model.input] = strings(value, [1]);
    if (field === 12) [model.output] = strings(value, [1]);
  }
  return model;
}

/** The fields of a message: numbers for varints, views for bytes and 32-bit values. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const wire = key & 7;
    if (wire === 0) {
      yield { field: key >> 3, value: varint() };
      continue;
    }
    if (wire !== 2 && wire !== 5) throw new Error(`the ONNX file has a field of wire type ${wire}`);
    const length = wire === 2 ? varint() : 4;
    yield { field: key >> 3, value: bytes.subarray(at, at + length) };
    at += length;
  }
}

const text = (bytes) => new TextDecoder().decode(bytes);

function strings(bytes, wanted) {
  const found = wanted.map(() => "");
  for (const { field, value } of fields(bytes)) {
    const index = wanted.indexOf(field);
    if (index >= 0) found[index] = text(value);
  }
  return found;
}

function step(bytes) {
  const step = { op: "", name: "", inputs: [], output: "", attributes: {} };
  for (const { field, value } of fields(bytes)) {
    if (field === 1) step.inputs.push(text(value));
    if (field === 2) step.output = text(value);
    if (field === 3) step.name = text(value);
    if (field === 4) step.op = text(value);
    if (field === 5) attribute(value, step.attributes);
  }
  return step;
}

function attribute(bytes, into) {
  let name = "";
  let single;
  const list = [];
  for (const { field, value } of fields(bytes)) {
    if (field === 1) name = text(value);
    if (field === 2) single = new DataView(value.buffer, value.byteOffset).getFloat32(0, true);
    if (field === 3) single = value;
    if (field === 8) list.push(value);
  }
  into[name] = single ?? list;
}

function tensor(bytes) {
  const dims = [];
  let [type, name, raw] = [0, "", new Uint8Array()];
  for (const { field, value } of fields(bytes)) {
    if (field === 1) dims.push(value);
    if (field === 2) type = value;
    if (field === 8) name = text(value);
    if (field === 9) raw = value;
  }
  // A copy, since the numbers need not be aligned in the file.
  const { buffer } = new Uint8Array(raw);
  if (type === FLOAT) return [name, { dims, data: new Float32Array(buffer) }];
  if (type === INT64) return [name, { dims, data: [...new BigInt64Array(buffer)].map(Number) }];
  throw new Error(`${name} has ONNX's element type ${type}, which is not read here`);
}
