/**
 * Differentiable operations on tensors; each runs its kernels at once and records its backward.
 *
 * @module
 */
export * from "./batch_norm.ts";
export * from "./conv2d.ts";
export * from "./dropout2d.ts";
export * from "./elementwise.ts";
export * from "./group_norm.ts";
export * from "./linear.ts";
export * from "./losses.ts";
export * from "./peers.ts";
export * from "./prototypes.ts";
export * from "./softmax.ts";
export * from "./spatial.ts";
