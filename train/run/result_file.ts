// `result.json`: what a run has come to, checked when it is read.

import { join } from "node:path";
import * as v from "valibot";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { exists } from "../base/folders.ts";
import type { Cause } from "../evaluation/causes.ts";
import type { PredictionScores, SourceScores } from "../evaluation/findings.ts";
import type { Best } from "../evaluation/selection.ts";
import { STAGES } from "../stages/kinds.ts";
import type { StepTimes } from "./step_times.ts";

/** What `result.json` says about a stage whatever it trains. */
export interface PretrainingResult {
  /** The stage's name. */
  name: string;
  /** Optimiser updates made. */
  steps: number;
  /** Wall time. */
  seconds: number;
  /** Share of the time, from 0 to 1, that steps have waited for pixels since the start or the last resume. */
  waitShare?: number;
  /** What a step has taken rank 0 since the start or the last resume, where several processes trained. */
  times?: StepTimes;
  /** Most bytes that arrays on the GPU have held at once meanwhile, evaluation included. */
  peakBytes?: number;
}

/** What `result.json` says about a stage that trains a segmentation network. Scores are percentages. */
export interface StageResult extends PretrainingResult {
  /** Mean IoU on the target's val split; NaN, null in the file, where it has no labels. */
  mIoU: number;
  /** IoU by class name; null for a class that does not occur. */
  classIoU: Record<string, number | null>;
  /** Share of pixels predicted right; like the mean IoU without labels. */
  pixelAccuracy: number;
  /** Where the best network was selected: its score, and its updates, fewer than `steps` for an earlier one. */
  selected?: Best;
  /** Where the stage has left its network with the target's batch-norm statistics: see `finalStatistics`. */
  statistics?: "target";
  /** The scores of the source's held-out images, and what their labels hold; absent where there are none. */
  source?: SourceScores;
  /** What the network predicts on the target's val images; their labels are not looked at. */
  predictions?: PredictionScores;
  /** What is wrong, as far as that can be known without the target's labels; absent where nobody has judged. */
  causes?: readonly Cause[];
  /** What is measured without labels, see `labelFreeScore`; earlier versions know none. */
  agreement?: number;
  correlation?: number;
  /** On the network that the run hands on as it stands: the last one, or a better one before it. */
  handedOn?: true;
}

/** The content of `result.json`. */
export interface RunResult {
  /** The adapter's description. */
  adapter: string;
  /** The processes or shards that train together since the start or the last resume, where they are several. */
  ranks?: { size: number; engine: string };
  /** The seed of everything drawn at random. */
  seed: number;
  /** When the run began, as `2026-11-29T07:55:52.000Z`, and in which version; earlier versions say neither. */
  started?: string;
  version?: string;
  /**
   * What the run started from, where that is a checkpoint of a training (`init`): the stage that wrote it,
   * its steps and its time, and the scores of its network here.
   */
  start?: StageResult;
  /** The stages in the order in which they ran, but for self-supervised pre-training. */
  stages: StageResult[];
  /** Self-supervised pre-training, which has no scores, where it ran. */
  pretraining?: PretrainingResult;
  /** What is wrong with the data, as far as that was found before the first step. */
  causes?: readonly Cause[];
  /** Whether the run goes on though it has not learnt the source, as it was told to. */
  keepGoing?: true;
}

