// Errors on their way out of a thread, and threads that end.

import assert from "node:assert/strict";
import { DataError } from "../../../train/base/data_error.ts";
import { endedThread, postedError, receivedError } from "../../../train/base/thread.ts";
import { dataError } from "../_folder.ts";

/** What arrives of an error that a thread throws over a file. */
const passed = (error: unknown) => receivedError(structuredClone(postedError(error, "a.png")));

Deno.test("a DataError keeps class, sentence and options on its way out of a thread", () => {
  const found = passed(new DataError("Cannot read a.png", { options: ["data.longSide"] }));
  assert.ok(found instanceof DataError);
  assert.deepEqual([found.message, found.options], ["Cannot read a.png", ["data.longSide"]]);
});

Deno.test("a bug in a thread stays a bug, with the stack that shows it", () => {
  const bug = new TypeError("x is not a function");
  const found = passed(bug);
  assert.ok(!(found instanceof DataError));
  assert.deepEqual([found.message, found.stack], [bug.message, bug.stack]);
  assert.equal(passed("a text").message, "a text");
});

Deno.test("memory that runs out in a thread, and its end, are sentences", () => {
  let full: unknown;
  try {
    new ArrayBuffer(2 ** 50);
  } catch (error) {
    full = error;
  }
  assert.ok(full instanceof RangeError);
  dataError("Cannot decode a.png or its label as memory ran out (", full.message)(passed(full));
  const end = endedThread(new ErrorEvent("error", { message: "Module not found x.ts" }));
  dataError("Cannot decode images as a decoding thread ended (Module not found x.ts)")(end);
});
