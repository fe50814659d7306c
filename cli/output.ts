// All that the commands print goes through here: nothing that a file, a class or a driver is called
// commands the terminal, and a reader that goes away ends no command with a stack trace.

import { describeFailure, isRefusal } from "../train/base/refusal.ts";

const encoder = new TextEncoder();
const ended = new AbortController();

/** Why standard output takes nothing more, and what the command exits with. */
export interface OutputEnd {
  /** 141, 128 + SIGPIPE, as of every command whose reader has gone; 2 where it could not be written. */
  readonly exitCode: number;
  /** The sentence to show; null where a reader that has gone has read enough. */
  readonly message: string | null;
}

/** Aborted once standard output takes nothing more; the reason is an {@link OutputEnd}. */
export const outputEnd: AbortSignal = ended.signal;

/** Prints lines on standard output. */
export function print(text: string): void {
  writeTo("stdout", `${visible(text)}\n`);
}

/** Prints lines on standard error. */
export function printError(text: string): void {
  writeTo("stderr", `${visible(text)}\n`);
}

/** Writes text as it is; once a stream takes nothing more, that does nothing. */
export function writeTo(stream: "stdout" | "stderr", text: string): void {
  if (stream === "stdout" && ended.signal.aborted) return;
  const bytes = encoder.encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno[stream].writeSync(bytes.subarray(at));
  } catch (error) {
    if (!isRefusal(error)) throw error;
    if (stream === "stdout") ended.abort(endOf(error)); // standard error has nowhere to complain
  }
}

function endOf(error: Error): OutputEnd {
  if (error instanceof Deno.errors.BrokenPipe) return { exitCode: 141, message: null };
  const message = `Cannot write standard output as ${describeFailure(error)}; ` +
    "make room, or send it elsewhere";
  return { exitCode: 2, message };
}

/** Line ends and tabs are text. So is what turns the direction of writing, but not what it seems to be. */
// deno-lint-ignore no-control-regex
const CONTROL = /[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text with its control characters spelled out, as JSON spells them: `\u001b`. */
export function visible(text: string): string {
  return text.replace(
    CONTROL,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
