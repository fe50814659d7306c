// The judgement on a stage that has ended: what is found of its network, and whether the run goes on.

import type { DeepLab } from "../../nn/deeplab.ts";
import { type Cause, causesOf, sentenceOf, SOURCE_NOT_LEARNT } from "../evaluation/causes.ts";
import { predictionScores, sourceScores } from "../evaluation/findings.ts";
import { spreadOver } from "../evaluation/label_scores.ts";
import type { ConfusionMatrix } from "../evaluation/metrics.ts";
import { lookAt } from "../evaluation/predictions.ts";
import { Loader } from "../data/loader.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import type { RunResult, StageResult } from "./result_file.ts";
import type { RunState } from "./run_state.ts";
import { hasTargetStatistics } from "./stage_context.ts";
import { TrainingError } from "./training_error.ts";

/** What a result says of the judgement on a stage. */
export type Judgement = Pick<StageResult, "source" | "predictions" | "causes">;

/**
 * Judges the network of a stage without a label of the target. A stage that learns the target's own labels
 * is not judged.
 *
 * @param source Counts of its predictions on the source's held-out images; null for none.
 * @throws {DataError} If an image cannot be read.
 */
export async function judgeStage(
  { config, data, done }: RunState,
  name: StageName,
  network: DeepLab,
  source: ConfusionMatrix | null,
): Promise<Judgement> {
  if (kindOf(name).role === "reference") return {};
  const { names } = data.classes;
  const { longSide, heldOut } = config.data;
  const dataset = { ...spreadOver(data.validation, heldOut.images), trainIds: null };
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  const found = {
    predictions: predictionScores(names, await lookAt(network, loader, longSide)),
    ...(source ? { source: sourceScores(names, source) } : {}),
  };
  const before = done.at(-1) ?? null;
  // What a run starts from in the middle has been judged by the run that made it.
  const learnsSource = before ? unlearntCause(before) !== undefined : config.base === null;
  // Images of the source are measured with the statistics that the network has.
  const comparesSource = !hasTargetStatistics(config.stages[name]);
  return { ...found, causes: causesOf(found, before, learnsSource, comparesSource) };
}

/** The cause for which a run stops, where a stage has it. */
function unlearntCause({ causes = [] }: Pick<StageResult, "causes">): Cause | undefined {
  return causes.find(({ name }) => name === SOURCE_NOT_LEARNT);
}

/**
 * Tells what is wrong after the last stage of a run, and stops it where its network has not learnt the source:
 * all that follows would learn from nothing.
 *
 * @param folder The run folder.
 * @param message Hears of what it goes on with.
 * @throws {TrainingError} If the run is not told to keep going.
 */
export function refuseUnlearnt(
  { stages, keepGoing }: RunResult,
  folder: string,
  message: (text: string) => void,
): void {
  const { name, causes = [] } = stages.at(-1) ?? { name: "" };
  const unlearnt = unlearntCause({ causes });
  if (unlearnt && !keepGoing) {
    throw new TrainingError(
      `Training stopped after stage ${name}. ${
        sentenceOf(unlearnt)
      }. All is saved: to go on all the same, ` +
        `resume ${folder} and keep going`,
      { options: ["resume", "keepGoing"] },
    );
  }
  for (const cause of causes) message(`WARNING after ${name}: ${sentenceOf(cause)}`);
}
