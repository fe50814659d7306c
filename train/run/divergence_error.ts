import { countNonfinite } from "../../kernels/nonfinite.ts";
import type { AnyArray, GpuArray } from "../../kernels/runtime/mod.ts";
import { NonfiniteOutputError } from "../evaluation/evaluate.ts";

/** A training whose losses or weights are no longer finite numbers; no checkpoint holds what it has become. */
export class DivergenceError extends RangeError {
  /** The class name. */
  override readonly name = "DivergenceError";
}

/** What an evaluation threw, where the network's output tells that the training has diverged. */
export function diverged(error: unknown, stage: string, step: number): unknown {
  if (!(error instanceof NonfiniteOutputError)) return error;
  return new DivergenceError(
    `Training diverged in stage ${stage} after step ${step} as ${error.reason}: lower the learning rate`,
    { cause: error },
  );
}

/**
 * Checks what a checkpoint is about to hold: the losses are those of the weights before the update.
 *
 * @throws {DivergenceError} If an array has NaN or an infinity.
 */
export async function checkDiverged(
  arrays: ReadonlyMap<string, AnyArray>,
  stage: string,
  step: number,
): Promise<void> {
  const floats = [...arrays].filter((entry): entry is [string, GpuArray] =>
    entry[1].dtype === "f32"
  );
  const [[, { gpu }]] = floats;
  const count = async (...counted: GpuArray[]) => {
    using total = countNonfinite(gpu, counted);
    return (await total.read())[0] ?? 0;
  };
  if (await count(...floats.map(([, array]) => array)) === 0) return;
  for (const [name, array] of floats) {
    const found = await count(array);
    if (found === 0) continue;
    throw new DivergenceError(
      `Training diverged in stage ${stage} by step ${step} as ${found} of ${array.size} numbers of ` +
        `${name} are NaN or infinite: lower the learning rate`,
    );
  }
}
