/**
 * Rekindle in a web page: a pretrained image network, taught new classes from a few photos, on the
 * visitor's own device. The work happens in a Web Worker; nothing is sent anywhere.
 *
 * ```js
 * import { Rekindle } from "./rekindle.js";
 *
 * const rekindle = await Rekindle.start();
 * await rekindle.load("models/efficientnet_lite0.safetensors");
 * console.log(await rekindle.classify(document.querySelector("img")));
 * ```
 *
 * `rekindle.js`, `worker.js` and the folders `rekindle/` and `pkg/` are served from one place, by the
 * page's own origin (browsers refuse workers from elsewhere).
 */

/** Where the network runs. `auto` takes a real graphics adapter, else the CPU. */
export type DeviceChoice = "auto" | "webgpu" | "cpu";

export interface Device {
  readonly kind: "webgpu" | "cpu";
  /** The adapter's name, or a description of the CPU path. */
  readonly name: string;
  /** Why this device was taken, as part of a sentence. */
  readonly reason: string;
}

export interface StartOptions {
  /** Default: `"auto"`. `"webgpu"` takes even a software adapter. */
  device?: DeviceChoice;
  /** The folder that holds `worker.js`, `rekindle/` and `pkg/`. Default: the folder of `rekindle.js`. */
  base?: string | URL;
}

/**
 * What a class is known by from {@link Rekindle.addClass} on, whatever happens to its name and to other
 * classes. An id is never given twice.
 */
export type ClassId = number;

/** What a photo is known by from {@link Rekindle.addExample} on. An id is never given twice. */
export type ExampleId = number;

export interface ModelInfo {
  /** torchvision's or timm's name, for example `"efficientnet_lite0"`. */
  readonly architecture: string;
  /** What timm calls the network (`timm.create_model`), where torchvision has none such; else null. */
  readonly timm: string | null;
  /** The names the current head answers with, in order of its outputs. */
  readonly classes: readonly string[];
  /**
   * The classes that the current head was fitted on here, in order of its outputs; null for a head that
   * came with the model file.
   */
  readonly classIds: readonly ClassId[] | null;
  /** `"original"`: the head the weights came with (ImageNet). Others were fitted. */
  readonly head: "original" | "linear" | "mlp";
  /** Whether more of the network than its head was trained here. */
  readonly trained: boolean;
  /** Rises by one whenever another head answers. A new name for a class leaves it as it is. */
  readonly revision: number;
  /** Side of the square the network sees, in pixels. */
  readonly inputSize: number;
  /** Number of parameters, head included. */
  readonly parameters: number;
  /** The names of the classes that the head was trained on, here or elsewhere; null for the network's own head. */
  readonly trainable: readonly string[] | null;
}

export interface Prediction {
  readonly class: string;
  /** The class's id, or null when the head came with the model file. */
  readonly id: ClassId | null;
  /** Position of the class among the head's outputs. */
  readonly index: number;
  /** Softmax probability, 0 to 1. */
  readonly probability: number;
  readonly logit: number;
}

export interface ClassifyOptions {
  /** Let other answers, photos and fits go first. */
  background?: boolean;
  /** Calls it off, as long as it waits. */
  signal?: AbortSignal;
}

export interface ClassSummary {
  readonly id: ClassId;
  readonly name: string;
  readonly examples: number;
}

export interface ExampleOptions {
  /** Side of a thumbnail to make, in pixels; none by default. */
  thumbnail?: number;
  /** Calls it off, as long as it waits. */
  signal?: AbortSignal;
}

export interface Example {
  /** Handle for {@link Rekindle.removeExample}. */
  readonly id: ExampleId;
  /** A small square JPEG for display, when one was asked for. */
  readonly thumbnail: Blob | null;
}

export interface FitOptions {
  /**
   * Inverse strength of the L2 penalty, as in scikit-learn's LogisticRegression. Above 0.
   * Default: chosen from the size of the features, which suits every network.
   */
  c?: number;
  /** `"balanced"` weighs each class by the inverse of its share of the examples. Default: `"none"`. */
  classWeights?: "none" | "balanced";
  /** Decides the cross-validation folds. The same seed and photos give the same numbers. 0 to 2³² − 1. */
  seed?: number;
  /** Calls the fit off; the head stays the one from before. */
  signal?: AbortSignal;
}

export interface FitReport {
  /** Steps from the last solution, or from none, to the optimum. */
  readonly iterations: number;
  /** Value of the regularised loss at the optimum. */
  readonly objective: number;
  /** Share of the examples that the fitted head names rightly, 0 to 1. */
  readonly trainAccuracy: number;
  /** From the call to the head in place, by the clock. */
  readonly milliseconds: number;
}

