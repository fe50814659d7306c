/**
 * Tensors, the tape, modules, DeepLabv2, optimisers, and weights in and out.
 *
 * @module
 */
export type { Accumulator } from "../kernels/accumulator.ts";
export type { AdamMoments } from "../kernels/adam.ts";
export { Activation, type ActivationStorage } from "./activation.ts";
export { DeepLab, type DeepLabOptions, type ParameterGroups } from "./deeplab.ts";
export * from "./deeplab_onnx.ts";
export * from "./deeplab_shape.ts";
export * from "./discriminator.ts";
export * from "./ema.ts";
export * from "./formats/onnx.ts";
export { PyTorchFile } from "./formats/pytorch.ts";
export {
  Safetensors,
  SAFETENSORS_TYPES,
  type SafetensorsEntry,
  type SafetensorsType,
  writeSafetensors,
} from "./formats/safetensors.ts";
export * from "./formats/weights.ts";
export * from "./formats/weights_error.ts";
export * from "./formats/weights_file.ts";
export * from "./heads.ts";
export * from "./init.ts";
export * from "./layers.ts";
export {
  type HostState,
  Layer,
  type LoadOptions,
  type LoadReport,
  Module,
  type StateSource,
} from "./module.ts";
export * from "./optim.ts";
export * from "./pretrained.ts";
export { Random } from "./random.ts";
export * from "./recompute.ts";
export { Bottleneck, type BottleneckOptions, ResNet, type ResNetOptions } from "./resnet.ts";
export * from "./schedule.ts";
export type { Synchronous } from "./synchronous.ts";
export {
  type Backward,
  backward,
  detach,
  input,
  noGrad,
  record,
  type Saved,
  scope,
} from "./tape.ts";
export { Tensor, tensor } from "./tensor.ts";
