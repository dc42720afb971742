// The page: starts the engine, then connects looking, teaching, fitting and keeping.

import { Camera } from "./js/camera.js";
import { $ } from "./js/dom.js";
import { byFolder, filesOfDrop, holdsFiles, isModelFile } from "./js/files.js";
import { Fit } from "./js/fit.js";
import { Keep, pickModel } from "./js/keep.js";
import { Look } from "./js/look.js";
import { notify, notifyError } from "./js/notices.js";
import { Teach } from "./js/teach.js";
import { Rekindle } from "./rekindle.js";

const FRESH_CLASSES = ["Class 1", "Class 2"];
const parameters = new URLSearchParams(location.search);

async function main() {
  followSections();
  const listed = Promise.all([list("models.json"), list("samples.json").catch(() => [])]);
  // The weights are on their way while the engine compiles.
  const picked = listed.then(([models]) => pickModel(models, parameters.get("model")));
  const early = picked.then((model) => fetch(model.file)).catch(() => null);
  const rekindle = await Rekindle.start({ device: deviceChoice() });
  rekindle.addEventListener("crash", ({ detail }) => crashed(detail, rekindle.device));
  for (const { message, help } of rekindle.warnings) notify("warning", message, { help });
  showDevice(rekindle.device);

  const app = { rekindle, camera: new Camera() };
  app.teach = new Teach(app);
  app.look = new Look(app);
  app.fit = new Fit(app);
  app.keep = new Keep(app);

  const [models, samples] = await listed;
  let sampled = false;
  rekindle.addEventListener("model", ({ detail: info }) => {
    app.keep.draw(info);
    app.look.setModel(info);
  });
  app.keep.addEventListener("loaded", async ({ detail: { info, file } }) => {
    app.fit.restart();
    await app.teach.restart(file && info.head !== "original" ? [] : FRESH_CLASSES);
    showOpened(app, info, file);
    setReady(true);
    if (!sampled) {
      sampled = true;
      await app.look.offerSamples(samples);
    }
  });
  acceptDrops(app);
  await app.keep.begin(models, await picked, early);
}

function deviceChoice() {
  const wanted = parameters.get("device") ?? "auto";
  if (["auto", "webgpu", "cpu"].includes(wanted)) return wanted;
  notify("warning", `There is no device called “${wanted}”.`, {
    help: "Use ?device=webgpu, ?device=cpu or ?device=auto.",
  });
  return "auto";
}

async function list(file) {
  let response;
  try {
    response = await fetch(file);
  } catch {
    response = null;
  }
  if (!response?.ok) {
    throw Object.assign(new Error(`The page's file ${file} could not be fetched.`), {
      help: "Reload the page. If you host it, check that the whole folder was copied.",
    });
  }
  return response.json();
}

function showDevice({ kind, name, reason }) {
  const badge = $("#device");
  badge.dataset.kind = kind;
  badge.hidden = false;
  $("#device-kind").textContent = kind === "webgpu" ? "WebGPU" : "CPU";
  $("#device-name").textContent = name;
  $("#device-reason").textContent = reason;
  document.addEventListener("pointerdown", ({ target }) => {
    if (!badge.contains(target)) badge.open = false;
  });
}

/** A model file that was opened brings its own classes; they can be taught anew by name. */
function showOpened(app, info, file) {
  const opened = $("#opened");
  opened.hidden = !file || info.head === "original";
  if (opened.hidden) return;
  $("#opened-text").textContent =
    `${file} knows ${info.classes.join(", ")}. It holds no photos: teaching starts a new head.`;
  $("#opened-names").onclick = () => {
    opened.hidden = true;
    app.teach.restart(info.classes);
  };
}

/** Files may be dropped anywhere: models are opened, folders become classes, photos are looked at. */
function acceptDrops(app) {
  const veil = $("#veil");
  const hide = () => (veil.hidden = true);
  document.addEventListener("dragenter", (event) => {
    if (holdsFiles(event)) veil.hidden = false;
  });
  document.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hide();
  });
  document.addEventListener("dropdone", hide);
  document.addEventListener("drop", async (event) => {
    hide();
    if (!holdsFiles(event)) return;
    event.preventDefault();
    const found = await filesOfDrop(event.dataTransfer).catch(() => []);
    const files = found.map(({ file }) => file);
    const model = files.find(isModelFile);
    if (model) await app.keep.open(model);
    else if (found.some(({ folders }) => folders.length > 0) && byFolder(found).size > 0) {
      await app.teach.addFound(found);
    } else await app.look.openFiles(files);
  });
}

/** Marks the section in view in the dock of small screens. */
function followSections() {
  const links = new Map(
    [...document.querySelectorAll(".dock a")].map((link) => [link.hash.slice(1), link]),
  );
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(target.id)?.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-45% 0px -50% 0px" },
  );
  for (const id of links.keys()) observer.observe($(`#${id}`));
}

/** Until a network is in place, and after a crash, nothing on the page would work. */
function setReady(ready) {
  document.body.classList.toggle("ready", ready);
  $("main").inert = !ready;
}

function crashed({ message, help }, device) {
  setReady(false);
  notify("error", message, {
    help,
    key: "crash",
    action:
      device?.kind === "webgpu"
        ? { label: "Reload on the CPU", run: () => location.assign("?device=cpu") }
        : { label: "Reload", run: () => location.reload() },
  });
}

main().catch((error) => {
  $("#loading").hidden = true;
  notifyError(error, { key: "start", action: { label: "Reload", run: () => location.reload() } });
});
