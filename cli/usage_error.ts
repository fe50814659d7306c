// Arguments that commander refuses, as one of our sentences.

import type { CommanderError, CommandUnknownOpts } from "@commander-js/extra-typings";

/**
 * The sentence about an error of usage.
 *
 * @param command The command whose arguments they are; undefined where there is none of that name.
 */
export function usageError(
  error: CommanderError,
  command: CommandUnknownOpts | undefined,
): string {
  const [, hint] = /\n\(Did you mean (.*)\?\)$/.exec(error.message) ?? [];
  const meant = hint === undefined ? "" : `: did you mean ${hint}?`;
  const what = wordingOf(error, command) + meant;
  const next = what.endsWith("?") ? " See" : "; see";
  const name = command?.name();
  return `Cannot run ${name ?? "this"} as ${what}${next} ./run${name ? ` ${name}` : ""} --help`;
}

/** What is wrong, by the error's code; only its text has the flag and the value in question. */
function wordingOf(
  { code, message }: CommanderError,
  command: CommandUnknownOpts | undefined,
): string {
  const [, word = "", given = "", reason = ""] =
    /'([^']*)'(?: argument '(.*)' is invalid\. (.*))?/s.exec(message) ?? [];
  const [flag, value] = word.split(" "); // of `--steps <n>`
  switch (code) {
    case "commander.unknownOption":
      return `it has no option ${word}`;
    case "commander.unknownCommand":
      return `there is no command ${word}`;
    case "commander.missingMandatoryOptionValue":
      return `${flag} is missing: expected ${value}`;
    case "commander.optionMissingArgument":
      return `${flag} has no value: expected ${value}`;
    case "commander.invalidArgument":
      return `${flag} is ${given}: ${reason}`;
    case "commander.missingArgument":
      return `<${word}> is missing`;
    case "commander.excessArguments": {
      const most = command?.registeredArguments.length ?? 0;
      const paths = most === 1 ? "one path" : `${most} paths`;
      const taken = most === 0 ? "it takes options only" : `it takes at most ${paths}`;
      return `${taken}: found ${command?.args.join(", ")}`;
    }
    default:
      return message;
  }
}
