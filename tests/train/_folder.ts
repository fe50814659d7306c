import assert from "node:assert/strict";
import { DataError } from "../../train/base/data_error.ts";

/** Runs `body` with a fresh temporary folder whose path has spaces and letters beyond ASCII. */
export async function withFolder(body: (folder: string) => void | Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "proda größe " });
  try {
    await body(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** The names in a folder, sorted. */
export function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

/** For `assert.throws` and `assert.rejects`: the error is a DataError of one line that has all parts. */
export function dataError(...parts: string[]): (error: unknown) => true {
  return (error) => {
    assert(error instanceof DataError, `expected a DataError, got ${error}`);
    for (const part of parts) {
      assert(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    }
    assert(!error.message.includes("\n"), "the message is one line");
    return true;
  };
}
