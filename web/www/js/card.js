// The card of one class: its name, its photos, and a camera to record more.

import { h, icon, plural } from "./dom.js";
import { className, filesOfDrop, holdsFiles, isModelFile, isPhoto } from "./files.js";
import { notify, notifyError } from "./notices.js";

const RECORD_EVERY = 180;
/** Time a photo stays armed for removal after the first tap. */
const ARMED_FOR = 3000;

export class ClassCard {
  #teach;
  #camera;
  #summary;
  /** What is shown of the photos, by their ids. */
  #photos = new Map();
  #touched = false;
  #recording = null;
  /** Ends the filming under way. */
  #filming = null;

  #input;
  #count;
  #strip;
  #video;
  #film;
  #cameraButton;

  constructor(teach, camera, summary) {
    this.#teach = teach;
    this.#camera = camera;
    this.#summary = summary;
    this.element = this.#build();
  }

  get id() {
    return this.#summary.id;
  }

  get name() {
    return this.#summary.name;
  }

  get examples() {
    return this.#summary.examples;
  }

  /** Whether this card is still as the page made it. */
  get untouched() {
    return !this.#touched && this.examples === 0;
  }

  focusName() {
    this.#input.focus();
    this.#input.select();
  }

  /** Shows what the class is called and how many photos it has. */
  draw(summary, colour) {
    // A name that is being typed stays.
    if (this.#input.value === this.name) this.#input.value = summary.name;
    this.#summary = summary;
    this.#count.textContent = plural(summary.examples, "photo");
    this.element.classList.toggle("empty", summary.examples === 0);
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
    this.#photos.set(id, { url, button });
    button.setAttribute("aria-label", `Photo ${this.#photos.size} of ${this.name}. Remove it`);
    this.#strip.prepend(button);
  }

  forget(id) {
    const example = this.#photos.get(id);
    if (!example) return;
    const neighbour = example.button.nextElementSibling ?? example.button.previousElementSibling;
    if (document.activeElement === example.button) neighbour?.focus();
    example.button.remove();
    if (example.url) URL.revokeObjectURL(example.url);
    this.#photos.delete(id);
  }

  dispose() {
    this.#stopFilming();
    for (const { url } of this.#photos.values()) if (url) URL.revokeObjectURL(url);
    this.element.remove();
  }

  #build() {
    this.#input = h("input", {
      class: "class-name",
      type: "text",
      value: this.name,
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
    const models = [...event.dataTransfer.files].some(isModelFile);
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
    const name = className(this.#input.value);
    const before = this.name;
    if (name === before) {
      this.#input.value = before;
      return;
    }
    if (name === "" || this.#teach.isNameTaken(name, this)) {
      this.#input.value = before;
      notify("warning", name === "" ? "A class needs a name." : `There is a class “${name}” already.`, {
        help: `It is called “${before}” as before.`,
        key: "name",
      });
      return;
    }
    this.#touched = true;
    this.#input.value = name;
    try {
      await this.#teach.rename(this, name);
    } catch (error) {
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

  async #toggleFilming() {
    if (this.#filming) {
      this.#stopFilming();
      return;
    }
    this.#filming = new AbortController();
    this.#camera.addEventListener("lost", () => this.#stopFilming(), { signal: this.#filming.signal });
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
        onclick: () => this.#camera.flip(),
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
    this.#filming.abort();
    this.#filming = null;
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
    const frames = new Frames(this.#video);
    const take = () => {
      if (frames.isNew()) this.#teach.record(this, this.#video).catch(notifyError);
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

/** Tells whether a video shows another picture than when it was last asked: a frozen camera is not recorded. */
class Frames {
  #video;
  #presented;
  #seen = -1;

  constructor(video) {
    this.#video = video;
  }

  isNew() {
    if (this.#video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return false;
    this.#presented = this.#video.getVideoPlaybackQuality().totalVideoFrames;
    if (this.#presented === this.#seen) return false;
    this.#seen = this.#presented;
    return true;
  }
}
