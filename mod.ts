/**
 * GPU compute for Deno with hand-written WGSL kernels, a small autograd tape, DeepLabv2, and the
 * training stages of ProDA (Zhang et al., CVPR 2021). It needs no permission and no npm package.
 *
 * @example Train a classifier of pixels
 * ```ts
 * import { backward, functional, kernels, openGpu, scope, Sgd, tensor } from "@proda/webgpu";
 *
 * const gpu = await openGpu();
 * const images = tensor(gpu, [0, 1, 0, 1], [1, 1, 2, 2]);
 * const labels = kernels.uploadLabels(gpu, new Uint8Array([0, 1, 0, 1]), [1, 2, 2], { classes: 2 });
 * const weight = tensor(gpu, [0.1, -0.1], [2, 1, 1, 1], { requiresGrad: true });
 * const bias = tensor(gpu, [0, 0], [2], { requiresGrad: true });
 * const optimiser = new Sgd([{ parameters: new Map([["weight", weight], ["bias", bias]]) }], {
 *   momentum: 0.9,
 *   weightDecay: 0,
 * });
 *
 * let first = 0;
 * let last = 0;
 * for (let step = 0; step < 20; step++) {
 *   const loss = scope(() => {
 *     const logits = functional.conv2d(images, weight, bias);
 *     const loss = functional.crossEntropy(logits, labels);
 *     backward(loss);
 *     return loss;
 *   });
 *   optimiser.step(0.5);
 *   optimiser.zeroGrad();
 *   last = (await loss.read())[0] ?? NaN;
 *   if (step === 0) first = last;
 *   loss.dispose();
 * }
 * if (!(last < first / 4)) throw new Error(`the loss went from ${first} to ${last}`);
 * gpu.close();
 * ```
 *
 * @module
 */
export * from "./kernels/runtime/mod.ts";
export * as kernels from "./kernels/mod.ts";
export * from "./nn/mod.ts";
export * as functional from "./nn/functional/mod.ts";
export * from "./train/mod.ts";
