import { strict as assert } from "node:assert";
import { packHalf, unpackHalf } from "../../kernels/half.ts";
import { seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu } from "../_device.ts";

/** The nearest half, ties to even, in doubles. */
function nearestHalf(value: number): number {
  const size = Math.min(Math.abs(value), 65504);
  // Halves are spaced by 2^-10 of the power of two below them, and evenly below 2^-14.
  const spacing = 2 ** (Math.max(-14, Math.floor(Math.log2(size || 1))) - 10);
  const steps = size / spacing;
  const floor = Math.floor(steps);
  const isUp = steps - floor > 0.5 || (steps - floor === 0.5 && floor % 2 === 1);
  return Math.sign(value) * (floor + Number(isUp)) * spacing;
}

for (const [name, open] of [["whole", guardedGpu], ["split", () => narrowGpu(1024)]] as const) {
  Deno.test(`floats come back as the nearest halves (${name})`, async () => {
    const gpu = await open();
    const random = seededRandom(3);
    const edges = [0, 1, -1, 65504, -65504, 65520, 1e30, -1e30, 6e-5, 2 ** -14, 2 ** -24, 1 / 3];
    const drawn = Array.from({ length: 2990 }, () => (random() - 0.5) * 2 ** (random() * 20 - 8));
    const values = Float32Array.from([...edges, ...drawn]);
    const before = gpu.memory.live;
    using array = gpu.upload(values, [2, values.length / 2], "values");
    using words = packHalf(array);
    assert.equal(words.byteLength, array.byteLength / 2);
    using again = unpackHalf(words, array.shape, "again");
    const found = await again.read();
    values.forEach((value, index) => {
      const expected = nearestHalf(value);
      // A driver may round the last bit otherwise, and flush what is below 2^-14 to zero.
      const spacing = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(expected) || 1))) - 10);
      const off = Math.abs((found[index] as number) - expected);
      const isTiny = Math.abs(value) < 2 ** -14;
      assert.ok(off <= (isTiny ? 2 ** -14 : spacing), `${value} gives ${found[index]}`);
      if (Math.abs(value) >= 65504) assert.equal(found[index], Math.sign(value) * 65504);
    });
    const exact = found.filter((value, index) => value === nearestHalf(values[index] as number));
    assert.ok(exact.length > 0.9 * values.length, "most are the nearest half to the bit");
    assert.throws(() => packHalf(gpu.zeros([3], "three")), /odd number/);
    gpu.pool.trim();
    assert.ok(before >= 0);
  });
}
