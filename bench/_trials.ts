// Steps of the stages on batches of random numbers that lie on the GPU, for whoever measures a step.

import type { Gpu, GpuArray } from "../kernels/runtime/mod.ts";
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

const SEED = 0;

/** A stage, and its step on a batch that lies on the GPU. */
export interface Trial extends Disposable {
  step(): void;
}

/** Stages of which a trial can be made. */
export const TRIALS = ["source", "warmup", "stage1", "stage2"] as const;

/** One of them. */
export type TrialName = typeof TRIALS[number];

/** What is varied. */
export interface Setting {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  readonly blocks: number[];
}

const { data, network } = presetConfig("default");

/** The built-in benchmark as the default preset trains it. */
export const BUILT_IN: Setting = {
  batch: data.batch,
  height: data.cropHeight,
  width: data.cropWidth,
  classes: 8,
  blocks: network.blocks,
};

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
export function trialOf(
  gpu: Gpu,
  name: TrialName,
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
