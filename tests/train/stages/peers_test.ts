// Every stage on two devices, each with half of the images, against one device that has them all.

import { strict as assert } from "node:assert";
import { type Gpu, openGpu } from "../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { Discriminator } from "../../../nn/discriminator.ts";
import { joinedRows } from "../../../train/stages/common/accumulate.ts";
import { releaseBatch } from "../../../train/stages/common/batch.ts";
import type { Stage } from "../../../train/stages/common/stage.ts";
import { Denoise } from "../../../train/stages/denoise/denoise.ts";
import { PrototypeBank } from "../../../train/stages/denoise/prototypes.ts";
import { Distil } from "../../../train/stages/distil/distil.ts";
import {
  type ContrastViews,
  SelfSupervised,
} from "../../../train/stages/self_supervised/self_supervised.ts";
import { SourceOnly } from "../../../train/stages/source_only/source_only.ts";
import { WarmUp } from "../../../train/stages/warm_up/warm_up.ts";
import { onPeers } from "../../_peers.ts";
import { onPart } from "../../_ranks.ts";
import { Fill } from "../../goldens/fill.ts";
import {
  classes,
  denoiseBatches,
  encoderOf,
  golden,
  labelled,
  networkOf,
  readAll,
  take,
  type Values,
} from "../_stages.ts";

/** After more of them, these small networks amplify how sums are rounded to anything. */
const STEPS = 3;
const RANKS = 2;
/** Of an image, for self-supervised pre-training. */
const PLACES = 3;

/** A stage and its batches. */
interface Case<B extends object = object> {
  readonly stage: Stage<B>;
  readonly batches: readonly B[];
}

const rates = { learningRate: 2e-4, scheduleSteps: 100, rampSteps: 3, seed: 5 };

/** A network with dropout, as that must drop the same planes wherever an image is seen. */
function dropping(gpu: Gpu, fill: Fill): DeepLab {
  const network = new DeepLab(gpu, { ...golden.network, dropout: 0.2, init: "none" });
  fill.module(network);
  return network;
}

function denoise(
  gpu: Gpu,
  name: "stage1" | "stage1Batch" | "stage1Whole",
  more: object = {},
): Case {
  const { salt, options } = golden[name];
  const fill = new Fill(salt);
  const bank = new PrototypeBank(gpu, { classes, channels: golden.network.headChannels });
  gpu.write(bank.prototypes, fill.signed("prototypes", bank.prototypes.size));
  const settings = { ...options, ...rates, ...more };
  return {
    stage: new Denoise(dropping(gpu, fill), encoderOf(gpu, fill), bank, settings),
    batches: denoiseBatches(gpu, fill, golden[name]),
  } as unknown as Case;
}

