// Whether two paths are one file.

import { DataError } from "./data_error.ts";

/** Where a file lies once links are followed; undefined where there is none. */
export function realPath(path: string): string | undefined {
  try {
    return Deno.realPathSync(path);
  } catch {
    return undefined;
  }
}

/**
 * Refuses to write over what is read.
 *
 * @throws {DataError} If both paths are one file.
 */
export function checkOther(input: string, output: string): void {
  const written = realPath(output);
  if (written === undefined || written !== realPath(input)) return;
  throw new DataError(
    `Cannot write ${output} as it is the file that is read, ${input}: expected another path; choose one`,
  );
}
