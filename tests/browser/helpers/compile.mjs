// What a WebGPU device says of WGSL texts. It runs in a page and in Node alike, and imports nothing.

/** Modules that are asked for before the first answer is waited for. */
const AT_ONCE = 64;

/**
 * The texts that the device's compiler refuses, each with its words.
 * @param texts `[{ name, tier, source }]`
 */
export async function refused(device, texts) {
  const found = [];
  for (let i = 0; i < texts.length; i += AT_ONCE) {
    const batch = texts.slice(i, i + AT_ONCE).map(async ({ name, tier, source }) => {
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ label: name, code: source });
      const failed = device.popErrorScope();
      const { messages } = await module.getCompilationInfo();
      const errors = messages.filter(({ type }) => type === "error");
      const lines = source.split("\n");
      const said = errors.map(
        ({ message, lineNum, linePos }) => `${lineNum}:${linePos} ${message} in: ${lines[lineNum - 1]}`,
      );
      // An error that is about no line: a device that was lost, a text too long.
      const other = (await failed)?.message;
      if (other && said.length === 0) said.push(other);
      return said.map((message) => ({ name, tier, message }));
    });
    found.push(...(await Promise.all(batch)).flat());
  }
  return found;
}

/** The texts that no pipeline can be made from, each with the device's words. */
export async function withoutPipeline(device, texts) {
  const found = [];
  for (const { name, tier, source } of texts) {
    try {
      const module = device.createShaderModule({ label: name, code: source });
      await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    } catch (error) {
      found.push({ name, tier, message: error.message });
    }
  }
  return found;
}
