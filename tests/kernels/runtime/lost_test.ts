// A device that goes away.

import assert from "node:assert/strict";
import { openGpu } from "../../../kernels/runtime/mod.ts";

Deno.test("a device that is lost is called lost at the first read, not out of memory", async () => {
  using gpu = await openGpu();
  using array = gpu.upload(Float32Array.of(1, 2), [2], "numbers");
  await array.read();
  gpu.device.destroy();
  const lost = { name: "GpuError", message: /^The GPU device was lost \(destroyed\): [^\n]*$/ };
  await assert.rejects(array.read(), lost);
  await assert.rejects(array.read(), lost);
});
