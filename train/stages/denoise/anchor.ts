// What keeps features of things as they were: the feature distance of DAFormer.

import { pureCells } from "../../../kernels/pure_cells.ts";
import type { AnyArray, GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { add, scale } from "../../../nn/functional/elementwise.ts";
import { featureDistance } from "../../../nn/functional/losses.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { DataError } from "../../base/data_error.ts";
import { nearest } from "../../base/nearest.ts";
import { THINGS } from "../../data/classes.ts";
import { type Pass, type Share, weighed } from "../common/accumulate.ts";
import type { SourceBatch } from "../common/batch.ts";
import { sourceLoss } from "../common/losses.ts";
import { labelled, withoutTracking } from "../common/source_pass.ts";
import { type NetworkTrainer, prefixed } from "../common/stage.ts";
import { sizeOf } from "./sight.ts";

/** Share of a cell that one class of things has at least, r of equation 9. */
const PURE_SHARE = 0.75;

/**
 * Which classes are things.
 *
 * @param classes Names of a network's classes.
 * @param wanted Names of those that are things; null for those that are known as such.
 * @throws {DataError} If a name is none of the classes, or no class is known as a thing.
 */
export function thingsAmong(
  classes: readonly string[],
  wanted: readonly string[] | null,
): boolean[] {
  const stranger = wanted?.find((name) => !classes.includes(name));
  if (stranger !== undefined) {
    const meant = nearest(stranger, classes);
    throw new DataError(
      `Cannot keep features of things as "${stranger}" is no class` +
        `${meant === null ? "" : `, did you mean ${meant}?`}: expected names among ` +
        `${classes.join(", ")}; correct "things"`,
    );
  }
  const things = classes.map((name) => (wanted ?? THINGS).includes(name));
  if (things.includes(true)) return things;
  throw new DataError(
    `Cannot keep features of things as none of the classes ${
      classes.join(", ")
    } is known as one: ` +
      `expected their names; list them as "things", or set "featureDistance" to 0`,
  );
}

/** What is worked out of a batch of labelled images before it is learnt. */
export type Anchored = {
  /** The frozen backbone's features, [N, C, h, w]. */
  readonly anchors: GpuArray;
  /** Not 0 where one class of things fills the cell, [N, h, w]. */
  readonly cells: GpuArray<"u32">;
};

/**
 * A frozen backbone, from whose features those of things in source images are not to move far (Hoyer
 * et al., DAFormer, CVPR 2022, section 3.3).
 *
 * Its batch norms take the statistics of the batch, as those of the network that is trained do:
 * features would else differ by what the two normalise with.
 */
export class FeatureAnchor implements Disposable {
  readonly #network: DeepLab;
  readonly #things: GpuArray<"u32">;

  /**
   * Freezes a network.
   *
   * @param network Its backbone is what counts; passes to the anchor.
   * @param things Which of the network's classes are things.
   */
  constructor(network: DeepLab, things: readonly boolean[]) {
    this.#network = network.train();
    for (const norm of network.batchNorms()) norm.momentum = 0;
    this.#things = network.gpu.upload(Uint32Array.from(things, Number), [things.length], "things");
  }

  /** Features of images and the cells of things in their labels. */
  prepare({ images, labels }: SourceBatch): Anchored {
    return noGrad(() =>
      scope(() => {
        const anchors = this.#network.extract(input(images)).array;
        const cells = pureCells(labels, this.#things, sizeOf(anchors), PURE_SHARE);
        return { anchors: anchors.retain(), cells };
      })
    );
  }

  /** The arrays of the frozen backbone. */
  state(): Map<string, AnyArray> {
    return prefixed("anchor", this.#network.backboneDict());
  }

  /** Frees the network. */
  [Symbol.dispose](): void {
    this.#things.release();
    this.#network.dispose();
  }
}

/**
 * The cross entropy of labelled source images, as the loss `source`, and, as the loss `distance`, how far
 * their features are from those of the anchor, in the mean over the cells that a thing fills (equations
 * 6 to 9).
 *
 * @param trainer The network's, which gets the gradients.
 * @param weight λ_FD, by which the distance is weighed.
 * @param tracks Whether the images move the running statistics of batch norms.
 */
export function anchoredPass(
  trainer: NetworkTrainer,
  anchor: FeatureAnchor,
  weight: number,
  tracks: boolean,
): Pass<SourceBatch, Anchored, "labelled" | "cells", { source: GpuArray; distance: GpuArray }> {
  const { network } = trainer;
  const learn = (
    { images, labels, anchors, cells }: SourceBatch & Anchored,
    shares: Readonly<Record<"labelled" | "cells", Share>>,
  ) =>
    scope(() => {
      const backbone = network.extract(input(images));
      const { logits } = network.predict(backbone);
      const source = weighed(sourceLoss(logits, labels), shares.labelled);
      const distance = weighed(featureDistance(backbone, anchors, cells), shares.cells);
      trainer.backward(add(source, scale(distance, weight)));
      return { source: source.array.retain(), distance: distance.array.retain() };
    });
  return {
    prepare: (images) => anchor.prepare(images),
    counted: ({ labels, cells }) => ({
      labelled: labelled(labels, network),
      cells: { pixels: cells, rule: "not zero" },
    }),
    learn: (images, shares) =>
      tracks ? learn(images, shares) : withoutTracking(network, () => learn(images, shares)),
  };
}
