// What `--profile` prints.

import type { KernelProfile } from "../kernels/runtime/mod.ts";
import { tableLines } from "../train/base/text.ts";

const SHOWN = 15;

/** The most expensive kernels as a table: calls, milliseconds, share, GFLOP/s and GB/s. */
export function formatProfile(kernels: readonly KernelProfile[]): string {
  const number = (value: number) => value === 0 ? "–" : value.toFixed(1);
  const rows = kernels.slice(0, SHOWN).map((kernel) => [
    kernel.label,
    String(kernel.calls),
    kernel.milliseconds.toFixed(1),
    `${(100 * kernel.share).toFixed(1)} %`,
    number(kernel.gigaflops),
    number(kernel.gigabytes),
  ]);
  const lines = tableLines([["kernel", "calls", "ms", "share", "GFLOP/s", "GB/s"], ...rows]);
  const rest = kernels.slice(SHOWN);
  if (rest.length > 0) {
    const milliseconds = rest.reduce((sum, kernel) => sum + kernel.milliseconds, 0);
    lines.push(`and ${rest.length} more kernels, ${milliseconds.toFixed(1)} ms`);
  }
  return lines.join("\n");
}
