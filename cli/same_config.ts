// Whether ranks were started with the same flags and files.

import { DataError } from "../train/base/data_error.ts";
import type { RunConfig } from "../train/config/settings.ts";

/**
 * Refuses a configuration that is not that of the first rank.
 *
 * @throws {DataError} If they differ; it names the first difference.
 */
export function checkSame(rank: number, own: RunConfig, first: RunConfig): void {
  const difference = differenceOf(own, first, "");
  if (difference === null) return;
  throw new DataError(
    `Cannot train as rank ${rank} was started with another configuration than rank 0: ${difference}; ` +
      "start all processes with the same options and files",
  );
}

/** `seed is 1 in place of 0`, of the first value that differs. */
function differenceOf(own: unknown, first: unknown, path: string): string | null {
  if (isObject(own) && isObject(first)) {
    for (const key of Object.keys({ ...first, ...own })) {
      const found = differenceOf(own[key], first[key], path === "" ? key : `${path}.${key}`);
      if (found !== null) return found;
    }
    return null;
  }
  const [a, b] = [own, first].map((value) => JSON.stringify(value) ?? "nothing");
  return a === b ? null : `${path} is ${a} in place of ${b}`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
