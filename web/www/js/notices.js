// Messages that stay until they are read: what happened, and what to do about it.

import { $, h, icon } from "./dom.js";

const shown = new Map();

/**
 * Shows a message. Messages of the same `key` replace one another.
 * @param {"error" | "warning" | "info"} tone
 */
export function notify(tone, message, { help, details = [], key = message, action } = {}) {
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
    h(
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
  // After a crash every call fails for the same reason, which is said once.
  if (error.kind === "crash" && shown.has("crash")) return;
  notify("error", error.message, { help: error.help, ...options });
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
