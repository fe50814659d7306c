import { dirname } from "node:path";
import { DataError, describeFailure } from "./data_error.ts";

/**
 * Writes a file so that its path always shows either the old or the whole new content, also after a
 * crash or a power cut: temporary file beside it, fsync, rename, fsync of the folder.
 *
 * @param path The file; replaced if it exists.
 * @param parts The content, written in order, so that a large file need not be joined in memory.
 * @throws {DataError} If the file cannot be written, such as on a full disk; nothing is left behind.
 */
export function writeFileAtomic(path: string, parts: Iterable<Uint8Array>): void {
  const temporary = `${path}.partial`;
  try {
    {
      using file = Deno.openSync(temporary, { write: true, create: true, truncate: true });
      for (const part of parts) writeWhole(file, part);
      file.syncSync();
    }
    Deno.renameSync(temporary, path);
    syncFolder(dirname(path));
  } catch (error) {
    removeIfPresent(temporary);
    throw new DataError(
      `Cannot write ${path} as ${describeFailure(error)}; make room or choose another folder`,
      { cause: error },
    );
  }
}

/** Writes all of `bytes`: one `writeSync` may take only a part. */
export function writeWhole(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/** Without this a rename may be undone by a power cut. Windows has no folder handles to sync. */
function syncFolder(path: string): void {
  if (Deno.build.os === "windows") return;
  using folder = Deno.openSync(path);
  folder.syncSync();
}

function removeIfPresent(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // It was never made, and the error that led here says more.
  }
}
