// Weights transformed for Winograd's algorithm; in the shared class those of one buffer in one
// dispatch.

import { dispatch, elementCount, type GpuArray, type Shape } from "../runtime/mod.ts";
import { computedFrom, type PlacedWeight, type WeightComputation } from "./weights_together.ts";
import type { WinogradForm, WinogradWeightParams } from "./winograd_form.ts";

/** Bytes of transformed weights that are kept. */
const MOST_KEPT_BYTES = 2 ** 26;

/** What a kernel is told of a weight, but for where it lies. */
type Settings = Omit<WinogradWeightParams, "origin" | "first">;

/**
 * Transforms weights for `winogradCorrelate`. They are kept until the weights change, but for large
 * ones: those take more memory than they save time.
 *
 * @param weight [O, C, 3, 3].
 * @param reversed Whether for the gradient of the input, which sums over O.
 * @returns [places, channels to sum over, channels of the result up to a multiple of 4].
 */
export function winogradWeight(form: WinogradForm, weight: GpuArray, reversed: boolean): GpuArray {
  const [outChannels, inChannels] = weight.shape as [number, number];
  const ofOutput = { count: outChannels, step: inChannels * 9 };
  const ofInput = { count: inChannels, step: 9 };
  const [rows, columns] = reversed ? [ofOutput, ofInput] : [ofInput, ofOutput];
  const settings = {
    rows: rows.count,
    columns: columns.count,
    rowStep: rows.step,
    columnStep: columns.step,
    reversed: reversed ? 1 : 0,
  };
  const transform = transformOf(form);
  const bytes = 4 * elementCount(transform.shapeOf(settings));
  if (bytes > MOST_KEPT_BYTES) return transform.alone(weight, settings);
  const key = reversed ? `reversed ${form.name}` : form.name;
  return computedFrom(weight, transform, key, settings);
}

function transformOf(form: WinogradForm): WeightComputation<Settings> {
  const shapeOf = ({ rows, columns }: Settings) =>
    [form.places, rows, Math.ceil(columns / 4) * 4] as const;
  return {
    name: `transformed weights of ${form.name}`,
    shapeOf,
    alone(weight, settings) {
      const u = weight.gpu.empty(shapeOf(settings), `transformed ${weight.label}`);
      const params = { ...settings, origin: 0, first: 0 };
      dispatch(form.weight, { weight, u }, params, invocations(form, u.shape));
      return u;
    },
    together: (weight, weights, u) => transformTogether(form, { weight, u }, weights),
  };
}

function transformTogether(
  form: WinogradForm,
  { weight, u }: { weight: GpuArray; u: GpuArray },
  weights: readonly PlacedWeight<Settings>[],
): void {
  const entries = weights.flatMap(({ settings, origin, first }) => {
    const entry = { ...settings, origin, first: first / form.owned };
    return form.weight.params.map(([name]) => entry[name as keyof WinogradWeightParams]);
  });
  const most = Math.max(...weights.map(({ shape }) => invocations(form, shape)));
  const grid = [Math.ceil(most / form.weights.workgroupSize), weights.length] as const;
  using table = weight.gpu.upload(
    Uint32Array.from(entries),
    [entries.length],
    "weights to transform",
  );
  dispatch(form.weights, { weight, table, u }, {}, grid);
}

/** Invocations that transform a weight. */
function invocations({ owned, places }: WinogradForm, shape: Shape): number {
  return elementCount(shape) / places / owned;
}
