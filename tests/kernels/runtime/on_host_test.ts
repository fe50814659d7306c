// What the host does in the middle of what is enqueued for the GPU.

import assert from "node:assert/strict";
import { addForward, scaleForward } from "../../../kernels/elementwise.ts";
import { type Gpu, GpuError, openGpu } from "../../../kernels/runtime/mod.ts";
import { testGpu } from "../../_device.ts";

/** Adds to every number of an array on the host, which takes a while. */
function addOnHost(amount: number): (data: (Float32Array | Uint32Array)[]) => Promise<void> {
  return async ([data]) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    data.forEach((value, at) => data[at] = value + amount);
  };
}

function upload(gpu: Gpu, ...values: number[]) {
  return gpu.upload(new Float32Array(values), [values.length], "numbers");
}

Deno.test("what is enqueued before the host's part runs before it, what is enqueued after sees it", async () => {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  {
    using x = upload(gpu, 1, 2, 3);
    using doubled = scaleForward(x, 2);
    gpu.onHost([doubled], addOnHost(1));
    using tenfold = scaleForward(doubled, 10);
    gpu.onHost([tenfold], addOnHost(0.5));
    using sum = addForward(tenfold, x);
    assert.deepEqual([...await sum.read()], [31.5, 52.5, 73.5]);
    assert.deepEqual([...await doubled.read()], [3, 5, 7]);
  }
  assert.equal(gpu.memory.live, before);
});

Deno.test("writes, clears and reused memory keep their places around the host's part", async () => {
  const gpu = await testGpu();
  using x = upload(gpu, 1, 2);
  gpu.onHost([x], addOnHost(1));
  const first = scaleForward(x, 10);
  gpu.write(x, new Float32Array([7, 8])); // after `first`, though nothing of it has run
  const second = scaleForward(x, 10);
  gpu.clear(x);
  using copy = gpu.empty([2], "copy");
  gpu.copy(first, copy);
  first.release();
  using third = upload(gpu, 5, 6); // may take the memory of `first`
  gpu.flush();
  const values = await gpu.readAll([copy, second, third, x]);
  second.release();
  assert.deepEqual(values.map((value) => [...value]), [[20, 30], [70, 80], [5, 6], [0, 0]]);
});

Deno.test("a slice of an array can be changed, and what was computed from the array is dropped", async () => {
  const gpu = await testGpu();
  using x = upload(gpu, ...Array.from({ length: 512 }, (_, i) => i));
  using two = x.view([2, 256]);
  using second = two.slice(1, 1);
  let made = 0;
  const derived = () => x.derived("twice", () => (made++, scaleForward(x, 2)));
  derived();
  gpu.onHost([second], addOnHost(1000));
  assert.equal((await derived().read())[300], 2600);
  assert.equal(made, 2);
  assert.equal((await x.read())[255], 255);
});

Deno.test("free buffers are destroyed only when all that uses them has been submitted", async () => {
  using gpu = await openGpu({ memoryBudget: 2 ** 20 });
  using x = upload(gpu, 1, 2);
  gpu.onHost([x], addOnHost(1));
  const large = gpu.zeros([100_000], "large");
  const doubled = scaleForward(large, 2);
  for (const array of [large, doubled]) array.release();
  using other = gpu.zeros([200_000], "larger"); // only without the free buffers
  assert.equal((await other.read())[0], 0);
  assert.deepEqual([...await x.read()], [2, 3]);
});

Deno.test("an error of the host's part is thrown by the next call, and nothing is done after it", async () => {
  using gpu = await openGpu();
  using x = upload(gpu, 1);
  gpu.onHost([x], () => Promise.reject(new GpuError("no answer")));
  let isDone = false;
  gpu.onHost([x], () => {
    isDone = true;
    return Promise.resolve();
  });
  await assert.rejects(x.read(), /no answer/);
  await assert.rejects(gpu.finish(), /no answer/);
  assert.ok(!isDone);
});
