// What every host must compute alike, from the package alone: a step of stage 1 on streets.

import { DeepLab, openGpu } from "@proda/webgpu";
import { argmaxResized } from "@proda/webgpu/kernels";
import { input, noGrad, scope } from "@proda/webgpu/nn";
import {
  Batches,
  Denoise,
  labelTarget,
  nextDenoiseBatch,
  releaseBatch,
  SamplesInMemory,
  SoftLabelsInMemory,
  SourceOnly,
  streetItem,
  STREETS_CLASSES,
} from "@proda/webgpu/train";

const SIZE = { width: 96, height: 48 };
const SHAPE = {
  blocks: [1, 1, 1, 1],
  width: 4,
  headChannels: 16,
  groups: 4,
  dilations: [1, 2],
  dropout: 0.1,
  seed: 1,
  classes: STREETS_CLASSES.names.length,
};
const SGD = {
  momentum: 0.9,
  weightDecay: 2e-4,
  power: 0.9,
  headFactor: 1,
  scheduleSteps: 10,
  rampSteps: 1,
  seed: 0,
};

/** The losses of a step of source-only training and of one of stage 1, and what is predicted then. */
export async function run() {
  // Software adapters and GPUs compute by different kernels; here all hosts take the same.
  const gpu = await openGpu({ kernels: "direct" });
  const streets = (domain) =>
    Array.from(
      { length: 4 },
      (_, index) => streetItem({ ...SIZE, seed: 0, domain, split: "train", index }),
    );
  const [source, target] = [streets("source"), streets("target")];
  const network = new DeepLab(gpu, SHAPE);
  const batchesOf = (stage) =>
    new Batches(
      {
        gpu,
        seed: 0,
        stage,
        batch: 2,
        classes: SHAPE.classes,
        sourceColours: "target",
        view: {
          crop: { height: 32, width: 64 },
          longSide: SIZE.width,
          scales: [0.75, 1.25],
          flip: 0.5,
        },
      },
      new SamplesInMemory(source, { seed: 0, stream: "source" }),
      new SamplesInMemory(target, { seed: 0, stream: "target" }),
    );

  const first = new SourceOnly(network, { ...SGD, learningRate: 0.05 });
  const plain = { source: await batchesOf("source").nextSource() };
  const sourceLosses = await valuesOf(gpu, first.step(plain, 0));
  releaseBatch(plain);
  first[Symbol.dispose]();

  const softLabels = new SoftLabelsInMemory();
  const images = new SamplesInMemory(target, "sequential");
  const bank = await labelTarget(network, images, softLabels, {
    longSide: SIZE.width,
  });
  const encoder = new DeepLab(gpu, { ...SHAPE, init: "none" });
  encoder.loadStateDict(network.stateDict());
  const stage = new Denoise(network, encoder, bank, {
    ...SGD,
    learningRate: 0.02,
    alpha: 1,
    beta: 1,
    gamma1: 3,
    gamma2: 0.0125,
    temperature: 1,
    prototypeDecay: 0.99,
    emaDecay: 0.99,
    encoderStatistics: "batch",
    statistics: "target",
    studentView: "strong",
  });
  const batch = await nextDenoiseBatch(batchesOf("stage1"), softLabels);
  const losses = await valuesOf(gpu, stage.step(batch, 0));
  releaseBatch(batch);
  stage[Symbol.dispose]();

  network.eval();
  const pixels = Float32Array.from(
    { length: 3 * SIZE.width * SIZE.height },
    (_, at) =>
      target[0].image
        .data[
          3 * (at % (SIZE.width * SIZE.height)) +
          Math.floor(at / SIZE.width / SIZE.height)
        ] /
      255,
  );
  const image = gpu.upload(pixels, [1, 3, SIZE.height, SIZE.width], "image");
  const { labels, confidence } = noGrad(() =>
    scope(() => argmaxResized(network.forward(input(image)).logits.array, SIZE))
  );
  const prediction = [...await labels.read()];
  releaseBatch({ image, labels, confidence });
  network.dispose();
  const bytesLeft = gpu.memory.live;
  gpu.close();
  return {
    adapter: gpu.adapter.description,
    sourceLosses,
    losses,
    prediction,
    bytesLeft,
  };
}

async function valuesOf(gpu, losses) {
  const values = await gpu.readAll(Object.values(losses));
  releaseBatch(losses);
  return Object.fromEntries(
    Object.keys(losses).map((name, at) => [name, values[at][0]]),
  );
}
