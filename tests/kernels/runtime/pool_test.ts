// The pool's choice of buffers, on a device that only counts.

import { strict as assert } from "node:assert";
import { GpuArray, planningGpu } from "../../../kernels/runtime/mod.ts";
import { sizeClass } from "../../../kernels/runtime/pool.ts";

Deno.test("size classes hold their bytes, grow with them and waste at most a sixteenth", () => {
  let last = 0;
  for (let bytes = 4; bytes < 2 ** 34; bytes = Math.ceil(bytes * 1.03 / 4) * 4) {
    const size = sizeClass(bytes);
    assert.ok(size >= bytes && size >= last && size % 256 === 0, `${bytes}`);
    assert.ok(size - bytes <= Math.max(256, bytes / 16), `${size} for ${bytes}`);
    assert.equal(sizeClass(size), size);
    last = size;
  }
});

Deno.test("an array takes the smallest free buffer that fits closely, the oldest of equal ones", () => {
  using gpu = planningGpu();
  const sizes = [1000, 3000, 1300, 1300, 1400];
  const arrays = sizes.map((size) => gpu.empty([size * 64], "array"));
  const ids = arrays.map(({ storage }) => storage.id);
  for (const index of [4, 3, 1, 2, 0]) arrays[index]?.release();
  const idOf = (size: number) => gpu.empty([size * 64], "another").storage.id;
  assert.equal(idOf(1250), ids[2]);
  assert.equal(idOf(990), ids[0]);
  assert.equal(idOf(1250), ids[3]);
  assert.equal(idOf(1250), ids[4]);
  assert.ok(idOf(1250) > Math.max(...ids), "3000 is too large a buffer for 1250");
  assert.equal(gpu.memory.free, sizeClass(3000 * 256));
});

Deno.test("arrays that live long take no larger buffer than a new one would be", () => {
  using gpu = planningGpu();
  const [loose, exact, wanted] = [1400, 1250, 1250].map((size) => gpu.empty([size * 64], "array"));
  const ids = [loose, exact].map((array) => array?.storage.id);
  loose?.release();
  exact?.release();
  const together = [wanted, wanted].map((array) => GpuArray.together([array as GpuArray])[0]);
  assert.equal(together[0]?.storage.id, ids[1]);
  assert.equal(together[1]?.storage.capacity, sizeClass(1250 * 256));
  assert.equal(gpu.empty([1250 * 64], "another").storage.id, ids[0]);
});

Deno.test("what is just small enough for a buffer is not rounded beyond", () => {
  using gpu = planningGpu({ limits: { maxBufferSize: 1_000_001 } });
  const array = gpu.empty([250_000 - 1], "all but one");
  assert.equal(array.storage.capacity, 1_000_000);
  assert.throws(() => gpu.empty([250_001], "one too many"), /Cannot allocate "one too many"/);
});

Deno.test("peaks count live arrays, and with them what is kept for reuse", () => {
  using gpu = planningGpu();
  const [mega, half] = [2 ** 20, 2 ** 19];
  gpu.empty([mega / 4], "first").release();
  const second = gpu.empty([half / 4], "second"); // half of a buffer would be wasted
  assert.equal(gpu.memory.peak, mega);
  assert.equal(gpu.memory.peakTaken, mega + half);
  gpu.pool.trim();
  gpu.resetPeak();
  assert.equal(gpu.memory.peak, half);
  assert.equal(gpu.memory.peakTaken, half);
  second.release();
});
