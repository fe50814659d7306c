// The whole training step of the built-in network: wall time, what of it is the host's, shares by
// kernel, and how it grows with batch, crop, classes and depth: `deno bench bench/step_bench.ts`.
//
// Batches are random numbers, uploaded once: data loading is measured by the training itself.

import { type Gpu, type GpuArray, openGpu } from "../kernels/runtime/mod.ts";
import { DeepLab } from "../nn/deeplab.ts";
import { Discriminator } from "../nn/discriminator.ts";
import { presetConfig } from "../train/config/config.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { quarterOf } from "../train/stages/common/batch.ts";
import { bankFor } from "../train/stages/denoise/soft_labels.ts";
import { Denoise } from "../train/stages/denoise/denoise.ts";
import { Distil } from "../train/stages/distil/distil.ts";
import { SourceOnly } from "../train/stages/source_only/source_only.ts";
import type { Stage } from "../train/stages/common/stage.ts";
import type { SourceBatch } from "../train/stages/common/batch.ts";
import { WarmUp } from "../train/stages/warm_up/warm_up.ts";
import { ViewTransform } from "../train/views/views.ts";
import { seededRandom } from "../tests/_check.ts";

const ROUNDS = 7;
const SEED = 0;
const CLASSES = 8;

/** A stage, and its step on a batch that lies on the GPU. */
interface Trial extends Disposable {
  step(): void;
}

/** What is varied. */
interface Setting {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  readonly blocks: number[];
}

const random = seededRandom(1);

function floats(gpu: Gpu, shape: readonly number[]): GpuArray {
  const size = shape.reduce((a, b) => a * b, 1);
  return gpu.upload(Float32Array.from({ length: size }, random), shape, "input");
}

function labels(gpu: Gpu, shape: readonly number[], classes: number): GpuArray<"u32"> {
  const size = shape.reduce((a, b) => a * b, 1);
  return gpu.upload(
    Uint32Array.from({ length: size }, () => Math.floor(random() * classes)),
    shape,
    "labels",
  );
}

/** A stage of the default configuration with one batch of its own. */
function trialOf(
  gpu: Gpu,
  name: "source" | "warmup" | "stage1" | "stage2",
  setting: Setting,
): Trial {
  const { batch, height, width, classes, blocks } = setting;
  const config: RunConfig = presetConfig("default");
  const make = () =>
    new DeepLab(gpu, { ...config.network, blocks, classes, seed: SEED, init: "he" });
  const network = make();
  const copy = () => {
    const other = make();
    other.loadStateDict(network.stateDict());
    return other;
  };
  const images = () => floats(gpu, [batch, 3, height, width]);
  const source: SourceBatch = {
    images: images(),
    labels: labels(gpu, [batch, height, width], classes),
  };
  const quarter = quarterOf({ height, width });
  const quarterShape = [batch, quarter.height, quarter.width];
  const flipped = new ViewTransform({ height, width }, [{ kind: "flip" }]);
  const target = {
    images: images(),
    weak: images(),
    strong: images(),
    strongViews: Array.from({ length: batch }, () => flipped),
  };
  const trial = <B>(stage: Stage<B> & Disposable, batch: B): Trial => {
    let step = 0;
    return {
      step() {
        for (const loss of Object.values(stage.step(batch, step++))) loss.release();
      },
      [Symbol.dispose]() {
        stage[Symbol.dispose]();
        network.dispose();
        gpu.pool.trim();
      },
    };
  };
  const options = { ...config.stages[name], seed: SEED };
  switch (name) {
    case "source":
      return trial(new SourceOnly(network, options), { source });
    case "warmup": {
      const settings = config.stages.warmup;
      const discriminator = new Discriminator(gpu, {
        classes,
        planes: settings.discriminatorPlanes,
        seed: SEED,
      });
      return trial(new WarmUp(network, discriminator, { ...settings, seed: SEED }), {
        source,
        target,
      });
    }
    case "stage1": {
      const uniform = new Float32Array(batch * classes * quarter.height * quarter.width);
      const shape = [batch, classes, quarter.height, quarter.width];
      const softLabels = gpu.upload(uniform.fill(1 / classes), shape, "soft labels");
      const stage = new Denoise(network, copy(), bankFor(network), {
        ...config.stages.stage1,
        seed: SEED,
      });
      return trial(stage, { source, target: { ...target, softLabels } });
    }
    case "stage2": {
      const stage = new Distil(network, copy(), { ...config.stages.stage2, seed: SEED });
      const pseudo = labels(gpu, quarterShape, classes);
      return trial(stage, { source, target: { ...target, labels: pseudo } });
    }
  }
}

