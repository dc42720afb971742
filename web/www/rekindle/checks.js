// Checks of what callers hand over, before it travels: WebAssembly takes a 5 for a text and traps.

import { RekindleError } from "./error.js";

const LARGEST_ID = 2 ** 32 - 1;
const FIT_OPTIONS = ["c", "classWeights", "seed", "signal"];
const TUNE_OPTIONS = [
  "mode", "epochs", "batch", "lr", "views", "augment", "recipe", "seed", "heldOut", "memory", "state",
  "signal", "pause", "onProgress",
];
const TRAINING_OPTIONS = ["recipe", "labels", "seed"];
/** Bytes that values at the cut may take where nobody says otherwise. */
const MEMORY = 2 ** 28;
const MOST = 2 ** 32 - 1;

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
  known(options, FIT_OPTIONS, "fit");
  const { c, classWeights = "none", seed = 0 } = options;
  if (c !== undefined && !(Number.isFinite(c) && c > 0)) {
    throw usage(`C is ${told(c)}.`, "Choose a finite number above zero, such as 1, or leave it out.");
  }
  oneOf(classWeights, ["none", "balanced"], "classWeights");
  whole(seed, 0, 2 ** 32 - 1, "The seed");
  return { c, classWeights, seed };
}

/** The options of a training of the last stages, as the worker takes them. */
export function tuneOptions(options) {
  known(options, TUNE_OPTIONS, "training");
  const { mode = "last", epochs, batch, lr, views, augment, recipe = {}, state = null } = options;
  const { seed = 0, heldOut = 0.2, memory = MEMORY } = options;
  if (typeof mode !== "string" || !/^last(:[1-9]\d{0,3})?$/.test(mode)) {
    throw usage(`The mode is ${told(mode)}.`, "Say “last” for the last two stages, or “last:” and how many.");
  }
  for (const [what, value] of Object.entries({ epochs, batch, views })) {
    if (value !== undefined) whole(value, 1, 1_000_000, what);
  }
  if (lr !== undefined) above(lr, 0, 1e6, "The learning rate");
  above(heldOut, 0, 1, "heldOut");
  above(memory, 0, 2 ** 32, "memory");
  whole(seed, 0, MOST, "The seed");
  known(recipe, null, "recipe");
  if (state !== null && !(state instanceof Uint8Array)) {
    throw usage(`The state is ${told(state)}.`, "Give the bytes that a paused training answered.");
  }
  const said = Object.entries({ epochs, batch, lr, views, augment }).filter(([, value]) => value !== undefined);
  return { recipe: { ...recipe, ...Object.fromEntries(said), tune: mode }, seed, heldOut, memory, state };
}

/** The options of a training of a page's own. */
export function trainingOptions(options) {
  known(options, TRAINING_OPTIONS, "training");
  const { recipe = {}, labels, seed = 0 } = options;
  known(recipe, null, "recipe");
  whole(seed, 0, MOST, "The seed");
  const list = labels?.[Symbol.iterator] ? [...labels] : [];
  if (list.length === 0) throw usage("There is nothing to train on.", "Give each example's class, by its place.");
  for (const label of list) whole(label, 0, MOST, "A label");
  return { recipe, labels: Uint32Array.from(list), seed };
}

/** Numbers for a training. */
export function floats(value, what) {
  if (value instanceof Float32Array) return value;
  throw usage(`${what} are ${told(value)}.`, "Give a Float32Array.");
}

/** Refuses what is no object of options, and options that there are not. */
function known(options, names, what) {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw usage(`The options of a ${what} are ${told(options)}.`, "Give an object, or nothing.");
  }
  const stranger = names && Object.keys(options).find((key) => !names.includes(key));
  if (stranger) throw usage(`A ${what} has no option “${stranger}”.`, `It has ${names.join(", ")}.`);
}

function above(value, least, below, what) {
  if (Number.isFinite(value) && value > least && value < below) return value;
  throw usage(`${what} is ${told(value)}.`, `Give a number above ${least} and below ${below}.`);
}

function told(value) {
  if (typeof value === "string") return `“${value}”`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? "a list" : "an object";
}
