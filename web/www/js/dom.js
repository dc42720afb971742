// Small helpers for building and updating the page. Text always goes in as text, never as HTML.

export const $ = (selector, root = document) => root.querySelector(selector);

/**
 * Makes an element: `h("button", { class: "quiet", onclick, "aria-label": "Close" }, icon("x"))`.
 * Keys that start with `on` are listeners, `--x` are custom properties, the rest attributes;
 * `false`, `null` and `undefined` leave a key out.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) element.style.setProperty(key, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** An icon from the sprite in index.html. Purely visual: the control around it carries the label. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

const percentage = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const wholePercentage = new Intl.NumberFormat("en", { style: "percent" });

export const percent = (share) => percentage.format(share);
export const roundPercent = (share) => wholePercentage.format(share);

export function duration(milliseconds) {
  if (milliseconds < 1) return "under 1 ms";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Says something to screen readers without moving the focus. */
export function announce(text) {
  $("#announcer").textContent = text;
}

/** A colour for the class at `index`; neighbours differ clearly. Used only beside a name. */
export function classColour(index) {
  return `var(--class-${index % 8})`;
}
