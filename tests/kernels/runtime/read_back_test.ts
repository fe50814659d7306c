// What is read later does not hold up what comes after it.

import { strict as assert } from "node:assert";
import { scaleForward } from "../../../kernels/elementwise.ts";
import { type Gpu, planningGpu } from "../../../kernels/runtime/mod.ts";
import { guardedGpu } from "../../_device.ts";

/** A planning device that notes submissions, and waits for buffers. */
function notingGpu(): { gpu: Gpu; noted: string[] } {
  const gpu = planningGpu();
  const noted: string[] = [];
  const { device } = gpu;
  const { createBuffer } = device;
  device.queue.submit = () => void noted.push("submit");
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor);
    buffer.mapAsync = () => {
      if (descriptor.label === "read-back") noted.push("wait"); // the others are of the profiler
      return Promise.resolve(undefined);
    };
    return buffer;
  };
  return { gpu, noted };
}

Deno.test("a wait begins when the next submission is ready, so that the GPU is never idle for it", async () => {
  const { gpu, noted } = notingGpu();
  using x = gpu.empty([2], "x");
  const first = gpu.readLater([x]);
  gpu.flush();
  scaleForward(x, 2).release();
  const second = gpu.readLater([x]);
  assert.deepEqual(noted, ["submit"]);
  gpu.flush();
  assert.deepEqual(noted, ["submit", "wait", "submit"]);
  assert.deepEqual(await first(), [new Float32Array(2)]);
  assert.deepEqual(noted, ["submit", "wait", "submit"]);
  assert.deepEqual(await second(), [new Float32Array(2)]);
  assert.deepEqual(noted, ["submit", "wait", "submit", "wait"]);
});

Deno.test("who asks before anything follows waits at once", async () => {
  const { gpu, noted } = notingGpu();
  using x = gpu.empty([2], "x");
  const later = gpu.readLater([x]);
  await Promise.all([later(), later()]);
  assert.deepEqual(noted, ["submit", "wait"]);
  await x.read();
  assert.deepEqual(noted, ["submit", "wait", "submit", "wait"]);
});

Deno.test("what is read later is what the arrays held then, however many reads are under way", async () => {
  const gpu = await guardedGpu();
  const reads = Array.from({ length: 5 }, (_, i) => {
    using x = gpu.upload(Float32Array.of(i, -i), [2], "x");
    using ids = gpu.upload(Uint32Array.of(7 * i), [1], "ids");
    const read = gpu.readLater([x, ids]);
    gpu.clear(x);
    if (i % 2 === 0) gpu.flush();
    return read;
  });
  const found = await Promise.all(reads.map((read) => read()));
  assert.deepEqual(
    found,
    reads.map((_, i) => [Float32Array.of(i, -i), Uint32Array.of(7 * i)]),
  );
});
