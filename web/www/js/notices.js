// Messages that stay until they are read: what happened, and what to do about it.

import { $, h, icon, plural } from "./dom.js";

const shown = new Map();

/**
 * Shows a message. Messages of the same `key` replace one another.
 * @param {"error" | "warning" | "info"} tone
 * @param {boolean} [options.stays] whether it cannot be put away: without its action nothing works
 */
export function notify(tone, message, { help, details = [], key = message, action, stays = false } = {}) {
  dismiss(key);
  const notice = h(
    "div",
    { class: `notice ${tone}`, role: tone === "error" ? "alert" : "status" },
    icon(tone === "info" ? "check" : "warning"),
    h(
      "div",
      { class: "notice-text" },
      h("p", {}, h("strong", {}, message)),
      help ? h("p", {}, help) : null,
      details.length > 0
        ? h(
            "details",
            {},
            h("summary", {}, "Which ones?"),
            h("ul", {}, details.map((line) => h("li", {}, line))),
          )
        : null,
      action ? h("button", { class: "button small", type: "button", onclick: action.run }, action.label) : null,
    ),
    stays
      ? null
      : h(
          "button",
          { class: "button icon-only", type: "button", "aria-label": "Dismiss", onclick: () => dismiss(key) },
          icon("x"),
        ),
  );
  shown.set(key, notice);
  $("#notices").append(notice);
  if (tone === "info") setTimeout(() => shown.get(key) === notice && dismiss(key), 6000);
}

export function dismiss(key) {
  shown.get(key)?.remove();
  shown.delete(key);
}

/** Shows an error from anywhere in the page. */
export function notifyError(error, options = {}) {
  // What was called off is no error, and a crash, after which every call fails, is said once.
  if (["cancelled", "closed", "crash"].includes(error.kind)) return;
  notify("error", error.message, { help: error.help, ...options });
}

/** One notice for all the photos of a batch that could not be read. */
export function reportUnread(failures, total) {
  const unread = failures.filter(({ error }) => !["cancelled", "closed", "crash"].includes(error.kind));
  if (unread.length === 0) return;
  if (unread.length === 1) {
    notifyError(unread[0].error, { key: "unread" });
    return;
  }
  notify("error", `${unread.length} of ${plural(total, "photo")} could not be read.`, {
    help: "The others are in.",
    details: unread.map(({ name, error }) => `${name}: ${error.message}`),
    key: "unread",
  });
}

/** Asks before something is lost. Resolves to true when the answer is yes. */
export function confirmLoss({ title, text, yes }) {
  const dialog = $("#confirm");
  $("#confirm-title").textContent = title;
  $("#confirm-text").textContent = text;
  $("#confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
