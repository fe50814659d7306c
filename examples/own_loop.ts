/**
 * Stages of the method in a loop of one's own: a network learns a labelled source domain, then
 * stage 1 adapts it to a target domain without labels, in steps that take explicit tensors.
 *
 *     deno run examples/own_loop.ts
 *
 * In a project of your own the file stays as it is: map "@proda/webgpu" to the mod.ts of a clone in
 * its deno.json.
 */
import * as proda from "@proda/webgpu";

const { functional, kernels, noGrad, scope } = proda;
const [count, classes, steps, size] = [8, 2, 40, { height: 32, width: 32 }];
const shape = { blocks: [1, 1, 1, 1], width: 4, headChannels: 16, groups: 4, dilations: [1, 2] };
const schedule = { scheduleSteps: steps, power: 0.9, rampSteps: 5 };
const sgd = { ...schedule, headFactor: 1, momentum: 0.9, weightDecay: 2e-4, seed: 0 };
const random = new proda.Random(1, "own loop");

const gpu = await proda.openGpu();
const before = gpu.memory.live;
const source = draw([[0.3, 0.5, 0.9], [0.4, 0.3, 0.3]], 0.02);
const target = draw([[0.5, 0.5, 0.7], [0.5, 0.4, 0.4]], 0.1);
const network = new proda.DeepLab(gpu, { ...shape, classes });
await learnSource();
await printAccuracy();
await adaptToTarget();
await printAccuracy();
network.dispose();
proda.releaseBatch([source, target]);
console.log(`bytes left on the GPU: ${gpu.memory.live - before}`);
gpu.close();

/** Images of a sky (class 0) above a road (class 1) in the colours of a domain, and their labels. */
function draw(colours: number[][], noise: number): proda.SourceBatch {
  const pixels = size.height * size.width;
  const horizons = Array.from({ length: count }, () => random.below(size.height) * size.width);
  const labels = Uint32Array.from(
    { length: count * pixels },
    (_, at) => Number(at % pixels >= horizons[Math.floor(at / pixels)]),
  );
  const images = Float32Array.from({ length: count * 3 * pixels }, (_, at) => {
    const [image, channel] = [Math.floor(at / pixels / 3), Math.floor(at / pixels) % 3];
    const label = labels[image * pixels + at % pixels];
    return colours[label][channel] + noise * random.normal();
  });
  return {
    images: gpu.upload(images, [count, 3, size.height, size.width], "images"),
    labels: gpu.upload(labels, [count, size.height, size.width], "labels"),
  };
}

async function learnSource(): Promise<void> {
  using stage = new proda.SourceOnly(network, { ...sgd, learningRate: 0.1 });
  for (let step = 0; step < steps; step++) await print(step, stage.step({ source }, step));
}

async function adaptToTarget(): Promise<void> {
  // What the network makes of the target before, at a quarter of the size: the probabilities of the
  // classes, which stay fixed, and the mean features of those that it predicts.
  network.eval();
  const prototypes = new proda.PrototypeBank(gpu, { classes, channels: shape.headChannels });
  using softLabels = noGrad(() =>
    scope(() => {
      const { logits, features } = network.forward(proda.input(target.images));
      const quarter = { height: size.height / 4, width: size.width / 4 };
      const small = functional.resizeBilinear(logits, quarter);
      const predicted = kernels.argmax(small.array);
      prototypes.collect(functional.resizeBilinear(features, quarter).array, predicted.labels);
      proda.releaseBatch(predicted);
      return functional.softmax(small);
    })
  );
  prototypes.start();
  const encoder = new proda.DeepLab(gpu, { ...shape, classes, init: "none" });
  encoder.loadStateDict(network.stateDict());

  const weights = { alpha: 1, beta: 1, gamma1: 10, gamma2: 0.0125 }; // equations 6 and 11
  const decays = { prototypeDecay: 0.99, emaDecay: 0.99 };
  using stage = new proda.Denoise(network, encoder, prototypes, {
    ...sgd,
    ...weights,
    ...decays,
    learningRate: 0.02,
    temperature: 1,
    encoderStatistics: "batch",
    statistics: "target",
  }); // frees encoder and prototypes in the end
  for (let step = 0; step < steps; step++) {
    const weak = target.images;
    const views = Array.from({ length: count }, () => proda.strongView(random, size));
    const looks = views.map(({ transform, colour }) => transform.imageView(colour));
    using strong = kernels.warpMaps(weak, looks, size);
    const strongViews = views.map(({ transform }) => transform);
    const batch = { source, target: { weak, strong, strongViews, softLabels: softLabels.array } };
    await print(step, stage.step(batch, step));
  }
}

/** Prints the losses of every tenth step, and frees all. */
async function print(step: number, losses: proda.Losses): Promise<void> {
  if (step % 10 === 9) {
    const values = await gpu.readAll(Object.values(losses));
    const terms = Object.keys(losses).map((name, at) => `${name} ${values[at][0].toFixed(3)}`);
    console.log(`step ${step + 1}: ${terms.join(", ")}`);
  }
  proda.releaseBatch(losses);
}

/** Compares predictions for the target with its labels, which no step sees. */
async function printAccuracy(): Promise<void> {
  network.eval();
  const predicted = noGrad(() =>
    scope(() => {
      const { logits } = network.forward(proda.input(target.images));
      return kernels.argmaxResized(logits.array, size);
    })
  );
  const [found, wanted] = await gpu.readAll([predicted.labels, target.labels]);
  const right = found.filter((label, index) => label === wanted[index]).length;
  console.log(`${(100 * right / found.length).toFixed(1)} % of the target's pixels are right`);
  proda.releaseBatch(predicted);
}
