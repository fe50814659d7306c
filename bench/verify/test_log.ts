// What `deno test` prints, read as it comes: counts and failures are known even where it does not
// end.

import type { Status } from "./part.ts";
import { describeEnd, type Ending } from "./ending.ts";

/** `./tests/nn/x_test.ts => name ... ok (12ms)`; without the file where files run one by one. */
const RESULT = /^(.*) \.\.\. (?:.*)?(ok|FAILED|ignored)(?: \([^)]*\))?$/;
/** `name => ./tests/nn/x_test.ts:3:6`, above an error. */
const FAILURE = /^(.*) => (.*):\d+:\d+$/;
/** `error: AssertionError: …`. */
const ERROR = /^error: (?!Test failed)(.*)$/;
/** What says that nothing was computed at all. */
const NO_GPU = /Cannot open a GPU/;
/** Failures that are listed. */
const LISTED = 12;

/** Reads the output of `deno test`. */
export class TestLog {
  readonly #failed: string[] = [];
  readonly #messages = new Map<string, string>();
  readonly #broken: string[] = [];
  #passed = 0;
  #ignored = 0;
  #failure: string | null = null;

  /** Takes the next line. */
  read(line: string): void {
    const result = RESULT.exec(line);
    const failure = FAILURE.exec(line);
    const error = ERROR.exec(line);
    if (result) this.#count(result[1] as string, result[2] as string);
    else if (failure) this.#failure = failure[1] as string;
    else if (error && this.#failure !== null) {
      this.#messages.set(this.#failure, error[1] as string);
      this.#failure = null;
    } else if (error && this.#failed.length === 0) this.#broken.push(error[1] as string);
  }

  #count(name: string, result: string): void {
    if (result === "ok") this.#passed++;
    else if (result === "ignored") this.#ignored++;
    else this.#failed.push(name);
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
    const closed = [...this.#messages.values()].filter((message) => NO_GPU.test(message)).length;
    const isWrong = failed > 0 && closed < failed / 2;
    const status = isWrong
      ? "WRONG"
      : failed > 0
      ? "failed"
      : isWhole && this.#passed > 0
      ? "ok"
      : "failed";
    const list = this.#failed.slice(0, LISTED).map((name) => {
      const message = this.#messages.get(name.replace(/^.* => /, ""));
      return `- ${name}${message === undefined ? "" : `: \`${clipped(message)}\``}`;
    });
    if (failed > LISTED) list.push(`- and ${failed - LISTED} more`);
    return {
      status,
      line: `${counts}${why}`,
      markdown: [`${counts}${why}.`, ...(failed > 0 ? ["", ...list] : [])].join("\n"),
    };
  }
}

function clipped(text: string): string {
  const plain = text.replaceAll("`", "'");
  return plain.length > 160 ? `${plain.slice(0, 160)}…` : plain;
}
