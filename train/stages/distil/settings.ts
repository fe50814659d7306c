// The settings of stages 2 and 3: distillation from the network of the stage before.

import type { SettingsOf, SettingTable } from "../../base/settings.ts";
import { type StageSettings, VARIANTS } from "../common/settings.ts";

/** What stages 2 and 3 set beside what every stage does. */
export const DISTIL_SETTINGS = {
  /** Pixels that the teacher is less sure of have no pseudo label. */
  threshold: "share",
  /** Share of what is predicted as a class that is labelled whatever the threshold; 0 in the paper. */
  keep: "share",
  /** Weight of the divergence from the teacher, β (eq. 12). */
  beta: "weight",
  /** What the teacher sees: the weak view (paper), or the student's strong view (official). */
  teacherView: ["weak", "strong"],
  /** How the divergence is computed: as such (paper), or as the released code does. */
  formula: VARIANTS,
  /**
   * Whose images move the running statistics of the student's batch norms, which evaluation uses: both
   * domains', or the target's alone. The teacher's are then estimated anew on the target images (AdaBN,
   * Li et al., 2016), unless the stage before has left it those.
   */
  statistics: ["both", "target"],
  /**
   * The student's first weights: the backbone of stage `selfsup` or of stage `source` below a random head,
   * the whole teacher, or random ones.
   */
  studentStart: ["self-supervised", "supervised", "teacher", "random"],
  /** Whether the student has a batch norm, `bn_pretrain`, between backbone and head. */
  featureNorm: "toggle",
} as const satisfies SettingTable;

/** The settings of stages 2 and 3. */
export type DistilSettings = StageSettings & SettingsOf<typeof DISTIL_SETTINGS>;
