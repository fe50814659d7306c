// Prints Deno's flags, one a line, for what a command may do beside reading: where it will write, and what
// one of several processes needs. The program's start runs this with the command's arguments: a task
// cannot know the folders that are named behind it; this reads them as the command will. Exits with 1
// where it cannot tell, as with a wrong argument, and leaves the error to the command, and where the
// arguments are for a task. What is neither may do nothing: the program's help, or its error.

import { dirname, join } from "node:path";
import { presetConfig } from "../train/config/config.ts";
import type { RunConfig } from "../train/config/settings.ts";
import { autotuneOf } from "./autotune.ts";
import { mpiPermissions } from "./mpi_options.ts";
import { createProgram } from "./program.ts";
import { isTask } from "./tasks.ts";
import { isNamedByTime, resolveConfig, resumedConfig, type TrainFlags } from "./train_config.ts";

/** The flags that say where a command writes, and those of `train`. */
interface Flags extends TrainFlags {
  readonly list?: boolean;
  readonly onnx: string;
  readonly output: string;
  readonly sheet: string;
}

/** What each command that writes writes, by its flags and arguments; a folder stands for all in it. */
const WRITES: Readonly<
  Record<string, (flags: Flags, args: readonly string[]) => string[] | Promise<string[]>>
> = {
  train: writtenByTraining,
  ablate: async (flags) => {
    const config = await resolveConfig(flags, new Date());
    return [flags.out ?? `runs/ablation-${flags.preset ?? "default"}`, ...streetsOf(config)];
  },
  eval: () => streetsOf(presetConfig("default")),
  predict: ({ output }) => [output],
  report: ({ out }, [run]) => [
    ...file(out ?? join(run, "report.html")),
    ...streetsOf(resumedConfig({}, run).config),
  ],
  shrink: ({ out = "" }, [run]) => [out, ...streetsOf(resumedConfig({}, run).config)],
  convert: ({ list }, [, out]) => list || out === undefined ? [] : file(out),
  export: ({ onnx }) => file(onnx),
  inspect: ({ sheet }) => file(sheet),
  generate: ({ out = "" }) => [dirname(out)],
};

async function writtenByTraining(flags: Flags): Promise<string[]> {
  if (flags.dryRun) return [];
  const now = new Date();
  const config = flags.resume === undefined
    ? await resolveConfig(flags, now)
    : resumedConfig(flags, flags.resume).config;
  const parent = dirname(config.out);
  // By default the folder is named by the second in which the run starts, which is a later one.
  const hasOwnData = config.data.sourceDirectory !== null;
  const autotune = autotuneOf(flags.autotune, config.out);
  return [
    isNamedByTime(flags, { config, hasOwnData }, now) ? parent : config.out,
    ...streetsOf(config),
    ...autotune ? file(autotune.path) : [],
  ];
}

/** The folder in which streets appears by a rename, if a run draws it. */
function streetsOf({ data: { sourceDirectory, targetDirectory, streets } }: RunConfig): string[] {
  return sourceDirectory === null || targetDirectory === null ? [dirname(streets.directory)] : [];
}

/** A file, and the name under which it is written before it is renamed. */
function file(path: string): string[] {
  return [path, `${path}.partial`];
}

/** A command line as its command would take it. */
interface Parsed {
  readonly name: string;
  readonly flags: Flags;
  readonly args: readonly string[];
}

/** Null where the command will refuse its arguments or print its help. */
async function parse(args: readonly string[]): Promise<Parsed | null> {
  let parsed: Parsed | null = null;
  const program = createProgram(() => {});
  for (const command of program.commands) {
    command.configureOutput({ writeOut: () => {} }).action(() => {
      const flags = command.opts() as Record<string, unknown> & Flags;
      parsed = { name: command.name(), flags, args: command.args };
    });
  }
  try {
    await program.configureOutput({ writeOut: () => {} }).parseAsync(args, { from: "user" });
  } catch {
    return null;
  }
  return parsed;
}

/**
 * Where a command will write.
 *
 * @param args What stands after the program's name.
 * @returns Null where the command will refuse its arguments or print its help, or no such command writes.
 */
export async function writtenBy(args: readonly string[]): Promise<string[] | null> {
  const parsed = await parse(args);
  return parsed && await writesOf(parsed);
}

async function writesOf({ name, flags, args }: Parsed): Promise<string[] | null> {
  try {
    return await WRITES[name]?.(flags, args) ?? null;
  } catch {
    return null;
  }
}

/**
 * Deno's flags for what a command may do beside reading.
 *
 * @param args What stands after the program's name.
 * @returns Null where that cannot be told, or the command writes nothing that would have to be: its task will
 *   do, which lets no command be one of several processes.
 */
export async function permissionsOf(args: readonly string[]): Promise<string[] | null> {
  const parsed = await parse(args);
  if (!parsed) return null;
  const { name, flags: { mpi } } = parsed;
  const written = name === "doctor" ? null : await writesOf(parsed);
  // Deno's flag takes a list, in which it knows no way to write a comma.
  const isKnown = written !== null && !written.some((path) => path.includes(","));
  // What one of several processes would write, where it is wrong, it will not come to.
  if (!isKnown && mpi === undefined) return null;
  return [
    ...isKnown && written.length > 0 ? [`--allow-write=${written.join()}`] : [],
    ...mpi === undefined ? [] : mpiPermissions(mpi, name === "doctor" ? ["PATH"] : []),
  ];
}

if (import.meta.main) {
  const isForTask = isTask(Deno.args, createProgram(() => {}));
  const permissions = isForTask ? await permissionsOf(Deno.args) : [];
  if (permissions === null || permissions.some((flag) => flag.includes("\n"))) Deno.exit(1);
  console.log(permissions.join("\n"));
}
