// What lies in a folder, and folders where there are none.

import { DataError, describeFailure } from "./data_error.ts";

/**
 * What a folder holds, in the order of the names. What the operating system throws is passed on.
 */
export function entriesOf(path: string): Deno.DirEntry[] {
  return [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
}

/**
 * Makes a folder and those above it, where they are missing.
 *
 * @throws {DataError} If that cannot be done.
 */
export function makeFolder(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new DataError(
      `Cannot create folder ${path} as ${describeFailure(error)}; choose another output folder`,
      { cause: error },
    );
  }
}
