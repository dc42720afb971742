// Fitting the head: when there is enough to learn from, at once and again after every change. The head comes first;
// what it is worth on photos it has not seen is measured after that, while nothing else is to be done.

import { $, announce, duration, plural, roundPercent } from "./dom.js";
import { dismiss, notifyError } from "./notices.js";

/** Quiet time after a change before the head is fitted again. */
const SETTLE = 250;
const LEAST_EXAMPLES = 2;
const FEW_EXAMPLES = 5;
const IMBALANCE = 4;

export class Fit {
  #app;
  #timer = 0;
  /** Rises with everything that asks for another head. */
  #version = 0;
  /** What is under way: null, or `{ stop, text }`. */
  #work = null;
  /** What the last fit said, and which version it was of. */
  #report = null;
  #failed = false;

  /** @param {{ rekindle: import("../rekindle.js").Rekindle, teach: import("./teach.js").Teach }} app */
  constructor(app) {
    this.#app = app;
    app.teach.addEventListener("change", ({ detail }) => {
      // A new name asks for no new head.
      if (detail.change === "name") this.#draw();
      else this.#changed();
    });
    app.teach.addEventListener("busy", () => this.#draw());
    app.teach.addEventListener("idle", () => this.#schedule());
    app.rekindle.addEventListener("model", ({ detail: info }) => {
      // The head has gone, with one of its classes or with the network.
      if (!info?.classIds) this.#report = null;
      this.#draw();
    });
    $("#fit-now").addEventListener("click", () => this.#run());
    for (const control of ["#fit-c", "#fit-weights", "#fit-seed"]) {
      $(control).addEventListener("change", () => this.#changed());
    }
  }

  #changed() {
    this.#version += 1;
    this.#failed = false;
    this.#work?.stop.abort();
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.#ready() && this.#report?.version !== this.#version) {
      this.#timer = setTimeout(() => this.#run(), SETTLE);
    }
    this.#draw();
  }

  async #run() {
    clearTimeout(this.#timer);
    if (!this.#ready() || this.#work) return;
    const version = this.#version;
    const stop = new AbortController();
    this.#work = { stop, text: "Fitting…" };
    this.#failed = false;
    this.#draw();
    try {
      await this.#fit(version, stop.signal);
      dismiss("fit");
    } catch (error) {
      // Called off by a change, seen from here or not: again.
      if (error.kind === "cancelled") this.#version += 1;
      else if (!["closed", "crash"].includes(error.kind)) {
        this.#report = null;
        this.#failed = true;
        notifyError(error, { key: "fit" });
      }
    }
    this.#work = null;
    if (version !== this.#version) this.#schedule();
    else this.#draw();
  }

  async #fit(version, signal) {
    const { rekindle } = this.#app;
    const head = await rekindle.fit({ ...this.#options(), signal });
    this.#report = { version, head, validation: null, checked: false };
    announce(`Fitted in ${duration(head.milliseconds)}.`);
    this.#say("Checking it on photos it has not seen…");
    const validation = await rekindle.crossValidate({
      signal,
      onProgress: (done, total) =>
        this.#say(`Checking it on photos it has not seen: ${done} of ${total} parts done.`),
    });
    this.#report = { ...this.#report, validation, checked: true };
  }

  #say(text) {
    if (this.#work) this.#work.text = text;
    this.#draw();
  }

  #ready() {
    return !this.#app.teach.busy && this.#missing().length === 0;
  }

  /** What is still needed before a head can be fitted, as sentences. */
  #missing() {
    const classes = this.#app.teach.classes;
    if (classes.length < 2) return ["Make at least two classes."];
    return classes
      .filter(({ examples }) => examples < LEAST_EXAMPLES)
      .map(({ name, examples }) => `“${name}” needs ${plural(LEAST_EXAMPLES - examples, "more photo")}.`);
  }

  /** What will make the answers worse than they could be. */
  #warnings() {
    const classes = this.#app.teach.classes;
    const warnings = [];
    const few = classes.filter(({ examples }) => examples < FEW_EXAMPLES);
    if (few.length > 0) {
      const names = few.map(({ name }) => `“${name}”`).join(", ");
      warnings.push(`Fewer than ${FEW_EXAMPLES} photos in ${names}: add some, in other places and light.`);
    }
    const counts = classes.map(({ examples }) => examples);
    const ratio = Math.max(...counts) / Math.min(...counts);
    if (ratio > IMBALANCE) {
      const smallest = classes.find(({ examples }) => examples === Math.min(...counts));
      warnings.push(
        $("#fit-weights").value === "balanced"
          ? `“${smallest.name}” has ${Math.round(ratio)} times fewer photos than the largest class. The weights make up for some of it; more photos are better.`
          : `“${smallest.name}” has ${Math.round(ratio)} times fewer photos than the largest class. Add more, or choose balanced weights below.`,
      );
    }
    return warnings;
  }

  #readyText() {
    if (this.#failed) return "It did not work. Change something, or try again.";
    return this.#app.teach.busy ? "Looking at the new photos first…" : "In a moment…";
  }

  #options() {
    const options = { classWeights: $("#fit-weights").value };
    const c = $("#fit-c").value;
    if (c !== "") options.c = Number(c);
    const seed = $("#fit-seed");
    if (seed.value !== "" && seed.checkValidity()) options.seed = seed.valueAsNumber;
    return options;
  }

  /** @returns {"running" | "checking" | "waiting" | "done" | "ready"} */
  #state(missing) {
    const current = this.#report?.version === this.#version;
    if (this.#work) return current ? "checking" : "running";
    if (missing.length > 0) return "waiting";
    return current && this.#report.checked ? "done" : "ready";
  }

  #draw() {
    const missing = this.#missing();
    const state = this.#state(missing);
    $("#fit").dataset.state = state;
    $("#fit-now").disabled = this.#work !== null || !this.#ready();
    const text = {
      running: this.#work?.text,
      checking: this.#work?.text,
      waiting: missing.join(" "),
      ready: this.#readyText(),
      done: "Fits again by itself after every change.",
    }[state];
    const old = state === "waiting" && this.#report ? " What stands below is from before the last change." : "";
    $("#fit-status").textContent = text + old;
    this.#drawReport();
    const warnings = missing.length === 0 ? this.#warnings() : [];
    $("#fit-warnings").replaceChildren(
      ...warnings.map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
      }),
    );
  }

  #drawReport() {
    const report = this.#report;
    $("#fit-report").hidden = !report;
    if (!report) {
      $("#fit-cv-box").hidden = true;
      $("#fit-cv-none").hidden = true;
      $("#fit-together").hidden = true;
      return;
    }
    const { head, validation, checked, version } = report;
    $("#fit-report").classList.toggle("outdated", version !== this.#version);
    // While it is measured again the last figure stays, as one of before.
    $("#fit-cv-box").classList.toggle("outdated", !checked);
    if (checked) {
      $("#fit-cv-box").hidden = !validation;
      $("#fit-cv-none").hidden = Boolean(validation);
      if (!validation) $("#fit-together").hidden = true;
    }
    if (validation) {
      $("#fit-cv").textContent = roundPercent(validation.accuracy);
      $("#fit-cv-note").textContent =
        `right on photos it had not seen (cross-validation in ${validation.folds} folds, ${duration(validation.milliseconds)})`;
      const { together } = validation;
      $("#fit-together").hidden = together === 0;
      $("#fit-together").textContent =
        `${plural(together, "photo")} are copies of others, or nearly, or of one recording: they were held out together.`;
    }
    $("#fit-train").textContent = roundPercent(head.trainAccuracy);
    $("#fit-time").textContent = duration(head.milliseconds);
    $("#fit-iterations").textContent = head.iterations.toLocaleString("en");
  }
}
