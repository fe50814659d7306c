// What lies in a folder, and folders where there are none.

import { removeIfPossible } from "./atomic_file.ts";
import { onDisk } from "./refusal.ts";

/**
 * What a folder holds, in the order of the names. What the operating system throws is passed on.
 */
export function entriesOf(path: string): Deno.DirEntry[] {
  return [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
}

/**
 * Whether there is a file or folder of this path. One that cannot be looked at is not taken for missing.
 *
 * @throws {DataError} If that cannot be found out.
 */
export function exists(path: string): boolean {
  return onDisk(`look for ${path}`, "correct its permissions", () => {
    try {
      Deno.statSync(path);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
        return false;
      }
      throw error;
    }
  });
}

/**
 * Makes a folder and those above it, where they are missing.
 *
 * @throws {DataError} If that cannot be done.
 */
export function makeFolder(path: string): void {
  onDisk(
    `create folder ${path}`,
    "choose another output folder",
    () => Deno.mkdirSync(path, { recursive: true }),
  );
}

/**
 * Removes a file, or a folder with all that is in it; does nothing where there is none.
 *
 * @throws {DataError} If that cannot be done.
 */
export function removeAll(path: string): void {
  if (!exists(path)) return;
  onDisk(
    `remove ${path}`,
    "correct its permissions",
    () => Deno.removeSync(path, { recursive: true }),
  );
}

/** The bytes of a file. @throws {DataError} If it cannot be read. */
export function readFile(path: string): Uint8Array {
  return onDisk(`read ${path}`, "restore it", () => Deno.readFileSync(path));
}

/** Gives a file another name in its folder. @throws {DataError} If that cannot be done. */
export function renameFile(from: string, to: string): void {
  onDisk(`rename ${from} to ${to}`, "correct its permissions", () => Deno.renameSync(from, to));
}

/** Copies a file, whole or not at all. @throws {DataError} If that cannot be done. */
export function copyFile(from: string, to: string): void {
  const partial = `${to}.partial`;
  try {
    onDisk(`copy ${from} to ${to}`, "make room or choose another folder", () => {
      Deno.copyFileSync(from, partial);
      Deno.renameSync(partial, to);
    });
  } catch (error) {
    removeIfPossible(partial);
    throw error;
  }
}
