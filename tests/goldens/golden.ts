// Reading goldens and comparing with them.

import { strict as assert } from "node:assert";
import { GOLDEN_VERSION, REGENERATE, type Summary, type Whole } from "./fill.ts";

/** Reads a golden. @throws {Error} If it is missing or of another version. */
export function readGolden<T>(name: string): T {
  const url = new URL(`./${name}.json`, import.meta.url);
  const golden = JSON.parse(Deno.readTextFileSync(url));
  assert.equal(
    golden.version,
    GOLDEN_VERSION,
    `the golden ${name}.json is of another version: make it again by ${REGENERATE}`,
  );
  return golden;
}

/** Fails unless every difference is within `tolerance` of the largest expected magnitude. */
export function assertNear(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  assert.equal(actual.length, expected.length, `${name} has another length than the golden`);
  let [size, worst, at] = [0, 0, 0];
  for (let index = 0; index < expected.length; index++) {
    const [found, wanted] = [actual[index] as number, expected[index] as number];
    size = Math.max(size, Math.abs(wanted));
    const difference = Math.abs(found - wanted);
    if (!(difference <= worst)) [worst, at] = [difference, index];
  }
  if (!(worst <= tolerance * size)) {
    assert.fail(
      `${name}[${at}] is ${actual[at]}, PyTorch has ${expected[at]}: off by ${
        (worst / size).toExponential(1)
      } of the largest magnitude, where ${tolerance} is allowed. If the golden is to blame, make it again by ${REGENERATE}`,
    );
  }
}

/** Compares a tensor that the golden keeps whole. */
export function assertWhole(
  name: string,
  actual: { readonly shape: readonly number[]; readonly data: Float32Array },
  expected: Whole,
  tolerance: number,
): void {
  assert.deepEqual([...actual.shape], expected.shape, `shape of ${name}`);
  assertNear(name, actual.data, expected.values, tolerance);
}

/** Compares the norm and the samples of a tensor. */
export function assertSummary(
  name: string,
  actual: Float32Array,
  expected: Summary,
  { norm, sample }: { readonly norm: number; readonly sample: number },
): void {
  assertNear(`norm of ${name}`, [normOf(actual)], [expected.norm], norm);
  // A sample may hold none of the large values, so it is measured by the root mean square as well.
  const rms = expected.norm / Math.sqrt(actual.length);
  const found = expected.sample.map((_, index) => actual[index * expected.stride] as number);
  assertNear(`sample of ${name}`, [...found, rms], [...expected.sample, rms], sample);
}

function normOf(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
