/**
 * The method: losses under the paper's names, prototypes, views, and the stages of training as steps
 * on explicit tensors; streams of images in memory and the batches that are cut from them; scores;
 * several processes that train together over MPI; and the streets of the built-in benchmark. Data sets of files and run folders belong to the program
 * and are not part of the library.
 *
 * @module
 */
export type { ClassSums } from "../kernels/class_sums.ts";
export type { PixelRule } from "../kernels/pixel_share.ts";
export type { Size } from "../kernels/planes.ts";
export type { DenoisedLabels } from "../kernels/rectification.ts";
export type { LabelRange } from "../kernels/labels.ts";
export type { AffineMatrix, ColourMatrix, Packed, WarpView } from "../kernels/warp.ts";
export { DataError, type DataErrorOptions } from "./base/data_error.ts";
export type { Setting, SettingKinds, SettingsOf, SettingTable } from "./base/settings.ts";
export { type ClassSet, classSet, STREETS_CLASSES } from "./data/class_set.ts";
export { type ClassCounts, classCounts } from "./data/class_pixels.ts";
export { RareClasses, type RareClassOptions } from "./data/rare_classes.ts";
export * from "./data/samples.ts";
export type { ClassCorrelation } from "./evaluation/class_correlation.ts";
export { estimateStatistics } from "./evaluation/estimate_statistics.ts";
export {
  evaluationOf,
  measure,
  type Measurement,
  NonfiniteOutputError,
  predictLabels,
  readPrediction,
} from "./evaluation/evaluate.ts";
export { type FullImages, networkSize, uploadSamples } from "./evaluation/image_batches.ts";
export type { Information } from "./evaluation/information.ts";
export { ConfusionMatrix, type Evaluation, type Scores } from "./evaluation/metrics.ts";
export type { Colour, RgbImage } from "./images/rgb.ts";
export { DamagedCheckpointError } from "./networks/checkpoint_metadata.ts";
export { networkFromBytes, type NetworkInMemory } from "./networks/network_in_memory.ts";
export {
  type Collective,
  CollectiveError,
  type CollectiveTimes,
  type Reducible,
  type Reduction,
} from "./parallel/collective.ts";
export { peersOf } from "./parallel/peers.ts";
export { shardsOf } from "./parallel/shards.ts";
export { Solo } from "./parallel/solo.ts";
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
export {
  Batches,
  type BatchOptions,
  type Domain,
  type SourceOptions,
  type WeakViews,
} from "./stages/common/batches.ts";
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
export {
  bankFor,
  labelTarget,
  type LabelTargetOptions,
  type PrototypeVariants,
} from "./stages/denoise/label_target.ts";
export { type BatchChoices, nextDenoiseBatch } from "./stages/denoise/next_batch.ts";
export * from "./stages/denoise/prototypes.ts";
export * from "./stages/denoise/settings.ts";
export {
  type Probabilities,
  SoftLabelsInMemory,
  type SoftLabelStore,
  uploadSoftLabels,
} from "./stages/denoise/soft_label_store.ts";
export type { TargetBatch } from "./stages/denoise/teacher.ts";
export {
  labelTargetPixels,
  type TargetEvidence,
  type TargetLabelOptions,
  type TargetLabels,
} from "./stages/denoise/target_labels.ts";
export * from "./stages/distil/distil.ts";
export { nextDistilBatch } from "./stages/distil/next_batch.ts";
export * from "./stages/distil/settings.ts";
export * from "./stages/self_supervised/self_supervised.ts";
export * from "./stages/self_supervised/settings.ts";
export * from "./stages/source_only/source_only.ts";
export { nextWarmUpBatch } from "./stages/warm_up/next_batch.ts";
export * from "./stages/warm_up/settings.ts";
export * from "./stages/warm_up/warm_up.ts";
export { streetItem } from "./streets/item.ts";
export { renderStreet, type StreetImage, type StreetOptions } from "./streets/render.ts";
export type { TargetPixels, ViewOptions } from "./views/target_views.ts";
export * from "./views/view_transform.ts";
export * from "./views/views.ts";
