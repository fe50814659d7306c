// The stages' steps: against two steps of each in PyTorch, and what callers may rely on.

import { strict as assert } from "node:assert";
import type { Gpu, GpuArray } from "../../kernels/runtime/mod.ts";
import type { ColourMatrix } from "../../kernels/warp.ts";
import { warpMaps } from "../../kernels/warp.ts";
import { DeepLab, type DeepLabOptions } from "../../nn/deeplab.ts";
import { Discriminator } from "../../nn/discriminator.ts";
import type { Module } from "../../nn/module.ts";
import { PrototypeBank } from "../../train/prototypes.ts";
import { releaseBatch } from "../../train/stages/batch.ts";
import { Denoise, type DenoiseBatch, type DenoiseOptions } from "../../train/stages/denoise.ts";
import { SourceOnly } from "../../train/stages/source_only.ts";
import type { Losses, OptimizerOptions, SourceBatch, Stage } from "../../train/stages/stage.ts";
import { WarmUp, type WarmUpOptions } from "../../train/stages/warm_up.ts";
import { type ViewOperation, ViewTransform } from "../../train/views.ts";
import { testGpu } from "../_device.ts";
import { Fill, type Summary } from "../goldens/fill.ts";
import { assertNear, assertSummary, readGolden } from "../goldens/golden.ts";

/** The norm, the stride and the samples of a tensor. */
type Row = readonly [norm: number, stride: number, ...sample: number[]];
type Rows = Readonly<Record<string, Row>>;

/** Two steps of a stage; `network`, `encoder` and `discriminator` are what was added to parameters. */
interface Case<O> {
  readonly salt: string;
  readonly options: Omit<O, "seed">;
  readonly losses: readonly Readonly<Record<string, number>>[];
  readonly network: Rows;
  readonly statistics: Rows;
}

interface DenoiseCase extends
  Case<
    & DenoiseOptions
    & { readonly views: ViewOperation[][][]; readonly colour: ColourMatrix }
  > {
  readonly encoder: Rows;
  readonly prototypes: readonly number[];
  /** Denoised labels of the first batch before the first step, a digit a pixel, `.` if ignored. */
  readonly denoised: string;
}

interface WarmUpCase extends Case<WarmUpOptions & { readonly discriminatorPlanes: number }> {
  readonly discriminator: Rows;
}

interface Golden {
  readonly network: DeepLabOptions & { readonly headChannels: number };
  readonly crop: readonly [height: number, width: number];
  readonly quarter: readonly [height: number, width: number];
  readonly steps: number;
  readonly batch: number;
  readonly source: Case<OptimizerOptions>;
  readonly warmup: WarmUpCase;
  readonly warmupBce: WarmUpCase;
  readonly stage1: DenoiseCase;
  readonly stage1Batch: DenoiseCase;
}

const golden = readGolden<Golden>("stages");
const { classes } = golden.network;

const LOSS = 1e-4;
const PROTOTYPES = 1e-5;
/** Of parameters after the steps, and of running statistics. */
const VALUE = 1e-4;
/**
 * Of what the steps have added to parameters: its norm, and single values, which are differences of
 * rounded numbers. An error of a thousandth in a gradient would be lost in the parameters themselves.
 */
const UPDATE = { norm: 5e-4, sample: 2e-3 };

type Values = ReadonlyMap<string, Float32Array>;

/** A module and its parameters as they are at the start. */
interface Start {
  readonly module: Module;
  readonly values: Values;
}

async function startOf(module: Module): Promise<Start> {
  return { module, values: await parametersOf(module) };
}

function parametersOf(module: Module): Promise<Values> {
  return readAll(new Map([...module.namedParameters()].map(([name, { array }]) => [name, array])));
}

/** All at once, as every read waits. */
async function readAll(arrays: ReadonlyMap<string, GpuArray>): Promise<Values> {
  const [first] = arrays.values();
  assert.ok(first);
  const values = await first.gpu.readAll([...arrays.values()]);
  return new Map([...arrays.keys()].map((name, index) => [name, Float32Array.from(values[index])]));
}

/** Compares parameters, and what has been added to them, with the golden. */
async function assertUpdated({ module, values }: Start, expected: Rows): Promise<void> {
  const parameters = await parametersOf(module);
  assert.deepEqual([...parameters.keys()].sort(), Object.keys(expected).sort(), "parameters");
  for (const [name, after] of parameters) {
    const before = values.get(name) as Float32Array;
    const summary = summaryOf(expected[name] as Row);
    const added = after.map((value, index) => value - (before[index] as number));
    assertSummary(`what was added to ${name}`, added, summary, UPDATE);
    const at = summary.sample.map((_, index) => index * summary.stride);
    assertNear(
      name,
      at.map((index) => after[index] as number),
      summary.sample.map((sample, index) => sample + (before[at[index] as number] as number)),
      VALUE,
    );
  }
}

async function assertStatistics(module: Module, expected: Rows): Promise<void> {
  const buffers = await readAll(module.namedBuffers());
  assert.deepEqual([...buffers.keys()].sort(), Object.keys(expected).sort(), "statistics");
  for (const [name, values] of buffers) {
    assertSummary(name, values, summaryOf(expected[name] as Row), { norm: VALUE, sample: VALUE });
  }
}

function summaryOf([norm, stride, ...sample]: Row): Summary {
  return { norm, stride, sample };
}

function networkOf(gpu: Gpu, fill: Fill): DeepLab {
  const network = new DeepLab(gpu, { ...golden.network, dropout: 0, init: "none" });
  fill.module(network);
  return network;
}

