import { strict as assert } from "node:assert";
import { dotRows, normaliseRows } from "../../nn/functional/linear.ts";
import { ntXent } from "../../nn/functional/losses.ts";
import { samplePlanes } from "../../nn/functional/spatial.ts";
import { tensor } from "../../nn/tensor.ts";
import { checkOp, type Nd } from "../_check.ts";
import { testGpu } from "../_device.ts";
import * as reference from "../_reference/contrast.ts";

for (const [rows, columns] of [[1, 1], [5, 3], [67, 33]] as const) {
  Deno.test(`rows of length 1 of [${rows}, ${columns}] match their reference`, () =>
    checkOp(normaliseRows, reference.normaliseRows, { shapes: [[rows, columns]] }));

  Deno.test(`products of ${rows} rows with 7 others of ${columns} match their reference`, () =>
    checkOp(
      (a, b) => dotRows(a, b),
      (a, b) => reference.dotRows(a, b),
      { shapes: [[rows, columns], [7, columns]], narrow: 0 },
    ));
}

Deno.test("a row of zeros stays, and so does a tiny row's direction", () =>
  checkOp(normaliseRows, reference.normaliseRows, {
    shapes: [[2, 3]],
    inputs: [[0, 0, 0, 3e-6, 0, -4e-6]],
    gradients: [false],
  }));

for (const [pairs, temperature] of [[1, 1], [3, 0.1], [19, 0.5]] as const) {
  Deno.test(`NT-Xent of ${pairs} pairs at temperature ${temperature} matches its reference`, () =>
    checkOp(
      (similarities) => ntXent(similarities, temperature),
      (similarities) => reference.ntXent(similarities, temperature),
      { shapes: [[2 * pairs, 2 * pairs]] },
    ));
}

Deno.test("the similarity of rows with themselves counts for nothing in NT-Xent", async () => {
  const gpu = await testGpu();
  const losses = await Promise.all([0, 50].map(async (own) => {
    const values = [own, 0.2, 0.4, 0.1, 0.2, own, 0.3, 0.6, 0.4, 0.3, own, 0, 0.1, 0.6, 0, own];
    using similarities = tensor(gpu, values, [4, 4]);
    using loss = ntXent(similarities, 0.5);
    return (await loss.read())[0];
  }));
  assert.equal(losses[0], losses[1]);
});

Deno.test("NT-Xent says what it takes", async () => {
  using odd = tensor(await testGpu(), new Float32Array(9), [3, 3]);
  assert.throws(() => ntXent(odd, 1), {
    name: "TypeError",
    message:
      /^Cannot run nt_xent as it takes the similarities of pairs, \[2B, 2B\]: .* is \[3, 3\]$/,
  });
});

/** Places inside, on the last row and column, and outside a map of 5 × 7, of two images. */
const PLACES = [0, 0, 6, 4, 2.25, 1.5, 5.75, 3.5, -3, 2.5, 9, 9, 6, 0.5, 2.25, 1.5]
  .concat([1, 1, 1.5, 1.25, 3, 4, 5.5, 4, 0.125, 0, 6, 2, 4.5, 2.5, 3.25, 0.75]);

for (const channels of [1, 5]) {
  Deno.test(`samples of ${channels} channels at 8 places match their reference`, () => {
    const places: Nd = { data: Float64Array.from(PLACES), shape: [2, 8, 2] };
    return checkOp(
      (x) => {
        using array = x.gpu.upload(Float32Array.from(PLACES), places.shape, "places");
        return samplePlanes(x, array);
      },
      (x) => reference.samplePlanes(x, places),
      { shapes: [[2, channels, 5, 7]] },
    );
  });
}

Deno.test("a map of one pixel has the same samples everywhere", () =>
  checkOp(
    (x) => {
      using array = x.gpu.upload(Float32Array.of(0, 0, 3, -2), [1, 2, 2], "places");
      return samplePlanes(x, array);
    },
    (x) => reference.samplePlanes(x, { data: Float64Array.of(0, 0, 3, -2), shape: [1, 2, 2] }),
    { shapes: [[1, 3, 1, 1]] },
  ));
