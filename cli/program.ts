// The command line: what the commands are, and how anything that goes wrong becomes one sentence and
// an exit code.

import {
  Command,
  CommanderError,
  type CommandUnknownOpts,
  type Help,
  Option,
} from "@commander-js/extra-typings";
import { GpuError, MemoryError } from "../kernels/runtime/errors.ts";
import { DataError } from "../train/base/data_error.ts";
import { describeFailure as reasonOf } from "../train/base/refusal.ts";
import { CollectiveError } from "../train/parallel/collective.ts";
import { DivergenceError } from "../train/run/divergence_error.ts";
import { TrainingError } from "../train/run/training_error.ts";
import { addAblate } from "./ablate.ts";
import { addConvert } from "./convert.ts";
import { addDoctor } from "./doctor.ts";
import { addEval } from "./eval.ts";
import { addExport } from "./export.ts";
import { addGenerate } from "./generate.ts";
import { addInspect } from "./inspect.ts";
import { FailedRank } from "./job.ts";
import { flagsFor } from "./options.ts";
import { type OutputEnd, outputEnd, printError, writeTo } from "./output.ts";
import { addShrink } from "./shrink.ts";
import { addPredict } from "./predict.ts";
import { addReport } from "./report.ts";
import { addTasks } from "./tasks.ts";
import { addTrain } from "./train.ts";
import { usageError } from "./usage_error.ts";

/**
 * The user's fault, or a state of the machine: their messages are sentences for the user. Anything else
 * is a bug, and its stack trace is printed.
 */
const SENTENCES = [
  DataError,
  GpuError,
  MemoryError,
  CollectiveError,
  TrainingError,
  DivergenceError,
] as const;
/** Those of a training that has failed while it ran. */
const FAILED_TRAINING = [TrainingError, DivergenceError] as const;

/** Exit codes beside 0; a stop by signal n gives 128 + n. */
const EXIT = { bug: 1, usage: 2, training: 3 } as const;
const HELP_WIDTH = 100;

const FIRST_DAY = `On the first day:
  ./run doctor                               says whether training can run on this machine
  ./run train --preset quick                 shows the path to the target in a minute and a half
  ./run train                                adapts a network on the built-in benchmark
  ./run inspect --data DIR --layout folder   checks images of your own, before a run with them`;

/** The program with all its commands. @param finish Takes the exit code of a command. */
export function createProgram(finish: (exitCode: number) => void): Command {
  const program = new Command("./run")
    .usage("COMMAND [options]")
    .description(
      "Adapts semantic segmentation from labelled source images to unlabelled target images " +
        "(ProDA, arXiv 2101.10979) on any GPU that WebGPU reaches, or on a software driver.\n\n" +
        FIRST_DAY,
    )
    .addHelpText(
      "after",
      `
Each command explains itself: ./run COMMAND --help
Exit codes: 0; 2 where what was given is wrong; 3 where a training failed while it ran; 1 for a
mistake of the program, and of inspect where it found problems; 75 where one of several processes
does not answer; 128 + n after signal n.`,
    )
    .helpCommand(false)
    // Commands that are added below take all this over.
    .addHelpOption(new Option("-h, --help").hideHelp()) // who reads it has found it
    .configureHelp({ commandUsage, subcommandTerm })
    .exitOverride()
    .configureOutput({
      writeErr: () => {}, // errors are printed below, once
      writeOut: (text) => writeTo("stdout", text),
      // The defaults look at environment variables, for which there is no permission.
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      getOutHelpWidth: () => HELP_WIDTH,
      getErrHelpWidth: () => HELP_WIDTH,
    });
  program.commandsGroup("Training:");
  addTrain(program, finish);
  addAblate(program, finish);
  addReport(program);
  program.commandsGroup("Trained networks:");
  addEval(program, finish);
  addPredict(program, finish);
  addExport(program);
  addConvert(program);
  addShrink(program, finish);
  program.commandsGroup("Images:");
  addInspect(program, finish);
  addGenerate(program, finish);
  program.commandsGroup("This machine:");
  addDoctor(program, finish);
  for (const command of program.commands) showDefaults(command);
  return program;
}

