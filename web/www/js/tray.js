// The photos somebody has looked at, small, each with the best class under it.

import { $, h, percent, plural } from "./dom.js";
import { notify, reportUnread } from "./notices.js";

/** More photos than this are not kept in view. */
const LIMIT = 500;
const THUMBNAIL = 96;

export class Tray {
  #rekindle;
  #open;
  /** The newest last. */
  #entries = [];
  #labelling = false;
  #failures = [];
  #read = 0;
  #revision = 0;

  /**
   * @param {import("../rekindle.js").Rekindle} rekindle
   * @param {(photo: File) => void} open called when a photo is chosen
   */
  constructor(rekindle, open) {
    this.#rekindle = rekindle;
    this.#open = open;
    $("#tray-clear").addEventListener("click", () => this.#clear());
  }

  add(photos) {
    const kept = photos.slice(0, LIMIT);
    if (kept.length < photos.length) {
      notify("warning", `The first ${LIMIT} of ${plural(photos.length, "photo")} are shown.`, {
        help: "To name whole folders, save the model file and use `rekindle predict` on the command line.",
        key: "tray",
      });
    }
    for (const photo of kept) this.#entries.push(this.#entry(photo));
    for (const { button } of this.#entries.splice(0, this.#entries.length - LIMIT)) button.remove();
    this.#draw();
    this.#label();
  }

  /** Another head answers: every label is out of date. */
  headChanged(revision) {
    this.#revision = revision;
    for (const { label } of this.#entries) label.textContent = "…";
    this.#label();
  }

  /** The head is the same, but what its classes are called is not. */
  renamed(names) {
    for (const entry of this.#entries) {
      if (entry.best) show(entry, { ...entry.best, class: names[entry.best.index] });
    }
  }

  #entry(photo) {
    const canvas = h("canvas", { width: THUMBNAIL, height: THUMBNAIL, "aria-hidden": "true" });
    const label = h("span", { class: "tray-label" }, "…");
    const button = h(
      "button",
      { class: "tray-photo", type: "button", "aria-label": photo.name, onclick: () => this.#open(photo) },
      canvas,
      label,
    );
    $("#tray-strip").prepend(button);
    return { photo, canvas, label, button, drawn: false, revision: -1, best: null };
  }

  /** Asks about one photo after the other, the newest first, until every label is up to date. */
  async #label() {
    if (this.#labelling) return;
    this.#labelling = true;
    for (let entry = this.#outdated(); entry; entry = this.#outdated()) {
      const revision = this.#revision;
      try {
        if (!entry.drawn) await drawThumbnail(entry.photo, entry.canvas);
        entry.drawn = true;
        const [best] = await this.#rekindle.classify(entry.photo, 1, { background: true });
        entry.revision = revision;
        // Another head may have come meanwhile: then it is asked again.
        if (revision === this.#revision) show(entry, best);
      } catch (error) {
        // After a crash a new worker will be asked.
        if (["crash", "closed"].includes(error.kind)) break;
        this.#failures.push({ name: entry.photo.name, error });
        this.#entries = this.#entries.filter((other) => other !== entry);
        entry.button.remove();
        this.#draw();
      }
      this.#read += 1;
    }
    this.#labelling = false;
    reportUnread(this.#failures, this.#read);
    this.#failures = [];
    this.#read = 0;
  }

  #outdated() {
    // One photo alone is on the stage already.
    if (this.#entries.length < 2) return undefined;
    return this.#entries.findLast(({ revision }) => revision !== this.#revision);
  }

  #clear() {
    this.#entries = [];
    $("#tray-strip").replaceChildren();
    this.#draw();
  }

  #draw() {
    $("#tray").hidden = this.#entries.length < 2;
  }
}

function show(entry, best) {
  entry.best = best;
  entry.label.textContent = best.class;
  entry.button.title = `${entry.photo.name}: ${best.class}, ${percent(best.probability)}`;
  entry.button.setAttribute("aria-label", entry.button.title);
}

async function drawThumbnail(photo, canvas) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(photo, { resizeHeight: THUMBNAIL * 2, resizeQuality: "low" });
  } catch {
    // The worker finds out why, and says it in a sentence.
    return;
  }
  const side = Math.min(bitmap.width, bitmap.height);
  canvas
    .getContext("2d")
    .drawImage(
      bitmap,
      (bitmap.width - side) / 2,
      (bitmap.height - side) / 2,
      side,
      side,
      0,
      0,
      canvas.width,
      canvas.height,
    );
  bitmap.close();
}
