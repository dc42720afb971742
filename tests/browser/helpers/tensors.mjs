// Safetensors files as the tests need them: numbers of 32 bits.

import { readFile } from "node:fs/promises";

/** A file with the JSON that our goldens keep in their metadata. */
export async function readGolden(path) {
  const { tensors, metadata } = tensorsOf(await readFile(path));
  return { tensors, card: JSON.parse(metadata.golden) };
}

/** The tensors in a file's bytes, flat, and its metadata. */
export function tensorsOf(bytes) {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 8 + Number(buffer.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(buffer.subarray(8, start).toString("utf8"));
  const arrays = { F32: Float32Array, I32: Int32Array };
  const tensors = {};
  for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(entries)) {
    // A copy, because numbers must lie at multiples of their size.
    tensors[name] = new arrays[dtype](new Uint8Array(buffer.subarray(start + from, start + to)).buffer);
  }
  return { tensors, metadata };
}