export interface CrossValidationOptions {
  /** Calls it off. */
  signal?: AbortSignal;
  /** Called as folds are done. */
  onProgress?: (done: number, total: number) => void;
}

export interface CrossValidation {
  /** Share of the examples named rightly by heads that had not seen them, 0 to 1. */
  readonly accuracy: number;
  /** As many as the rarest class has photos that do not belong together (copies, one recording), five at most. */
  readonly folds: number;
  /** Photos that belong to others (copies, near copies, one recording) and were held out with them. */
  readonly together: number;
  /** From the call to the answer, by the clock. */
  readonly milliseconds: number;
}

/** Fields of a recipe, as `recipe.toml` has them in its table `tuning` (docs/fine-tuning.md). */
export type TuneRecipe = Readonly<Record<string, unknown>>;

export interface TuneOptions {
  /** The last stages that hold blocks, and all behind them; `"last"` are two. */
  mode?: "last" | `last:${number}`;
  /** Passes over the photos. Default: 6. */
  epochs?: number;
  /** Photos a step. Default: 32. */
  batch?: number;
  /** The highest learning rate. Default: 0.0005. */
  lr?: number;
  /** Random views of each photo, at most one an epoch. Fewer are made where `memory` has no room. Default: 8. */
  views?: number;
  /** How photos are changed at random: a name such as `"flip"` (default), `"light"`, `"none"`, or a table. */
  augment?: string | TuneRecipe;
  /** Whatever else a recipe may say. */
  recipe?: TuneRecipe;
  /** Decides what is held back, the views and the order. The same seed and photos train the same. Default: 0. */
  seed?: number;
  /** The share of each class that is held back to judge by. Default: 0.2. */
  heldOut?: number;
  /** Bytes of memory for what the frozen part makes of the views. Default: 256 MiB. */
  memory?: number;
  /** Goes on where a training of the same photos, with the same options, was paused. */
  state?: Uint8Array;
  /** Calls it off; everything stays as it was. */
  signal?: AbortSignal;
  /** Pauses it behind the step it is at: the answer is a {@link TunePause}. */
  pause?: AbortSignal;
  onProgress?: (progress: TuneProgress) => void;
}

export type TuneProgress =
  /** Photos go through the frozen part; `total` is 0 while it is being found out which belong together. */
  | { readonly stage: "photos"; readonly done: number; readonly total: number }
  | {
      readonly stage: "training";
      /** Steps that are done, and those of all epochs. */
      readonly step: number;
      readonly steps: number;
      /** The epoch it is in, counted from 1. */
      readonly epoch: number;
      readonly epochs: number;
      /** The mean loss of the steps since the last progress; null where there was none. */
      readonly loss: number | null;
      /** What the last epoch came to on the photos held back, 0 to 1; null in the first. */
      readonly accuracy: number | null;
    };

export interface TuneReport {
  readonly paused: false;
  /** What answers now: the network that was trained, or the head as it was, which was no worse. */
  readonly kept: "tuned" | "head";
  /** Shares of the photos held back that are named rightly, 0 to 1: by what was kept, */
  readonly accuracy: number;
  /** by a head alone, fitted on the photos that were not held back, */
  readonly accuracyHead: number;
  /** and by the best epoch; null where none came to its end. */
  readonly accuracyTuned: number | null;
  /** The best epoch, counted from 1. */
  readonly bestEpoch: number | null;
  readonly epochs: readonly { readonly loss: number; readonly accuracy: number; readonly heldOutLoss: number }[];
  /** Photos that it learnt from, */
  readonly trainedOn: number;
  /** and photos that were held back. */
  readonly heldOut: number;
  /** Random views that were made of each photo. */
  readonly views: number;
  /** Why it ended early, where the loss became no number: the best epoch before that counts. */
  readonly stopped: string | null;
  /** From the call to the answer, by the clock. */
  readonly milliseconds: number;
}

export interface TunePause {
  readonly paused: true;
  /** For {@link TuneOptions.state}: a safetensors file with all that is needed to go on, here or after a reload. */
  readonly state: Uint8Array;
  readonly milliseconds: number;
}

export interface TrainingOptions {
  /** What trains, and how; `tune` may be any way to tune but `"head"`. Default: `{ tune: "last" }`. */
  recipe?: TuneRecipe;
  /** The class of each example, by its place in {@link ModelInfo.classes}. */
  labels: Iterable<number>;
  /** Decides the order of examples and what dropout leaves out. Default: 0. */
  seed?: number;
}