// Each schema's message says what it expects. Keys of later versions are passed over.
const text = v.string("a text");
const whole = v.pipe(
  v.number("a whole number"),
  v.check((value) => Number.isSafeInteger(value) && value >= 0, "a whole number of at least 0"),
);
const amount = v.pipe(
  v.number("a number of at least 0"),
  v.minValue(0, "a number of at least 0"),
  v.finite("a finite number"),
);
const percentage = v.pipe(
  v.number("a percentage, or null"),
  v.check((value) => value >= 0 && value <= 100, "a percentage, from 0 to 100"),
);
const score = v.pipe(v.nullable(percentage), v.transform((value) => value ?? NaN));
const cost = {
  name: v.picklist(STAGES, `one of ${STAGES.join(", ")}`),
  steps: whole,
  seconds: amount,
  waitShare: v.optional(amount),
  times: v.optional(
    v.looseObject(
      { compute: v.number(), readBack: amount, reduce: amount, wait: amount },
      "milliseconds of a step",
    ),
  ),
  peakBytes: v.optional(whole),
};
const selected = v.looseObject({
  step: whole,
  value: v.number("what was measured"),
}, "a step and what was measured");
const byClass = <T extends v.GenericSchema>(value: T) =>
  v.pipe(
    v.custom<object>((scores) => !Array.isArray(scores), "percentages by class"),
    v.record(text, value, "percentages by class"),
  );
const classIoU = byClass(v.nullable(percentage));
const shares = byClass(percentage);
const causes = v.optional(
  v.array(v.looseObject({ name: text, found: text, remedy: text }, "a cause"), "a list of causes"),
);
const stage = v.looseObject({
  ...cost,
  mIoU: score,
  classIoU,
  pixelAccuracy: score,
  selected: v.optional(selected),
  statistics: v.optional(v.literal("target", '"target", or nothing')),
  agreement: v.optional(percentage),
  source: v.optional(
    v.looseObject({ mIoU: percentage, classIoU, pixelAccuracy: percentage, shares }, "scores"),
  ),
  predictions: v.optional(
    v.looseObject({ shares, confidence: percentage, agreement: percentage }, "predictions"),
  ),
  causes,
  correlation: v.optional(percentage),
  handedOn: v.optional(v.literal(true, "true, or nothing")),
}, "the result of a stage");
const schema = v.looseObject({
  adapter: text,
  seed: whole,
  ranks: v.optional(
    v.looseObject({ size: whole, engine: text }, "their number and what connects them"),
  ),
  started: v.optional(text),
  version: v.optional(text),
  start: v.optional(stage),
  stages: v.pipe(
    v.array(stage, "a list of results"),
    v.check(
      (stages) => new Set(stages.map(({ name }) => name)).size === stages.length,
      "each stage once",
    ),
  ),
  pretraining: v.optional(v.looseObject(cost, "the result of a stage")),
  causes,
  keepGoing: v.optional(v.literal(true, "true, or nothing")),
}, "the object that a run writes");

/**
 * The content of a run folder's `result.json`; null where it was not written yet.
 *
 * @throws {DataError} If the file cannot be read, or holds something else.
 */
export function readRunResult(folder: string): RunResult | null {
  const path = join(folder, "result.json");
  if (!exists(path)) return null;
  const failure = (reason: string, cause?: unknown) =>
    new DataError(`Cannot use ${path} as ${reason}; restore it, or start a new run`, { cause });
  let values: unknown;
  try {
    values = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    const reason = describeFailure(error);
    throw failure(error instanceof SyntaxError ? `it is not JSON (${reason})` : reason, error);
  }
  const parsed = v.safeParse(schema, values);
  if (parsed.success) return parsed.output as RunResult;
  const [issue] = parsed.issues;
  const found = (JSON.stringify(issue.input) ?? "missing").slice(0, 60);
  throw failure(`its ${v.getDotPath(issue) ?? "content"} is ${found}: expected ${issue.message}`);
}

/**
 * The networks of a result that have scores: what the run started from, if that is a trained one, and the
 * stages. A start that bears the name of one of the stages is called `start`.
 */
export function scoredNetworks({ start, stages }: RunResult): readonly StageResult[] {
  if (!start) return stages;
  const isTaken = stages.some(({ name }) => name === start.name);
  return [{ ...start, name: isTaken ? "start" : start.name }, ...stages];
}

/** What a result says of a stage; undefined where it has not run to its end. */
export function resultOfStage(
  result: RunResult | null,
  name: string,
): StageResult | PretrainingResult | undefined {
  const results = [...result?.stages ?? [], ...(result?.pretraining ? [result.pretraining] : [])];
  return results.find((stage) => stage.name === name);
}
