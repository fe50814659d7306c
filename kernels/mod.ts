/**
 * The kernels: typed launchers of hand-written WGSL, one file an operation, on arrays in GPU
 * memory.
 *
 * Letters in shapes: N images, C channels, H and W rows and columns, K classes. Activations are
 * NCHW floats; labels are `u32`, [N, H, W].
 *
 * @module
 */
export type { Accumulator } from "./accumulator.ts";
export * from "./adam.ts";
export * from "./argmax.ts";
export {
  type BatchNormArrays,
  batchNormBackward,
  batchNormCoefficients,
  batchNormForward,
  type BatchNormOptions,
  batchNormResidualBackward,
  type NormForward,
  type NormGradients,
  type NormNeeds,
} from "./batch_norm.ts";
export * from "./centroids.ts";
export * from "./class_mix.ts";
export * from "./class_sums.ts";
export * from "./concat.ts";
export * from "./confusion.ts";
export { conv2dForward, conv2dInputGradient } from "./dense/conv2d.ts";
export type { Conv2dGeometry } from "./dense/conv2d_shape.ts";
export {
  type Conv2dParameterGradients,
  conv2dParameterGradients,
  type Conv2dParameterNeeds,
} from "./dense/conv2d_weight.ts";
export * from "./cross_entropy.ts";
export * from "./dropout2d.ts";
export * from "./elementwise.ts";
export * from "./feature_distance.ts";
export * from "./gan_loss.ts";
export * from "./global_average_pool.ts";
export * from "./group_norm.ts";
export * from "./half.ts";
export * from "./hide_patches.ts";
export * from "./ignore_label.ts";
export * from "./kl_divergence.ts";
export * from "./label_quality.ts";
export { type LabelRange, uploadLabels } from "./labels.ts";
export * from "./loss_scale.ts";
export * from "./dense/linear.ts";
export { matmul, type MatmulOptions } from "./dense/matmul.ts";
export * from "./max_pool2d.ts";
export * from "./nonfinite.ts";
export * from "./normalise_rows.ts";
export * from "./nt_xent.ts";
export * from "./pixel_share.ts";
export { type Normalisation, normalisePlanes } from "./plane_maps.ts";
export type { Size } from "./planes.ts";
export * from "./prototype_distances.ts";
export * from "./pure_cells.ts";
export * from "./rectification.ts";
export * from "./reduce.ts";
export { resizeBilinearBackward, resizeBilinearForward, resizeLabels } from "./resize.ts";
export * from "./sample_planes.ts";
export * from "./sgd.ts";
export * from "./soft_cross_entropy.ts";
export * from "./softmax.ts";
export * from "./uniform_prior.ts";
export * from "./warp.ts";
export type { WeightedMean } from "./weighted_mean.ts";
