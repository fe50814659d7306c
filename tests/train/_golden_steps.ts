// Steps of a stage against a golden: losses, what was added to parameters, running statistics.

import { strict as assert } from "node:assert";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import type { Module } from "../../nn/module.ts";
import { PrototypeBank } from "../../train/stages/denoise/prototypes.ts";
import { releaseBatch } from "../../train/stages/common/batch.ts";
import { Denoise, type DenoiseBatch } from "../../train/stages/denoise/denoise.ts";
import type { Stage } from "../../train/stages/common/stage.ts";
import { Fill, type Summary } from "../goldens/fill.ts";
import { assertNear, assertSummary } from "../goldens/golden.ts";
import {
  arraysIn,
  type Case,
  denoiseBatches,
  type DenoiseCase,
  golden,
  readAll,
  type Row,
  type Rows,
  type Shapes,
  take,
  type Values,
} from "./_stages.ts";
import { among, onPart } from "../_ranks.ts";
import { assertSame } from "../_same.ts";

const LOSS = 1e-4;
const PROTOTYPES = 1e-5;
/** Of parameters after the steps, and of running statistics. */
const VALUE = 1e-4;
/**
 * Of what the steps have added to parameters: its norm, and single values, which are differences of
 * rounded numbers. An error of a thousandth in a gradient would be lost in the parameters themselves.
 */
const UPDATE: Tolerance = { norm: 5e-4, sample: 2e-3 };

/** What may be off of a tensor: its norm, and single values. */
interface Tolerance {
  readonly norm: number;
  readonly sample: number;
}

/** Parameters as they are at the start, and how to read them again. */
export interface Start {
  readonly read: () => Promise<Values>;
  readonly values: Values;
}

export async function startOf(module: Module): Promise<Start> {
  const read = () =>
    readAll(new Map([...module.namedParameters()].map(([name, { array }]) => [name, array])));
  return { read, values: await read() };
}

/** Compares parameters, and what has been added to them, with the golden. */
export async function assertUpdated(
  { read, values }: Start,
  expected: Rows,
  tolerance: Tolerance = UPDATE,
): Promise<void> {
  const parameters = await read();
  assert.deepEqual([...parameters.keys()].sort(), Object.keys(expected).sort(), "parameters");
  for (const [name, after] of parameters) {
    const before = values.get(name) as Float32Array;
    const summary = summaryOf(expected[name] as Row);
    const added = after.map((value, index) => value - (before[index] as number));
    assertSummary(`what was added to ${name}`, added, summary, tolerance);
    const at = summary.sample.map((_, index) => index * summary.stride);
    assertNear(
      name,
      at.map((index) => after[index] as number),
      summary.sample.map((sample, index) => sample + (before[at[index] as number] as number)),
      VALUE,
    );
  }
}

/** Of parameters that nothing was added to. */
export function unchanged(names: Iterable<string>): Rows {
  return Object.fromEntries(Array.from(names, (name) => [name, [0, 1, 0, 0, 0]]));
}

export async function assertStatistics(module: Module, expected: Rows): Promise<void> {
  const buffers = await readAll(module.namedBuffers());
  assert.deepEqual([...buffers.keys()].sort(), Object.keys(expected).sort(), "statistics");
  for (const [name, values] of buffers) {
    assertSummary(name, values, summaryOf(expected[name] as Row), { norm: VALUE, sample: VALUE });
  }
}

function summaryOf([norm, stride, ...sample]: Row): Summary {
  return { norm, stride, sample };
}

/**
 * Makes every step, compares its losses, and checks that a step keeps no memory and leaves the batch
 * to the caller. Of several ranks, each takes its part of a batch.
 */
export async function runSteps<B extends object>(
  gpu: Gpu,
  stage: Stage<B>,
  batches: readonly B[],
  expected: Case<unknown>["losses"],
): Promise<void> {
  for (const [step, batch] of batches.entries()) {
    const given = await gpu.readAll(arraysIn(batch));
    // Packed weights come and go with the weights.
    const held = () => gpu.memory.live - gpu.memory.derived;
    const before = held();
    const { ranks } = among;
    const found = await take(onPart(batch, ranks, (part) => stage.step(part, step)));
    const shares = Float64Array.from(Object.values(found));
    await ranks.allReduce(shares, "sum");
    Object.keys(found).forEach((name, at) => found[name] = shares[at]!);
    assert.equal(held(), before, `bytes left behind by step ${step}`);
    assertSame(await gpu.readAll(arraysIn(batch)), given, "the batch stays as it is");
    assert.deepEqual(Object.keys(found), Object.keys(expected[step] ?? {}), "names of the losses");
    for (const [name, value] of Object.entries(expected[step] ?? {})) {
      assertNear(`${name} loss of step ${step}`, [found[name] as number], [value], LOSS);
    }
  }
  for (const batch of batches) releaseBatch(batch);
}

/** Makes the steps of a case of stage 1, and compares all that they change with the golden. */
export async function assertDenoise(
  gpu: Gpu,
  { network, encoder }: { readonly network: DeepLab; readonly encoder: DeepLab },
  testCase: DenoiseCase,
  shapes: Shapes = golden,
  tolerance: Tolerance = UPDATE,
): Promise<void> {
  const { salt, options, ...expected } = testCase;
  const fill = new Fill(salt);
  const starts = [await startOf(network), await startOf(encoder)] as const;
  const { classes, headChannels: channels } = shapes.network;
  const bank = new PrototypeBank(gpu, { classes, channels });
  gpu.write(bank.prototypes, fill.signed("prototypes", classes * channels));
  const prototypes = await bank.prototypes.read();
  using stage = new Denoise(network, encoder, bank, { ...options, seed: 0 });
  const batches = denoiseBatches(gpu, fill, testCase, shapes);

  const [{ target }] = batches as [DenoiseBatch];
  if (options.encoderView === "weak") { // else the labels are made of more than the weak view
    const denoised = stage.denoise(target.weak, target.softLabels);
    const digits = Array.from(await denoised.read(), (label) => label === 255 ? "." : label);
    assert.equal(digits.join(""), expected.denoised, "denoised labels");
    denoised.release();
  }

  await runSteps(gpu, stage, batches, expected.losses);
  await assertUpdated(starts[0], expected.network, tolerance);
  await assertUpdated(starts[1], expected.encoder, tolerance);
  await assertStatistics(network, expected.statistics);
  await assertStatistics(encoder, expected.statistics); // copied, not averaged
  const stride = prototypes.length / expected.prototypes.length;
  const kept = (_: number, index: number) => index % stride === 0;
  const before = prototypes.filter(kept);
  const found = (await bank.prototypes.read()).filter(kept);
  assertNear("prototypes", found, expected.prototypes, PROTOTYPES);
  assertNear(
    "what was added to the prototypes",
    found.map((value, index) => value - (before[index] as number)),
    expected.prototypes.map((value, index) => value - (before[index] as number)),
    5e-3, // with the published decay a change is a ten-thousandth of the value
  );
}
