/**
 * Tensors, the tape, modules, DeepLabv2, optimisers, and weights in and out.
 *
 * @module
 */
export * from "./deeplab.ts";
export * from "./discriminator.ts";
export * from "./ema.ts";
export * from "./heads.ts";
export * from "./init.ts";
export * from "./layers.ts";
export * from "./module.ts";
export * from "./optim.ts";
export * from "./random.ts";
export * from "./resnet.ts";
export * from "./safetensors.ts";
export * from "./schedule.ts";
export * from "./tape.ts";
export * from "./tensor.ts";
export * from "./weights.ts";
