// Predicted classes at the network's own size and how sure they are, against the same on the host; and
// how classes move from one network to another.

import { strict as assert } from "node:assert";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import { tensor } from "../../../nn/tensor.ts";
import { type Dataset, decodeItem } from "../../../train/data/dataset.ts";
import { Loader } from "../../../train/data/loader.ts";
import { measure } from "../../../train/evaluation/evaluate.ts";
import { movesBetween, predictedClasses } from "../../../train/evaluation/moves.ts";
import { withFolder } from "../_folder.ts";
import { CLASSES, LONG_SIDE, makeDataset, makeNetwork, resizedPlanes } from "./_host.ts";

/** The class and its probability at every pixel of the network's output, image by image. */
async function pixelsOnHost(network: DeepLab, { items }: Dataset) {
  const pixels: { label: number; probability: number }[] = [];
  network.eval();
  for (const item of items) {
    const { data, shape } = resizedPlanes(decodeItem(item, null).image);
    using images = tensor(network.gpu, Float32Array.from(data), shape);
    using logits = noGrad(() => scope(() => network.forward(images).logits));
    const values = await logits.read();
    const plane = values.length / CLASSES;
    for (let pixel = 0; pixel < plane; pixel++) {
      const own = Array.from({ length: CLASSES }, (_, k) => values[k * plane + pixel]);
      const largest = Math.max(...own);
      const sum = own.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
      pixels.push({ label: own.indexOf(largest), probability: 1 / sum });
    }
  }
  network.train();
  return pixels;
}

Deno.test("predicted classes and their mean probability are those of the host", () =>
  withFolder(async (root) => {
    using network = await makeNetwork();
    const dataset = makeDataset(root, null);
    const pixels = await pixelsOnHost(network, dataset);
    using loader = new Loader({ dataset, order: "sequential" });
    const before = network.gpu.memory.live;
    const classes = (await predictedClasses(network, loader, LONG_SIDE)).flatMap((own) => [...own]);
    assert.equal(network.training, true, "the mode is restored");
    assert.ok(network.gpu.memory.live <= before, "bytes left behind");
    assert.deepEqual(classes, pixels.map(({ label }) => label));
    assert.ok(new Set(classes).size > 1, "there is something to tell apart");
    const mean = pixels.reduce((sum, { probability }) => sum + probability, 0) / pixels.length;
    const { confidence } = await measure(network, loader, LONG_SIDE);
    assert.ok(Math.abs(confidence - 100 * mean) < 1e-3, `${confidence}, not ${100 * mean}`);
    const stopped = predictedClasses(network, loader, LONG_SIDE, AbortSignal.abort());
    await assert.rejects(stopped, { name: "AbortError" });
  }));

Deno.test("moves are counted from the class before to the class now, over all batches", () => {
  const before = [Uint32Array.of(0, 0, 1), Uint32Array.of(2)];
  const now = [Uint32Array.of(0, 1, 1), Uint32Array.of(0)];
  assert.deepEqual(movesBetween(before, now, 3).toRows(), [[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
});
