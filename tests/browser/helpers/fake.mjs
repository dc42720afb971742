// The page with the fake engine: everything but the network is real.

import { join, resolve } from "node:path";
import { PHOTOS } from "./browser.mjs";
import { serve } from "./server.mjs";

const root = resolve(import.meta.dirname, "../../..");

export function serveFake() {
  const weights = (architecture, parameters) => JSON.stringify({ architecture, parameters });
  const models = [
    {
      name: "efficientnet_lite0",
      file: "models/efficientnet_lite0.safetensors",
      bytes: 9_400_000,
      title: "EfficientNet-Lite0",
      note: "better answers",
    },
    {
      name: "squeezenet1_1",
      file: "models/squeezenet1_1.safetensors",
      bytes: 2_500_000,
      title: "SqueezeNet 1.1",
      note: "smaller download",
    },
  ];
  const samples = [
    ["animal", "panda"],
    ["animal", "owl"],
    ["tool", "hammer1"],
    ["monument", "tajMahal"],
    ["animal", "koala"],
    ["windmill", "windmill"],
  ].map(([folder, name]) => ({ file: `samples/${folder}/${name}.webp`, label: name, credit: "CC0" }));
  return serve([
    ...["cpu", "gpu"].map((build) => ({ at: `pkg/${build}/`, folder: join(root, "tests/browser/fake") })),
    { at: "models.json", body: JSON.stringify(models) },
    { at: models[0].file, body: weights("efficientnet_lite0", 4_650_000) },
    { at: models[1].file, body: weights("squeezenet1_1", 1_240_000) },
    { at: "samples.json", body: JSON.stringify(samples) },
    { at: "samples/", folder: PHOTOS },
    { folder: join(root, "web/www") },
  ]);
}
