// Options and endings that every command with a GPU shares.

import { type Gpu, type GpuOptions, openGpu, type Peers } from "../kernels/runtime/mod.ts";
import { type Autotune, checkChoices, loadChoices } from "./autotune.ts";
import { formatProfile } from "./profile.ts";

/** What the commands' device options stand for. */
export interface DeviceOptions {
  memoryBudget?: number | undefined;
  profile?: boolean | undefined;
  kernels?: GpuOptions["kernels"];
  /** Whether kernels may be tuned; they are not unless given. */
  autotune?: Autotune | undefined;
  /** The other processes of a job. */
  peers?: Peers | undefined;
}

/** Opens the GPU, gives it to `use`, prints the profile if wanted, and closes it whatever happens. */
export async function withGpu<T>(
  { memoryBudget, profile, kernels, autotune, peers }: DeviceOptions,
  report: (text: string) => void,
  use: (gpu: Gpu) => Promise<T>,
): Promise<T> {
  const gpu = await openGpu({
    memoryBudget,
    profile,
    kernels,
    peers,
    autotune: autotune?.isAsked ? true : autotune && "auto",
  });
  try {
    if (autotune?.isAsked) { // before there is a run
      loadChoices(gpu, autotune.path);
      checkChoices(autotune);
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
