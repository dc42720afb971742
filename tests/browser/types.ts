// A page of somebody else's that uses the public API. It is type-checked, never run.

import {
  Rekindle,
  RekindleError,
  type Device,
  type FitReport,
  type ModelInfo,
  type Prediction,
} from "../../web/www/rekindle.js";

export async function sortMail(image: HTMLImageElement, camera: HTMLVideoElement): Promise<string> {
  const rekindle = await Rekindle.start({ device: "auto", base: "/rekindle/" });
  const device: Device = rekindle.device;
  rekindle.addEventListener("crash", ({ detail }) => console.error(detail.message, detail.help));
  rekindle.addEventListener("fit", (event) => console.log(event.detail.crossValidation?.toFixed(2)));

  const info: ModelInfo = await rekindle.load("models/squeezenet1_1.safetensors", (received, total) =>
    console.log(total === null ? received : received / total),
  );
  console.log(device.kind, info.architecture, rekindle.info?.classes.length);

  const predictions: Prediction[] = await rekindle.classify(image);
  console.log(predictions[0]?.probability);

  const letters: number = await rekindle.addClass("letters");
  await rekindle.addClass("parcels");
  const { id, thumbnail } = await rekindle.addExample(letters, camera, { thumbnail: 96 });
  if (thumbnail) image.src = URL.createObjectURL(thumbnail);
  await rekindle.removeExample(id);

  try {
    const report: FitReport = await rekindle.fit({ c: 10, classWeights: "balanced", seed: 7 });
    console.log(report.folds ?? "no folds", report.milliseconds);
  } catch (error) {
    if (error instanceof RekindleError) console.warn(error.kind, error.help ?? "");
  }

  // @ts-expect-error: there is no such weighting.
  await rekindle.fit({ classWeights: "some" });
  // @ts-expect-error: a page cannot put the device in place itself.
  rekindle.device = device;

  const file: Blob = await rekindle.saveModel();
  rekindle.close();
  return URL.createObjectURL(file);
}
