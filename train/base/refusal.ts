// What the operating system refuses, as a sentence.

import { DataError } from "./data_error.ts";

/**
 * Does something with files or folders; what the operating system refuses becomes one sentence.
 *
 * @param what What is done, with the path: `write runs/first/config.json`.
 * @param wayOut The end of the sentence.
 * @throws {DataError} `Cannot write runs/first/config.json as the disk is full; make room`.
 */
export function onDisk<T>(what: string, wayOut: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const reason = describeFailure(error);
    throw new DataError(`Cannot ${what} as ${reason}; ${wayOut}`, { cause: error });
  }
}

/** Whether an error is the operating system's, or a permission's that Deno was not given. */
export function isRefusal(error: unknown): error is Error {
  if (!(error instanceof Error) || error instanceof DataError) return false;
  return /^E[A-Z0-9]+$/.test(String((error as { code?: unknown }).code)) ||
    OS_ERROR.test(error.message) ||
    Object.values(Deno.errors).some((kind) => error instanceof kind);
}

/** How Deno ends what the operating system says. */
const OS_ERROR = / \(os error \d+\).*$/s;

/** Says in a few words why the operating system refused a file, for use in a sentence. */
export function describeFailure(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "it does not exist";
  if (error instanceof Deno.errors.AlreadyExists) return "a file of that name is in the way";
  if (error instanceof Deno.errors.PermissionDenied) return "permission is denied";
  if (error instanceof Deno.errors.NotCapable) {
    return `Deno was started without the permission (${error.message})`;
  }
  if (error instanceof Deno.errors.IsADirectory) return "it is a folder";
  if (error instanceof Deno.errors.NotADirectory) return "a part of its path is not a folder";
  if (error instanceof Deno.errors.FilesystemLoop) return "its symbolic links form a loop";
  const code = (error as { code?: unknown } | null)?.code;
  if (code === "ENOSPC") return "the disk is full";
  if (code === "EROFS") return "the disk is read-only";
  if (!(error instanceof Error)) return String(error);
  const said = error.message.replace(OS_ERROR, "");
  return said === error.message ? said : `the system says "${said}"`;
}
