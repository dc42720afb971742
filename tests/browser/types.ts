// A page of somebody else's that uses the public API. It is type-checked, never run.

import {
  Rekindle,
  RekindleError,
  type ClassId,
  type CrossValidation,
  type Device,
  type ExampleId,
  type FitReport,
  type ModelInfo,
  type Prediction,
  type TunePause,
  type TuneReport,
} from "../../web/www/rekindle.js";

export async function sortMail(image: HTMLImageElement, camera: HTMLVideoElement): Promise<string> {
  const rekindle = await Rekindle.start({ device: "auto", base: "/rekindle/" });
  const device: Device = rekindle.device;
  rekindle.addEventListener("crash", async ({ detail }) => {
    console.error(detail.message, detail.help);
    await rekindle.restart({ device: "cpu" });
  });
  rekindle.addEventListener("stall", ({ detail }) => console.warn(detail.message));
  rekindle.addEventListener("fit", (event) => console.log(event.detail.trainAccuracy.toFixed(2)));
  rekindle.addEventListener("taught", ({ detail: { change, classes } }) => console.log(change, classes.length));

  const info: ModelInfo = await rekindle.load("models/squeezenet1_1.safetensors", (received, total) =>
    console.log(total === null ? received : received / total),
  );
  console.log(device.kind, info.architecture, rekindle.info?.classes.length);

  const predictions: Prediction[] = await rekindle.classify(image);
  const stop = new AbortController();
  await rekindle.classify(camera, 3, { background: true, signal: stop.signal });

  const letters: ClassId = await rekindle.addClass("letters");
  await rekindle.addClass("parcels");
  const { id, thumbnail } = await rekindle.addExample(letters, camera, { thumbnail: 96 });
  if (thumbnail) image.src = URL.createObjectURL(thumbnail);
  const example: ExampleId = id;
  await rekindle.removeExample(example);
  console.log(predictions[0]?.id === letters, rekindle.taught.map(({ name, examples }) => `${name} ${examples}`));

  try {
    const report: FitReport = await rekindle.fit({ c: 10, classWeights: "balanced", seed: 7, signal: stop.signal });
    const measured: CrossValidation | null = await rekindle.crossValidate({
      onProgress: (done, total) => console.log(done / total),
    });
    console.log(report.milliseconds, measured?.accuracy ?? "too few photos", measured?.folds);
  } catch (error) {
    if (error instanceof RekindleError) console.warn(error.kind, error.help ?? "");
  }

  const tuned: TuneReport | TunePause = await rekindle.tune({
    mode: "last:3",
    epochs: 4,
    augment: "light",
    recipe: { label_smoothing: 0.1, ema: { decay: 0.99 } },
    pause: stop.signal,
    onProgress: (progress) => console.log(progress.stage === "photos" ? progress.done : progress.loss),
  });
  if (tuned.paused) await rekindle.tune({ epochs: 4, state: tuned.state });
  else console.log(tuned.kept, tuned.accuracy - tuned.accuracyHead, tuned.epochs.map(({ loss }) => loss));
  const training = await rekindle.training({ labels: [0, 1], recipe: { tune: "full", batch: 2 } });
  const rows = await training.values(new Float32Array(2 * 3 * 224 * 224));
  for (let next = await training.wanted(); next.kind !== "nothing"; next = await training.wanted()) {
    if (next.kind === "step") await training.step(next.batches.map(() => rows));
    else console.log((await training.judged({ score: 1 })).isBest);
  }
  await training.finish();
  // @ts-expect-error: the head is fitted by fit().
  await rekindle.tune({ mode: "head" });

  // @ts-expect-error: there is no such weighting.
  await rekindle.fit({ classWeights: "some" });
  // @ts-expect-error: a page cannot put the device in place itself.
  rekindle.device = device;

  const file: Blob = await rekindle.saveModel();
  rekindle.close();
  return URL.createObjectURL(file);
}
