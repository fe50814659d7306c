// The file of `--autotune`: the fastest ways of computing what was run, by adapter.

import { dirname } from "node:path";
import * as v from "valibot";
import type { Gpu } from "../kernels/runtime/mod.ts";
import { checkWritable, writeFileAtomic } from "../train/base/atomic_file.ts";
import { DataError, describeFailure } from "../train/base/data_error.ts";
import { makeFolder } from "../train/base/folders.ts";

/** Raised when the ways change: a file of another version is measured afresh. */
const VERSION = 1;

const Content = v.object({
  version: v.number(),
  adapters: v.record(v.string(), v.record(v.string(), v.string())),
});

/** Takes over the choices that `path` holds for the device's adapter, if the file is there. */
export function loadChoices(gpu: Gpu, path: string): void {
  gpu.choices.add(readAdapters(path)[gpu.adapter.description] ?? {});
}

/**
 * Finds out whether choices can be kept in `path`, and makes its folder.
 *
 * @throws {DataError} If they cannot.
 */
export function checkChoices(path: string): void {
  makeFolder(dirname(path));
  checkWritable(path);
}

/** Keeps the device's choices in `path`, beside those of other adapters. */
export function saveChoices(gpu: Gpu, path: string): void {
  const adapters = { ...readAdapters(path), [gpu.adapter.description]: gpu.choices.table };
  const text = `${JSON.stringify({ version: VERSION, adapters }, null, 2)}\n`;
  writeFileAtomic(path, [new TextEncoder().encode(text)]);
}

function readAdapters(path: string): v.InferOutput<typeof Content>["adapters"] {
  let content: unknown;
  try {
    content = JSON.parse(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    const reason = error instanceof SyntaxError ? "it is not JSON" : describeFailure(error);
    throw failure(path, reason, error);
  }
  const file = v.safeParse(Content, content);
  if (!file.success) throw failure(path, "it holds something else", undefined);
  return file.output.version === VERSION ? file.output.adapters : {};
}

function failure(path: string, reason: string, cause: unknown): DataError {
  return new DataError(
    `Cannot use autotune file ${path} as ${reason}: expected what --autotune has written; ` +
      "delete it to measure afresh, or give another path",
    { cause },
  );
}
