// What `deno test` prints, read as it comes: counts and failures are known even where it does not end.

import type { Status } from "./part.ts";
import { describeEnd, type Ending } from "./ending.ts";

/** `name ... ok (12ms)`, with what went before it on the line. */
const RESULT = /^(.*) \.\.\. (?:.*)?(ok|FAILED|ignored)(?: \([^)]*\))?$/;
/** `name ...`, while it runs. */
const RUNNING = /^(.*) \.\.\.\s*$/;
/** `running 5 tests from ./tests/nn/x_test.ts`. */
const FILE = /^running \d+ tests? from (.*)$/;
/** `name => ./tests/nn/x_test.ts:3:6`, above an error. */
const FAILURE = /^(.*) => (.*):\d+:\d+$/;
/** `error: AssertionError: …`. */
const ERROR = /^error: (.*)$/;
/** Failures that are listed. */
const LISTED = 12;

/** Reads the output of `deno test`. */
export class TestLog {
  readonly #failed: string[] = [];
  readonly #messages = new Map<string, string>();
  readonly #broken: string[] = [];
  #passed = 0;
  #ignored = 0;
  #file = "";
  #running: string | null = null;
  #failure: string | null = null;

  /** Takes the next line. */
  read(line: string): void {
    const file = FILE.exec(line);
    const result = RESULT.exec(line);
    const failure = FAILURE.exec(line);
    const error = ERROR.exec(line);
    if (file) this.#file = file[1] as string;
    else if (result) this.#count(result[1] as string, result[2] as string);
    else if (failure) this.#failure = failure[1] as string;
    else if (error && this.#failure !== null) {
      this.#messages.set(this.#failure, error[1] as string);
      this.#failure = null;
    } else if (error && this.#failed.length === 0) this.#broken.push(error[1] as string);
    this.#running = RUNNING.exec(line)?.[1] ?? (result ? null : this.#running);
  }

  #count(name: string, result: string): void {
    if (result === "ok") this.#passed++;
    else if (result === "ignored") this.#ignored++;
    else this.#failed.push(`${name} (${this.#file})`);
  }

  /** The result of a run that ended so. */
  conclude(
    ending: Ending,
    seconds: number,
  ): { readonly status: Status; readonly line: string; readonly markdown: string } {
    const failed = this.#failed.length;
    const counts = `${this.#passed} passed, ${failed} failed, ${this.#ignored} ignored`;
    const isWhole = ending === 0 || (ending === 1 && failed > 0);
    const broken = this.#broken.length > 0 ? `: ${this.#broken[0]}` : "";
    const why = isWhole ? "" : `; ${describeEnd(ending, seconds)}${broken}`;
    const at = !isWhole && this.#running !== null ? `, in “${this.#running}”` : "";
    const status = failed > 0 ? "WRONG" : isWhole && this.#passed > 0 ? "ok" : "failed";
    const list = this.#failed.slice(0, LISTED).map((name) => {
      const message = this.#messages.get(name.replace(/ \([^(]*\)$/, ""));
      return `- ${name}${message === undefined ? "" : `: \`${clipped(message)}\``}`;
    });
    if (failed > LISTED) list.push(`- and ${failed - LISTED} more`);
    return {
      status,
      line: `${counts}${why}${at}`,
      markdown: [`${counts}${why}${at}.`, ...(failed > 0 ? ["", ...list] : [])].join("\n"),
    };
  }
}

function clipped(text: string): string {
  const plain = text.replaceAll("`", "'");
  return plain.length > 160 ? `${plain.slice(0, 160)}…` : plain;
}
