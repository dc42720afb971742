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
 * `rekindle.js`, `worker.js` and the folder `pkg/` are served from one place, by the page's own
 * origin (browsers refuse workers from elsewhere).
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
  /** The folder that holds `worker.js` and `pkg/`. Default: the folder of `rekindle.js`. */
  base?: string | URL;
}

export interface ModelInfo {
  /** torchvision's or timm's name, for example `"efficientnet_lite0"`. */
  readonly architecture: string;
  /** The names the current head answers with, in order of its outputs. */
  readonly classes: readonly string[];
  /** `"original"`: the head the weights came with (ImageNet). Others were fitted. */
  readonly head: "original" | "linear" | "mlp";
  /** Side of the square the network sees, in pixels. */
  readonly inputSize: number;
  /** Number of parameters, head included. */
  readonly parameters: number;
  /** Names of the parts that were trained, or null for pretrained weights. */
  readonly trainable: readonly string[] | null;
}

export interface Prediction {
  readonly class: string;
  /** Position of the class among the head's outputs. */
  readonly index: number;
  /** Softmax probability, 0 to 1. */
  readonly probability: number;
  readonly logit: number;
}

export interface ClassSummary {
  readonly name: string;
  readonly examples: number;
}

export interface Example {
  /** Handle for {@link Rekindle.removeExample}. */
  readonly id: number;
  /** A small square JPEG for display, when one was asked for. */
  readonly thumbnail: Blob | null;
}

export interface FitOptions {
  /**
   * Inverse strength of the L2 penalty, as in scikit-learn's LogisticRegression. Above 0.
   * Default: chosen from the size of the features, which suits every network.
   */
  c?: number;
  /** `"balanced"` weighs each class by the inverse of its share of the examples. */
  classWeights?: "none" | "balanced";
  /** Decides the cross-validation folds. The same seed and photos give the same numbers. 0 to 2³² − 1. */
  seed?: number;
}

export interface FitReport {
  readonly iterations: number;
  /** Value of the regularised loss at the optimum. */
  readonly objective: number;
  /** Share of the examples that the fitted head names rightly, 0 to 1. */
  readonly trainAccuracy: number;
  /** Share named rightly by heads that had not seen them, 0 to 1; null with too few examples. */
  readonly crossValidation: number | null;
  /** Number of cross-validation folds, or null when there was none. */
  readonly folds: number | null;
  /** Time the fit took, without the cross-validation. */
  readonly milliseconds: number;
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
  /** `"decode"`, `"heic"`, `"network"`, `"unsupported"`, `"crash"`, or a kind from the core. */
  readonly kind: string;
}

export interface Problem {
  readonly kind: string;
  readonly message: string;
  readonly help?: string;
}

export interface RekindleEvents {
  /** The network, its head or a name changed: after `load`, `fit`, `renameClass` and `reset`. */
  model: CustomEvent<ModelInfo | null>;
  /** A head was fitted. */
  fit: CustomEvent<FitReport>;
  /** The worker stopped for good: every later call fails. Start anew. */
  crash: CustomEvent<Problem>;
}

/**
 * One network and the classes taught to it. Calls are carried out one after the other, in the order
 * they were made. Every promise may be rejected with a {@link RekindleError}.
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

  /**
   * Loads pretrained weights or a model file made by Rekindle (`.safetensors`), from an address, an
   * answered request, a file or bytes. Classes and examples taught so far are forgotten.
   * @param onProgress called while an address is fetched; `total` is null when the server keeps it to itself.
   */
  load(
    source: string | URL | Response | Blob | Uint8Array,
    onProgress?: (received: number, total: number | null) => void,
  ): Promise<ModelInfo>;

  /** The `topK` most probable classes, best first, by the current head. Default: 5. */
  classify(source: Picture, topK?: number): Promise<Prediction[]>;

  /** Adds a class and answers its index. Names are unique. */
  addClass(name: string): Promise<number>;
  renameClass(index: number, name: string): Promise<void>;
  /** Removes a class with its examples; later classes move up by one. */
  removeClass(index: number): Promise<void>;
  classes(): Promise<ClassSummary[]>;

  /**
   * Shows the network a photo of a class. Only its features are kept, not its pixels.
   * @param options.thumbnail side of a thumbnail to make, in pixels; none by default.
   */
  addExample(
    classIndex: number,
    source: Picture,
    options?: { thumbnail?: number },
  ): Promise<Example>;
  removeExample(id: number): Promise<void>;

  /** Fits a linear head to the examples, to the optimum. The current head is replaced. */
  fit(options?: FitOptions): Promise<FitReport>;

  /** The network with its current head as one `.safetensors` file, for the command line and PyTorch too. */
  saveModel(): Promise<Blob>;

  /** Forgets classes and examples; the head that {@link load} brought is back. */
  reset(): Promise<void>;

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
