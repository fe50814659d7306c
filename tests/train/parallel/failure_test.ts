// The reason in a run folder that was ended from outside.

import assert from "node:assert/strict";
import { join } from "node:path";
import { type Failure, takeFailure, writeFailure } from "../../../train/parallel/failure.ts";
import { namesIn, withFolder } from "../_folder.ts";

const FAILURE: Failure = {
  ...{ rank: 1, size: 2, host: "node7", stage: "stage1", step: 12 },
  time: "2026-11-29T12:00:00.000Z",
  reason: "it has not answered for 600 s",
};

Deno.test("the first reason is kept, told once, and gone then", () =>
  withFolder((folder) => {
    Deno.writeTextFileSync(join(folder, "config.json"), "{}");
    assert.equal(takeFailure(folder), null);
    writeFailure(folder, FAILURE);
    writeFailure(folder, { ...FAILURE, rank: 0, reason: "another rank does not answer" });
    assert.deepEqual(namesIn(folder), ["config.json", "failure.json"]);
    assert.equal(
      takeFailure(folder),
      "The run was ended at stage1, step 12, by rank 1 of 2 on node7, 2026-11-29T12:00:00.000Z: it has " +
        "not answered for 600 s",
    );
    assert.deepEqual(namesIn(folder), ["config.json"]);
    writeFailure(folder, { ...FAILURE, stage: null, step: null });
    assert.match(takeFailure(folder) ?? "", /^The run was ended by rank 1 of 2 on node7, /);
  }));

Deno.test("no reason is left where there is no run, and one that is cut off is told as it is", () =>
  withFolder((folder) => {
    writeFailure(folder, FAILURE);
    writeFailure(join(folder, "nothing"), FAILURE);
    assert.deepEqual(namesIn(folder), []);
    for (const text of ['{"rank": 1, "rea', "{}"]) {
      Deno.writeTextFileSync(join(folder, "failure.json"), text);
      assert.equal(takeFailure(folder), `The run was ended by a failure: ${text}`);
    }
  }));
