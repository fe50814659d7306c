// Stages 2 and 3: distillation of a frozen teacher into a student (paper, section 3.4 and equation 12).

import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import { warpMaps, warpMask } from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { type Pass, type Share, weighed } from "../common/accumulate.ts";
import type { SourceBatch, TargetViews } from "../common/batch.ts";
import { distillationLoss, selfTrainingLoss } from "../common/losses.ts";
import { labelled, sourcePass } from "../common/source_pass.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  prefixed,
  type Stage,
} from "../common/stage.ts";
import type { DistilSettings } from "./settings.ts";

/** How stages 2 and 3 are done: their settings, and what every stage takes. */
export type DistilOptions =
  & OptimiserOptions
  & Readonly<Pick<DistilSettings, "beta" | "teacherView" | "formula">>
  & Readonly<Partial<Pick<DistilSettings, "statistics">>>;

/** What a step takes. */
export interface DistilBatch {
  /** Labelled source images. */
  readonly source: SourceBatch;
  /** Two views of target images and their pseudo labels. */
  readonly target: TargetViews & {
    /** Hard pseudo labels ξ(p_t) in the frame of the strong view, [N, H/4, W/4]; `IGNORE` for none. */
    readonly labels: GpuArray<"u32">;
  };
}

/** What the teacher says about a batch, in the frame of the strong view. */
type Teaching = {
  /** [N, K, H/4, W/4]. */
  readonly probabilities: GpuArray;
  /** Not zero where the view sees something, [N, H/4, W/4]; null where all pixels count (official). */
  readonly mask: GpuArray | null;
};

/**
 * Trains a student on source labels, on the hard pseudo labels of a teacher, and to predict what the
 * teacher does.
 */
export class Distil implements Stage<DistilBatch> {
  /** Name in logs and results. */
  readonly name: string;
  /** The student. */
  readonly network: DeepLab;
  readonly #teacher: DeepLab;
  readonly #trainer: NetworkTrainer;
  readonly #options: DistilOptions;

  /**
   * Starts a fresh optimiser.
   *
   * @param network The student; stays the caller's.
   * @param teacher The network of the stage before; passes to the stage, which never changes it.
   * @param name `stage2`, or `stage3` where the teacher has been a student itself.
   */
  constructor(network: DeepLab, teacher: DeepLab, options: DistilOptions, name = "stage2") {
    this.name = name;
    this.network = network;
    this.#teacher = teacher;
    this.#options = options;
    this.#trainer = new NetworkTrainer(network, options);
    teacher.eval();
  }

  /** The backbone's learning rate of a step. */
  learningRate(step: number): number {
    return this.#trainer.learningRate(step);
  }

  /** One optimiser update; its losses are `source`, `pseudo` and `distillation`. */
  step({ source, target }: DistilBatch, step: number): Losses {
    const trainer = this.#trainer;
    trainer.begin(step);
    const tracks = this.#options.statistics !== "target";
    const losses = {
      ...trainer.learn(source, sourcePass(trainer, tracks)),
      ...trainer.learn(target, this.#targetPass),
    };
    trainer.update(step);
    return losses;
  }

  /** The target terms of equation 12. */
  readonly #targetPass: Pass<DistilBatch["target"], Teaching, "labelled" | "seen", Losses> = {
    prepare: (images) => this.#teach(images),
    counted: ({ labels, mask }) => ({
      labelled: labelled(labels, this.network),
      seen: mask && { pixels: mask, rule: "not zero" },
    }),
    learn: (images, shares) => this.#learn(images, shares),
  };

  #learn(
    { strong, labels, probabilities, mask }: DistilBatch["target"] & Teaching,
    shares: Readonly<Record<"labelled" | "seen", Share>>,
  ): Losses {
    const { beta, formula } = this.#options;
    const [, height = 0, width = 0] = labels.shape;
    return scope(() => {
      const prediction = this.network.forward(input(strong));
      const logits = resizeBilinear(prediction.logits, { height, width });
      const pseudo = weighed(selfTrainingLoss(logits, labels), shares.labelled);
      const divergence = distillationLoss(logits, probabilities, { formula, mask });
      const distillation = weighed(divergence, shares.seen);
      this.#trainer.backward(add(pseudo, scale(distillation, beta)));
      return { pseudo: pseudo.array.retain(), distillation: distillation.array.retain() };
    });
  }

  /** The teacher's probabilities in the frame of the strong view, and where the view sees something. */
  #teach(
    { weak, strong, strongViews, labels }: DistilBatch["target"],
  ): Teaching {
    const [, height = 0, width = 0] = labels.shape;
    const size = { height, width };
    const views = strongViews.map((view) => view.mapView(size, size));
    const seesWeak = this.#options.teacherView === "weak";
    const probabilities = noGrad(() =>
      scope(() => {
        const { logits } = this.#teacher.forward(input(seesWeak ? weak : strong));
        return softmaxForward(resizeBilinear(logits, size).array);
      })
    );
    // The released code means to mask what the view does not see, but its mask is always true.
    const mask = this.#options.formula === "official"
      ? null
      : warpMask(weak.gpu, views, size, size);
    if (!seesWeak) return { probabilities, mask };
    const moved = warpMaps(probabilities, views, size);
    probabilities.release();
    return { probabilities: moved, mask };
  }

  /** The arrays of the student, its optimiser and the teacher. */
  state(): Map<string, AnyArray> {
    return new Map<string, AnyArray>([
      ...this.#trainer.state(),
      ...prefixed("teacher", this.#teacher.stateDict()),
    ]);
  }

  /** Frees everything but the student. */
  [Symbol.dispose](): void {
    this.#trainer[Symbol.dispose]();
    this.#teacher.dispose();
  }
}
