// The page: starts the engine, then connects looking, teaching, fitting and keeping.

import { Camera } from "./js/camera.js";
import { $ } from "./js/dom.js";
import { byFolder, filesOfDrop, holdsFiles, isModelFile } from "./js/files.js";
import { Fit } from "./js/fit.js";
import { Keep, pickModel } from "./js/keep.js";
import { Look } from "./js/look.js";
import { dismiss, notify, notifyError } from "./js/notices.js";
import { Teach } from "./js/teach.js";
import { Rekindle } from "./rekindle.js";

const parameters = new URLSearchParams(location.search);

async function main() {
  followSections();
  const listed = Promise.all([list("models.json"), list("samples.json").catch(() => [])]);
  // The weights are on their way while the engine compiles.
  const picked = listed.then(([models]) => pickModel(models, parameters.get("model")));
  const early = picked.then((model) => fetch(model.file)).catch(() => null);
  const rekindle = await Rekindle.start({ device: deviceChoice() });
  for (const { message, help } of rekindle.warnings) notify("warning", message, { help });
  showDevice(rekindle.device);

  const app = { rekindle, camera: new Camera() };
  app.teach = new Teach(app);
  app.look = new Look(app);
  app.fit = new Fit(app);
  app.keep = new Keep(app);
  watchOver(app);

  const [models, samples] = await listed;
  let sampled = false;
  rekindle.addEventListener("model", ({ detail: info }) => {
    if (!info) return;
    app.keep.draw(info);
    app.look.setModel(info);
  });
  app.camera.addEventListener("lost", ({ detail }) => notifyError(detail, { key: "camera" }));
  app.keep.addEventListener("loaded", async ({ detail: { info, file } }) => {
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
  for (const link of badge.querySelectorAll("a")) link.href = onDevice(link.dataset.device);
}

/** This page's address with another device. */
function onDevice(device) {
  const wanted = new URLSearchParams(parameters);
  wanted.set("device", device);
  return `?${wanted}`;
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
    app.teach.addNames(info.classes);
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
    if ($("main").inert || $(".path").inert) {
      notify("warning", "The network is not ready yet.", { help: "Drop the files again when it is.", key: "drop" });
      return;
    }
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

/** A worker that died or fell silent is said, and can be replaced: what was taught is kept. */
function watchOver(app) {
  const { rekindle, teach, keep } = app;
  const offer = (reason) => {
    const onAdapter = rekindle.device?.kind === "webgpu";
    notify("error", reason.message, {
      help: reason.help,
      key: "crash",
      stays: reason.kind !== "stall",
      action: {
        label: onAdapter ? "Start again on the CPU" : "Start again",
        run: () => startAgain(onAdapter ? { device: "cpu" } : {}),
      },
    });
  };
  const startAgain = async (options) => {
    dismiss("crash");
    $("#loading").hidden = false;
    $("#loading-text").textContent = "Starting again";
    $("#loading-bar").removeAttribute("value");
    setReady(false);
    teach.hold();
    try {
      const info = await rekindle.restart(options);
      showDevice(rekindle.device);
      if (info) setReady(true);
      else await keep.fetchAgain();
      teach.release();
    } catch (error) {
      offer(error);
    } finally {
      $("#loading").hidden = true;
    }
  };
  rekindle.addEventListener("crash", ({ detail }) => {
    setReady(false);
    teach.hold();
    offer(detail);
  });
  rekindle.addEventListener("stall", ({ detail }) => offer(detail));
  rekindle.addEventListener("recover", () => dismiss("crash"));
}

document.addEventListener("pointerdown", ({ target }) => {
  const badge = $("#device");
  if (!badge.contains(target)) badge.open = false;
});

main().catch((error) => {
  $("#loading").hidden = true;
  $("#look-lead").textContent = "It did not start.";
  const action =
    parameters.get("device") === "webgpu"
      ? { label: "Use the CPU", run: () => location.assign(onDevice("cpu")) }
      : { label: "Reload", run: () => location.reload() };
  notify("error", error.message, { help: error.help, key: "start", action, stays: true });
});
