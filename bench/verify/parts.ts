// What `gpu:verify` runs, in order: each part is a process of its own, so that a lost device, an
// abort or a hang ends that part alone.

/** How the output of a part is understood. */
export type PartKind = "part" | "tests";

/** A part of the verification. */
export interface PartDefinition {
  /** Its name in the report. */
  readonly name: string;
  /** Seconds after which it is killed, on a GPU. */
  readonly seconds: number;
  /** `part` for a file that calls `runPart`; `tests` for files that `deno test` runs. */
  readonly kind: PartKind;
  /** The file, from the root of the project; or those of tests, and folders of them. */
  readonly paths: readonly string[];
  /** Files and folders of tests that are left out. */
  readonly without?: readonly string[];
  /** Whether a software adapter is taken for a GPU, so that the tests run what a GPU runs. */
  readonly asGpu?: boolean;
  /** Arguments of the part. */
  readonly args?: readonly string[];
}

/**
 * All parts; the times on a GPU are less than eight minutes together. The last may lose the device.
 */
export const PARTS: readonly PartDefinition[] = [
  { name: "adapter", seconds: 20, kind: "part", paths: ["bench/verify/adapter.ts"] },
  { name: "roofs", seconds: 25, kind: "part", paths: ["bench/verify/roofs.ts"] },
  {
    name: "kernel tests",
    seconds: 100,
    kind: "tests",
    // Formats of files have nothing to do with the GPU, and need a package.
    paths: ["tests/kernels", "tests/nn"],
    without: ["tests/nn/formats", "tests/nn/golden_test.ts"],
    asGpu: true,
  },
  {
    name: "goldens",
    seconds: 45,
    kind: "tests",
    paths: ["tests/nn/golden_test.ts", "tests/train/stages/stages_test.ts"],
  },
  { name: "throughput", seconds: 60, kind: "part", paths: ["bench/verify/throughput.ts"] },
  { name: "autotune", seconds: 40, kind: "part", paths: ["bench/verify/autotune.ts"] },
  ...(["streets", "R50", "R101"] as const).map((network) => ({
    name: `steps of ${network}`,
    seconds: network === "streets" ? 30 : network === "R50" ? 35 : 50,
    kind: "part" as const,
    paths: ["bench/verify/steps.ts"],
    args: [network],
  })),
  { name: "losses", seconds: 40, kind: "part", paths: ["bench/verify/losses.ts"] },
  { name: "watchdog", seconds: 25, kind: "part", paths: ["bench/verify/watchdog.ts"] },
];

/** A software adapter is some hundred times as slow; parts get this many times as long there. */
export const SOFTWARE_PATIENCE = 3;
