// Sums over sets of planes, and normalisations by them, with one workgroup a set; the formulas are
// in the WGSL. GPUs take these in place of several dispatches, as long as a workgroup is no slower.

import type { Accumulator } from "./accumulator.ts";
import { sliceByPlane } from "./planes.ts";
import { defineKernel, dispatch, type GpuArray, gridFor, type Kernel } from "./runtime/mod.ts";
import source from "./sets.wgsl" with { type: "text" };

const PARAMS = {
  sets: "u32",
  setStep: "u32",
  parts: "u32",
  partStep: "u32",
  plane: "u32",
  lanes: "u32",
  channels: "u32",
  first: "u32",
  rows: "u32",
  relu: "u32",
  batch: "u32",
  accumulate: "u32",
  momentum: "f32",
  eps: "f32",
  zero: "f32",
} as const;
type Params = Readonly<Record<keyof typeof PARAMS, number>>;

const base = { file: "kernels/sets.wgsl", source, params: PARAMS } as const;
const batchForward = (name: string, constants: Readonly<Record<string, number>>) =>
  defineKernel({
    ...base,
    name,
    entry: "batch_forward",
    reads: ["x", "residual", "weight", "bias"],
    writes: ["runningMean", "runningVariance", "coefficients", "y"],
    constants,
  });
const batchForwardPlain = batchForward("sets.batch_forward", {});
const batchForwardResidual = batchForward("sets.batch_forward_residual", { WITH_RESIDUAL: 1 });
const groupForward = defineKernel({
  ...base,
  name: "sets.group_forward",
  entry: "group_forward",
  reads: ["x", "residual", "weight", "bias"],
  writes: ["coefficients", "y"],
});
const batchBackward = defineKernel({
  ...base,
  name: "sets.batch_backward",
  entry: "batch_backward",
  reads: ["gradOutput", "x", "coefficients"],
  writes: ["gradWeight", "gradBias", "y"],
});
const batchBackwardResidual = defineKernel({
  ...base,
  name: "sets.batch_backward_residual",
  entry: "batch_backward_residual",
  reads: ["signs", "x", "coefficients"],
  writes: ["masked", "gradWeight", "gradBias", "y"],
});
const groupBackward = defineKernel({
  ...base,
  name: "sets.group_backward",
  entry: "group_backward",
  reads: ["gradOutput", "x", "weight", "coefficients"],
  writes: ["totals", "y"],
});
const moments = defineKernel({
  ...base,
  name: "sets.moments",
  entry: "plane_moments",
  reads: ["x"],
  writes: ["totals"],
});
const sums = defineKernel({
  ...base,
  name: "sets.sums",
  entry: "plane_sums",
  reads: ["gradOutput", "x", "coefficients"],
  writes: ["totals"],
});
const dots = defineKernel({
  ...base,
  name: "sets.dots",
  entry: "plane_dots",
  reads: ["gradOutput", "x"],
  writes: ["values"],
});
const means = defineKernel({
  ...base,
  name: "sets.means",
  entry: "plane_means",
  reads: ["x"],
  writes: ["values"],
});

/** Sets whose workgroups fill a GPU: more of them to a set would gain nothing. */
const ENOUGH_SETS = 128;
/**
 * Elements that one workgroup reads twice in about the time of the dispatches that it saves; an
 * estimate from eight loads in flight an invocation, 0.7 µs a load and 4 µs a dispatch.
 */
const FEW_ELEMENTS = 32768;

/** Planes of a tensor as sets; a plane is one channel of one image. */
export interface Sets {
  /** How many. */
  readonly sets: number;
  /** From the first plane of a set to that of the next. */
  readonly setStep: number;
  /** Planes of a set. */
  readonly parts: number;
  /** From one of them to the next. */
  readonly partStep: number;
  /** Elements of a plane. */
  readonly plane: number;
  /** Channels of the tensor. */
  readonly channels: number;
}

