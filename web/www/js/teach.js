// The classes being taught. What they are called and how many photos they have is the engine's record
// (`rekindle.taught`); here are the cards that show it, and the photos that wait to be read.

import { ClassCard } from "./card.js";
import { $, announce, classColour, plural } from "./dom.js";
import { byFolder, className, filesOfFolderPicker } from "./files.js";
import { confirmLoss, notify, notifyError, reportUnread } from "./notices.js";
import { PhotoQueue } from "./queue.js";

const THUMBNAIL = 96;
/** Frames that may wait for the network while recording; beyond it frames are left out. */
const RECORD_BACKLOG = 24;
/** Work that lasts longer than this shows a progress bar. */
const SLOW = 600;

/**
 * @fires Teach#change with `{ change }` as the engine tells it, when classes, names or examples are other than before
 * @fires Teach#busy when photos begin to be read
 * @fires Teach#idle when there is none left
 */
export class Teach extends EventTarget {
  #app;
  /** @type {Map<number, ClassCard>} by the class's id */
  #cards = new Map();
  #queue = new PhotoQueue();
  #slow = 0;
  /** Rises when all is forgotten: what began before must not go on in the new network. */
  #era = 0;
  /** Settled when the network is not being changed. */
  #free = Promise.resolve();
  #letGo = null;
  /** Settled when the class being added is there. */
  #adding = Promise.resolve();

  constructor(app) {
    super();
    this.#app = app;
    app.rekindle.addEventListener("taught", ({ detail }) => {
      this.#draw(detail.classes);
      this.dispatchEvent(new CustomEvent("change", { detail }));
    });
    $("#add-class").addEventListener("click", async () => {
      const card = await this.#addClass(this.#freeName());
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
      this.dispatchEvent(new Event("idle"));
    });
  }

  /** Ids, names and example counts. */
  get classes() {
    return this.#app.rekindle.taught;
  }

  /** Photos that were taught or wait for it. */
  get photoCount() {
    return this.classes.reduce((sum, { examples }) => sum + examples, 0) + this.#queue.length;
  }

  get busy() {
    return this.#queue.busy;
  }

  /** Adds no more classes and reads no more photos. Resolves when what was under way is over. */
  async hold() {
    if (!this.#letGo) this.#free = new Promise((resolve) => (this.#letGo = resolve));
    await Promise.all([this.#adding, this.#queue.hold()]);
  }

  /** Goes on after {@link hold}. */
  release() {
    this.#letGo?.();
    this.#letGo = null;
    this.#queue.release();
  }

  /** Photos that wait are not wanted any more: the network they were for has gone. */
  discard() {
    this.#era += 1;
    this.#queue.cancel();
  }

  /** Makes cards with these names, as far as there are none yet. */
  async addNames(names) {
    for (const name of names) if (!this.#cardNamed(name)) await this.#addClass(name);
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
    const era = this.#era;
    // Cards nobody has named or filled make room for those of the folder.
    for (const card of this.#cards.values()) if (card.untouched) await this.remove(card);
    for (const [folder, photos] of groups) {
      if (era !== this.#era) return;
      const name = folder || this.#freeName();
      const card = this.#cardNamed(name) ?? (await this.#addClass(name));
      if (card && era === this.#era) this.addPhotos(card, photos);
    }
  }

  addPhotos(card, photos) {
    this.#read(photos.map((photo) => this.#job(card, photo, photo.name)));
  }

  /** Takes a camera frame for a card, unless too many wait already. */
  async record(card, video) {
    if (this.#queue.length >= RECORD_BACKLOG) return;
    const frame = await createImageBitmap(video);
    this.#read([{ ...this.#job(card, frame, "camera"), drop: () => frame.close() }]);
  }

  async rename(card, name) {
    await this.#app.rekindle.renameClass(card.id, name);
  }

  isNameTaken(name, except) {
    const taken = this.#cardNamed(name);
    return taken !== undefined && taken !== except;
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
    this.#queue.cancel((job) => job.card === card);
    try {
      await this.#app.rekindle.removeClass(card.id);
      $("#add-class").focus({ preventScroll: true });
    } catch (error) {
      notifyError(error);
    }
  }

  async removeExample(card, id) {
    try {
      await this.#app.rekindle.removeExample(id);
      card.forget(id);
    } catch (error) {
      notifyError(error);
    }
  }

  #job(card, picture, name) {
    return { name, card, run: () => this.#addExample(card, picture) };
  }

  #read(jobs) {
    const before = this.busy;
    this.#queue.add(jobs);
    if (!before && this.busy) this.dispatchEvent(new Event("busy"));
  }

  async #addExample(card, picture) {
    const { id, thumbnail } = await this.#app.rekindle.addExample(card.id, picture, {
      thumbnail: THUMBNAIL,
    });
    card.remember(id, thumbnail);
  }

  /** The card of a new class; null if there is none, or all has been forgotten meanwhile. */
  async #addClass(name) {
    const era = this.#era;
    await this.#free;
    if (era !== this.#era) return null;
    try {
      const adding = this.#app.rekindle.addClass(name);
      this.#adding = adding.catch(() => {});
      return this.#cards.get(await adding) ?? null;
    } catch (error) {
      notifyError(error);
      return null;
    }
  }

  /** Makes the cards show what is taught. */
  #draw(classes) {
    const ids = new Set(classes.map(({ id }) => id));
    for (const [id, card] of this.#cards) {
      if (ids.has(id)) continue;
      this.#cards.delete(id);
      card.dispose();
    }
    for (const [index, summary] of classes.entries()) {
      let card = this.#cards.get(summary.id);
      if (!card) {
        card = new ClassCard(this, this.#app.camera, summary);
        this.#cards.set(summary.id, card);
        $("#classes").append(card.element);
      }
      card.draw(summary, classColour(index));
    }
  }

  #cardNamed(name) {
    return [...this.#cards.values()].find((card) => card.name === className(name));
  }

  #freeName() {
    for (let number = this.#cards.size + 1; ; number += 1) {
      const name = `Class ${number}`;
      if (!this.#cardNamed(name)) return name;
    }
  }

  #showProgress({ done, total }) {
    // One or two photos are over before a bar could be read, except on a slow device.
    if (total > 2) $("#queue").hidden = false;
    else this.#slow ||= setTimeout(() => ($("#queue").hidden = false), SLOW);
    $("#queue-text").textContent = `Looking at photo ${done + 1} of ${total.toLocaleString("en")}`;
    $("#queue-bar").max = total;
    $("#queue-bar").value = done;
  }
}
