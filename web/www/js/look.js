// The looking glass: a photo or the camera on the stage, and what the network says about it.

import { $, announce, classColour, duration, h, percent, plural, roundPercent } from "./dom.js";
import { isPhoto } from "./files.js";
import { dismiss, notify, notifyError } from "./notices.js";
import { PhotoQueue } from "./queue.js";

const TOP_K = 5;
/** A taught head shows all its classes up to this many. */
const TAUGHT_TOP_K = 10;
const TRAY_LIMIT = 60;
/** So many photos of the tray are looked at again when the head changes. */
const RELABEL = 24;
const THUMBNAIL = 96;
/** Pause between two looks at the camera, so that a fast device is not kept at full heat. */
const LIVE_PAUSE = 40;

export class Look {
  #app;
  #stage = $("#stage");
  #photo = $("#stage-photo");
  #video = $("#stage-video");
  #current = null;
  #live = false;
  #looks = 0;
  #info = null;
  #tray = [];
  #queue = new PhotoQueue();
  #rows = [];

  /** @param {{ rekindle: import("../rekindle.js").Rekindle, camera: import("./camera.js").Camera }} app */
  constructor(app) {
    this.#app = app;
    $("#look-files").addEventListener("change", ({ target }) => {
      this.openFiles([...target.files]);
      target.value = "";
    });
    $("#look-camera").addEventListener("click", () => this.#toggleCamera());
    $("#look-flip").addEventListener("click", () => app.camera.flip().catch(notifyError));
    $("#tray-clear").addEventListener("click", () => this.#clearTray());
    app.camera.addEventListener("lost", () => this.#live && this.#stopCamera());
    this.#queue.addEventListener("idle", ({ detail }) => reportUnread(detail.failures, detail.total));
  }

  /** The network or its head is another one: say so, and look again. */
  setModel(info) {
    const headChanged = this.#info?.head !== info.head || !sameNames(this.#info, info);
    this.#info = info;
    const taught = info.head !== "original";
    $("#look-title").textContent = taught ? "Live" : "Try it";
    $("#look-lead").textContent = taught
      ? `Answers with your ${plural(info.classes.length, "class", "classes")}.`
      : `Answers with its own ${plural(info.classes.length, "class", "classes")}.`;
    this.#stage.classList.toggle("taught", taught);
    if (headChanged) this.#drawRows([]);
    if (this.#current && !this.#live) this.#look(this.#current.source, this.#current.name);
    this.#relabelTray();
  }

  /** Lists the bundled photos, and shows the first one so that the page opens with an answer. */
  async offerSamples(samples) {
    if (samples.length === 0) return;
    const buttons = samples.map((sample) =>
      h(
        "button",
        {
          class: "sample",
          type: "button",
          "aria-label": `Try the sample photo “${sample.label}”`,
          title: `${sample.label} (${sample.credit})`,
          onclick: () => this.#showSample(sample),
        },
        h("img", { src: sample.file, alt: "", loading: "lazy", decoding: "async", width: 64, height: 64 }),
      ),
    );
    $("#samples-strip").replaceChildren(...buttons);
    $("#samples").hidden = false;
    if (!this.#current && !this.#live) await this.#showSample(samples[0]);
  }

  async openFiles(files) {
    const photos = files.filter(isPhoto);
    if (photos.length === 0) {
      if (files.length > 0) {
        notify("error", "None of these files is a photo.", {
          help: "JPEG, PNG, WebP, GIF and AVIF work.",
          key: "unread",
        });
      }
      return;
    }
    dismiss("unread");
    this.show(photos[0], photos[0].name);
    this.#addToTray(photos);
  }

  /** Puts a photo on the stage and asks the network about it. */
  async show(blob, name) {
    if (this.#live) this.#stopCamera();
    if (this.#current?.url) URL.revokeObjectURL(this.#current.url);
    const url = URL.createObjectURL(blob);
    this.#current = { source: blob, name, url };
    this.#photo.src = url;
    this.#photo.alt = name;
    this.#setStage("photo");
    await this.#look(blob, name);
  }

  async #showSample(sample) {
    try {
      const response = await fetch(sample.file);
      if (!response.ok) throw new Error(`The sample photo answered ${response.status}.`);
      await this.show(await response.blob(), sample.label);
    } catch (error) {
      notifyError(error, { key: "sample" });
    }
  }

  async #look(source, name) {
    const look = ++this.#looks;
    this.#stage.classList.add("busy");
    try {
      const started = performance.now();
      const predictions = await this.#app.rekindle.classify(source, this.#topK());
      if (look !== this.#looks) return;
      this.#drawAnswer(predictions, performance.now() - started);
      const [best] = predictions;
      announce(`${name}: ${best.class}, ${percent(best.probability)}.`);
    } catch (error) {
      if (look !== this.#looks) return;
      this.#drawRows([]);
      $("#verdict").hidden = true;
      notifyError(error, { key: "look" });
    } finally {
      if (look === this.#looks) this.#stage.classList.remove("busy");
    }
  }

  async #toggleCamera() {
    if (this.#live) {
      this.#stopCamera();
      return;
    }
    dismiss("camera");
    this.#live = true;
    // Whatever photo was being looked at is no longer waited for.
    this.#looks += 1;
    this.#stage.classList.remove("busy");
    this.#setStage("video");
    try {
      await this.#app.camera.attach(this.#video);
    } catch (error) {
      notifyError(error, { key: "camera" });
      this.#stopCamera();
      return;
    }
    this.#watch();
  }

  #stopCamera() {
    this.#live = false;
    this.#app.camera.detach(this.#video);
    this.#setStage(this.#current ? "photo" : "empty");
    if (this.#current) this.#look(this.#current.source, this.#current.name);
  }

  /** Looks at the camera again and again, one frame at a time, while the page is visible. */
  async #watch() {
    const look = this.#looks;
    const on = () => this.#live && look === this.#looks;
    while (on()) {
      if (document.hidden) await nextVisibility();
      else if (this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) await pause(50);
      else {
        try {
          const started = performance.now();
          const predictions = await this.#app.rekindle.classify(this.#video, this.#topK());
          if (on()) this.#drawAnswer(predictions, performance.now() - started);
        } catch (error) {
          if (on()) {
            notifyError(error, { key: "look" });
            this.#stopCamera();
          }
          return;
        }
        await pause(LIVE_PAUSE);
      }
    }
  }

  #topK() {
    return this.#info.head === "original" ? TOP_K : Math.min(TAUGHT_TOP_K, this.#info.classes.length);
  }

  /** @param {"empty" | "photo" | "video"} what */
  #setStage(what) {
    this.#stage.dataset.shows = what;
    const live = what === "video";
    $("#look-flip").hidden = !live;
    $("#look-camera").setAttribute("aria-pressed", String(live));
    $("#look-camera-label").textContent = live ? "Stop camera" : "Camera";
  }

  #drawAnswer(predictions, milliseconds) {
    const [best] = predictions;
    this.#drawRows(predictions);
    const verdict = $("#verdict");
    verdict.hidden = false;
    verdict.style.setProperty("--colour", this.#colour(best));
    $("#verdict-name").textContent = best.class;
    $("#verdict-share").textContent = roundPercent(best.probability);
    $("#look-time").textContent = `One look: ${duration(milliseconds)}`;
    $("#dock-answer").textContent = `${best.class} ${roundPercent(best.probability)}`;
  }

  /** Updates the rows in place: the bars glide instead of jumping at every camera frame. */
  #drawRows(predictions) {
    const list = $("#answers");
    while (this.#rows.length > predictions.length) this.#rows.pop().remove();
    while (this.#rows.length < predictions.length) {
      const row = h(
        "li",
        { class: "answer" },
        h("span", { class: "answer-name" }),
        h("span", { class: "answer-share" }),
        h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: "bar-fill" })),
      );
      this.#rows.push(row);
      list.append(row);
    }
    // The classes of a taught head keep their places; only ImageNet's thousand are ranked.
    const taught = this.#info && this.#info.head !== "original";
    const ordered = taught ? predictions.toSorted((a, b) => a.index - b.index) : predictions;
    for (const [i, prediction] of ordered.entries()) {
      const row = this.#rows[i];
      row.dataset.class = prediction.class;
      row.dataset.index = prediction.index;
      row.dataset.probability = prediction.probability;
      row.classList.toggle("best", prediction === predictions[0]);
      row.style.setProperty("--share", prediction.probability);
      row.style.setProperty("--colour", this.#colour(prediction));
      row.children[0].textContent = prediction.class;
      row.children[1].textContent = percent(prediction.probability);
    }
    $("#answers-empty").hidden = predictions.length > 0;
  }

  #colour(prediction) {
    return this.#info?.head === "original" ? "var(--ember)" : classColour(prediction.index);
  }

  #addToTray(photos) {
    for (const photo of photos) {
      const canvas = h("canvas", { width: THUMBNAIL, height: THUMBNAIL, "aria-hidden": "true" });
      const label = h("span", { class: "tray-label" }, "…");
      const button = h(
        "button",
        {
          class: "tray-photo",
          type: "button",
          "aria-label": photo.name,
          onclick: () => this.show(photo, photo.name),
        },
        canvas,
        label,
      );
      const entry = { photo, canvas, label, button, drawn: false };
      this.#tray.push(entry);
      $("#tray-strip").prepend(button);
    }
    while (this.#tray.length > TRAY_LIMIT) this.#tray.shift().button.remove();
    $("#tray").hidden = this.#tray.length < 2;
    this.#label(this.#tray.filter((entry) => !entry.drawn));
  }

  #relabelTray() {
    this.#queue.cancel();
    for (const { label } of this.#tray) label.textContent = "…";
    this.#label(this.#tray.slice(-RELABEL));
  }

  #label(entries) {
    if (this.#tray.length < 2) return;
    this.#queue.add(
      entries.toReversed().map((entry) => ({
        name: entry.photo.name,
        run: async () => {
          if (!this.#tray.includes(entry)) return;
          try {
            if (!entry.drawn) await drawThumbnail(entry.photo, entry.canvas);
            entry.drawn = true;
            const [best] = await this.#app.rekindle.classify(entry.photo, 1);
            entry.label.textContent = best.class;
            entry.button.title = `${entry.photo.name}: ${best.class}, ${percent(best.probability)}`;
            entry.button.setAttribute("aria-label", entry.button.title);
          } catch (error) {
            this.#tray = this.#tray.filter((other) => other !== entry);
            entry.button.remove();
            throw error;
          }
        },
      })),
    );
  }

  #clearTray() {
    this.#queue.cancel();
    this.#tray = [];
    $("#tray-strip").replaceChildren();
    $("#tray").hidden = true;
  }
}

/** One notice for all the photos of a batch that could not be read. */
export function reportUnread(failures, total) {
  if (failures.length === 0) return;
  const [{ error }] = failures;
  if (failures.length === 1 || error.kind === "crash") {
    notifyError(error, { key: "unread" });
    return;
  }
  notify("error", `${failures.length} of ${plural(total, "photo")} could not be read.`, {
    help: "The others are in.",
    details: failures.map(({ name, error }) => `${name}: ${error.message}`),
    key: "unread",
  });
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

function sameNames(a, b) {
  return a?.classes.length === b.classes.length && a.classes.every((name, i) => name === b.classes[i]);
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function nextVisibility() {
  return new Promise((resolve) =>
    document.addEventListener("visibilitychange", resolve, { once: true }),
  );
}