/** The momentum encoder, with statistics of its own. */
function encoderOf(gpu: Gpu, fill: Fill): DeepLab {
  const encoder = new DeepLab(gpu, { ...golden.network, dropout: 0, init: "none" });
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
function labelled(gpu: Gpu, fill: Fill, name: string): SourceBatch[] {
  const { steps, batch, crop } = golden;
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
function softLabels(gpu: Gpu, fill: Fill): GpuArray[] {
  const { steps, batch, quarter: [height, width] } = golden;
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
function denoiseBatches(gpu: Gpu, fill: Fill, { options }: DenoiseCase): DenoiseBatch[] {
  const [height, width] = golden.crop;
  const source = labelled(gpu, fill, "source");
  const soft = softLabels(gpu, fill);
  return labelled(gpu, fill, "target").map(({ images, labels }, step) => {
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
      },
    };
  });
}

/**
 * Makes every step, compares its losses, and checks that a step keeps no memory and leaves the batch
 * to the caller.
 */
async function run<B>(
  gpu: Gpu,
  stage: Stage<B>,
  batches: readonly B[],
  expected: Case<unknown>["losses"],
): Promise<void> {
  for (const [step, batch] of batches.entries()) {
    const before = gpu.memory.live;
    const found = await take(stage.step(batch, step));
    assert.equal(gpu.memory.live, before, `bytes left behind by step ${step}`);
    assert.deepEqual(Object.keys(found), Object.keys(expected[step] ?? {}), "names of the losses");
    for (const [name, value] of Object.entries(expected[step] ?? {})) {
      assertNear(`${name} loss of step ${step}`, [found[name] as number], [value], LOSS);
    }
  }
  for (const batch of batches) releaseBatch(batch); // throws where a step has released an array
}

/** Reads losses and releases them. */
async function take(losses: Losses): Promise<Record<string, number>> {
  const values = await readAll(new Map(Object.entries(losses)));
  for (const [name, array] of Object.entries(losses)) {
    assert.deepEqual([...array.shape], [], `${name} is a scalar`);
    array.release();
  }
  return Object.fromEntries([...values].map(([name, [value = NaN]]) => [name, value]));
}

Deno.test("two steps of source-only agree with PyTorch", async () => {
  const gpu = await testGpu();
  const { salt, options, losses, network: updates, statistics } = golden.source;
  const fill = new Fill(salt);
  using network = networkOf(gpu, fill);
  const start = await startOf(network);
  using stage = new SourceOnly(network, { ...options, seed: 0 });
  const batches = labelled(gpu, fill, "source").map((source) => ({ source }));
  await run(gpu, stage, batches, losses);
  await assertUpdated(start, updates);
  await assertStatistics(network, statistics);
});

for (const name of ["warmup", "warmupBce"] as const) {
  const { salt, options, losses, network: updates, statistics, discriminator: moves } =
    golden[name];
  Deno.test(`two steps of warm-up with the ${options.gan} loss agree with PyTorch`, async () => {
    const gpu = await testGpu();
    const fill = new Fill(salt);
    using network = networkOf(gpu, fill);
    const discriminator = new Discriminator(gpu, { classes, planes: options.discriminatorPlanes });
    fill.module(discriminator);
    const starts = [await startOf(network), await startOf(discriminator)] as const;
    using stage = new WarmUp(network, discriminator, { ...options, seed: 0 });
    const target = labelled(gpu, fill, "target");
    const batches = labelled(gpu, fill, "source").map((source, step) => {
      const { images, labels } = target[step] as SourceBatch;
      labels.release();
      return { source, target: { images } };
    });
    await run(gpu, stage, batches, losses);
    await assertUpdated(starts[0], updates);
    await assertUpdated(starts[1], moves);
    await assertStatistics(network, statistics);
  });
}

for (const name of ["stage1", "stage1Batch"] as const) {
  const { options, ...expected } = golden[name];
  const title = `two steps of stage 1 with ${options.encoderStatistics} statistics of the encoder`;
  Deno.test(`${title} agree with PyTorch`, async () => {
    const gpu = await testGpu();
    const fill = new Fill(expected.salt);
    using network = networkOf(gpu, fill);
    const encoder = encoderOf(gpu, fill);
    const starts = [await startOf(network), await startOf(encoder)] as const;
    const { headChannels } = golden.network;
    const bank = new PrototypeBank(gpu, { classes, channels: headChannels });
    gpu.write(bank.prototypes, fill.signed("prototypes", classes * headChannels));
    const prototypes = await bank.prototypes.read();
    using stage = new Denoise(network, encoder, bank, { ...options, seed: 0 });
    const batches = denoiseBatches(gpu, fill, golden[name]);

    const [{ target }] = batches as [DenoiseBatch];
    const denoised = stage.denoise(target.weak, target.softLabels);
    const digits = Array.from(await denoised.read(), (label) => label === 255 ? "." : label);
    assert.equal(digits.join(""), expected.denoised, "denoised labels");
    denoised.release();

    await run(gpu, stage, batches, expected.losses);
    await assertUpdated(starts[0], expected.network);
    await assertUpdated(starts[1], expected.encoder);
    await assertStatistics(network, expected.statistics);
    await assertStatistics(encoder, expected.statistics); // copied, not averaged
    const found = await bank.prototypes.read();
    assertNear("prototypes", found, expected.prototypes, PROTOTYPES);
    assertNear(
      "what was added to the prototypes",
      found.map((value, index) => value - (prototypes[index] as number)),
      expected.prototypes.map((value, index) => value - (prototypes[index] as number)),
      5e-3, // with the published decay a change is a ten-thousandth of the value
    );
  });
}
