// The settings of supervised training.

import type { SettingsOf, SettingTable } from "../../base/settings.ts";
import type { StageSettings } from "../common/settings.ts";

/** What supervised training sets beside what every stage does. */
export const SUPERVISED_SETTINGS = {
  /**
   * How much rare classes are favoured in the first half of the steps, by leaving labels of frequent ones out
   * (see `thinned`): 1 for the weights of ENet (Paszke et al., 2016), 0 for the plain mean over pixels of
   * the paper. In the second half it falls to 0, as a network that has learnt the rare classes has still to
   * learn how rare they are.
   */
  balance: "share",
} as const satisfies SettingTable;

/** The settings of supervised training. */
export type SupervisedSettings = StageSettings & SettingsOf<typeof SUPERVISED_SETTINGS>;
