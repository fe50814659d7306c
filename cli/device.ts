// Options and endings that every command with a GPU shares.

import { type Gpu, type GpuOptions, openGpu } from "../kernels/runtime/mod.ts";
import { checkChoices, loadChoices, saveChoices } from "./autotune.ts";
import { formatProfile } from "./profile.ts";

/** What the commands' device options stand for. */
export interface DeviceOptions {
  memoryBudget?: number | undefined;
  profile?: boolean | undefined;
  kernels?: GpuOptions["kernels"];
  /** Path of the file that remembers what was tuned. */
  autotune?: string | undefined;
}

/** Opens the GPU, gives it to `use`, prints the profile if wanted, and closes it whatever happens. */
export async function withGpu<T>(
  { memoryBudget, profile, kernels, autotune }: DeviceOptions,
  report: (text: string) => void,
  use: (gpu: Gpu) => Promise<T>,
): Promise<T> {
  const gpu = await openGpu({
    memoryBudget,
    profile,
    kernels,
    autotune: autotune !== undefined,
  });
  try {
    if (autotune !== undefined) {
      loadChoices(gpu, autotune);
      checkChoices(autotune); // before hours of work
      gpu.choices.onTuned = () => saveChoices(gpu, autotune);
    }
    const result = await use(gpu);
    if (gpu.profiler) {
      report(formatProfile(await gpu.profiler.report()));
    }
    return result;
  } finally {
    gpu.close();
  }
}
