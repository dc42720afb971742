// What was taught so far, as the page's side knows it: the one store of classes and examples that pages
// draw from, and what a new worker is taught with when one has died.

/** Classes and examples by the ids the session gave them. */
export class Record {
  /**
   * @type {Map<number, { name: string, examples: Map<number, {
   *   features: Float32Array, hash: ?Uint8Array, photo: ?Blob }> }>}
   */
  #classes = new Map();

  /** The classes in the order they were added. */
  get classes() {
    return [...this.#classes].map(([id, { name, examples }]) => ({ id, name, examples: examples.size }));
  }

  addClass(id, name) {
    this.#classes.set(id, { name, examples: new Map() });
  }

  renameClass(id, name) {
    this.#classes.get(id).name = name;
  }

  removeClass(id) {
    this.#classes.delete(id);
  }

  addExample(classId, id, example) {
    this.#classes.get(classId)?.examples.set(id, example);
  }

  removeExample(id) {
    for (const { examples } of this.#classes.values()) examples.delete(id);
  }

  clear() {
    this.#classes.clear();
  }

  /** All of it, in a form that travels to a worker. */
  snapshot() {
    const all = [...this.#classes];
    return {
      classes: all.map(([id, { name }]) => ({ id, name })),
      examples: all.flatMap(([classId, { examples }]) =>
        // In the order they were added, whatever their class.
        [...examples].map(([id, example]) => ({ id, classId, ...example })),
      ).sort((a, b) => a.id - b.id),
    };
  }
}
