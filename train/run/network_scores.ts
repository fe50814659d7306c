// What a run measures of a network: scores on both domains, and what can be said of it without labels.

import type { DeepLab } from "../../nn/deeplab.ts";
import type { Loader } from "../data/loader.ts";
import { lookAgain, type Sights } from "../evaluation/agreement.ts";
import { evaluationOf, measure, type Measurement } from "../evaluation/evaluate.ts";
import type { Evaluation } from "../evaluation/metrics.ts";
import type { RunState } from "./run_state.ts";

/** The scores of a network, and the counts that they follow from. */
export interface NetworkScores {
  readonly evaluation: Evaluation;
  /** On the target's val images. */
  readonly onTarget: Measurement;
  /** On the source's held-out images; null for none. */
  readonly onSource: Measurement | null;
  /** In other views of the val images; where nobody has looked, the evaluation has no agreement. */
  readonly sights?: Sights;
}

/**
 * Measures a network on the val images of a run and on the source's held-out ones.
 *
 * @throws {DataError} If an image cannot be read.
 */
export async function scoreNetwork(
  { config, ranks, validation, sourceValidation }: RunState,
  network: DeepLab,
): Promise<NetworkScores> {
  const { longSide } = config.data;
  const measured = (loader: Loader) => measure(network, loader, longSide, undefined, ranks);
  const onTarget = await measured(validation);
  const onSource = sourceValidation && await measured(sourceValidation);
  return { evaluation: evaluationOf(onTarget, onSource), onTarget, onSource };
}

/** Scores of a network that was looked at in other views too. */
export type FullScores = Required<NetworkScores>;

/**
 * The same scores with what other views show, which the label-free score takes; where that is known,
 * nothing is measured again.
 *
 * @throws {DataError} If an image cannot be read.
 */
export async function withSights(
  { config, data, ranks }: RunState,
  network: DeepLab,
  scores: NetworkScores,
): Promise<FullScores> {
  const sights = scores.sights ??
    await lookAgain(network, data.validation, config.data.longSide, undefined, ranks);
  return { ...scores, sights, evaluation: { ...scores.evaluation, agreement: sights.agreement } };
}
