// What the network reaches that a run starts from, where a training has left it in a file.

import { evaluationOf, measure } from "../evaluation/evaluate.ts";
import { byName } from "../evaluation/metrics.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { isCheckpoint } from "../networks/weights_file.ts";
import type { CheckpointState } from "./resume.ts";
import type { StageResult } from "./run_folder.ts";
import type { RunState } from "./run_state.ts";

/**
 * Measures the network that the first stage of a run starts from, as the stages' are measured.
 *
 * @returns The stage that has trained it, its steps and seconds, and the scores here; undefined where the run
 * starts from random weights, from weights from elsewhere, or from an earlier run, which has scores of its own.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function scoresOfStart(
  { config, data, network, observer, ranks, signal, validation }: RunState,
): Promise<StageResult | undefined> {
  const { init } = config;
  if (init === null || config.base !== null || !isCheckpoint(init)) return undefined;
  using checkpoint = new Checkpoint(init);
  const { stage, step, seconds } = checkpoint.state as CheckpointState;
  const { longSide } = config.data;
  const scores = evaluationOf(await measure(network, validation, longSide, signal, ranks));
  const known = Number.isNaN(scores.mIoU) ? "unknown" : `${scores.mIoU.toFixed(1)} %`;
  observer.message(`starts from ${init}: ${stage}, ${step} steps, mIoU ${known}`);
  return {
    name: stage,
    steps: step,
    mIoU: scores.mIoU,
    classIoU: byName(data.classes.names, scores.classIoU),
    pixelAccuracy: scores.pixelAccuracy,
    seconds,
  };
}
