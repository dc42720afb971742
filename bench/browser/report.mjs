// The table: agreement of the answers, one line for each cell, and geometric means.

/** The engines, ours first. The others' modules are `page/<name>.js`. */
export const ENGINES = ["rekindle", "onnxruntime", "tfjs"];

/** Answers further apart than this, as a share of the largest logit, are marked and count for nothing. */
export const TOLERANCE = 1e-3;

const KEYS = ["first", "warm", "best"];

/**
 * Gives each result its distance from the reference of its network: ONNX Runtime on WebAssembly where there
 * is one, else the last in the list that has an answer.
 */
export function compare(results) {
  const answered = results.filter(({ error }) => !error);
  return results.map((result) => {
    if (result.error) return result;
    const peers = answered.filter(({ network }) => network === result.network);
    const reference =
      peers.find(({ engine, backend }) => engine === "onnxruntime" && backend === "wasm") ?? peers.at(-1);
    const off = distance(result.logits, reference.logits);
    return { ...result, off, reference: reference === result, agrees: off <= TOLERANCE };
  });
}

/** The largest difference, as a share of the largest number. NaN is as far as can be. */
function distance(logits, reference) {
  const largest = Math.max(...reference.map(Math.abs));
  const apart = Math.max(...logits.map((logit, i) => Math.abs(logit - reference[i])));
  return logits.length === reference.length && apart >= 0 ? apart / largest : Infinity;
}

const named = (cells) => [20, 8, 14].map((width, i) => cells[i].padEnd(width)).join(" ");
const aligned = (cells) => [8, 8, 8, 8, 8, 5, 10].map((width, i) => String(cells[i]).padStart(width)).join("");

/** The table's first line. Times are in milliseconds. */
export function heading() {
  const names = named(["network", "backend", "engine"]);
  return names + aligned(["start", "answer", "first", "warm", "best", "runs", "off by"]);
}

/** One cell as a line of the table. */
export function line(result) {
  const { network, backend, label, error, runs, off, reference, agrees } = result;
  const names = named([network, backend, label]);
  if (error) return `${names}  ${error.split("\n")[0]}`;
  const times = ["start", "answer", "first", "warm", "best"].map((key) => rounded(result[key]));
  const apart = off === undefined ? "" : reference ? "reference" : off.toExponential(0);
  return names + aligned([...times, runs, apart]) + (agrees === false ? "  DISAGREES" : "");
}

const rounded = (time) => time.toFixed(time < 100 ? 1 : 0);

/** For each backend: our times as a share of the best of the others', as geometric means over networks. */
export function summary(results) {
  const { label: ours } = results[0];
  const counts = ({ error, agrees }) => !error && agrees;
  const lines = [];
  for (const backend of new Set(results.map((result) => result.backend))) {
    const ratios = [];
    const left = [];
    for (const network of new Set(results.map((result) => result.network))) {
      const cells = results.filter((r) => r.network === network && r.backend === backend && counts(r));
      const mine = cells.find(({ label }) => label === ours);
      const others = cells.filter(({ label }) => label !== ours);
      if (!mine || !others.length) left.push(network);
      else ratios.push(KEYS.map((key) => mine[key] / Math.min(...others.map((other) => other[key]))));
    }
    const mean = (at) => Math.exp(ratios.reduce((sum, r) => sum + Math.log(r[at]), 0) / ratios.length);
    const means = KEYS.map((key, at) => `${key} ${mean(at).toFixed(2)}`).join(", ");
    const without = left.length ? `; without ${left.join(", ")}` : "";
    const share = ratios.length ? `${means} over ${ratios.length} networks` : "no network to compare";
    lines.push(`${backend.padEnd(8)} ${ours} / best of the others (below 1 is faster): ${share}${without}`);
  }
  return lines;
}
