// Settings that go together for all stages: the paper's or the released code's, and pre-trained weights.

import type { Partially } from "../base/settings.ts";
import type { Variant } from "../stages/common/settings.ts";
import { kindOf, type StageName, STAGES } from "../stages/kinds.ts";
import type { ConfigLayer } from "./config.ts";
import type { RunConfig } from "./settings.ts";

/**
 * Every choice in which the paper and its released code disagree, as one of them has it. Two are right
 * here whatever the recipe: a view moves labels exactly as it moves the image, and no parameter is
 * stepped twice.
 */
export function recipe(variant: Variant): Partially<RunConfig> {
  return {
    // The paper says nothing of first weights: they are this project's own.
    network: { initialisation: variant === "official" ? "official" : "he" },
    stages: ofStages((name) => kindOf(name).recipe?.(variant)),
  };
}

/**
 * The settings with which students start from a backbone that someone has pre-trained, in place of the
 * stage that would train one.
 *
 * @param weights A file.
 * @param variant Whose recipe the run follows, if any.
 */
export function fromPretrained(weights: string, variant?: Variant): Partially<RunConfig> {
  return {
    stages: ofStages((name) => {
      const kind = kindOf(name);
      return kind.role === "pretraining" ? { weights } : kind.fromPretrained?.(variant);
    }),
  };
}

function ofStages(
  settings: (name: StageName) => object | undefined,
): Partially<RunConfig["stages"]> {
  return Object.fromEntries(STAGES.map((name) => [name, settings(name)]));
}

/** A setting in which the paper and its released code disagree, as a configuration has it. */
export interface Choice {
  /** The setting, such as `stages.stage1.studentView`. */
  readonly key: string;
  /** Its value. */
  readonly value: unknown;
  /** The value that the paper has, and that of the released code. */
  readonly variants: Readonly<Record<Variant, unknown>>;
  /** Where the value comes from: the last layer that sets it. */
  readonly from: string;
}

/**
 * The choices of a configuration, for the stages that it runs.
 *
 * @param preset What the configuration starts from.
 * @param layers What was laid over that, in order.
 */
export function choicesOf(
  config: RunConfig,
  preset: string,
  layers: readonly ConfigLayer[],
): Choice[] {
  const [paper, official] = [leavesOf(recipe("paper")), leavesOf(recipe("official"))];
  const isRun = ([first, name]: readonly string[]) =>
    first !== "stages" || config.pipeline.some((stage) => stage === name);
  return [...paper].filter(([key]) => isRun(key.split("."))).map(([key, value]) => ({
    key,
    value: valueAt(config, key),
    variants: { paper: value, official: official.get(key) },
    from: layers.findLast(({ values }) => valueAt(values, key) !== undefined)?.from ?? preset,
  }));
}

/** Every value of nested objects, by its path. */
function leavesOf(values: unknown, path: readonly string[] = []): Map<string, unknown> {
  if (values === undefined) return new Map();
  if (typeof values !== "object" || values === null) return new Map([[path.join("."), values]]);
  return new Map(
    Object.entries(values).flatMap(([name, value]) => [...leavesOf(value, [...path, name])]),
  );
}

/** What some keys of a configuration have at a path, `stages.source.steps`; undefined for nothing. */
export function valueAt(values: unknown, key: string): unknown {
  return key.split(".").reduce(
    (section, name) => (section as Record<string, unknown> | undefined)?.[name],
    values,
  );
}
