import type { AdviceOptions } from "../../kernels/runtime/mod.ts";

/** What a {@link DataError} holds beside its sentence. */
export interface DataErrorOptions extends AdviceOptions {
  /** Lines of a table below the sentence. */
  readonly rows?: readonly string[];
}

/**
 * Something that the user gave is wrong: a data set, an image, a run folder, a checkpoint. The
 * message is one sentence that names the file, what was found, what was expected and a way out; the
 * command line prints it and exits with code 2.
 */
export class DataError extends Error {
  /** The class name. */
  override readonly name = "DataError";
  /** The options that its advice is about: keys of the configuration, or options of a function. */
  readonly options: readonly string[];

  /** Takes the sentence, which speaks of options and never of flags, and these options. */
  constructor(message: string, { options = [], rows = [], ...rest }: DataErrorOptions = {}) {
    super([message, ...rows].map(oneLine).join("\n"), rest);
    this.options = options;
  }
}

/** A text on one line, whatever a file in it is called. */
export function oneLine(text: string): string {
  return text.replaceAll("\n", "\\n");
}

/** A list for use in a sentence: the first few names, and how many more there are. */
export function shortList(names: readonly string[]): string {
  if (names.length === 0) return "nothing";
  const rest = names.length > 4 ? ` and ${names.length - 4} more` : "";
  return names.slice(0, 4).join(", ") + rest;
}
