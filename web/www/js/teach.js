// The classes being taught: one card each, with a name, photos and a camera to record more.

import { $, announce, classColour, h, icon, plural } from "./dom.js";
import { byFolder, filesOfDrop, filesOfFolderPicker, holdsFiles, isPhoto } from "./files.js";
import { reportUnread } from "./look.js";
import { confirmLoss, notify, notifyError } from "./notices.js";
import { PhotoQueue } from "./queue.js";

const THUMBNAIL = 96;
const RECORD_EVERY = 180;
/** Frames that may wait for the network while recording; beyond it frames are left out. */
const RECORD_BACKLOG = 24;
/** Time a photo stays armed for removal after the first tap. */
const ARMED_FOR = 3000;
/** Work that lasts longer than this shows a progress bar. */
const SLOW = 600;

/** @fires Teach#change when classes, names or examples are other than before */
export class Teach extends EventTarget {
  #app;
  #cards = [];
  #queue = new PhotoQueue();
  #slow = 0;

  constructor(app) {
    super();
    this.#app = app;
    $("#add-class").addEventListener("click", async () => {
      const card = await this.#addCard(this.#freeName());
      card?.focusName();
    });
    $("#teach-folder").addEventListener("change", ({ target }) => {
      this.addFound(filesOfFolderPicker(target.files));
      target.value = "";
    });
    $("#queue-cancel").addEventListener("click", () => this.#queue.cancel());
    this.#queue.addEventListener("progress", ({ detail }) => this.#showProgress(detail));
    this.#queue.addEventListener("idle", ({ detail }) => {
      clearTimeout(this.#slow);
      this.#slow = 0;
      $("#queue").hidden = true;
      reportUnread(detail.failures, detail.total);
      if (detail.total > 1) announce(`${plural(detail.total, "photo")} read.`);
      this.changed();
    });
  }

  /** Names and example counts, in the order of the session's classes. */
  get classes() {
    return this.#cards.map((card) => ({ name: card.name, examples: card.examples }));
  }

  get exampleCount() {
    return this.#cards.reduce((sum, card) => sum + card.examples, 0);
  }

  get busy() {
    return this.#queue.busy;
  }

  /** Shows the session's own classes, and adds those in `fresh` when it has none. */
  async restart(fresh) {
    this.#queue.cancel();
    for (const card of this.#cards) card.dispose();
    this.#cards = [];
    for (const { name } of await this.#app.rekindle.classes()) this.#mount(name);
    if (this.#cards.length === 0) {
      for (const name of fresh) await this.#addCard(name);
    }
    this.changed();
  }

  /** Photos from a folder or a drop on no card: each folder is a class. */
  async addFound(found) {
    const groups = byFolder(found);
    if (groups.size === 0) {
      notify("error", "There is no photo in there.", {
        help: "Choose a folder that holds one folder of photos for each class.",
        key: "folder",
      });
      return;
    }
    await this.#dropUntouched();
    for (const [folder, photos] of groups) {
      const name = folder || this.#freeName();
      const card = this.#cards.find((card) => card.name === name) ?? (await this.#addCard(name));
      if (card) this.addPhotos(card, photos);
    }
  }

  addPhotos(card, photos) {
    this.#queue.add(
      photos.map((photo) => ({ name: photo.name, run: () => this.#addExample(card, photo) })),
    );
  }

  /** Takes a camera frame for a card, unless too many wait already. */
  async record(card, video) {
    if (this.#queue.length >= RECORD_BACKLOG) return;
    const frame = await createImageBitmap(video);
    this.#queue.add([
      {
        name: "camera",
        run: () => this.#addExample(card, frame).finally(() => frame.close()),
      },
    ]);
  }

  async rename(card, name) {
    await this.#app.rekindle.renameClass(this.#cards.indexOf(card), name);
    this.changed();
  }

  isNameTaken(name, except) {
    return this.#cards.some((card) => card !== except && card.name === name);
  }

  async remove(card) {
    if (card.examples > 0) {
      const sure = await confirmLoss({
        title: `Delete “${card.name}”?`,
        text: `Its ${plural(card.examples, "photo")} will be forgotten.`,
        yes: "Delete",
      });
      if (!sure) return;
    }
    const index = this.#cards.indexOf(card);
    if (index < 0) return;
    this.#cards.splice(index, 1);
    card.dispose();
    try {
      await this.#app.rekindle.removeClass(index);
    } catch (error) {
      notifyError(error);
    }
    this.changed();
    $("#add-class").focus({ preventScroll: true });
  }

  async removeExample(card, id) {
    try {
      await this.#app.rekindle.removeExample(id);
    } catch (error) {
      notifyError(error);
      return;
    }
    card.forget(id);
    this.changed();
  }

  changed() {
    for (const [index, card] of this.#cards.entries()) card.setColour(classColour(index));
    this.dispatchEvent(new Event("change"));
  }

  async #addExample(card, picture) {
    // The class may have been deleted while its photos waited.
    const index = this.#cards.indexOf(card);
    if (index < 0) return;
    const { id, thumbnail } = await this.#app.rekindle.addExample(index, picture, {
      thumbnail: THUMBNAIL,
    });
    card.remember(id, thumbnail);
  }

  async #addCard(name) {
    try {
      await this.#app.rekindle.addClass(name);
    } catch (error) {
      notifyError(error);
      return null;
    }
    const card = this.#mount(name);
    this.changed();
    return card;
  }

