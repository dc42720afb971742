// What went wrong in the worker, in the form that travels to the page.

export function failure(kind, message, help) {
  return Object.assign(new Error(message), { kind, help });
}

/** An error, a reason or whatever was thrown, as plain data. */
export function describe(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    return {
      kind: "crash",
      message: "The network stopped unexpectedly.",
      help: "What was taught is kept: start again.",
    };
  }
  return {
    kind: error?.kind ?? "unknown",
    message: error?.message ?? String(error),
    help: error?.help,
  };
}
