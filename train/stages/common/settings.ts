// What every stage sets, and how that is written: once, as a table of what each setting takes.

import type { SettingsOf, SettingTable } from "../../base/settings.ts";

/** Which to follow where the paper and its released code disagree. */
export const VARIANTS = ["paper", "official"] as const;

/** Which to follow where the paper and its released code disagree; `paper` unless said. */
export type Variant = typeof VARIANTS[number];

/** What every stage sets: its length, and its SGD with a polynomial schedule (paper, section 4.1). */
export const STAGE_SETTINGS = {
  /** Optimiser updates. */
  steps: "count",
  /** Learning rate of the backbone at the first step. */
  learningRate: "positive",
  /** The head's learning rate over the backbone's. */
  headFactor: "positive",
  /** Momentum of SGD. */
  momentum: "belowOne",
  /** L2 penalty of SGD, added to gradients. */
  weightDecay: "weight",
  /** Step at which the polynomial schedule would reach zero. */
  scheduleSteps: "count",
  /** Power of the schedule. */
  power: "weight",
  /** Steps over which the learning rate first rises linearly; 0 for none, as in the paper. */
  rampSteps: "whole",
} as const satisfies SettingTable;

/** The settings that every stage has. */
export type StageSettings = SettingsOf<typeof STAGE_SETTINGS>;
