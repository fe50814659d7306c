// Steps of a stage against a golden: losses, what was added to parameters, running statistics.

import { strict as assert } from "node:assert";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { Module } from "../../nn/module.ts";
import { releaseBatch } from "../../train/stages/batch.ts";
import type { Stage } from "../../train/stages/stage.ts";
import type { Summary } from "../goldens/fill.ts";
import { assertNear, assertSummary } from "../goldens/golden.ts";
import { arraysIn, type Case, readAll, type Row, type Rows, take, type Values } from "./_stages.ts";

const LOSS = 1e-4;
/** Of prototypes. */
export const PROTOTYPES = 1e-5;
/** Of parameters after the steps, and of running statistics. */
const VALUE = 1e-4;
/**
 * Of what the steps have added to parameters: its norm, and single values, which are differences of
 * rounded numbers. An error of a thousandth in a gradient would be lost in the parameters themselves.
 */
const UPDATE = { norm: 5e-4, sample: 2e-3 };

/** A module and its parameters as they are at the start. */
export interface Start {
  readonly module: Module;
  readonly values: Values;
}

export async function startOf(module: Module): Promise<Start> {
  return { module, values: await parametersOf(module) };
}

function parametersOf(module: Module): Promise<Values> {
  return readAll(new Map([...module.namedParameters()].map(([name, { array }]) => [name, array])));
}

/** Compares parameters, and what has been added to them, with the golden. */
export async function assertUpdated({ module, values }: Start, expected: Rows): Promise<void> {
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
 * to the caller.
 */
export async function runSteps<B>(
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
    const found = await take(stage.step(batch, step));
    assert.equal(held(), before, `bytes left behind by step ${step}`);
    assert.deepEqual(await gpu.readAll(arraysIn(batch)), given, "the batch stays as it is");
    assert.deepEqual(Object.keys(found), Object.keys(expected[step] ?? {}), "names of the losses");
    for (const [name, value] of Object.entries(expected[step] ?? {})) {
      assertNear(`${name} loss of step ${step}`, [found[name] as number], [value], LOSS);
    }
  }
  for (const batch of batches) releaseBatch(batch);
}
