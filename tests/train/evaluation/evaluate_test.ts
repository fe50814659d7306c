// Evaluation, against the same done pixel by pixel on the host.

import { strict as assert } from "node:assert";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { type Dataset, decodeItem } from "../../../train/data/dataset.ts";
import { evaluationOf, measure } from "../../../train/evaluation/evaluate.ts";
import { forEachImageBatch } from "../../../train/evaluation/image_batches.ts";
import { Loader } from "../../../train/data/loader.ts";
import { ConfusionMatrix, type Scores } from "../../../train/evaluation/metrics.ts";
import { withFolder } from "../_folder.ts";
import {
  CLASSES,
  LONG_SIDE,
  makeDataset,
  makeNetwork,
  predictOnHost,
  resizedPlanes,
} from "./_host.ts";

async function evaluate(network: DeepLab, loader: Loader): Promise<Scores> {
  return (await measure(network, loader, LONG_SIDE)).confusion.scores();
}

/** Scores, one image after the other. */
async function scoreOnHost(network: DeepLab, { items, trainIds }: Dataset): Promise<Scores> {
  const matrix = new ConfusionMatrix(CLASSES);
  network.eval();
  for (const item of items) {
    const { image, label } = decodeItem(item, trainIds);
    matrix.addPixels(label?.data ?? [], await predictOnHost(network, resizedPlanes(image), image));
  }
  network.train();
  return matrix.scores();
}

Deno.test("scores are those of predictions made one by one on the host", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    const expected = await scoreOnHost(network, dataset);
    const right = expected.classIoU.map((value) => value === null ? -1 : Math.sign(value));
    assert.deepEqual(right, [1, 1, 1, 0], "all classes are predicted, three are labelled");
    using loader = new Loader({ dataset, order: "sequential" });
    await loader.next(3); // evaluation starts at the first image all the same
    const before = network.gpu.memory.live;
    assert.deepEqual(await evaluate(network, loader), expected);
    assert.deepEqual(await evaluate(network, loader), expected, "a second time");
    assert.equal(network.gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("evaluation uses running statistics and no dropout, and leaves the mode as it was", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using network = await makeNetwork();
    using loader = new Loader({ dataset, order: "sequential" });
    const scores = [];
    for (const training of [true, false]) {
      network.train(training);
      scores.push(await evaluate(network, loader));
      assert.ok([...network.namedModules()].every(([, module]) => module.training === training));
    }
    assert.deepEqual(scores[0], scores[1]);
    const mean = network.stateDict().get("bn1.running_mean");
    assert.deepEqual(await mean?.read(), new Float32Array(4), "statistics do not move");
  }));

Deno.test("evaluation without labels has no scores, and can be stopped", () =>
  withFolder(async (root) => {
    using network = await makeNetwork();
    const dataset = makeDataset(root);
    using labelled = new Loader({ dataset, order: "sequential" });
    using bare = new Loader({ dataset: makeDataset(root, null), order: "sequential" });
    const { mIoU, classIoU } = evaluationOf(await measure(network, bare, LONG_SIDE));
    assert.deepEqual([mIoU, classIoU], [NaN, Array(CLASSES).fill(null)]);
    const before = network.gpu.memory.live; // what the network keeps of its weights included
    const stopped = measure(network, labelled, LONG_SIDE, AbortSignal.abort());
    await assert.rejects(stopped, { name: "AbortError" });
    const failing = forEachImageBatch(network, labelled, { longSide: LONG_SIDE }, () => {
      throw new RangeError("this batch is refused");
    });
    await assert.rejects(failing, { message: "this batch is refused" });
    assert.ok(network.training, "the mode is restored");
    assert.equal(network.gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("a label that the network has no class for is not passed over", () =>
  withFolder(async (root) => {
    using loader = new Loader({ dataset: makeDataset(root, [0, 1, 2, 3, 4]), order: "sequential" });
    const network = await makeNetwork();
    await assert.rejects(measure(network, loader, LONG_SIDE), /label 4: expected a class below 4/);
    network.dispose();
  }));
