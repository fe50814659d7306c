// The judgement on a stage that has ended: what is found of its network, and whether the run goes on.

import type { DeepLab } from "../../nn/deeplab.ts";
import {
  type Cause,
  causesOf,
  classesExchanged,
  sentenceOf,
  SOURCE_NOT_LEARNT,
} from "../evaluation/causes.ts";
import { predictionScores, sourceScores } from "../evaluation/findings.ts";
import { spreadOver } from "../evaluation/label_scores.ts";
import { movesBetween, predictedClasses } from "../evaluation/moves.ts";
import { Loader } from "../data/loader.ts";
import { addUp, shareOf } from "../parallel/peers.ts";
import { Checkpoint, DamagedCheckpointError } from "../networks/checkpoint.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import type { FullScores } from "./network_scores.ts";
import type { CheckpointState } from "./resume.ts";
import type { RunResult, StageResult } from "./result_file.ts";
import type { RunState } from "./run_state.ts";
import { createNetwork, hasTargetStatistics } from "./stage_context.ts";
import { bestBefore, networkIn } from "./starts.ts";
import { TrainingError } from "./training_error.ts";

/** What a result says of the judgement on a stage. */
export type Judgement = Pick<StageResult, "source" | "predictions" | "causes">;

/**
 * Judges the network of a stage without a label of the target. A stage that learns the target's own labels
 * is not judged.
 *
 * @param options.scores What was measured of it.
 * @param options.statistics Whose batch-norm statistics it has, if not those that it has trained with.
 * @throws {DataError} If an image cannot be read.
 */
export async function judgeStage(
  run: RunState,
  name: StageName,
  network: DeepLab,
  { scores: { onTarget, onSource, sights }, statistics }: {
    readonly scores: FullScores;
    readonly statistics: StageResult["statistics"];
  },
): Promise<Judgement> {
  const { config, data, done } = run;
  if (kindOf(name).role === "reference") return {};
  const { names } = data.classes;
  const found = {
    predictions: predictionScores(names, sights, onTarget.confidence),
    ...(onSource ? { source: sourceScores(names, onSource.confusion) } : {}),
  };
  const before = done.at(-1) ?? null;
  // What a run starts from in the middle has been judged by the run that made it.
  const learnsSource = before ? unlearntCause(before) !== undefined : config.base === null;
  // Images of the source are measured with the statistics that the network has.
  const comparesSource = statistics !== "target" && !hasTargetStatistics(config.stages[name]);
  // Labels of the source name the classes; those that a network has made itself may exchange them.
  const mayExchange = kindOf(name).adapts === "by pseudo labels";
  const exchanged = mayExchange ? await exchangedIn(run, name, network) : null;
  const causes = causesOf(found, before, learnsSource, comparesSource, exchanged);
  return { ...found, causes };
}

/** This rank's share of the target's images on which two networks are compared, without their labels. */
export function comparedImages(
  { config, data, ranks }: Pick<RunState, "config" | "data" | "ranks">,
): Loader {
  const dataset = { ...spreadOver(data.validation, config.data.heldOut.images), trainIds: null };
  return new Loader({ dataset, order: "sequential", cacheBytes: 0, share: shareOf(ranks) });
}

/** The cause that classes have changed places since the best network before a stage. */
async function exchangedIn(
  run: RunState,
  name: StageName,
  network: DeepLab,
): Promise<Cause | null> {
  const { config, data, folder, gpu, observer, ranks } = run;
  const path = bestBefore(folder, config, config.pipeline.indexOf(name));
  if (path === null) return null;
  const { longSide } = config.data;
  const { names } = data.classes;
  using checkpoint = openUnlessDamaged(
    path,
    (reason) =>
      observer.message(`${name}: its classes are compared with no earlier ones. ${reason}`),
  );
  if (!checkpoint) return null;
  using earlier = networkIn(
    checkpoint,
    (featureNorm) => createNetwork(config, gpu, names.length, { featureNorm, init: "none" }),
  );
  using loader = comparedImages(run);
  const moves = movesBetween(
    await predictedClasses(earlier, loader, longSide),
    await predictedClasses(network, loader, longSide),
    names.length,
  );
  await addUp(ranks, [moves.counts]);
  return classesExchanged(names, moves, (checkpoint.state as CheckpointState).stage);
}

/** A checkpoint; null where it is damaged, which a run can do without. */
function openUnlessDamaged(path: string, tell: (reason: string) => void): Checkpoint | null {
  try {
    return new Checkpoint(path);
  } catch (error) {
    if (!(error instanceof DamagedCheckpointError)) throw error;
    tell(error.message);
    return null;
  }
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