/** What a training wants next. */
export interface Wanted {
  readonly kind: "step" | "judgement" | "nothing";
  /** The batches of a step, whose gradients are added up: examples by their places in `labels`. */
  readonly batches: readonly (readonly {
    readonly example: number;
    /** The epoch, counted over all phases: show another random view in each. */
    readonly epoch: number;
  }[])[];
}

export interface EpochEnd {
  readonly phase: number;
  readonly epoch: number;
  /** The mean loss of its steps. */
  readonly loss: number;
  readonly isBest: boolean;
  readonly endsPhase: boolean;
}

/**
 * A training loop of your own, from {@link Rekindle.training}: the same trainer, which says what it wants, and takes
 * numbers. What stands before the *cut* does not change, so that its values can be computed once.
 *
 * ```js
 * const training = await rekindle.training({ labels, recipe: { tune: "last", epochs: 2, batch: 8 } });
 * const rows = await Promise.all(images.map((image) => training.values(image)));
 * for (;;) {
 *   const { kind, batches } = await training.wanted();
 *   if (kind === "nothing") break;
 *   if (kind === "judgement") await training.judged();
 *   else await training.step(batches.map((batch) => joined(batch.map(({ example }) => rows[example]))));
 * }
 * await training.finish();
 * ```
 */
export class Training {
  private constructor();

  /** The value that it takes of each example, and its shape: maps `[C, H, W]`, tokens `[T, C]` or features. */
  readonly cut: { readonly value: number; readonly shape: readonly number[] };
  wanted(): Promise<Wanted>;
  /** Values at the cut of normalised images `[N, C, H, W]`, by the compiled network. */
  values(images: Float32Array): Promise<Float32Array>;
  /** Takes the step that is wanted: the values of each batch's examples, one after the other. */
  step(batches: Float32Array[]): Promise<void>;
  /** The mean loss of the steps since it was last asked for; null where there were none. Read seldom: it waits. */
  losses(): Promise<number | null>;
  /** Logits for values at the cut, as the network stands, or on average where the recipe keeps averages. */
  answers(values: Float32Array): Promise<Float32Array>;
  /** Ends an epoch, where a judgement is wanted; with how good the network is, where that was measured. */
  judged(judgement?: { score: number; loss?: number }): Promise<EpochEnd>;
  /** All that is needed to go on, as a safetensors file: the network under `tensors:…`, the optimiser's numbers. */
  state(): Promise<Uint8Array>;
  /** Goes back to a state of a training with the same options. */
  restore(state: Uint8Array): Promise<void>;
  /** Puts the network in place: it answers from now on. The training is over. */
  finish(): Promise<ModelInfo>;
  /** Ends the training and frees its memory; the network that answers stays. */
  close(): Promise<void>;
}

/** A photo in any of the forms a page has it. Photos are used upright, as their EXIF data says. */
export type Picture =
  | Blob
  | ImageData
  | ImageBitmap
  | HTMLImageElement
  | HTMLVideoElement
  | VideoFrame
  | HTMLCanvasElement
  | OffscreenCanvas;

/** What went wrong (`message`), of which kind, and what to do about it (`help`). */
export class RekindleError extends Error {
  constructor(reason: Problem);
  readonly help: string | undefined;
  /**
   * `"usage"`, `"cancelled"`, `"decode"`, `"heic"`, `"file"`, `"network"`, `"webgpu"`, `"unsupported"`, `"diverged"`,
   * `"state"`, `"crash"`, or a kind from the core.
   */
  readonly kind: string;
}

export interface Problem {
  readonly kind: string;
  readonly message: string;
  readonly help?: string;
}

export interface Teaching {
  /** `"all"` after `load`, `reset` and `restart`. */
  readonly change: "class" | "name" | "example" | "all";
  /** What is taught now: {@link Rekindle.taught}. */
  readonly classes: readonly ClassSummary[];
}

export interface RekindleEvents {
  /**
   * The network, its head or a name is another one: after `load`, `fit`, `tune`, `renameClass`, `removeClass`, `reset`.
   */
  model: CustomEvent<ModelInfo | null>;
  /** Classes or examples came, went or were renamed. */
  taught: CustomEvent<Teaching>;
  /** A head was fitted. */
  fit: CustomEvent<FitReport>;
  /** The last stages were trained. */
  tune: CustomEvent<TuneReport>;
  /** The worker died: every call fails until {@link Rekindle.restart}. What was taught is kept. */
  crash: CustomEvent<Problem>;
  /** The worker has been silent for long, though something was asked of it. It may come back. */
  stall: CustomEvent<Problem>;
  /** It has come back. */
  recover: CustomEvent<null>;
}

