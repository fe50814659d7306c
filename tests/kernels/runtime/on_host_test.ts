// What the host does in the middle of what is enqueued for the GPU.

import assert from "node:assert/strict";
import { addForward, scaleForward } from "../../../kernels/elementwise.ts";
import { type Gpu, GpuError, openGpu, planningGpu } from "../../../kernels/runtime/mod.ts";
import { testGpu } from "../../_device.ts";
import { assertSame } from "../../_same.ts";

const MEGABYTE = 2 ** 20 / 4; // in numbers

/** Adds to every number on the host, which takes a while. */
function addOnHost(amount: number): (numbers: Float32Array) => Promise<void> {
  return async (numbers) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    numbers.forEach((value, at) => numbers[at] = value + amount);
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

Deno.test("arrays come end to end, in buckets whose borders their lengths alone say", async () => {
  const gpu = await testGpu();
  const sizes = [3 * MEGABYTE, 1, 14 * MEGABYTE, 6];
  const data = sizes.map((size, at) =>
    Float32Array.from({ length: size }, (_, i) => i % 1000 + at)
  );
  const arrays = data.map((numbers) => gpu.upload(numbers, [numbers.length], "part"));
  const seen: number[][] = [];
  for (let time = 0; time < 2; time++) {
    gpu.onHost(arrays, (numbers) => {
      seen.push([numbers.length, numbers[0]!, numbers.at(-1)!]);
      numbers.forEach((value, at) => numbers[at] = 2 * value);
      return Promise.resolve();
    });
  }
  const found = await gpu.readAll(arrays);
  for (const array of arrays) array.release();
  const row = data.flatMap((numbers) => [...numbers]);
  const borders = [0, 8 * MEGABYTE, 16 * MEGABYTE, row.length];
  const buckets = (factor: number) =>
    borders.slice(1).map((end, at) => {
      const start = borders[at]!;
      return [end - start, factor * row[start]!, factor * row[end - 1]!];
    });
  assert.deepEqual(seen, [...buckets(1), ...buckets(2)]);
  found.forEach((numbers, at) => assertSame(numbers, data[at]!.map((value) => 4 * value)));
});

Deno.test("while a bucket is changed the next is fetched, and the one before given back", async () => {
  const gpu = planningGpu();
  const noted: string[] = [];
  const { device } = gpu;
  const { createBuffer } = device;
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(device, descriptor);
    let mappings = 0;
    buffer.mapAsync = () => {
      noted.push(`${descriptor.label} ${mappings++}`);
      return Promise.resolve(undefined);
    };
    return buffer;
  };
  device.queue.writeBuffer = (_: unknown, offset: number) => void noted.push(`write ${offset}`);
  using x = gpu.empty([24 * MEGABYTE], "x");
  let count = 0;
  gpu.onHost([x], async () => {
    const mine = count++;
    noted.push(`begin ${mine}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    noted.push(`end ${mine}`);
  });
  await gpu.finish();
  const MAP = "numbers for the host";
  assert.deepEqual(noted, [
    `${MAP} 0`, // of the few that come first
    `${MAP} 0`,
    "begin 0",
    `${MAP} 0`,
    "end 0",
    "begin 1",
    "write 0",
    `${MAP} 1`,
    "end 1",
    "begin 2",
    `write ${8 * 2 ** 20}`,
    "end 2",
    `write ${16 * 2 ** 20}`,
  ]);
});

/** Milliseconds of a read that waits for its promise: ten on Deno, and more on a machine that is busy. */
async function patience(): Promise<number> {
  using gpu = await openGpu();
  using x = upload(gpu, 1);
  await x.read();
  const started = performance.now();
  for (let at = 0; at < 20; at++) await x.read();
  return Math.max(8, (performance.now() - started) / 20);
}

Deno.test("a small change takes the wait for the GPU, not the ten milliseconds of a promise", async () => {
  using gpu = await openGpu();
  using x = upload(gpu, 0);
  await gpu.finish();
  const changes = 50;
  const started = performance.now();
  for (let at = 0; at < changes; at++) {
    gpu.onHost([x], (numbers) => {
      numbers[0]!++;
      return Promise.resolve();
    });
    using same = scaleForward(x, 1);
    gpu.copy(same, x);
  }
  await gpu.queue.submitted();
  const each = (performance.now() - started) / changes;
  assert.deepEqual([...await x.read()], [changes]);
  assert.ok(each < await patience(), `${each} ms`); // 0.2 where it was written
});

Deno.test("a read takes no longer than the GPU where peers wait for it", async () => {
  const peers = { rank: 0, size: 2, sum: () => Promise.resolve() };
  using gpu = await openGpu({ peers });
  using x = upload(gpu, 1);
  await x.read();
  const started = performance.now();
  for (let at = 0; at < 50; at++) {
    gpu.write(x, Float32Array.of(at));
    assert.deepEqual([...await x.read()], [at]);
  }
  const each = (performance.now() - started) / 50;
  assert.ok(each < await patience(), `${each} ms`);
  await gpu.finish();
});

Deno.test("times of the host's part are those of the GPU, of copies and of changes", async () => {
  using gpu = await openGpu();
  assert.deepEqual(gpu.hostTimes, { gpu: 0, copy: 0 });
  using small = upload(gpu, 1, 2);
  using large = gpu.zeros([20 * MEGABYTE], "large");
  await gpu.finish();
  for (const x of [small, large]) {
    const before = { ...gpu.hostTimes };
    let changes = 0;
    const started = performance.now();
    gpu.onHost([x], async () => {
      const began = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 50));
      changes += performance.now() - began;
    });
    gpu.flush();
    await gpu.queue.submitted();
    const total = performance.now() - started;
    const [waited, copied] = [gpu.hostTimes.gpu - before.gpu, gpu.hostTimes.copy - before.copy];
    assert.ok(waited + copied > 0, `${waited}, ${copied}`);
    // Nothing counts twice; how much goes elsewhere depends on the machine.
    assert.ok(
      waited + copied + changes < total + 1,
      `${waited}, ${copied}, ${changes} of ${total}`,
    );
  }
});
