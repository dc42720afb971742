// Errors of the public API.

/** An error with a sentence that says what happened, and often one that says what to do. */
export class RekindleError extends Error {
  constructor({ message, help, kind }) {
    super(message);
    this.name = "RekindleError";
    this.help = help;
    this.kind = kind ?? "unknown";
  }
}
