// `--autotune`: the fastest ways of computing what a run computes, and the file that remembers them by
// adapter, driver and library.

import { dirname, join } from "node:path";
import * as v from "valibot";
import type { Gpu } from "../kernels/runtime/mod.ts";
import { checkWritable, writeFileAtomic } from "../train/base/atomic_file.ts";
import { DataError } from "../train/base/data_error.ts";
import { describeFailure } from "../train/base/refusal.ts";
import { digestOf } from "../train/base/digest.ts";
import { exists, makeFolder } from "../train/base/folders.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { tuneTraining } from "../train/plan/tune_training.ts";
import { adapterName, libraryName } from "../train/run/run_choices.ts";

/** Raised when the content of the file changes: one of another version is measured afresh. */
const VERSION = 2;
/** Between two lines of progress. */
const SECONDS_A_LINE = 10;

/** What `--autotune` and its absence stand for. */
export interface Autotune {
  /** The file that remembers what was chosen. */
  readonly path: string;
  /** Whether the user has asked for it: then what is in its way is an error. */
  readonly isAsked: boolean;
  /** Whether the user has said which file. */
  readonly isNamed: boolean;
}

/** Reads the flag; undefined with `--no-autotune`. @param out The run folder. */
export function autotuneOf(flag: string | boolean | undefined, out: string): Autotune | undefined {
  if (flag === false) return undefined;
  const isNamed = typeof flag === "string";
  const path = isNamed ? flag : join(dirname(out), "autotune.json");
  return { path, isAsked: flag !== undefined, isNamed };
}

const Content = v.object({
  version: v.number(),
  /** By adapter, then by what the driver offers and the library. */
  adapters: v.record(
    v.string(),
    v.record(v.string(), v.record(v.string(), v.string())),
  ),
});

/** Takes over the choices that `path` holds for the device, if the file is there. */
export function loadChoices(gpu: Gpu, path: string): void {
  gpu.choices.add(readAdapters(path)[adapterName(gpu)]?.[softwareName(gpu)] ?? {});
}

/**
 * Finds out whether choices can be kept in the file, and makes its folder, but for that of the run
 * folder, which is made with it.
 *
 * @throws {DataError} If they cannot.
 */
export function checkChoices({ path, isNamed }: Autotune): void {
  const folder = dirname(path);
  if (!exists(folder)) {
    if (!isNamed) return;
    makeFolder(folder);
  }
  checkWritable(path);
}

/** Keeps the device's choices in `path`, beside those of other adapters. */
export function saveChoices(gpu: Gpu, path: string): void {
  // Those of another library or driver on this adapter are not asked for again.
  const own = { [softwareName(gpu)]: gpu.choices.table };
  const adapters = { ...readAdapters(path), [adapterName(gpu)]: own };
  const text = `${JSON.stringify({ version: VERSION, adapters }, null, 2)}\n`;
  writeFileAtomic(path, [new TextEncoder().encode(text)]);
}

/** What runs on the adapter: the library, and the driver as far as its features tell it apart. */
export function softwareName({ adapter: { features } }: Gpu): string {
  const driver = digestOf(new TextEncoder().encode([...features].sort().join()));
  return `${libraryName()}, features ${driver.slice(0, 12)}`;
}

/**
 * Chooses the ways of a run on a device, in a minute at most: those that the file remembers, and where
 * the device was opened for it the fastest of the others. Tells of it in a line or two.
 *
 * @throws {DataError} If the file that the user has named cannot be used.
 */
export async function tuneRun(
  gpu: Gpu,
  { path, isAsked }: Pick<Autotune, "path" | "isAsked">,
  { config, classes }: { readonly config: RunConfig; readonly classes: number },
  report: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { choices, adapter } = gpu;
  if (!choices.stopwatch) {
    if (!adapter.isFallback) {
      report(
        `Kernels are not tuned for "${adapter.description}" as it has no timestamp queries: they ` +
          "compute in the ways that are expected to be the fastest",
      );
    }
    return;
  }
  /** Whether the file could be used. */
  const attempt = (use: () => void): boolean => {
    try {
      use();
      return true;
    } catch (error) {
      if (isAsked || !(error instanceof DataError)) throw error;
      report(error.message);
      return false;
    }
  };
  const isSound = attempt(() => loadChoices(gpu, path));
  let told = performance.now();
  const { chosen, skipped, left, milliseconds } = await tuneTraining(gpu, config, classes, {
    signal,
    onProgress: (done, problems) => {
      const now = performance.now();
      if (done > 0 && now - told < 1000 * SECONDS_A_LINE) return;
      told = now;
      report(
        done > 0
          ? `tuning: ${Math.round(100 * done / problems)} % done`
          : `tuning kernels for ${adapter.description}, for a minute at most`,
      );
    },
  });
  if (chosen + skipped + left === 0) return;
  const isKept = chosen > 0 && isSound && attempt(() => saveChoices(gpu, path));
  report([
    `tuned ${chosen} kernels in ${Math.ceil(milliseconds / 1000)} s`,
    ...isKept ? [`kept in ${path}`] : [],
    ...left > 0 && !signal.aborted ? [`${left} are left as they were, as the time was over`] : [],
    ...skipped > 0
      ? [`${skipped} are left as they were, as they do not fit the memory budget`]
      : [],
  ].join("; "));
}

function readAdapters(path: string): v.InferOutput<typeof Content>["adapters"] {
  let content: unknown;
  try {
    content = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    const reason = error instanceof SyntaxError ? "it is not JSON" : describeFailure(error);
    throw failure(path, reason, error);
  }
  const version = v.safeParse(v.object({ version: v.number(), adapters: v.object({}) }), content);
  if (!version.success) throw failure(path, "it holds something else", undefined);
  if (version.output.version !== VERSION) return {};
  const file = v.safeParse(Content, content);
  if (!file.success) throw failure(path, "it holds something else", undefined);
  return file.output.adapters;
}

function failure(path: string, reason: string, cause: unknown): DataError {
  return new DataError(
    `Cannot use autotune file ${path} as ${reason}: expected what --autotune has written; ` +
      "delete it to measure afresh, or give another path",
    { cause },
  );
}
