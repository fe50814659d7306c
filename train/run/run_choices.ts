// The ways of computing that a run keeps to, from its first step to its last: `choices.json` of its
// folder. Another way gives other last bits.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import project from "../../deno.json" with { type: "json" };
import { DataError } from "../base/data_error.ts";
import { digestOf } from "../base/digest.ts";
import { entriesOf } from "../base/folders.ts";
import type { RunFolder } from "./run_folder.ts";

const RECORD = v.object({
  /** {@link adapterName}. */
  adapter: v.string(),
  /** {@link libraryName}. */
  library: v.string(),
  /** The content of `gpu.choices`. */
  choices: v.record(v.string(), v.string()),
});

/** What the device's adapter is called, with its driver where WebGPU tells it. */
export function adapterName({ adapter }: Gpu): string {
  const { description, vendor, architecture, device } = adapter;
  return [description, vendor, architecture, device].filter((part) => part).join(" ");
}

const KERNELS = new URL("../../kernels/", import.meta.url);

/** What the kernels are, and what compiles them: neither can change without another name. */
export function libraryName(kernels: URL = KERNELS): string {
  const digest = digestOfFolder(kernels).slice(0, 12);
  return `${project.version}, kernels ${digest}, Deno ${Deno.version.deno}`;
}

/** The digest of all files in a folder, and of their names. */
function digestOfFolder(folder: URL): string {
  const files = entriesOf(fileURLToPath(folder)).map(({ name, isDirectory }) => {
    const url = new URL(`${encodeURIComponent(name)}${isDirectory ? "/" : ""}`, folder);
    return [name, isDirectory ? digestOfFolder(url) : digestOf(Deno.readFileSync(url))];
  });
  return digestOf(new TextEncoder().encode(JSON.stringify(files)));
}

/**
 * Settles the choices of a run before its first step. They are written to its folder where there are
 * any.
 *
 * @param signal Where it is aborted meanwhile, nothing is written.
 * @param tune Adds to the device's choices.
 * @throws The signal's reason, if it comes meanwhile.
 */
export async function settleChoices(
  gpu: Gpu,
  folder: RunFolder,
  signal: AbortSignal,
  tune: () => Promise<void> | undefined,
): Promise<void> {
  const { choices } = gpu;
  choices.isNoting = choices.stopwatch !== undefined;
  await tune();
  choices.isNoting = false;
  signal.throwIfAborted();
  const { table } = choices;
  if (!choices.stopwatch && Object.keys(table).length === 0) return;
  const record: v.InferOutput<typeof RECORD> = {
    adapter: adapterName(gpu),
    library: libraryName(),
    choices: table,
  };
  folder.writeChoices(record);
}

/**
 * Gives the device the choices of a run that goes on, and no others.
 *
 * @param isBegun Whether there is a checkpoint.
 * @param message Hears what keeps the run from the bits that it would have had.
 * @returns Whether the run has none for this device, and must settle them.
 * @throws {DataError} If `choices.json` holds something else.
 */
export function restoreChoices(
  gpu: Gpu,
  folder: RunFolder,
  isBegun: boolean,
  message: (text: string) => void,
): boolean {
  const { choices } = gpu;
  choices.isNoting = false;
  choices.replace({});
  const content = folder.readChoices();
  if (content === null) return !isBegun;
  const parsed = v.safeParse(RECORD, content);
  if (!parsed.success) {
    throw new DataError(
      `Cannot resume ${folder.path} as ${
        join(folder.path, "choices.json")
      } is not as a run writes ` +
        "it: expected how the run computes; restore the file, or remove it and accept other last bits",
    );
  }
  const { output: record } = parsed;
  const adapter = adapterName(gpu);
  if (record.adapter !== adapter) {
    message(
      `NOTE: kernels were tuned for "${record.adapter}" so far, which is of no use on "${adapter}": ` +
        "from here on the run computes in other ways",
    );
    return true;
  }
  choices.add(record.choices);
  const library = libraryName();
  if (record.library !== library) {
    message(
      `NOTE: the run has begun with version ${record.library}, and goes on with ${library}: it ` +
        "computes in the ways chosen then, but its last bits may differ",
    );
  }
  return false;
}
