import assert from "node:assert/strict";
import { join } from "node:path";
import { writeFileAtomic } from "../../../train/base/atomic_file.ts";
import { describeFailure } from "../../../train/base/refusal.ts";
import { RunFolder, type RunResult } from "../../../train/run/run_folder.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("an atomic write replaces the file and leaves nothing beside it", () =>
  withFolder((folder) => {
    const path = join(folder, "a.txt");
    writeFileAtomic(path, [bytes("old")]);
    writeFileAtomic(path, [bytes("ne"), bytes("w")]);
    assert.equal(Deno.readTextFileSync(path), "new");
    assert.deepEqual(namesIn(folder), ["a.txt"]);
  }));

Deno.test("a failed atomic write keeps the old file and leaves nothing beside it", () =>
  withFolder((folder) => {
    const path = join(folder, "a.txt");
    writeFileAtomic(path, [bytes("old")]);
    function* failing() {
      yield bytes("half");
      throw new Error("the source broke");
    }
    assert.throws(() => writeFileAtomic(path, failing()), /the source broke/);
    assert.equal(Deno.readTextFileSync(path), "old");
    assert.deepEqual(namesIn(folder), ["a.txt"]);
  }));

Deno.test("a file in a missing folder is a data error", () =>
  withFolder((folder) => {
    const path = join(folder, "no", "a.txt");
    assert.throws(() => writeFileAtomic(path, [bytes("x")]), dataError(path, "it does not exist"));
  }));

Deno.test("a full disk and a read-only one are described in words", () => {
  const full = Object.assign(new Error("No space left on device (os error 28)"), {
    code: "ENOSPC",
  });
  const readOnly = Object.assign(new Error("os error 30"), { code: "EROFS" });
  assert.equal(describeFailure(full), "the disk is full");
  assert.equal(describeFailure(readOnly), "the disk is read-only");
});

Deno.test("a new run has its files, also in an empty folder that is there already", () =>
  withFolder((folder) => {
    for (const path of [folder, join(folder, "samples", "deep")]) {
      using run = RunFolder.create(path, { seed: 7 });
      assert.deepEqual(namesIn(path), ["checkpoints", "config.json", "metrics.jsonl", "samples"]);
      assert.deepEqual(JSON.parse(Deno.readTextFileSync(join(path, "config.json"))), { seed: 7 });
      assert.equal(run.checkpointPath("last"), join(path, "checkpoints", "last.safetensors"));
      assert.equal(run.samplePath("0001"), join(path, "samples", "0001.png"));
    }
  }));

Deno.test("metrics are one object a line and the result is readable JSON", () =>
  withFolder((folder) => {
    const result: RunResult = {
      adapter: "llvmpipe",
      seed: 1,
      stages: [{
        name: "warm-up",
        steps: 2,
        mIoU: 41.6,
        classIoU: { road: 90, train: null },
        pixelAccuracy: 95,
        seconds: 1.5,
      }],
    };
    {
      using run = RunFolder.create(join(folder, "run"), {});
      run.appendMetrics({ step: 1, loss: 0.5 });
      run.appendMetrics({ step: 2, loss: NaN });
      run.writeResult(result);
    }
    const lines = Deno.readTextFileSync(join(folder, "run", "metrics.jsonl")).split("\n");
    assert.deepEqual(lines, ['{"step":1,"loss":0.5}', '{"step":2,"loss":null}', ""]);
    const written = Deno.readTextFileSync(join(folder, "run", "result.json"));
    assert.deepEqual(JSON.parse(written), result);
  }));

Deno.test("an occupied folder, a file and a path below a file are refused and left alone", () =>
  withFolder((folder) => {
    const file = join(folder, "note.txt");
    Deno.writeTextFileSync(file, "mine");
    const cases: [string, string][] = [
      [folder, "occupied by note.txt"],
      [file, "occupied by another run or a file"],
      [join(file, "run"), "a part of its path is not a folder"],
    ];
    for (const [path, reason] of cases) {
      assert.throws(() => RunFolder.create(path, {}), dataError(path, reason, "choose another"));
    }
    assert.deepEqual(namesIn(folder), ["note.txt"]);
    assert.equal(Deno.readTextFileSync(file), "mine");
  }));

Deno.test("a run that goes on cuts its metrics back to the checkpoint and appends from there", () =>
  withFolder((folder) => {
    const path = join(folder, "run");
    const metrics = join(path, "metrics.jsonl");
    {
      using run = RunFolder.create(path, { seed: 3 });
      for (let step = 1; step <= 4; step++) run.appendMetrics({ stage: "ä", step });
    }
    Deno.writeTextFileSync(metrics, '{"stage":"ä","st', { append: true });
    {
      using run = RunFolder.open(path);
      assert.deepEqual(run.config, { seed: 3 });
      run.rewindMetrics(() => true);
      assert.equal(Deno.readTextFileSync(metrics).split("\n").length, 5, "only the torn line goes");
      run.rewindMetrics(({ step }) => Number(step) <= 2);
      run.appendMetrics({ stage: "ä", step: 3, again: true });
    }
    assert.deepEqual(Deno.readTextFileSync(metrics).trim().split("\n").map((l) => JSON.parse(l)), [
      { stage: "ä", step: 1 },
      { stage: "ä", step: 2 },
      { stage: "ä", step: 3, again: true },
    ]);
  }));

Deno.test("a folder that is in use, or is no run folder, is not opened", () =>
  withFolder((folder) => {
    const path = join(folder, "run");
    assert.throws(() => RunFolder.open(path), dataError(path, "it does not exist"));
    {
      using _run = RunFolder.create(path, {});
      assert.throws(() => RunFolder.open(path), dataError(path, "another process"));
    }
    RunFolder.open(path).close();
  }));