/**
 * Whether one workgroup normalises a whole set: on GPUs, where it has few elements or there are many
 * sets, and where one binding shows all of `x`.
 */
export function fitsWorkgroups(x: GpuArray, { sets, parts, plane }: Sets): boolean {
  const { gpu } = x;
  if (gpu.kernelClass !== "shared" || x.size === 0 || x.byteLength > gpu.maxBindingBytes) {
    return false;
  }
  // What a GPU's bandwidth allows anyway, sets / ENOUGH_SETS of the time, does not count.
  return parts * plane * (1 - sets / ENOUGH_SETS) <= FEW_ELEMENTS;
}

/** All params: those of the sets, and 0 where `rest` says nothing else. */
function paramsOf(kernel: Kernel, sets: Sets, rest: Partial<Params> = {}): Params {
  const { parts, plane } = sets;
  // Eight elements an invocation, or fewer where that would leave invocations without a plane.
  const most = 2 ** Math.ceil(Math.log2(Math.max(1, plane / 8)));
  const alone = kernel.workgroupSize / 2 ** Math.floor(Math.log2(Math.max(1, parts)));
  const lanes = Math.max(1, Math.min(kernel.workgroupSize, Math.max(most, alone)));
  const none = {
    first: 0,
    rows: 0,
    relu: 0,
    batch: 0,
    accumulate: 0,
    momentum: 0,
    eps: 0,
    zero: 0,
  };
  return { ...none, ...sets, lanes, ...rest };
}

function gridOf({ workgroupSize }: Kernel, { sets }: Sets) {
  return gridFor(sets * workgroupSize, workgroupSize);
}

/** Runs a kernel on sets. */
function run<A extends string>(
  kernel: Kernel<A, keyof Params>,
  arrays: Readonly<Record<A, GpuArray>>,
  sets: Sets,
  rest?: Partial<Params>,
): void {
  dispatch(kernel, arrays, paramsOf(kernel, sets, rest), gridOf(kernel, sets));
}

/** Arrays of a batch norm's forward; formulas are in the WGSL. */
export interface BatchForwardArrays {
  /** Input. */
  readonly x: GpuArray;
  /** Added before the ReLU, of the input's shape. */
  readonly residual: GpuArray | null;
  /** [C]. */
  readonly weight: GpuArray;
  /** [C]. */
  readonly bias: GpuArray;
  /** [C], moved in place where the batch gives the statistics. */
  readonly runningMean: GpuArray;
  /** [C], moved in place where the batch gives the statistics. */
  readonly runningVariance: GpuArray;
  /** [C, 4], written. */
  readonly coefficients: GpuArray;
  /** Output, written. */
  readonly y: GpuArray;
}

/** Batch norm in one dispatch. */
export function batchForwardBySets(
  { residual, ...arrays }: BatchForwardArrays,
  sets: Sets,
  options: {
    readonly training: boolean;
    readonly momentum: number;
    readonly eps: number;
    readonly relu: boolean;
  },
): void {
  const kernel = residual ? batchForwardResidual : batchForwardPlain;
  run(kernel, { ...arrays, residual: residual ?? arrays.x }, sets, {
    momentum: options.momentum,
    eps: options.eps,
    rows: sets.channels,
    relu: Number(options.relu),
    batch: Number(options.training),
  });
}

/** Group norm in one dispatch. */
export function groupForwardBySets(
  arrays: {
    readonly x: GpuArray;
    readonly weight: GpuArray;
    readonly bias: GpuArray;
    readonly coefficients: GpuArray;
    readonly y: GpuArray;
  },
  sets: Sets,
  { eps, relu }: { readonly eps: number; readonly relu: boolean },
): void {
  const rows = sets.sets * sets.parts;
  run(groupForward, { ...arrays, residual: arrays.x }, sets, { rows, eps, relu: Number(relu) });
}

