// Model files: which network the page works with, saving what was taught, opening it again.

import { $, announce, megabytes, plural } from "./dom.js";
import { download } from "./files.js";
import { confirmLoss, dismiss, notify, notifyError } from "./notices.js";

/** What a fresh start begins with. */
const FRESH_CLASSES = ["Class 1", "Class 2"];

/** @fires Keep#loaded with `{ info, file }` when another network or model file is in place */
export class Keep extends EventTarget {
  #app;
  #models = [];
  #current = "";
  #savedAt = 0;
  #changes = 0;
  /** Networks are changed one after the other. */
  #changing = Promise.resolve();

  /** @param {{ rekindle: import("../rekindle.js").Rekindle, teach: import("./teach.js").Teach }} app */
  constructor(app) {
    super();
    this.#app = app;
    $("#network").addEventListener("change", ({ target }) => this.#choose(target.value));
    $("#open-model").addEventListener("change", ({ target }) => {
      if (target.files[0]) this.open(target.files[0]);
      target.value = "";
    });
    $("#save-model").addEventListener("click", () => this.#save());
    $("#start-over").addEventListener("click", () => this.#startOver());
    app.teach.addEventListener("change", () => (this.#changes += 1));
    addEventListener("beforeunload", (event) => {
      if (this.#unsaved) event.preventDefault();
    });
  }

  get #unsaved() {
    return this.#app.teach.photoCount > 0 && this.#changes > this.#savedAt;
  }

  /**
   * Fills the list of networks and loads one of them.
   * @param {Promise<Response | null>} early its file, if the page began to fetch it before
   */
  async begin(models, model, early) {
    this.#models = models;
    $("#network").replaceChildren(
      ...models.map(({ name, title, bytes }) => new Option(`${title}, ${megabytes(bytes)}`, name)),
    );
    await this.#load(early.then((response) => response ?? model.file), model.title, model);
  }

  /** Fetches the network that ought to be in place, where starting again found none. */
  async fetchAgain() {
    await this.#fetch(this.#models.find(({ name }) => name === this.#current) ?? this.#models[0]);
  }

  /** Opens a model file from the visitor's disk. */
  async open(file) {
    if (!(await this.#mayReplace(`Opening “${file.name}”`))) return;
    await this.#load(file, file.name, null);
  }

  /** Shows what is in place now; called after every load and fit. */
  draw(info) {
    const taught = info.head !== "original";
    $("#save-model").disabled = !taught;
    $("#save-hint").hidden = taught;
    $("#usage").hidden = !taught;
    $("#model-facts").textContent =
      `${this.#titleOf(info)}: ${(info.parameters / 1e6).toFixed(2)} million parameters, ` +
      `sees ${info.inputSize} × ${info.inputSize} pixels` +
      (taught ? `, answers with ${plural(info.classes.length, "class", "classes")}.` : ".");
    if (!taught) return;
    const name = fileName(info.classes);
    $("#usage-cli").textContent = `rekindle predict ${name} photo.jpg`;
    $("#usage-python").textContent = pythonUsage(info, name);
  }

  async #choose(name) {
    const model = this.#models.find((model) => model.name === name);
    // The list shows the network at work while the question stands.
    $("#network").value = this.#current;
    if (!(await this.#mayReplace("Changing the network"))) return;
    $("#network").value = name;
    await this.#fetch(model);
  }

  async #fetch(model) {
    await this.#load(model.file, model.title, model);
  }

  /** @param source anything `Rekindle.load` takes, or a promise of it */
  #load(source, title, model) {
    return this.#change(async () => {
      const progress = $("#loading");
      const bar = $("#loading-bar");
      $("#network").disabled = true;
      progress.hidden = false;
      $("#loading-text").textContent = `Loading ${title}`;
      bar.removeAttribute("value");
      try {
        const info = await this.#app.rekindle.load(await source, (received, total) => {
          const size = total ?? model?.bytes ?? received;
          bar.max = size;
          bar.value = Math.min(received, size);
          $("#loading-text").textContent =
            received < size
              ? `Loading ${title}: ${megabytes(received)} of ${megabytes(size)}`
              : `Making ${title} ready`;
        });
        dismiss("model");
        this.#current = model?.name ?? this.#nameFor(info);
        announce(`${title} is ready.`);
        return { info, file: model ? null : title };
      } catch (error) {
        notifyError(error, {
          key: "model",
          action: model ? { label: "Try again", run: () => this.#fetch(model) } : undefined,
        });
        return null;
      } finally {
        $("#network").value = this.#current;
        progress.hidden = true;
        $("#network").disabled = false;
      }
    });
  }

  /**
   * Puts another network in place, or none of it: photos wait meanwhile, and go on if it came to nothing. What was
   * taught to the old network is forgotten with it.
   * @param {() => Promise<{ info: object, file: string | null } | null>} change
   */
  #change(change) {
    this.#changing = this.#changing.then(async () => {
      const { teach } = this.#app;
      $(".path").inert = true;
      let loaded = null;
      try {
        await teach.hold();
        loaded = await change();
        if (loaded) teach.discard();
      } finally {
        teach.release();
      }
      if (loaded) {
        await teach.addNames(loaded.file && loaded.info.head !== "original" ? [] : FRESH_CLASSES);
        this.#savedAt = this.#changes;
        this.dispatchEvent(new CustomEvent("loaded", { detail: loaded }));
      }
      $(".path").inert = false;
    });
    return this.#changing;
  }

