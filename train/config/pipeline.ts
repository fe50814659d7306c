// Which stages a run has: those it names, what they need, and what is cut away.

import { DataError } from "../base/data_error.ts";
import { kindOf, type StageName } from "../stages/kinds.ts";
import type { RunConfig } from "./settings.ts";

/** The file that takes the place of a stage of pre-training; null where there is none. */
export function weightsInstead(name: StageName, { stages }: RunConfig): string | null {
  const settings = stages[name];
  return "weights" in settings ? settings.weights : null;
}

/**
 * Puts pre-training before the first stage that starts from it, where the pipeline names such stages and
 * not what they start from, and takes it out where someone has done it.
 *
 * @throws {DataError} If nothing else is left of the pipeline.
 */
export function withPretraining(config: RunConfig): RunConfig {
  const pipeline = config.pipeline.filter((name) => weightsInstead(name, config) === null);
  if (pipeline.length === 0) {
    const [name] = config.pipeline;
    throw new DataError(
      `Cannot run ${name} as stages.${name}.weights is ${
        weightsInstead(name, config)
      }, a backbone that ` +
        `takes its place: expected stages that use it; name another stage, or leave the weights out`,
    );
  }
  for (const [index, name] of pipeline.entries()) {
    const needed = backboneStage(name, config);
    if (needed === null || kindOf(needed).role !== "pretraining") continue;
    if (weightsInstead(needed, config) !== null || pipeline.includes(needed)) continue;
    return { ...config, pipeline: pipeline.toSpliced(index, 0, needed) };
  }
  return { ...config, pipeline };
}

/** The stage whose backbone a stage starts from; null where it starts from none. */
export function backboneStage(name: StageName, { stages }: RunConfig): StageName | null {
  return (kindOf(name).backboneStart?.(stages[name])?.stage ?? null) as StageName | null;
}

/**
 * Leaves out the stages before `from` and after `until`.
 *
 * @throws {DataError} If the pipeline does not name them in that order.
 */
export function cutPipeline(
  config: RunConfig,
  { from, until }: {
    readonly from?: StageName | undefined;
    readonly until?: StageName | undefined;
  },
): RunConfig {
  const { pipeline } = config;
  const placeOf = (name: StageName) => {
    const place = pipeline.indexOf(name);
    if (place >= 0) return place;
    throw new DataError(
      `Cannot cut the pipeline at ${name} as it does not name it: expected one of ` +
        `${pipeline.join(", ")}; name another stage`,
    );
  };
  const first = from === undefined ? 0 : placeOf(from);
  const end = until === undefined ? pipeline.length : placeOf(until) + 1;
  if (first >= end) {
    throw new DataError(
      `Cannot run from ${from} until ${until} as the one comes after the other: expected the order ` +
        `${pipeline.join(", ")}; exchange them`,
    );
  }
  return { ...config, pipeline: pipeline.slice(first, end) };
}
