// Options and endings that every command with a GPU shares.

import type { Gpu, GpuOptions } from "../kernels/runtime/mod.ts";

/** What the commands' device options give. */
export interface DeviceFlags {
  memoryBudget?: number | undefined;
  profile?: boolean | undefined;
  kernels?: GpuOptions["kernels"];
}

/** Opens the GPU, gives it to `use`, prints the profile if wanted, and closes it whatever happens. */
export async function withGpu<T>(
  { memoryBudget, profile, kernels }: DeviceFlags,
  report: (text: string) => void,
  use: (gpu: Gpu) => Promise<T>,
): Promise<T> {
  const { openGpu } = await import("../kernels/runtime/mod.ts");
  const gpu = await openGpu({ memoryBudget, profile, kernels });
  try {
    const result = await use(gpu);
    if (gpu.profiler) {
      const { formatProfile } = await import("./profile.ts");
      report(formatProfile(await gpu.profiler.report()));
    }
    return result;
  } finally {
    gpu.close();
  }
}
