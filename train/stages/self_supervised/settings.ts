// The settings of self-supervised pre-training.

import type { SettingsOf, SettingTable } from "../../base/settings.ts";
import type { StageSettings } from "../common/settings.ts";

/** What self-supervised pre-training sets beside what every stage does. */
export const SELF_SUPERVISED_SETTINGS = {
  /** Temperature of the softmax over similarities, τ (SimCLR, equation 1). */
  temperature: "positive",
  /** Channels that features are projected to before they are compared. */
  projectionChannels: "count",
  /** Places that are compared in an image; 0 compares whole images, as SimCLR does. */
  places: "whole",
  /**
   * A file with a backbone that someone has pre-trained, such as SimCLRv2's: students take it, and the stage
   * is not run. Null to train one.
   */
  weights: "optionalPath",
} as const satisfies SettingTable;

/** The settings of self-supervised pre-training. */
export type SelfSupervisedSettings = StageSettings & SettingsOf<typeof SELF_SUPERVISED_SETTINGS>;
