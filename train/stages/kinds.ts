// The registry of stages: the one place that lists them. A run, a plan, the configuration and the commands
// walk it.

import type { SettingsOf } from "../base/settings.ts";
import type { StageKind } from "./common/kind.ts";
import type { StageSettings } from "./common/settings.ts";
import { denoise } from "./denoise/kind.ts";
import { distil } from "./distil/kind.ts";
import { selfSupervised } from "./self_supervised/kind.ts";
import { oracle, sourceOnly } from "./source_only/kind.ts";
import { warmUp } from "./warm_up/kind.ts";

/** The stages of ProDA in their order, and what they are compared with. */
const KINDS = {
  source: sourceOnly,
  warmup: warmUp,
  stage1: denoise,
  selfsup: selfSupervised,
  stage2: distil("stage 2 of ProDA: distillation into a student", "self-supervised"),
  stage3: distil("stage 3 of ProDA: stage 2 again, from its network", "teacher"),
  oracle,
} satisfies Record<string, StageKind>;

/** A stage that `pipeline` can name. */
export type StageName = keyof typeof KINDS;

/** The names of the stages in their order. */
export const STAGES = Object.keys(KINDS) as readonly StageName[];

/** The settings of each stage. */
export type StagesConfig = {
  [Name in StageName]: StageSettings & SettingsOf<typeof KINDS[Name]["settings"]>;
};

/** What there is to know of a stage. */
export function kindOf(name: StageName): StageKind {
  return KINDS[name];
}
