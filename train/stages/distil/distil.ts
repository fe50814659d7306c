// Stages 2 and 3: distillation of a frozen teacher into a student (paper, section 3.4 and equation 12).

import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import { softmaxForward } from "../../../kernels/softmax.ts";
import { warpMaps, warpMask } from "../../../kernels/warp.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { backward, input, noGrad, scope } from "../../../nn/tape.ts";
import { distillationLoss, selfTrainingLoss, type Variant } from "../common/losses.ts";
import type { ViewTransform } from "../../views/views.ts";
import {
  addedLosses,
  byParts,
  joined,
  type Share,
  sharesOf,
  weighed,
} from "../common/accumulate.ts";
import { releaseBatch } from "../common/batch.ts";
import {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  prefixed,
  type SourceBatch,
  type Stage,
} from "../common/stage.ts";

/** Settings of stages 2 and 3. */
export interface DistilOptions extends OptimiserOptions {
  /** Weight of the divergence from the teacher, β (eq. 12). */
  readonly beta: number;
  /** What the teacher sees: the weak view (paper), or the student's strong view (official). */
  readonly teacherView: "weak" | "strong";
  /** How the divergence is computed: as such, or as the released code does. */
  readonly formula: Variant;
  /**
   * Whose images move the running statistics of the student's batch norms, which evaluation uses: both
   * domains' (default), or the target's alone, which is what the network is for.
   */
  readonly statistics?: "both" | "target";
}

/** What a step takes. */
export interface DistilBatch {
  /** Labelled source images. */
  readonly source: SourceBatch;
  /** Two views of target images and their pseudo labels. */
  readonly target: {
    /** The weak view, [N, 3, H, W]. */
    readonly weak: GpuArray;
    /** The strong view, made from the weak one, [N, 3, H, W]. */
    readonly strong: GpuArray;
    /** From weak to strong, one an image. */
    readonly strongViews: readonly ViewTransform[];
    /** Hard pseudo labels ξ(p_t) in the frame of the strong view, [N, H/4, W/4]; 255 is ignored. */
    readonly labels: GpuArray<"u32">;
  };
}

/** What the teacher says about a batch, in the frame of the strong view. */
type Teaching = {
  /** [N, K, H/4, W/4]. */
  readonly probabilities: GpuArray;
  /** Not zero where the view sees something, [N, H/4, W/4]. */
  readonly mask: GpuArray;
};

/**
 * Trains a student on source labels, on the hard pseudo labels of a teacher, and to predict what the
 * teacher does.
 */
export class Distil implements Stage<DistilBatch> {
  /** Name in logs and results. */
  readonly name: "stage2" | "stage3";
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
   */
  constructor(
    network: DeepLab,
    teacher: DeepLab,
    options: DistilOptions,
    name: "stage2" | "stage3" = "stage2",
  ) {
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
    this.#trainer.begin(step);
    const tracks = this.#options.statistics !== "target";
    const sourceTerm = this.#trainer.learnSource(source, { tracks });
    const targetTerms = this.#learn(target);
    this.#trainer.update(step);
    return { source: sourceTerm, ...targetTerms };
  }

  #learn(target: DistilBatch["target"]): Losses {
    const { parts } = this.#trainer;
    const teaching = joined(byParts(target, parts, (part) => this.#teach(part)));
    const labelled = this.#trainer.labelShares(target.labels);
    const seen = sharesOf(teaching.mask, parts, "not zero");
    const losses = byParts(
      { strong: target.strong, labels: target.labels, ...teaching },
      parts,
      (part, index) => this.#learnPart(part, labelled[index] as Share, seen[index] as Share),
    );
    releaseBatch([teaching, labelled, seen]);
    return addedLosses(losses);
  }

  /** A part of {@link Distil.#learn}, and its shares in the pixels that the losses count. */
  #learnPart(
    { strong, labels, probabilities, mask }:
      & Pick<DistilBatch["target"], "strong" | "labels">
      & Teaching,
    labelled: Share,
    seen: Share,
  ): Losses {
    const { beta, formula } = this.#options;
    const [, height = 0, width = 0] = labels.shape;
    return scope(() => {
      const prediction = this.network.forward(input(strong));
      const logits = resizeBilinear(prediction.logits, { height, width });
      const pseudo = weighed(selfTrainingLoss(logits, labels), labelled);
      const divergence = distillationLoss(logits, probabilities, { formula, mask });
      const distillation = weighed(divergence, seen);
      backward(add(pseudo, scale(distillation, beta)));
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
    const mask = warpMask(weak.gpu, views, size, size);
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
