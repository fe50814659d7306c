// Which network a run hands on: that of its last stage, unless an earlier one is better without a doubt.

import { CLASSES_EXCHANGED } from "../evaluation/causes.ts";
import { labelFreeScore } from "../evaluation/label_free.ts";
import type { RunResult, StageResult } from "./result_file.ts";

/**
 * How many times the label-free score of the last network an earlier one must have to be taken instead.
 */
export const MARGIN = 1.05;

/**
 * The best network of stages in the order in which they ran: the last one, unless an earlier one has
 * more than {@link MARGIN} times its label-free score. Of those earlier, the one with the most. One
 * whose classes have changed places is passed over: no score without labels can see that.
 *
 * @returns undefined without stages; the last one where its score is unknown.
 */
export function bestOf(stages: readonly StageResult[]): StageResult | undefined {
  const inPlace = stages.filter((stage) => !isExchanged(stage));
  const last = inPlace.at(-1);
  if (!last) return stages.at(-1);
  const scores = inPlace.map((stage) => labelFreeScore(stage) ?? -Infinity);
  const most = Math.max(...scores);
  return most > MARGIN * (labelFreeScore(last) ?? Infinity)
    ? inPlace[scores.lastIndexOf(most)]
    : last;
}

function isExchanged({ causes = [] }: StageResult): boolean {
  return causes.some(({ name }) => name === CLASSES_EXCHANGED);
}

/** Marks the network that a run hands on as it stands. @returns Its stage. */
export function markHandedOn({ stages }: RunResult): StageResult | undefined {
  for (const stage of stages) delete stage.handedOn;
  const best = bestOf(stages);
  if (best) best.handedOn = true;
  return best;
}

/** Why the run goes on with, or ends in, an earlier network than that of the stage that has just ended. */
export function reasonFor(best: StageResult, ended: StageResult): string {
  const shown = (stage: StageResult) => {
    const { agreement = 0, correlation = 0 } = stage;
    return `${(labelFreeScore(stage) ?? 0).toFixed(1)} % (agreement ${agreement.toFixed(1)} %, ` +
      `class correlation ${correlation.toFixed(1)} %)`;
  };
  const decision = `the network of ${best.name} is handed on, not that of ${ended.name}`;
  if (isExchanged(ended)) return `${decision}, in which classes have changed places`;
  return `${decision}: without labels it ` +
    `scores ${shown(best)}, ${ended.name} ${shown(ended)}`;
}
