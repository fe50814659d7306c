// What a thread needs to start, and its errors on their way out of it.

import { fileURLToPath } from "node:url";
import { DataError } from "./data_error.ts";

/** An error as a thread posts it: a message between threads keeps no class, and no member but these. */
export interface PostedError {
  readonly message: string;
  readonly stack: string | undefined;
  /** The options of a {@link DataError}; null for any other error, which is a bug. */
  readonly options: readonly string[] | null;
}

/**
 * Threads load their modules when they start. Deno asks permission for that, unlike for the modules
 * of the program itself, and ends a thread without it in a stack trace.
 *
 * @throws {DataError} If Deno may not read the program's own folder.
 */
export function checkThreadsCanStart(): void {
  const code = new URL("../../", import.meta.url);
  if (code.protocol !== "file:") return;
  if (Deno.permissions.requestSync({ name: "read", path: code }).state === "granted") return;
  const path = fileURLToPath(code);
  throw new DataError(
    `Cannot start threads that decode images as Deno was started without the permission to read ` +
      `${path}, where their code is: expected read access to it beside that to data and run ` +
      `folders; allow it`,
  );
}

/**
 * What a thread posts of an error.
 *
 * @param path The file that it was working on.
 */
export function postedError(error: unknown, path: string): PostedError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  if (error instanceof DataError) return { message, stack, options: error.options };
  if (error instanceof RangeError && /alloc|out of memory|array length/i.test(message)) {
    return {
      message: `Cannot decode ${path} or its label as memory ran out (${message}): expected ` +
        `room for all pixels; make the image smaller, or free memory`,
      stack,
      options: [],
    };
  }
  return { message, stack, options: null };
}

/** The error that a thread has posted. */
export function receivedError({ message, stack, options }: PostedError): Error {
  if (options) return new DataError(message, { options });
  const error = new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** The error of a thread that has ended before it answered. */
export function endedThread({ message }: ErrorEvent): DataError {
  return new DataError(
    `Cannot decode images as a decoding thread ended (${message}): expected it to answer; check ` +
      `that the program's folder is whole and memory is free, and start again`,
  );
}

/**
 * Asks a thread that answers one request at a time, with what was wanted or with an error.
 *
 * @returns The answer.
 * @throws The error that the thread has met, or why it has ended.
 */
export function askThread<A extends object>(
  worker: Worker,
  request: unknown,
): Promise<Exclude<A, { readonly error: PostedError }>> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<A | { readonly error: PostedError }>) =>
      "error" in data
        ? reject(receivedError(data.error as PostedError))
        : resolve(data as Exclude<A, { readonly error: PostedError }>);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(endedThread(event));
    };
    worker.postMessage(request);
  });
}
