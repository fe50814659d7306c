// SIGINT, SIGTERM and SIGUSR2, and a reader of the output that goes away: finish what is under way, then
// stop.

import { type OutputEnd, outputEnd, printError } from "./output.ts";

/**
 * Turns the first of these into an abort, and a second SIGINT or SIGTERM into an exit. SIGUSR2
 * comes from schedulers, some of which send it to the end; SIGUSR1 would open Deno's debugger.
 */
export class StopSignals implements Disposable {
  readonly #controller = new AbortController();
  readonly #message: (text: string) => void;
  readonly #unit: string;
  readonly #listeners: [Deno.Signal, () => void][] = [];
  /** 0, or 128 + the signal's number once one has come; what the end of the output gives. */
  exitCode = 0;

  /**
   * Listens until disposed.
   *
   * @param unit What is finished before the stop: `step` or `image`.
   */
  constructor(message: (text: string) => void, unit: string) {
    this.#message = message;
    this.#unit = unit;
    if (outputEnd.aborted) this.#endOutput();
    outputEnd.addEventListener("abort", this.#endOutput);
    this.#listen("SIGINT", 130);
    if (Deno.build.os === "windows") return;
    this.#listen("SIGTERM", 143);
    this.#listen("SIGUSR2", 128 + (Deno.build.os === "linux" ? 12 : 31));
  }

  /** Nobody is told: standard output takes nothing more. */
  readonly #endOutput = () => {
    if (this.signal.aborted) return;
    this.exitCode = (outputEnd.reason as OutputEnd).exitCode;
    this.#controller.abort();
  };

  /** Says something where somebody still reads it. */
  message(text: string): void {
    (outputEnd.aborted ? printError : this.#message)(text);
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Stops as another process does, which has told its exit code. */
  follow(exitCode: number): void {
    if (this.signal.aborted) return;
    this.exitCode = exitCode;
    this.#controller.abort();
  }

  /** Runs `work`; null where it gave up because of the signal. */
  async guard<T>(work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      if (error === this.signal.reason) return null;
      throw error;
    }
  }

  #listen(name: Deno.Signal, exitCode: number): void {
    const listener = () => {
      const isPatient = name === "SIGUSR2";
      if (this.signal.aborted) {
        if (isPatient) return;
        Deno.exit(exitCode);
      }
      this.exitCode = exitCode;
      const again = isPatient ? "SIGINT or SIGTERM" : "the same signal again";
      this.#message(`Stopping after this ${this.#unit}; ${again} stops at once, unsaved`);
      this.#controller.abort();
    };
    Deno.addSignalListener(name, listener);
    this.#listeners.push([name, listener]);
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    outputEnd.removeEventListener("abort", this.#endOutput);
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
