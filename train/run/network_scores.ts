// What a run measures of a network: scores on both domains, and what can be said of it without labels.

import type { DeepLab } from "../../nn/deeplab.ts";
import { measureAgreement } from "../evaluation/agreement.ts";
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
}

/**
 * Measures a network on the val images of a run and on the source's held-out ones.
 *
 * @throws {DataError} If an image cannot be read.
 */
export async function scoreNetwork(
  { config, validation, sourceValidation }: RunState,
  network: DeepLab,
): Promise<NetworkScores> {
  const { longSide } = config.data;
  const onTarget = await measure(network, validation, longSide);
  const onSource = sourceValidation && await measure(network, sourceValidation, longSide);
  return { evaluation: evaluationOf(onTarget, onSource), onTarget, onSource };
}

/**
 * The same scores with the agreement between views, which the label-free score takes; of scores that have it
 * nothing is measured again.
 *
 * @throws {DataError} If an image cannot be read.
 */
export async function withAgreement(
  { config, data }: RunState,
  network: DeepLab,
  scores: NetworkScores,
): Promise<NetworkScores> {
  const { evaluation } = scores;
  if (evaluation.agreement !== undefined) return scores;
  const agreement = await measureAgreement(network, data.validation, config.data.longSide);
  return { ...scores, evaluation: { ...evaluation, agreement } };
}
