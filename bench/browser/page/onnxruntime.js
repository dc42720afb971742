// ONNX Runtime Web: the entry that its documentation names for each backend.

/** The runtime for each backend; the script around it is part of the entry's bundle. */
const RUNTIME = {
  wasm: "ort-wasm-simd-threaded.wasm",
  webgpu: "ort-wasm-simd-threaded.asyncify.wasm",
};

/** `y = Identity(x)`: opening it brings up the runtime and its device, which is otherwise part of opening a model. */
const NOTHING =
  "CAk6OgoTCgF4EgF5GgFpIghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEBQ=";

export async function prepare({ backend }, bytes, { nchw, crop }) {
  const ort = await import(`./onnxruntime/${backend}.js`);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL(`onnxruntime/${RUNTIME[backend]}`, import.meta.url).href };
  ort.env.logLevel = "error";
  const options = {
    executionProviders: [backend],
    graphOptimizationLevel: "all",
    freeDimensionOverrides: { batch: 1 },
  };
  const pass = async () => {
    const image = new ort.Tensor("float32", nchw, [1, 3, crop, crop]);
    const { logits } = await session.run({ image });
    return logits.data;
  };
  let session;
  return {
    async start() {
      const nothing = Uint8Array.from(atob(NOTHING), (c) => c.charCodeAt(0));
      await ort.InferenceSession.create(nothing, options);
    },
    async load() {
      session = await ort.InferenceSession.create(bytes, options);
    },
    pass,
    logits: pass,
  };
}
