// Fitting the head: when there is enough to learn from, at once and again after every change.

import { $, announce, duration, plural, roundPercent } from "./dom.js";
import { dismiss, notifyError } from "./notices.js";

/** Quiet time after a change before the head is fitted again. */
const SETTLE = 350;
const LEAST_EXAMPLES = 2;
const FEW_EXAMPLES = 5;
const IMBALANCE = 4;

/** @fires Fit#fitted with the report as its detail */
export class Fit extends EventTarget {
  #app;
  #timer = 0;
  #version = 0;
  #running = false;
  #report = null;
  #reported = -1;
  #failed = false;

  /** @param {{ rekindle: import("../rekindle.js").Rekindle, teach: import("./teach.js").Teach }} app */
  constructor(app) {
    super();
    this.#app = app;
    app.teach.addEventListener("change", () => this.#changed());
    $("#fit-now").addEventListener("click", () => this.#run());
    for (const control of ["#fit-c", "#fit-weights", "#fit-seed"]) {
      $(control).addEventListener("change", () => this.#changed());
    }
  }

  /** Forgets the last report: the network is another one. */
  restart() {
    this.#report = null;
    this.#version += 1;
    clearTimeout(this.#timer);
    this.#draw();
  }

  #changed() {
    this.#version += 1;
    this.#failed = false;
    clearTimeout(this.#timer);
    if (this.#ready()) this.#timer = setTimeout(() => this.#run(), SETTLE);
    this.#draw();
  }

  async #run() {
    clearTimeout(this.#timer);
    if (!this.#ready() || this.#running) return;
    const version = this.#version;
    this.#running = true;
    this.#failed = false;
    this.#draw();
    try {
      const report = await this.#app.rekindle.fit(this.#options());
      dismiss("fit");
      this.#report = report;
      this.#reported = version;
      announce(`Fitted in ${duration(report.milliseconds)}.`);
      this.dispatchEvent(new CustomEvent("fitted", { detail: report }));
    } catch (error) {
      this.#report = null;
      this.#failed = true;
      notifyError(error, { key: "fit" });
    }
    this.#running = false;
    this.#draw();
    if (version !== this.#version) this.#changed();
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

  #draw() {
    const missing = this.#missing();
    const section = $("#fit");
    const state = this.#running
      ? "running"
      : missing.length > 0
        ? "waiting"
        : this.#report && this.#reported === this.#version
          ? "done"
          : "ready";
    section.dataset.state = state;
    $("#fit-now").disabled = state === "running" || !this.#ready();
    $("#fit-status").textContent = {
      running: "Fitting…",
      waiting: missing.join(" "),
      ready: this.#readyText(),
      done: "Fits again by itself after every change.",
    }[state];
    const report = this.#report;
    $("#fit-report").hidden = !report;
    if (report) {
      const tested = report.crossValidation !== null;
      $("#fit-cv-box").hidden = !tested;
      $("#fit-cv-none").hidden = tested;
      if (tested) {
        $("#fit-cv").textContent = roundPercent(report.crossValidation);
        $("#fit-cv-note").textContent = `right on photos it had not seen (cross-validation in ${report.folds} folds)`;
      }
      $("#fit-train").textContent = roundPercent(report.trainAccuracy);
      $("#fit-time").textContent = duration(report.milliseconds);
      $("#fit-iterations").textContent = report.iterations.toLocaleString("en");
    }
    const warnings = missing.length === 0 ? this.#warnings() : [];
    $("#fit-warnings").replaceChildren(
      ...warnings.map((text) => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
      }),
    );
  }
}
