/**
 * Tensors, the tape, modules, DeepLabv2, optimisers, and weights in and out.
 *
 * @module
 */
export { Activation, type ActivationStorage } from "./activation.ts";
export * from "./deeplab.ts";
export * from "./deeplab_onnx.ts";
export * from "./deeplab_shape.ts";
export * from "./discriminator.ts";
export * from "./ema.ts";
export * from "./heads.ts";
export * from "./init.ts";
export * from "./layers.ts";
export * from "./module.ts";
export * from "./formats/onnx.ts";
export * from "./optim.ts";
export type { AdamMoments } from "../kernels/adam.ts";
export * from "./pretrained.ts";
export { PyTorchFile } from "./formats/pytorch.ts";
export * from "./random.ts";
export * from "./recompute.ts";
export * from "./resnet.ts";
export {
  Safetensors,
  SAFETENSORS_TYPES,
  type SafetensorsEntry,
  type SafetensorsType,
  writeSafetensors,
} from "./formats/safetensors.ts";
export * from "./schedule.ts";
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
export * from "./formats/weights.ts";
export * from "./formats/weights_file.ts";
