// Fixed networks and batches for the stages: what make_stages.py has in PyTorch.

import { strict as assert } from "node:assert";
import { type AnyArray, type Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import { type ColourMatrix, warpMaps } from "../../kernels/warp.ts";
import { DeepLab, type DeepLabOptions } from "../../nn/deeplab.ts";
import type { DenoiseBatch, DenoiseOptions } from "../../train/stages/denoise/denoise.ts";
import type { Losses, OptimiserOptions } from "../../train/stages/common/stage.ts";
import type { SourceBatch, WholeImages } from "../../train/stages/common/batch.ts";
import type { WarmUpOptions } from "../../train/stages/warm_up/warm_up.ts";
import { type ViewOperation, ViewTransform } from "../../train/views/views.ts";
import type { Fill } from "../goldens/fill.ts";
import { readGolden } from "../goldens/golden.ts";

/** The norm, the stride and the samples of a tensor. */
export type Row = readonly [norm: number, stride: number, ...sample: number[]];
/** Tensors by name. */
export type Rows = Readonly<Record<string, Row>>;

/** Two steps of a stage; `network`, `encoder` and `discriminator` are what was added to parameters. */
export interface Case<O> {
  readonly salt: string;
  readonly options: Omit<O, "seed">;
  readonly losses: readonly Readonly<Record<string, number>>[];
  readonly network: Rows;
  readonly statistics: Rows;
}

/** Two steps of stage 1. */
export interface DenoiseCase extends
  Case<
    & DenoiseOptions
    & { readonly views: ViewOperation[][][]; readonly colour: ColourMatrix }
  > {
  readonly encoder: Rows;
  /** All of them, or every n-th value where there are many. */
  readonly prototypes: readonly number[];
  /** Denoised labels of the first batch before the first step, a digit a pixel, `.` if ignored. */
  readonly denoised: string;
}

/** Two steps of warm-up. */
export interface WarmUpCase extends Case<WarmUpOptions & { readonly discriminatorPlanes: number }> {
  readonly discriminator: Rows;
}

/** What the tensors of a golden are like. */
export interface Shapes {
  readonly network: DeepLabOptions & { readonly headChannels: number };
  readonly crop: readonly [height: number, width: number];
  readonly quarter: readonly [height: number, width: number];
  readonly steps: number;
  readonly batch: number;
}

interface Golden extends Shapes {
  readonly source: Case<OptimiserOptions>;
  readonly warmup: WarmUpCase;
  readonly warmupBce: WarmUpCase;
  readonly stage1: DenoiseCase;
  readonly stage1Batch: DenoiseCase;
  readonly stage1Weak: DenoiseCase;
  readonly stage1Whole: DenoiseCase;
}

/** The golden of all stages. */
export const golden = readGolden<Golden>("stages");
export const { classes } = golden.network;

/** The network at the start of a case. */
export function networkOf(gpu: Gpu, fill: Fill, options: DeepLabOptions = golden.network): DeepLab {
  const network = new DeepLab(gpu, { ...options, dropout: 0, init: "none" });
  fill.module(network);
  return network;
}

/** The momentum encoder, with statistics of its own. */
export function encoderOf(gpu: Gpu, fill: Fill, options: DeepLabOptions = golden.network): DeepLab {
  const encoder = new DeepLab(gpu, { ...options, dropout: 0, init: "none" });
  for (const [name, { array }] of encoder.namedParameters()) {
    gpu.write(array, fill.parameter(`encoder.${name}`, array.shape));
  }
  for (const [name, array] of encoder.namedBuffers()) {
    const base = name.endsWith("running_var") ? 1 : 0;
    const values = fill.signed(`encoder.${name}`, array.size).map((value) => base + value / 4);
    gpu.write(array, values);
  }
  return encoder;
}

/** The batches of all steps. */
export function labelled(
  gpu: Gpu,
  fill: Fill,
  name: string,
  { steps, batch, crop, network: { classes } }: Shapes = golden,
): SourceBatch[] {
  const count = steps * batch;
  const labels = fill.labels(`${name}.labels`, [count, ...crop], classes);
  const pixels = fill.images(`${name}.images`, labels, count);
  const part = <T extends Float32Array | Uint32Array>(data: T, step: number) =>
    data.subarray(step * data.length / steps, (step + 1) * data.length / steps) as T;
  return Array.from({ length: steps }, (_, step) => ({
    images: gpu.upload(part(pixels, step), [batch, 3, ...crop], "images"),
    labels: gpu.upload(part(labels, step), [batch, ...crop], "labels"),
  }));
}

/** Soft labels of all steps; the last two columns of the first image lie outside its view. */
function softLabels(gpu: Gpu, fill: Fill, shapes: Shapes): GpuArray[] {
  const { steps, batch, quarter: [height, width], network: { classes } } = shapes;
  const shape = [batch, classes, height, width];
  const plane = height * width;
  const size = batch * classes * plane;
  const powers = fill.signed("softLabels", steps * size).map((value) => (value + 1) ** 4);
  return Array.from({ length: steps }, (_, step) => {
    const values = powers.subarray(step * size, (step + 1) * size).map((power, index, all) => {
      const first = index - index % (classes * plane) + index % plane;
      const sum = Array.from({ length: classes }, (_, k) => all[first + k * plane] as number)
        .reduce((a, b) => a + b);
      const outside = step === 0 && index < classes * plane && index % width >= width - 2;
      return outside ? 0 : power / sum;
    });
    return gpu.upload(values, shape, "soft labels");
  });
}

/** The batches of all steps, their strong views made by the transforms. */
export function denoiseBatches(
  gpu: Gpu,
  fill: Fill,
  { options }: {
    readonly options: Pick<DenoiseCase["options"], "views" | "colour" | "encoderView">;
  },
  shapes: Shapes = golden,
): DenoiseBatch[] {
  const [height, width] = shapes.crop;
  const source = labelled(gpu, fill, "source", shapes);
  const soft = softLabels(gpu, fill, shapes);
  const whole = options.encoderView === "whole" ? wholeImages(gpu, fill, shapes) : [];
  return labelled(gpu, fill, "target", shapes).map(({ images, labels }, step) => {
    labels.release();
    const views = (options.views[step] as ViewOperation[][])
      .map((operations) => new ViewTransform({ height, width }, operations));
    const looks = views.map((view) => view.imageView(options.colour));
    return {
      source: source[step] as SourceBatch,
      target: {
        weak: images,
        strong: warpMaps(images, looks, { height, width }),
        strongViews: views,
        softLabels: soft[step] as GpuArray,
        ...(options.encoderView === "whole" ? { whole: whole[step] } : {}),
      },
    };
  });
}

/** Size of whole images, and the part of them that a weak view shows before it is flipped. */
const WHOLE = { height: 61, width: 77 };
const WEAK_AT = { left: 24, top: 20 };

/** The whole images of all steps, of which weak views are the flipped lower right parts, and more. */
function wholeImages(gpu: Gpu, fill: Fill, { steps, batch, crop, network }: Shapes): WholeImages[] {
  const { height, width } = WHOLE;
  const labels = fill.labels("whole.labels", [steps * batch, height, width], network.classes);
  const pixels = fill.images("whole.images", labels, steps * batch);
  const size = 3 * height * width;
  const part = { kind: "crop", ...WEAK_AT, height: crop[0], width: crop[1] } as const;
  const view = new ViewTransform(WHOLE, [part, { kind: "flip" }]);
  return Array.from({ length: steps }, (_, step) => ({
    images: Array.from({ length: batch }, (_, index) => {
      const at = (step * batch + index) * size;
      return gpu.upload(pixels.subarray(at, at + size), [1, 3, height, width], "whole image");
    }),
    views: Array.from({ length: batch }, () => view),
  }));
}

/** Values by name. */
export type Values = ReadonlyMap<string, Float32Array>;

/** All at once, as every read waits. */
export async function readAll(arrays: ReadonlyMap<string, AnyArray>): Promise<Values> {
  const [first] = arrays.values();
  const values = await first?.gpu.readAll([...arrays.values()]) ?? [];
  return new Map([...arrays.keys()].map((name, index) => [name, Float32Array.from(values[index])]));
}

/** Every array in a batch. */
export function arraysIn(batch: unknown): AnyArray[] {
  if (batch instanceof GpuArray) return [batch];
  if (Array.isArray(batch)) return batch.flatMap(arraysIn);
  return batch !== null && typeof batch === "object" ? Object.values(batch).flatMap(arraysIn) : [];
}

/** Reads losses and releases them. */
export async function take(losses: Losses): Promise<Record<string, number>> {
  const values = await readAll(new Map(Object.entries(losses)));
  for (const [name, array] of Object.entries(losses)) {
    assert.deepEqual([...array.shape], [], `${name} is a scalar`);
    array.release();
  }
  return Object.fromEntries([...values].map(([name, [value = NaN]]) => [name, value]));
}