const CASES: Readonly<Record<string, (gpu: Gpu) => Case>> = {
  "source-only": (gpu) => {
    const fill = new Fill("peers");
    const { options } = golden.source;
    return {
      stage: new SourceOnly(dropping(gpu, fill), { ...options, ...rates }),
      batches: labelled(gpu, fill, "source").map((source) => ({ source })),
    } as unknown as Case;
  },
  "warm-up": (gpu) => {
    const { salt, options } = golden.warmup;
    const fill = new Fill(salt);
    const discriminator = new Discriminator(gpu, { classes, planes: options.discriminatorPlanes });
    fill.module(discriminator);
    const target = labelled(gpu, fill, "target");
    return {
      stage: new WarmUp(dropping(gpu, fill), discriminator, { ...options, ...rates }),
      batches: labelled(gpu, fill, "source").map((source, at) => {
        target[at]!.labels.release();
        return { source, target: { images: target[at]!.images } };
      }),
    } as unknown as Case;
  },
  "stage 1": (gpu) => denoise(gpu, "stage1"),
  "stage 1 with the encoder's own batches": (gpu) =>
    denoise(gpu, "stage1Batch", { encoderDropout: true }),
  "stage 1 on whole images": (gpu) => denoise(gpu, "stage1Whole"),
  "stage 1, official": (gpu) =>
    denoise(gpu, "stage1", { normalisation: "official", encoderDropout: true }),
  "stage 2": (gpu) => {
    const { salt, options } = golden.stage1;
    const fill = new Fill(salt);
    const [height, width] = golden.quarter;
    const { steps, batch } = golden;
    const pseudo = fill.labels("pseudo.labels", [steps * batch, height, width], classes);
    const size = batch * height * width;
    return {
      stage: new Distil(dropping(gpu, fill), encoderOf(gpu, fill), {
        ...{ ...options, ...rates, beta: 1 },
        teacherView: "weak",
        formula: "paper",
      }),
      batches: denoiseBatches(gpu, fill, golden.stage1).map(({ source, target }, step) => {
        const { weak, strong, strongViews, softLabels } = target;
        softLabels.release();
        const rows = pseudo.subarray(step * size, (step + 1) * size);
        const labels = gpu.upload(rows, [batch, height, width], "pseudo labels");
        return { source, target: { weak, strong, strongViews, labels } };
      }),
    } as unknown as Case;
  },
  "self-supervised pre-training": (gpu) => {
    const fill = new Fill("peers");
    const [height, width] = golden.crop;
    const views = (name: string): ContrastViews => {
      const all = labelled(gpu, fill, name);
      const images = joinedRows(all.map(({ images }) => images)); // first views, then second ones
      releaseBatch(all);
      const places = Float32Array.from(
        { length: images.shape[0]! * PLACES * 2 },
        (_, at) => (at * 7919 % 97) / 97 * ((at % 2 === 0 ? width : height) - 1),
      );
      return { images, places };
    };
    return {
      stage: new SelfSupervised(networkOf(gpu, fill), {
        ...{ ...golden.source.options, ...rates },
        temperature: 0.2,
        projectionChannels: 6,
      }),
      batches: [{ source: views("source"), target: views("target") }],
    } as unknown as Case;
  },
};

/** The losses of every step, and what the stage is then. */
async function train(gpu: Gpu, make: (gpu: Gpu) => Case, ranks: { rank: number; size: number }) {
  const { stage, batches } = make(gpu);
  const losses: Record<string, number>[] = [];
  for (let at = 0; at < STEPS; at++) {
    const batch = batches[at % batches.length]!;
    losses.push(await take(onPart(batch, ranks, (part) => stage.step(part, at))));
  }
  const state: Values = await readAll(stage.state());
  stage[Symbol.dispose]();
  stage.network.dispose();
  batches.forEach(releaseBatch);
  assert.equal(gpu.memory.live - gpu.memory.derived, 0, "bytes left behind");
  return { losses, state };
}

for (const [name, make] of Object.entries(CASES)) {
  Deno.test(`steps of ${name} on two devices are those of one with all images`, async () => {
    using gpu = await openGpu();
    const whole = await train(gpu, make, { rank: 0, size: 1 });
    const parts = await onPeers(RANKS, (gpu, rank) => train(gpu, make, { rank, size: RANKS }));
    let worst = 0;
    whole.losses.forEach((expected, step) => {
      for (const [loss, value] of Object.entries(expected)) {
        const sum = parts.reduce((sum, { losses }) => sum + losses[step]![loss]!, 0);
        worst = Math.max(worst, Math.abs(sum - value) / Math.abs(value));
      }
    });
    assert.ok(worst <= 1e-5, `losses differ by ${worst}`);
    for (const [array, values] of whole.state) {
      const norm = Math.hypot(...values);
      const [one, two] = parts.map(({ state }) => state.get(array)!);
      assert.deepEqual(one, two, `${array} is not the same on both`);
      const difference = Math.hypot(...values.map((value, at) => value - one![at]!));
      // What gradients are made of mostly cancels; a wrong share would be off by tens of percent.
      const tolerance = /velocity|first|second/.test(array) ? 1e-2 : 1e-4;
      assert.ok(difference <= tolerance * norm + 1e-9, `${array} differs by ${difference / norm}`);
    }
  });
}