  async #save() {
    const button = $("#save-model");
    button.disabled = true;
    try {
      const changes = this.#changes;
      const blob = await this.#app.rekindle.saveModel();
      const name = fileName(this.#app.rekindle.info.classes);
      download(blob, name);
      this.#savedAt = changes;
      notify("info", `Saved ${name} (${megabytes(blob.size)}).`, { key: "saved" });
    } catch (error) {
      notifyError(error, { key: "saved" });
    } finally {
      this.draw(this.#app.rekindle.info);
    }
  }

  async #startOver() {
    const count = this.#app.teach.photoCount;
    const sure =
      count === 0 ||
      (await confirmLoss({
        title: "Start over?",
        text: `All classes and their ${plural(count, "photo")} will be forgotten.`,
        yes: "Start over",
      }));
    if (!sure) return;
    await this.#change(async () => {
      try {
        await this.#app.rekindle.reset();
        return { info: this.#app.rekindle.info, file: null };
      } catch (error) {
        notifyError(error);
        return null;
      }
    });
  }

  /** Features of one network mean nothing to another, so what was taught goes when it changes. */
  #mayReplace(what) {
    const count = this.#app.teach.photoCount;
    if (count === 0) return true;
    return confirmLoss({
      title: "Forget what was taught?",
      text: `${what} forgets your ${plural(count, "photo")}. Save the model file first if you want to keep it.`,
      yes: "Forget and go on",
    });
  }

  #nameFor(info) {
    return this.#models.find(({ name }) => name === info.architecture)?.name ?? "";
  }

  #titleOf(info) {
    return this.#models.find(({ name }) => name === info.architecture)?.title ?? info.architecture;
  }
}

/** The model a visitor asked for by name, else the first of the list. */
export function pickModel(models, wanted) {
  const model = models.find(({ name }) => name === wanted) ?? models[0];
  if (wanted && model.name !== wanted) {
    notify("warning", `There is no network called “${wanted}” here.`, {
      help: `${model.title} is used instead.`,
    });
  }
  return model;
}

function fileName(classes) {
  const slug = classes
    .join("-")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 40)
    .replace(/-+$/, "");
  return `${slug || "model"}.safetensors`;
}

function pythonUsage({ architecture, timm, classes }, name) {
  const make = timm
    ? `timm.create_model("${timm}", num_classes=${classes.length})`
    : `torchvision.models.${architecture}(num_classes=${classes.length})`;
  return [
    `import ${timm ? "timm" : "torchvision"}, safetensors.torch`,
    `model = ${make}`,
    `model.load_state_dict(safetensors.torch.load_file("${name}"))`,
  ].join("\n");
}
