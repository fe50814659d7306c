// The tasks of deno.json that are no commands of the program: who starts both by `./run` finds both in its
// help, which says what a task is without running it.

import type { Command } from "@commander-js/extra-typings";
import configuration from "../deno.json" with { type: "json" };
import { DataError } from "../train/base/data_error.ts";

/** Those that a user wants to see beside the commands, in this order; the others are for development. */
const FOR_USERS = ["demo", "earth", "gpu:verify", "test"];
/** Those that take `--help` themselves. */
const EXPLAIN_THEMSELVES: readonly string[] = ["gpu:verify"];
const HELP = ["--help", "-h"];

const TASKS = new Map<string, { readonly description: string; readonly command: string }>(
  Object.entries(configuration.tasks),
);

/** Whether arguments are for `deno task`; all others, right or wrong, the program answers. */
export function isTask([name, ...others]: readonly string[], program: Command): boolean {
  if (name === undefined || !TASKS.has(name)) return false;
  if (program.commands.some((command) => command.name() === name)) return true;
  return EXPLAIN_THEMSELVES.includes(name) || !others.some((argument) => HELP.includes(argument));
}

/** Adds the tasks to the program's help; each is there to be explained. */
export function addTasks(program: Command): void {
  const commands = program.commands.map((command) => command.name());
  const names = [...TASKS.keys()].filter((name) => !commands.includes(name));
  const forUsers = FOR_USERS.filter((name) => names.includes(name));
  for (const name of [...forUsers, ...names.filter((name) => !forUsers.includes(name))]) {
    const { description, command } = TASKS.get(name) as { description: string; command: string };
    program.command(name, { hidden: !forUsers.includes(name) })
      .summary(description[0].toLowerCase() + description.slice(1))
      .description(`${description}.`)
      .argument("[arguments...]")
      .allowUnknownOption()
      .helpGroup("Other tasks:")
      .addHelpText("after", `\nA task of deno.json, which hands arguments on to:\n  ${command}`)
      .action(() => {
        throw new DataError(
          `Cannot run ${name} as it is a task of deno.json: expected a command; use deno task ${name}`,
        );
      });
  }
  const others = names.filter((name) => !forUsers.includes(name));
  const text = `For development, each explained by --help: ${others.join(", ")}`;
  program.addHelpText("after", ({ command }) => {
    const width = command.configureOutput().getOutHelpWidth?.() ?? 80;
    return `\n${command.createHelp().boxWrap(text, width)}`;
  });
}
