// What is seen in images and in other views of them, against the same done pixel by pixel on the host.

import { strict as assert } from "node:assert";
import { decodeItem } from "../../../train/data/dataset.ts";
import { lookAgain, sightsOf } from "../../../train/evaluation/agreement.ts";
import { ConfusionMatrix } from "../../../train/evaluation/metrics.ts";
import type { Nd } from "../../_check.ts";
import { resizeBilinear } from "../../_reference/spatial.ts";
import { withFolder } from "../_folder.ts";
import {
  CLASSES,
  LONG_SIDE,
  makeDataset,
  makeNetwork,
  predictOnHost,
  resizedPlanes,
} from "./_host.ts";

/** Rows of a length, each the other way round. */
function mirrored<T extends Float64Array | Uint8Array>(values: T, width: number): T {
  const result = values.slice() as T;
  for (let at = 0; at < result.length; at += width) result.subarray(at, at + width).reverse();
  return result;
}

Deno.test("agreement is that of predictions of other views made one by one on the host", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    network.eval();
    const matrices = Array.from({ length: 3 }, () => new ConfusionMatrix(CLASSES));
    for (const item of dataset.items) {
      const { image } = decodeItem(item, null);
      const planes = resizedPlanes(image);
      const [, , height = 0, width = 0] = planes.shape;
      const plain = await predictOnHost(network, planes, image);
      const flipped = { ...planes, data: mirrored(planes.data, width) };
      const scaled = (factor: number): Nd =>
        resizeBilinear(planes, {
          height: Math.round(factor * height),
          width: Math.round(factor * width),
        });
      const views = [
        mirrored(await predictOnHost(network, flipped, image), image.width),
        await predictOnHost(network, scaled(0.75), image),
        await predictOnHost(network, scaled(1.25), image),
      ];
      matrices.forEach((matrix, index) => matrix.addPixels(plain, views[index]));
    }
    network.train();
    const expected = sightsOf(matrices);
    assert.ok(expected.agreement > 20 && expected.agreement < 99, `${expected.agreement}`);
    const before = network.gpu.memory.live;
    const found = await lookAgain(network, dataset, LONG_SIDE);
    assert.deepEqual(found, expected);
    assert.deepEqual(await lookAgain(network, dataset, LONG_SIDE), found, "a second time");
    assert.ok(network.training, "the mode is restored");
    assert.ok(network.gpu.memory.live <= before, "bytes left behind");
  }));

Deno.test("agreement counts classes that are never predicted, which a collapsed network has", () => {
  const matrix = new ConfusionMatrix(4);
  matrix.addPixels([0, 0, 0], [0, 0, 0]);
  assert.equal(sightsOf([matrix]).agreement, 25);
  const other = new ConfusionMatrix(4);
  other.addPixels([0, 1, 2, 3], [0, 1, 2, 3]);
  assert.equal(sightsOf([matrix, other]).agreement, 62.5);
});

Deno.test("shares are those of the images as they are, and what is alike is a share of pixels", () => {
  const [matrix, other] = [new ConfusionMatrix(3), new ConfusionMatrix(3)];
  matrix.addPixels([0, 0, 0, 1], [0, 0, 2, 1]);
  other.addPixels([0, 0, 0, 1], [0, 2, 2, 1]);
  const { alike, shares } = sightsOf([matrix, other]);
  assert.deepEqual([alike, shares], [62.5, [75, 25, 0]]);
});

Deno.test("agreement reads no labels, looks at 100 images at most, and can be stopped", () =>
  withFolder(async (root) => {
    using network = await makeNetwork();
    const dataset = makeDataset(root);
    const whole = await lookAgain(network, dataset, LONG_SIDE);
    const unlabelled = makeDataset(root, null);
    assert.deepEqual(await lookAgain(network, unlabelled, LONG_SIDE), whole);
    const [first] = dataset.items;
    const many = { ...dataset, items: Array.from({ length: 200 }, (_, i) => dataset.items[i % 2]) };
    const few = { ...dataset, items: [first] };
    assert.deepEqual(
      await lookAgain(network, many, LONG_SIDE),
      await lookAgain(network, few, LONG_SIDE),
      "every other one of 200",
    );
    await assert.rejects(
      lookAgain(network, dataset, LONG_SIDE, AbortSignal.abort()),
      { name: "AbortError" },
    );
  }));