  #mount(name) {
    const card = new ClassCard(this, this.#app.camera, name);
    this.#cards.push(card);
    $("#classes").append(card.element);
    return card;
  }

  /** Cards nobody has named or filled make room for those of a folder. */
  async #dropUntouched() {
    for (const card of this.#cards.filter((card) => card.untouched)) await this.remove(card);
  }

  #freeName() {
    for (let number = this.#cards.length + 1; ; number += 1) {
      const name = `Class ${number}`;
      if (!this.isNameTaken(name)) return name;
    }
  }

  #showProgress({ done, total }) {
    // One or two photos are over before a bar could be read, except on a slow device.
    if (total > 2) $("#queue").hidden = false;
    else this.#slow ||= setTimeout(() => ($("#queue").hidden = false), SLOW);
    $("#queue-text").textContent = `Looking at photo ${done + 1} of ${total.toLocaleString("en")}`;
    $("#queue-bar").max = total;
    $("#queue-bar").value = done;
    // What was fitted before is no longer the whole story.
    if (done === 0) this.changed();
  }
}

class ClassCard {
  #teach;
  #camera;
  #examples = new Map();
  #name;
  #touched = false;
  #recording = null;
  #filming = false;

  #input;
  #count;
  #strip;
  #video;
  #film;
  #cameraButton;

  constructor(teach, camera, name) {
    this.#teach = teach;
    this.#camera = camera;
    this.#name = name;
    this.element = this.#build();
    this.#drawCount();
  }

  get name() {
    return this.#name;
  }

  get examples() {
    return this.#examples.size;
  }

  /** Whether this card is still as the page made it. */
  get untouched() {
    return !this.#touched && this.examples === 0;
  }

  focusName() {
    this.#input.focus();
    this.#input.select();
  }

  setColour(colour) {
    this.element.style.setProperty("--colour", colour);
  }