/**
 * One network and the classes taught to it. Every promise may be rejected with a {@link RekindleError}.
 *
 * Calls are carried out one after the other, in the order they were made, except that a
 * {@link Rekindle.classify} overtakes photos and fits that were asked for before it: it waits for one look
 * at most, and is answered by the head in place then.
 */
export class Rekindle extends EventTarget {
  private constructor(workerUrl: URL);

  /** Starts the worker, compiles the WebAssembly module and opens a device. */
  static start(options?: StartOptions): Promise<Rekindle>;

  /** The device that was opened. */
  readonly device: Device;

  /** Things to know that stop nothing, such as a browser that alters the pixels a page reads. */
  readonly warnings: readonly Problem[];

  /** The network in use, or null before the first {@link load}. */
  readonly info: ModelInfo | null;

  /** What has been taught so far, in the order the classes were added. */
  readonly taught: readonly ClassSummary[];

  /**
   * Loads pretrained weights or a model file made by Rekindle (`.safetensors`), from an address, an
   * answered request, a file or bytes. Classes and examples taught so far are forgotten, once the new
   * network is in place; photos asked for before are read first.
   * @param onProgress called while an address is fetched; `total` is null when the server keeps it to itself.
   */
  load(
    source: string | URL | Response | Blob | Uint8Array,
    onProgress?: (received: number, total: number | null) => void,
  ): Promise<ModelInfo>;

  /** The `topK` most probable classes, best first, by the current head. Default: 5. */
  classify(source: Picture, topK?: number, options?: ClassifyOptions): Promise<Prediction[]>;

  /**
   * Adds a class and answers its id. Names are unique and not empty; they are kept without space around
   * them, in Unicode's composed form (NFC).
   */
  addClass(name: string): Promise<ClassId>;
  /** Gives a class another name. A head that was fitted answers with it at once. */
  renameClass(id: ClassId, name: string): Promise<void>;
  /** Removes a class with its examples. A head that was fitted on it goes, too. */
  removeClass(id: ClassId): Promise<void>;
  /** {@link taught}, as the worker has it, after all that was asked for before. */
  classes(): Promise<ClassSummary[]>;

  /**
   * Shows the network a photo of a class. Its features are kept, not its pixels: of a file the file itself, and of
   * any other picture a small WebP for {@link tune}.
   */
  addExample(classId: ClassId, source: Picture, options?: ExampleOptions): Promise<Example>;
  removeExample(id: ExampleId): Promise<void>;

  /**
   * Fits a linear head to the examples, to the optimum, from where the last fit ended. The current head is
   * replaced. Answers go on between its steps.
   */
  fit(options?: FitOptions): Promise<FitReport>;

  /**
   * Measures what the last fit is worth on photos it has not seen, in folds, with the same options. It goes
   * on while nothing else is asked for; any change of the examples calls it off (kind `"cancelled"`). Null
   * when a class has only one example, or all of its examples belong together.
   */
  crossValidate(options?: CrossValidationOptions): Promise<CrossValidation | null>;

  /**
   * Trains the last stages of the network from the head's optimum on, as `rekindle train --tune last` does, and keeps
   * the better of the two by photos that neither saw: the head as it was, if the training does not beat it. A head must
   * have been fitted. The photos' views go through the frozen part once; answers go on between steps, and on the processor
   * in the midst of them. Any change of the examples calls it off (kind `"cancelled"`), and so does a fit.
   *
   * It works on graphics adapters and on the processor, which is one thread here: a step of the last stages of a small
   * network with 32 photos takes it a second or less. The engine for the processor refuses networks with steps that
   * have no way back there: transposed convolutions, group norms, resizing, cosine attention (kind `"unsupported"`). The
   * next fit starts from the network as it was loaded.
   */
  tune(options?: TuneOptions): Promise<TuneReport | TunePause>;

  /** Begins a training of the network that answers, by examples and a loop of your own. Refused where {@link tune} is. */
  training(options: TrainingOptions): Promise<Training>;

  /** The network with its current head as one `.safetensors` file, for the command line and PyTorch too. */
  saveModel(): Promise<Blob>;

  /** Forgets classes and examples; the head that {@link load} brought is back. */
  reset(): Promise<void>;

  /**
   * Starts a new worker, after a crash or in place of one that has stalled, opens the same network in it and
   * teaches it all classes and examples again: they keep their ids. What was under way is rejected, and the
   * head is the one that {@link load} brought until the next fit.
   * @param options.device another device than before.
   */
  restart(options?: { device?: DeviceChoice }): Promise<ModelInfo | null>;

  /** Stops the worker and frees its memory. */
  close(): void;

  addEventListener<K extends keyof RekindleEvents>(
    type: K,
    listener: (this: Rekindle, event: RekindleEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
