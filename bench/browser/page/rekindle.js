// Rekindle, through the WebAssembly module of the built page. Its passes take the picture as a page has it
// and include cutting out the centre and normalising it; the others are handed the numbers.

export async function prepare({ backend, classes, ownKernels }, bytes, { rgba, side }) {
  // What the page's worker would take: WebGPU needs the large module, the processor the small one.
  const build = backend === "webgpu" ? "gpu" : "cpu";
  const engine = await import(`./rekindle/${build}/rekindle_web.js`);
  const classify = (count) => session.classify(rgba, side, side, count);
  let session;
  return {
    async start() {
      await engine.default();
      if (ownKernels !== undefined) {
        const choose = engine.useOwnKernels ?? engine.Session.useOwnKernels;
        if (!choose) throw new Error("this build of the page has no useOwnKernels()");
        choose(ownKernels);
      }
      const device = backend === "webgpu" ? "webgpu" : "cpu";
      session = await engine.Session.open(device, backend === "webgpu", "");
    },
    async load() {
      await session.load(bytes);
    },
    pass: () => classify(5),
    async logits() {
      const logits = new Float32Array(classes);
      for (const { index, logit } of await classify(classes)) logits[index] = logit;
      return logits;
    },
    device: () => session.device().name,
  };
}