  remember(id, thumbnail) {
    const url = thumbnail ? URL.createObjectURL(thumbnail) : null;
    const button = h(
      "button",
      { class: "example", type: "button" },
      url ? h("img", { src: url, alt: "", width: 64, height: 64 }) : null,
      h("span", { class: "example-remove", "aria-hidden": "true" }, icon("trash")),
    );
    button.addEventListener("click", () => this.#tapExample(id, button));
    button.addEventListener("keydown", (event) => {
      if (event.key === "Delete" || event.key === "Backspace") this.#teach.removeExample(this, id);
    });
    this.#examples.set(id, { url, button });
    button.setAttribute("aria-label", `Photo ${this.#examples.size} of ${this.#name}. Remove it`);
    this.#strip.prepend(button);
    this.#drawCount();
  }

  forget(id) {
    const example = this.#examples.get(id);
    if (!example) return;
    const neighbour = example.button.nextElementSibling ?? example.button.previousElementSibling;
    if (document.activeElement === example.button) neighbour?.focus();
    example.button.remove();
    if (example.url) URL.revokeObjectURL(example.url);
    this.#examples.delete(id);
    this.#drawCount();
  }

  dispose() {
    this.#stopFilming();
    for (const { url } of this.#examples.values()) if (url) URL.revokeObjectURL(url);
    this.element.remove();
  }

  #build() {
    this.#input = h("input", {
      class: "class-name",
      type: "text",
      value: this.#name,
      maxlength: 60,
      autocomplete: "off",
      spellcheck: "false",
      enterkeyhint: "done",
      "aria-label": "Class name",
      onchange: () => this.#rename(),
      onkeydown: (event) => event.key === "Enter" && this.#input.blur(),
    });
    this.#count = h("p", { class: "class-count" });
    this.#strip = h("div", { class: "examples", role: "group", "aria-label": "Photos" });
    const picker = h("input", {
      class: "visually-hidden",
      type: "file",
      accept: "image/*",
      multiple: true,
      "data-role": "class-files",
      onchange: () => {
        this.#teach.addPhotos(this, [...picker.files].filter(isPhoto));
        picker.value = "";
      },
    });
    this.#cameraButton = h(
      "button",
      { class: "button", type: "button", "aria-pressed": "false", onclick: () => this.#toggleFilming() },
      icon("camera"),
      "Camera",
    );
    this.#film = h("div", { class: "film", hidden: true });
    const card = h(
      "article",
      { class: "class-card" },
      h(
        "header",
        { class: "class-head" },
        this.#input,
        this.#count,
        h(
          "button",
          {
            class: "button icon-only quiet",
            type: "button",
            "aria-label": "Delete this class",
            title: "Delete this class",
            onclick: () => this.#teach.remove(this),
          },
          icon("trash"),
        ),
      ),
      this.#film,
      this.#strip,
      h(
        "div",
        { class: "class-actions" },
        h("label", { class: "button" }, picker, icon("photo"), "Add photos"),
        this.#cameraButton,
      ),
    );
    card.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      card.classList.add("over");
    });
    card.addEventListener("dragleave", (event) => {
      if (!card.contains(event.relatedTarget)) card.classList.remove("over");
    });
    card.addEventListener("drop", (event) => this.#drop(event, card));
    return card;
  }

  async #drop(event, card) {
    card.classList.remove("over");
    const models = [...event.dataTransfer.files].some((file) => /\.safetensors$/i.test(file.name));
    if (models) return;
    event.preventDefault();
    event.stopPropagation();
    document.dispatchEvent(new Event("dropdone"));
    const found = await filesOfDrop(event.dataTransfer).catch(() => []);
    const photos = found.map(({ file }) => file).filter(isPhoto);
    if (photos.length === 0) {
      notify("error", "There is no photo among these files.", {
        help: "JPEG, PNG, WebP, GIF and AVIF work.",
        key: "unread",
      });
    }
    this.#teach.addPhotos(this, photos);
  }

  async #rename() {
    const name = this.#input.value.trim();
    const before = this.#name;
    if (name === before) return;
    if (name === "" || this.#teach.isNameTaken(name, this)) {
      this.#input.value = before;
      notify("warning", name === "" ? "A class needs a name." : `There is a class “${name}” already.`, {
        help: `It is called “${before}” as before.`,
        key: "name",
      });
      return;
    }
    this.#name = name;
    this.#touched = true;
    this.#input.value = name;
    try {
      await this.#teach.rename(this, name);
    } catch (error) {
      this.#name = before;
      this.#input.value = before;
      notifyError(error, { key: "name" });
    }
  }

  /** The first tap arms a photo, the second removes it: on a phone there is no hover to warn. */
  #tapExample(id, button) {
    if (button.classList.contains("armed")) {
      this.#teach.removeExample(this, id);
      return;
    }
    button.classList.add("armed");
    setTimeout(() => button.classList.remove("armed"), ARMED_FOR);
  }

  #drawCount() {
    this.#count.textContent = plural(this.examples, "photo");
    this.element.classList.toggle("empty", this.examples === 0);
  }

  async #toggleFilming() {
    if (this.#filming) {
      this.#stopFilming();
      return;
    }
    this.#filming = true;
    this.#video = h("video", { muted: true, playsinline: true, "aria-label": "Camera" });
    this.#video.muted = true;
    const hold = h("button", { class: "button primary hold", type: "button" }, icon("record"), "Hold to record");
    this.#bindHold(hold);
    const flip = h(
      "button",
      {
        class: "button icon-only",
        type: "button",
        "aria-label": "Switch between front and back camera",
        onclick: () => this.#camera.flip().catch(notifyError),
      },
      icon("flip"),
    );
    this.#film.replaceChildren(this.#video, h("div", { class: "film-actions" }, hold, flip));
    this.#film.hidden = false;
    this.#cameraButton.setAttribute("aria-pressed", "true");
    try {
      await this.#camera.attach(this.#video);
    } catch (error) {
      notifyError(error, { key: "camera" });
      this.#stopFilming();
    }
  }

  #stopFilming() {
    if (!this.#filming) return;
    this.#filming = false;
    this.#stopRecording();
    this.#camera.detach(this.#video);
    this.#film.replaceChildren();
    this.#film.hidden = true;
    this.#cameraButton.setAttribute("aria-pressed", "false");
  }

  /** Recording lasts as long as a finger, a mouse button, the space bar or Enter is held down. */
  #bindHold(button) {
    const start = () => this.#startRecording(button);
    const stop = () => this.#stopRecording();
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      start();
    });
    for (const type of ["pointerup", "pointercancel", "blur"]) button.addEventListener(type, stop);
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) start();
    });
    button.addEventListener("keyup", stop);
    // A long press must record, not open a menu.
    button.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  #startRecording(button) {
    if (this.#recording) return;
    const take = () => {
      if (this.#video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
        this.#teach.record(this, this.#video).catch(notifyError);
      }
    };
    button.classList.add("recording");
    this.#recording = { timer: setInterval(take, RECORD_EVERY), button };
    take();
  }

  #stopRecording() {
    if (!this.#recording) return;
    clearInterval(this.#recording.timer);
    this.#recording.button.classList.remove("recording");
    this.#recording = null;
  }
}
