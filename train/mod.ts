/**
 * The method: losses under the paper's names, prototypes, views, and the stages of training as steps
 * on explicit tensors. Data sets and run folders belong to the program and are not part of the library.
 *
 * @module
 */
export type { ClassSums } from "../kernels/class_sums.ts";
export type { PixelRule } from "../kernels/pixel_share.ts";
export type { Size } from "../kernels/planes.ts";
export type { DenoisedLabels } from "../kernels/rectification.ts";
export type { AffineMatrix, ColourMatrix, WarpView } from "../kernels/warp.ts";
export type { Setting, SettingKinds, SettingsOf, SettingTable } from "./base/settings.ts";
export {
  type Arrays,
  type Counted,
  type Pass,
  type Share,
  weighed,
} from "./stages/common/accumulate.ts";
export {
  releaseBatch,
  type SourceBatch,
  type TargetViews,
  type WholeImages,
} from "./stages/common/batch.ts";
export * from "./stages/common/losses.ts";
export * from "./stages/common/settings.ts";
export { sourcePass } from "./stages/common/source_pass.ts";
export {
  type Losses,
  NetworkTrainer,
  type OptimiserOptions,
  type Stage,
} from "./stages/common/stage.ts";
export { type Anchored, anchoredPass, FeatureAnchor } from "./stages/denoise/anchor.ts";
export type { Pasted } from "./stages/denoise/class_mix.ts";
export * from "./stages/denoise/denoise.ts";
export * from "./stages/denoise/prototypes.ts";
export * from "./stages/denoise/settings.ts";
export type { TargetBatch } from "./stages/denoise/teacher.ts";
export type { TargetLabelOptions } from "./stages/denoise/target_labels.ts";
export * from "./stages/distil/distil.ts";
export * from "./stages/distil/settings.ts";
export * from "./stages/self_supervised/self_supervised.ts";
export * from "./stages/self_supervised/settings.ts";
export * from "./stages/source_only/source_only.ts";
export * from "./stages/warm_up/settings.ts";
export * from "./stages/warm_up/warm_up.ts";
export * from "./views/view_transform.ts";
export * from "./views/views.ts";
