// The looking glass: a photo or the camera on the stage, and what the network says about it.

import { $, announce, classColour, duration, h, percent, plural, roundPercent } from "./dom.js";
import { isPhoto } from "./files.js";
import { dismiss, notify, notifyError } from "./notices.js";
import { Tray } from "./tray.js";

const TOP_K = 5;
/** A taught head shows all its classes up to this many. */
const TAUGHT_TOP_K = 10;
/** Pause between two looks at the camera, so that a fast device is not kept at full heat. */
const LIVE_PAUSE = 40;
/** Kinds of errors that are about the photo and not about the engine: the photo will never be read. */
const UNREADABLE = ["decode", "heic", "image"];

export class Look {
  #app;
  #stage = $("#stage");
  #photo = $("#stage-photo");
  #video = $("#stage-video");
  #tray;
  #current = null;
  #live = false;
  #looks = 0;
  #info = null;
  /** The answer in view, or null. */
  #answer = null;
  #rows = [];

  /** @param {{ rekindle: import("../rekindle.js").Rekindle, camera: import("./camera.js").Camera }} app */
  constructor(app) {
    this.#app = app;
    this.#tray = new Tray(app.rekindle, (photo) => this.show(photo, photo.name));
    $("#look-files").addEventListener("change", ({ target }) => {
      this.openFiles([...target.files]);
      target.value = "";
    });
    $("#look-camera").addEventListener("click", () => this.#toggleCamera());
    $("#look-flip").addEventListener("click", () => app.camera.flip());
    app.camera.addEventListener("lost", () => this.#live && this.#stopCamera());
    app.rekindle.addEventListener("taught", ({ detail }) => {
      // Classes that moved up have another colour.
      if (detail.change === "class" && this.#answer) this.#draw(this.#answer);
    });
  }

  /** The network, its head or a name is another one: say so, and look again where that tells more. */
  setModel(info) {
    const sameHead = this.#info?.revision === info.revision;
    const taught = info.head !== "original";
    const sameClasses = this.#info?.classIds?.join() === info.classIds?.join() && info.classIds;
    this.#info = info;
    $("#look-title").textContent = taught ? "Live" : "Try it";
    $("#look-lead").textContent = taught
      ? `Answers with your ${plural(info.classes.length, "class", "classes")}.`
      : `Answers with its own ${plural(info.classes.length, "class", "classes")}.`;
    this.#stage.classList.toggle("taught", taught);
    if (sameHead) {
      this.#rename(info.classes);
      return;
    }
    if (!sameClasses) this.#clearAnswer();
    if (this.#current && !this.#live) this.#look(this.#current.source, this.#current.name);
    this.#tray.headChanged(info.revision);
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
    this.#tray.add(photos);
  }

  /** Puts a photo on the stage and asks the network about it. */
  async show(blob, name) {
    if (this.#live) this.#leaveCamera();
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
      this.#draw({ predictions, milliseconds: performance.now() - started });
      const [best] = predictions;
      announce(`${name}: ${best.class}, ${percent(best.probability)}.`);
    } catch (error) {
      if (look !== this.#looks) return;
      this.#clearAnswer();
      const unreadable = UNREADABLE.includes(error.kind);
      if (unreadable) {
        this.#clearStage();
        $("#answers-empty").textContent = `“${name}” could not be read.`;
      }
      // The tray says the same of it, once.
      notifyError(error, { key: unreadable ? "unread" : "look" });
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

  #leaveCamera() {
    this.#live = false;
    this.#app.camera.detach(this.#video);
  }

  /** Back from the camera to the photo there was. */
  #stopCamera() {
    this.#leaveCamera();
    this.#setStage(this.#current ? "photo" : "empty");
    if (!this.#current) this.#clearAnswer();
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
          if (on()) this.#draw({ predictions, milliseconds: performance.now() - started });
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

  #draw(answer) {
    const { predictions, milliseconds } = answer;
    const [best] = predictions;
    this.#answer = answer;
    this.#drawRows(predictions);
    const verdict = $("#verdict");
    verdict.hidden = false;
    verdict.style.setProperty("--colour", this.#colour(best));
    $("#verdict-name").textContent = best.class;
    $("#verdict-share").textContent = roundPercent(best.probability);
    $("#look-time").textContent = `One look: ${duration(milliseconds)}`;
    $("#dock-answer").textContent = `${best.class} ${roundPercent(best.probability)}`;
  }

  /** Nothing is said of what is on the stage. */
  #clearAnswer() {
    this.#answer = null;
    this.#drawRows([]);
    $("#verdict").hidden = true;
    $("#look-time").textContent = "";
    $("#dock-answer").textContent = "Look";
    $("#answers-empty").textContent = "The most probable classes will stand here.";
  }

  /** Takes the photo off the stage. */
  #clearStage() {
    if (this.#current?.url) URL.revokeObjectURL(this.#current.url);
    this.#current = null;
    this.#photo.removeAttribute("src");
    this.#setStage("empty");
  }

  /** The same answer, by other names. */
  #rename(names) {
    if (this.#answer) {
      const predictions = this.#answer.predictions.map((prediction) => ({
        ...prediction,
        class: names[prediction.index],
      }));
      this.#draw({ ...this.#answer, predictions });
    }
    this.#tray.renamed(names);
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

  #colour({ id, index }) {
    if (this.#info?.head === "original") return "var(--ember)";
    const place = this.#app.rekindle.taught.findIndex((taught) => taught.id === id);
    return classColour(place < 0 ? index : place);
  }
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function nextVisibility() {
  return new Promise((resolve) =>
    document.addEventListener("visibilitychange", resolve, { once: true }),
  );
}