/** What a batch norm's backward reads and writes. */
export interface BatchBackwardArrays {
  /** The forward's input. */
  readonly x: GpuArray;
  /** [C, 4]. */
  readonly coefficients: GpuArray;
  /** The gradient to the weight. */
  readonly gradWeight: Accumulator;
  /** The gradient to the bias. */
  readonly gradBias: Accumulator;
  /** The gradient to the input, written. */
  readonly gradInput: GpuArray;
}

/**
 * The backward of a batch norm in one dispatch.
 *
 * @param gradient The gradient of the output; or, after a residual and a ReLU, that gradient, which
 *   becomes the one to the residual, and the forward's output.
 */
export function batchBackwardBySets(
  gradient: { readonly gradOutput: GpuArray } | {
    readonly masked: GpuArray;
    readonly signs: GpuArray;
  },
  { x, coefficients, gradWeight, gradBias, gradInput }: BatchBackwardArrays,
  sets: Sets,
  { training, relu }: { readonly training: boolean; readonly relu: boolean },
): void {
  const arrays = {
    x,
    coefficients,
    gradWeight: gradWeight.array,
    gradBias: gradBias.array,
    y: gradInput,
  };
  const rest = {
    relu: Number(relu),
    batch: Number(training),
    accumulate: accumulateBits(gradWeight, gradBias),
  };
  if ("signs" in gradient) run(batchBackwardResidual, { ...arrays, ...gradient }, sets, rest);
  else run(batchBackward, { ...arrays, ...gradient }, sets, rest);
}

/** Which gradients are added to what their arrays hold, as the WGSL reads it. */
export function accumulateBits(gradWeight: Accumulator, gradBias: Accumulator): number {
  return Number(gradWeight.accumulate) + 2 * Number(gradBias.accumulate);
}

/** The gradient of a group norm to its input, and the sums of every plane, in one dispatch. */
export function groupBackwardBySets(
  arrays: {
    readonly gradOutput: GpuArray;
    readonly x: GpuArray;
    readonly weight: GpuArray;
    readonly coefficients: GpuArray;
    readonly totals: GpuArray;
    readonly y: GpuArray;
  },
  sets: Sets,
  { relu }: { readonly relu: boolean },
): void {
  run(groupBackward, arrays, sets, { relu: Number(relu) });
}

/** Every plane of [planes, ...] as a set. */
function eachPlane(x: GpuArray): Sets {
  const [planes = 0] = x.shape;
  const plane = x.size / Math.max(1, planes);
  return { sets: planes, setStep: 1, parts: 1, partStep: 1, plane, channels: 1 };
}

/** (mean, Σ (x - mean)²) of every plane of [N, C, ...] into [N, C, 2]. */
export function momentsOfPlanes(x: GpuArray, totals: GpuArray): void {
  sliceByPlane([x], [totals], ([x], [totals]) => {
    run(moments, { x, totals }, eachPlane(x));
  });
}

/** (Σ g, Σ g (x - centre)) of every plane, g as far as the ReLU let it through, into [N, C, 2]. */
export function sumsOfPlanes(
  gradOutput: GpuArray,
  x: GpuArray,
  { coefficients, relu }: { readonly coefficients: GpuArray; readonly relu: boolean },
  totals: GpuArray,
): void {
  const rows = coefficients.size / 4;
  sliceByPlane([gradOutput, x], [totals], ([gradOutput, x], [totals], first) => {
    const rest = { first, rows, relu: Number(relu) };
    run(sums, { gradOutput, x, coefficients, totals }, eachPlane(x), rest);
  });
}

/** Σ gradOutput x of every plane into [N, C]. */
export function dotsOfPlanes(gradOutput: GpuArray, x: GpuArray, values: GpuArray): void {
  sliceByPlane([gradOutput, x], [values], ([gradOutput, x], [values]) => {
    run(dots, { gradOutput, x, values }, eachPlane(x));
  });
}

/** The mean of every plane into [N, C]. */
export function meansOfPlanes(x: GpuArray, values: GpuArray): void {
  sliceByPlane([x], [values], ([x], [values]) => run(means, { x, values }, eachPlane(x)));
}
