import { strict as assert } from "node:assert";
import { countNonfinite } from "../../kernels/nonfinite.ts";
import { narrowGpu, testGpu } from "../_device.ts";

// NaN with either sign and a payload in the lowest bit, infinities; then finite extremes.
const NONFINITE = [0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7f800000, 0xff800000];
const FINITE = [0x7f7fffff, 0xff7fffff, 0x00000001, 0x80000000, 0];

for (const [name, open] of [["", testGpu], [" in slices", () => narrowGpu(1024)]] as const) {
  Deno.test(`every kind of NaN and infinity is counted${name}, and no extreme`, async () => {
    const gpu = await open();
    const words = new Uint32Array(3001).fill(0x3f800000);
    [...NONFINITE, ...FINITE].forEach((word, i) => words[(i * 997) % 3001] = word);
    words[3000] = 0x7f800000; // the last element
    using x = gpu.upload(new Float32Array(words.buffer), [3001], "x");
    using clean = gpu.upload(new Float32Array(5).fill(1), [5], "clean");
    using found = countNonfinite(gpu, [clean, x, x]);
    using none = countNonfinite(gpu, [clean]);
    assert.deepEqual([...await found.read()], [2 * (NONFINITE.length + 1)]);
    assert.deepEqual([...await none.read()], [0]);
  });
}
