// With which batch-norm statistics a network leaves a stage: its own, or those of the target.

import type { GpuArray } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { Loader } from "../data/loader.ts";
import { exchangedPairs } from "../evaluation/causes.ts";
import { estimateStatistics } from "../evaluation/estimate_statistics.ts";
import { labelFreeScore } from "../evaluation/label_free.ts";
import { movesBetween, predictedClasses } from "../evaluation/moves.ts";
import { addUp } from "../parallel/peers.ts";
import { comparedImages } from "./judgement.ts";
import { type FullScores, scoreNetwork, withSights } from "./network_scores.ts";
import type { RunState } from "./run_state.ts";

/**
 * Gives a network the batch-norm statistics of the target's training images, as evaluation sees them, if its
 * label-free score is higher with them and no classes change places by them; else leaves it as it is.
 *
 * Those that a network has trained with may be of other images: of both domains, or of strong views, which
 * are brighter than an image by night.
 *
 * @param own The scores with its own statistics.
 * @returns The scores with the target's; null where its own are kept.
 * @throws {DataError} If an image cannot be read.
 * @throws {Error} The signal's reason, if it is aborted. Its own statistics are back then.
 */
export async function takeBetterStatistics(
  run: RunState,
  network: DeepLab,
  own: FullScores,
): Promise<FullScores | null> {
  const { config, data, ranks, signal } = run;
  const { longSide } = config.data;
  using kept = new Statistics(network);
  using compared = comparedImages(run);
  using target = new Loader({ dataset: data.target, order: "sequential" });
  try {
    const before = await predictedClasses(network, compared, longSide, signal);
    await estimateStatistics(network, target, longSide, signal);
    const now = await predictedClasses(network, compared, longSide, signal);
    const moves = movesBetween(before, now, network.classes);
    await addUp(ranks, [moves.counts]);
    const isExchanged = exchangedPairs(moves).length > 0;
    const found = await withSights(run, network, await scoreNetwork(run, network));
    if (scoreOf(found) > scoreOf(own) && !isExchanged) return found;
  } catch (error) {
    kept.restore();
    throw error;
  }
  kept.restore();
  return null;
}

function scoreOf({ evaluation }: FullScores): number {
  return labelFreeScore(evaluation) ?? 0;
}

/** Why a network leaves a stage with other statistics than its own. */
export function reasonForTarget(own: FullScores, taken: FullScores): string {
  return "takes the target's batch-norm statistics: " +
    `label-free score ${scoreOf(taken).toFixed(1)} % instead of ${scoreOf(own).toFixed(1)} %`;
}

/** A copy of the statistics of a network's batch norms. */
class Statistics {
  readonly #copies: readonly { readonly from: GpuArray; readonly copy: GpuArray }[];

  constructor(network: DeepLab) {
    const { gpu } = network;
    const arrays = network.batchNorms().flatMap((norm) => [norm.runningMean, norm.runningVar]);
    this.#copies = arrays.map((from) => {
      const copy = gpu.zeros(from.shape, `${from.label} kept`);
      gpu.copy(from, copy);
      return { from, copy };
    });
  }

  /** Gives them back to the network. */
  restore(): void {
    for (const { from, copy } of this.#copies) from.gpu.copy(copy, from);
  }

  [Symbol.dispose](): void {
    for (const { copy } of this.#copies) copy.release();
  }
}
