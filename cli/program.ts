// The command line: what the commands are, and how anything that goes wrong becomes one sentence and
// an exit code.

import { Command, CommanderError } from "@commander-js/extra-typings";
import { addAblate } from "./ablate.ts";
import { addConvert } from "./convert.ts";
import { addDoctor } from "./doctor.ts";
import { addEval } from "./eval.ts";
import { addExport } from "./export.ts";
import { addGenerate } from "./generate.ts";
import { addInspect } from "./inspect.ts";
import { addPredict } from "./predict.ts";
import { addReport } from "./report.ts";
import { addTrain } from "./train.ts";

/** Exit codes beside 0; a stop by signal n gives 128 + n. */
const EXIT = { bug: 1, usage: 2 } as const;
const HELP_WIDTH = 100;

/**
 * Runs a command.
 *
 * @param args What stands after the program's name.
 * @returns The exit code: 0, 2 where what the user gave is wrong, 1 for a bug, 130, 143 or 140
 * after SIGINT, SIGTERM or SIGUSR2.
 */
export async function runProgram(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command("proda")
    .description(
      "Adapts semantic segmentation from labelled source images to unlabelled target images " +
        "(ProDA, arXiv 2101.10979) on any GPU that WebGPU reaches, or on a software driver.",
    )
    .addHelpText("after", "\nEach command explains itself: ./run COMMAND --help")
    .helpCommand(false);
  const finish = (code: number) => {
    exitCode = code;
  };
  addTrain(program, finish);
  addEval(program, finish);
  addPredict(program, finish);
  addAblate(program, finish);
  addReport(program);
  addConvert(program);
  addExport(program);
  addInspect(program, finish);
  addGenerate(program);
  addDoctor(program, finish);
  for (const command of [program, ...program.commands]) {
    command.exitOverride().configureOutput({
      writeErr: () => {}, // errors are printed below, once
      // The defaults look at environment variables, for which there is no permission.
      getOutHasColors: () => false,
      getErrHasColors: () => false,
      getOutHelpWidth: () => HELP_WIDTH,
      getErrHelpWidth: () => HELP_WIDTH,
    });
  }
  try {
    if (args.length === 0) {
      program.outputHelp();
      return EXIT.usage;
    }
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0; // help was asked for and printed
      const names = program.commands.map((command) => command.name());
      console.error(usageError(error, args.find((argument) => names.includes(argument))));
      return EXIT.usage;
    }
    if (isSentence(error)) {
      console.error(error.message);
      return EXIT.usage;
    }
    console.error(error);
    return EXIT.bug;
  }
}

/** Commander's wordings of what can be wrong, and ours. */
const REWORDED: readonly (readonly [RegExp, string])[] = [
  [/^unknown option '(.*?)'/, "it has no option $1"],
  [/^unknown command '(.*?)'/, "there is no command $1"],
  [/^required option '(\S+) (.*)' not specified/, "$1 is missing: expected $2"],
  [/^option '(?:-\w, )?(\S+) (.*)' argument missing/, "$1 has no value: expected $2"],
  [/^option '(?:-\w, )?(\S+) .*' argument '(.*)' is invalid\. E/, "$1 is $2: e"],
  [/^missing required argument '(.*)'/, "<$1> is missing"],
  [
    /^too many arguments.*Expected ([1-9]\d*) .*got \d+: (.*)/,
    "it takes at most $1 paths: found $2",
  ],
  [/^too many arguments.*got \d+: (.*)/, "it takes options only: found $1"],
];

/** Turns `error: unknown option '--sed'\n(Did you mean --seed?)` into a sentence. */
function usageError({ message }: CommanderError, command: string | undefined): string {
  let what = message.replace(/^error: /, "").replace(/\.$/, "")
    .replace(/\n\(Did you mean (.*)\?\)$/, ": did you mean $1?");
  for (const [pattern, wording] of REWORDED) what = what.replace(pattern, wording);
  const help = command === undefined ? "" : ` ${command}`;
  const pause = what.endsWith("?") ? " S" : "; s";
  return `Cannot run ${command ?? "this"} as ${what}${pause}ee ./run${help} --help`;
}

/**
 * Whether an error is one that the project has worded for its users. Such messages begin in one of
 * few ways; the engine's own "Cannot read properties of undefined" must not pass for one.
 */
function isSentence(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  return error.name === "DataError" || /^(Cannot|Training|The GPU) /.test(error.message) &&
      !/^Cannot (read|set) propert|^Cannot (access|convert|destructure|assign|redefine|delete|mix) /
        .test(error.message);
}
