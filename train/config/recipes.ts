// Settings that go together for all stages: the paper's or the released code's, and pre-trained weights.

import type { Partially } from "../base/settings.ts";
import type { Variant } from "../stages/common/settings.ts";
import { kindOf, type StageName, STAGES } from "../stages/kinds.ts";
import type { RunConfig } from "./settings.ts";

/**
 * Every choice in which the paper and its released code disagree, as one of them has it. Two are right
 * here whatever the recipe: a view moves labels exactly as it moves the image, and no parameter is
 * stepped twice.
 */
export function recipe(variant: Variant): Partially<RunConfig> {
  return { stages: ofStages((name) => kindOf(name).recipe?.(variant)) };
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
