/**
 * The method: losses under the paper's names, prototypes, views, and the stages of training as steps
 * on explicit tensors. Data sets and run folders belong to the program and are not part of the library.
 *
 * @module
 */
export type { DenoisedLabels } from "../kernels/rectification.ts";
export type { Size } from "../kernels/planes.ts";
export type { AffineMatrix, ColourMatrix, WarpView } from "../kernels/warp.ts";
export * from "./losses.ts";
export * from "./prototypes.ts";
export type { Share } from "./stages/accumulate.ts";
export * from "./stages/denoise.ts";
export * from "./stages/distil.ts";
export * from "./stages/self_supervised.ts";
export * from "./stages/source_only.ts";
export {
  type Losses,
  NetworkTrainer,
  type OptimizerOptions,
  type SourceBatch,
  type Stage,
} from "./stages/stage.ts";
export type { TargetLabelOptions } from "./stages/target_labels.ts";
export * from "./stages/warm_up.ts";
export * from "./view_transform.ts";
export * from "./views.ts";
