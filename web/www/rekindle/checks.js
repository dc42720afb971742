// Checks of what callers hand over, before it travels: WebAssembly takes a 5 for a text and traps.

import { RekindleError } from "./error.js";

const LARGEST_ID = 2 ** 32 - 1;
const FIT_OPTIONS = ["c", "classWeights", "seed", "signal"];

export function usage(message, help) {
  return new RekindleError({ kind: "usage", message, help });
}

/** A class's name, in the one form names are compared in: without space around it, and composed (NFC). */
export function className(value) {
  if (typeof value !== "string") throw usage(`A class's name is a text, not ${told(value)}.`, "Give a string.");
  const name = value.normalize("NFC").trim();
  if (name === "") throw usage("A class needs a name.", "Give at least one letter.");
  return name;
}

export function oneOf(value, words, what) {
  if (words.includes(value)) return value;
  throw usage(`${what} is ${told(value)}.`, `Choose ${words.map((word) => `"${word}"`).join(" or ")}.`);
}

/** What `addClass` and `addExample` answer. */
export function identity(value, what) {
  return whole(value, 1, LARGEST_ID, `The ${what}`, `Give the id of a ${what}, as it was answered when it was added.`);
}

export function whole(value, least, most, what, help = `Give a whole number from ${least} to ${most}.`) {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw usage(`${what} is ${told(value)}.`, help);
}

/** The options of a fit, without its signal. */
export function fitOptions(options) {
  if (typeof options !== "object" || options === null) {
    throw usage(`The options of a fit are ${told(options)}.`, "Give an object, or nothing.");
  }
  const { c, classWeights = "none", seed = 0 } = options;
  const stranger = Object.keys(options).find((key) => !FIT_OPTIONS.includes(key));
  if (stranger) throw usage(`A fit has no option “${stranger}”.`, `It has ${FIT_OPTIONS.join(", ")}.`);
  if (c !== undefined && !(Number.isFinite(c) && c > 0)) {
    throw usage(`C is ${told(c)}.`, "Choose a finite number above zero, such as 1, or leave it out.");
  }
  oneOf(classWeights, ["none", "balanced"], "classWeights");
  whole(seed, 0, 2 ** 32 - 1, "The seed");
  return { c, classWeights, seed };
}

function told(value) {
  if (typeof value === "string") return `“${value}”`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? "a list" : "an object";
}