/** `./run report <run> [options]`: after the name all that must be there. */
function commandUsage(this: Help, command: CommandUnknownOpts): string {
  if (command.parent === null) return `${command.name()} ${command.usage()}`;
  const required = command.options.filter(({ mandatory }) => mandatory).map(({ flags }) => flags);
  const paths = command.registeredArguments.map((argument) =>
    argument.required
      ? `<${argument.name()}>`
      : `[${argument.name()}${argument.variadic ? "..." : ""}]`
  );
  const others = command.options.length > required.length ? ["[options]"] : [];
  return [command.parent.name(), command.name(), ...paths, ...required, ...others].join(" ");
}

/** A command in the list of all: what it takes is said in its own help. */
function subcommandTerm(command: CommandUnknownOpts): string {
  return command.name();
}

/** Shows defaults as they would be typed. */
function showDefaults({ options }: CommandUnknownOpts): void {
  for (const option of options) {
    if (Array.isArray(option.defaultValue)) option.defaultValueDescription = "none";
    if (typeof option.defaultValue === "string") {
      option.defaultValueDescription = option.defaultValue;
    }
  }
}

/**
 * Runs a command.
 *
 * @param args What stands after the program's name.
 * @returns The exit code: 0, 2 where what the user gave is wrong, 3 where a training has failed while it
 * ran, 1 for a bug, 130, 143 or 140 after SIGINT, SIGTERM or SIGUSR2, 141 where the reader of the output
 * has gone.
 */
export async function runProgram(args: readonly string[]): Promise<number> {
  const exitCode = await runCommand(args);
  if (!outputEnd.aborted) return exitCode;
  const end: OutputEnd = outputEnd.reason;
  if (end.message !== null) printError(end.message);
  return exitCode === 0 ? end.exitCode : exitCode;
}

async function runCommand(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = createProgram((code) => exitCode = code);
  addTasks(program);
  let command: CommandUnknownOpts | undefined;
  program.hook("preSubcommand", (_, found) => void (command = found));
  try {
    if (args.length === 0) {
      program.outputHelp();
      return EXIT.usage;
    }
    // `help train` is `train --help`.
    const asked = args[0] === "help" ? [...args.slice(1), "--help"] : args;
    await program.parseAsync(asked, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0; // help was asked for
    const { exitCode, shown } = describeFailure(error, command);
    const text = typeof shown === "string" ? shown : Deno.inspect(shown);
    if (error instanceof FailedRank) return await error.job.end(exitCode, text);
    printError(text);
    return exitCode;
  }
}

/** How a failed command ends: its exit code, and what is shown, a sentence or else the whole error. */
export function describeFailure(
  error: unknown,
  command?: CommandUnknownOpts,
): { exitCode: number; shown: unknown } {
  if (error instanceof FailedRank) {
    // What connects the ranks has failed while they worked together.
    if (error.cause instanceof CollectiveError) {
      return { exitCode: EXIT.training, shown: error.cause.message };
    }
    return describeFailure(error.cause, command);
  }
  if (error instanceof SuppressedError) return describeFailure(error.suppressed, command); // the first
  if (error instanceof CommanderError) {
    return { exitCode: EXIT.usage, shown: usageError(error, command) };
  }
  if (SENTENCES.some((kind) => error instanceof kind)) {
    const isTraining = FAILED_TRAINING.some((kind) => error instanceof kind);
    const exitCode = isTraining ? EXIT.training : EXIT.usage;
    return { exitCode, shown: withFlags(error as Error, command) };
  }
  if (error instanceof Deno.errors.NotCapable) {
    const what = command?.name() ?? "this";
    return { exitCode: EXIT.usage, shown: `Cannot run ${what} as ${reasonOf(error)}` };
  }
  return { exitCode: EXIT.bug, shown: error };
}

/** An error's sentence, and behind it the flags of the command for what the error advises. */
function withFlags(
  { message, options = [] }: Error & { readonly options?: readonly string[] },
  command: CommandUnknownOpts | undefined,
): string {
  const flags = command ? flagsFor(options, command) : [];
  return flags.length === 0 ? message : `${message} (${flags.join(", ")})`;
}