/** Medians of several steps, in milliseconds: until it was handed over, and until it was done. */
async function timeSteps(gpu: Gpu, trial: Trial): Promise<{ host: number; wall: number }> {
  const [host, wall]: number[][] = [[], []];
  for (let round = -2; round < ROUNDS; round++) {
    const started = performance.now();
    trial.step();
    const handed = performance.now();
    await gpu.finish();
    if (round < 0) continue; // the first compiles, the second still fills the pool
    host.push(handed - started);
    wall.push(performance.now() - started);
  }
  const median = (times: number[]) => times.sort((a, b) => a - b)[times.length >> 1];
  return { host: median(host), wall: median(wall) };
}

const { data, network } = presetConfig("default");
const BUILT_IN: Setting = {
  batch: data.batch,
  height: data.cropHeight,
  width: data.cropWidth,
  classes: CLASSES,
  blocks: network.blocks,
};

function row(cells: readonly string[]): string {
  return cells.map((cell, at) => at === 0 ? cell.padEnd(40) : cell.padStart(14)).join("");
}

const gpu = await openGpu();
console.log(
  `\nThe training step of the built-in network on ${gpu.adapter.description}, medians of ${ROUNDS}`,
);
console.log(row(["stage", "ms", "host ms", "images/s"]));
for (const name of ["source", "warmup", "stage1", "stage2"] as const) {
  using trial = trialOf(gpu, name, BUILT_IN);
  const { host, wall } = await timeSteps(gpu, trial);
  const images = BUILT_IN.batch * (name === "source" ? 1 : 2);
  console.log(row([name, wall.toFixed(0), host.toFixed(0), (1000 * images / wall).toFixed(1)]));
}

console.log(`\nHow a source-only step grows`);
console.log(row(["", "ms", "images/s"]));
const variations: [string, Partial<Setting>][] = [
  ...[1, 2, 4, 8].map((batch): [string, Partial<Setting>] => [`batch ${batch}`, { batch }]),
  ...[0.5, 1, 2].map((factor): [string, Partial<Setting>] => {
    const [height, width] = [BUILT_IN.height * factor, BUILT_IN.width * factor];
    return [`crop ${width}×${height}`, { height, width }];
  }),
  ...[8, 19].map((classes): [string, Partial<Setting>] => [`${classes} classes`, { classes }]),
  ...[[1, 1, 1, 1], [2, 2, 2, 2], [3, 4, 6, 3]].map((blocks): [string, Partial<Setting>] => [
    `blocks ${blocks.join(", ")}`,
    { blocks },
  ]),
];
for (const [name, change] of variations) {
  const setting = { ...BUILT_IN, ...change };
  using trial = trialOf(gpu, "source", setting);
  const { wall } = await timeSteps(gpu, trial);
  console.log(row([name, wall.toFixed(0), (1000 * setting.batch / wall).toFixed(1)]));
}
gpu.close();

// A pass a kernel costs time of its own: the shares hold, the sum does not.
const profiled = await openGpu({ profile: true });
for (const name of ["source", "stage1"] as const) {
  using trial = trialOf(profiled, name, BUILT_IN);
  await timeSteps(profiled, trial);
  await profiled.profiler?.report();
  for (let round = 0; round < ROUNDS; round++) trial.step();
  await profiled.finish();
  const kernels = await profiled.profiler?.report() ?? [];
  // The matrix products of this network are those of its convolutions.
  const convolutions = kernels.filter(({ label }) => /conv|winograd|matmul/.test(label));
  const share = convolutions.reduce((sum, kernel) => sum + kernel.share, 0);
  console.log(`\nKernels of a ${name} step; convolutions take ${(100 * share).toFixed(0)} %`);
  console.log(row(["kernel", "calls", "ms", "share"]));
  for (const { label, calls, milliseconds, share } of kernels.slice(0, 20)) {
    console.log(row([
      label,
      String(Math.round(calls / ROUNDS)),
      (milliseconds / ROUNDS).toFixed(2),
      `${(100 * share).toFixed(1)} %`,
    ]));
  }
}
profiled.close();
