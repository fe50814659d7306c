// The settings of the adversarial warm-up.

import type { SettingsOf, SettingTable } from "../../base/settings.ts";
import type { StageSettings } from "../common/settings.ts";

/** What the warm-up sets beside what every stage does. */
export const WARM_UP_SETTINGS = {
  /** Weight of the adversarial loss; 0.01 in the official recipe. */
  adversarialWeight: "weight",
  /** The adversarial loss: least squares (official), or binary cross entropy. */
  gan: ["least-squares", "bce"],
  /** Adam's learning rate for the discriminator; 1e-4. */
  discriminatorLearningRate: "positive",
  /** Channels of the discriminator's first convolution. */
  discriminatorPlanes: "count",
} as const satisfies SettingTable;

/** The settings of the warm-up. */
export type WarmUpSettings = StageSettings & SettingsOf<typeof WARM_UP_SETTINGS>;
