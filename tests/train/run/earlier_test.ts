// What commit 287d48d wrote is read as before: a configuration, an interrupted run and its checkpoints
// (`tests/goldens/make_earlier.sh`).

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mergeConfig, presetConfig, readConfigFile } from "../../../train/config/config.ts";
import { readRunConfig } from "../../../train/run/run_config.ts";
import type { RunResult } from "../../../train/run/run_folder.ts";
import { assertAllClose } from "../../_check.ts";
import { runProgramIn } from "../../cli/_program.ts";
import { withFolder } from "../_folder.ts";

const EARLIER = fileURLToPath(new URL("../../goldens/earlier/", import.meta.url));
/** Points of mIoU by which another processor may score the same network. */
const TOLERANCE = 1;

/** What a value has of the keys of another: settings have come since. */
function within(value: unknown, keys: unknown): unknown {
  if (typeof keys !== "object" || keys === null || Array.isArray(keys)) return value;
  return Object.fromEntries(
    Object.entries(keys).map(([name, inner]) => [
      name,
      within((value as Record<string, unknown>)[name], inner),
    ]),
  );
}

function recordsOf(lines: string): Record<string, unknown>[] {
  return lines.trim().split("\n").map((line) => JSON.parse(line));
}

Deno.test("a configuration of an earlier version means what it meant, key by key", () => {
  const written = readConfigFile(join(EARLIER, "run", "config.json"));
  const fromFile = { values: readConfigFile(join(EARLIER, "config.json")), from: "the file" };
  const read = mergeConfig(presetConfig("default"), { values: written, from: "the run" });
  assert.deepEqual(within(read, written), written);
  const again = { ...mergeConfig(presetConfig("default"), fromFile), out: "run" };
  assert.deepEqual(within(again, written), written);
  const { heldOut } = readRunConfig(join(EARLIER, "run")).data;
  assert.equal(heldOut.share, 0, "a run that goes on trains on all of its source, as it did");
});

Deno.test("a run that an earlier version was stopped in goes on, and its checkpoint scores the same", () =>
  withFolder(async (cwd) => {
    cpSync(join(EARLIER, "run"), join(cwd, "run"), { recursive: true });
    const metrics = () => Deno.readTextFileSync(join(cwd, "run", "metrics.jsonl"));
    const before = metrics();
    const earlier: RunResult = JSON.parse(
      Deno.readTextFileSync(join(cwd, "run", "result.json")),
    );
    const resumed = await runProgramIn({ cwd }, "train", "--resume", "run", "--json");
    assert.equal(resumed.code, 0, resumed.stderr);
    const result: RunResult = JSON.parse(resumed.stdout);
    const names = result.stages.map(({ name }) => name);
    assert.deepEqual(names, ["source", "warmup", "stage1", "stage2"]);
    assert.deepEqual(result.stages.slice(0, 2), earlier.stages, "what was done stays");
    assert.deepEqual([result.pretraining?.name, result.pretraining?.steps], ["selfsup", 2]);
    assert.ok(metrics().startsWith(before), "records before the stop stay");
    // The losses of a run in one go: the same images in the same order, in the same views.
    const found = recordsOf(metrics().slice(before.length));
    const expected = recordsOf(Deno.readTextFileSync(join(EARLIER, "rest.jsonl")));
    const isNew = (name: string) => ["correlation", "agreement"].includes(name);
    assert.deepEqual(
      found.map((record) => Object.keys(record).filter((name) => !isNew(name))),
      expected.map(Object.keys),
    );
    for (const [index, { stage, step, ...losses }] of expected.entries()) {
      for (const [name, value] of Object.entries(losses)) {
        if (typeof value !== "number" || /^(mIoU|pixelAccuracy|information)$/.test(name)) continue;
        assertAllClose(`${name} of ${stage} at ${step}`, [Number(found[index][name])], [value], {
          atol: 1e-4,
          rtol: 1e-2,
        });
      }
    }

    const checkpoint = join("run", "checkpoints", "warmup.safetensors");
    const scored = await runProgramIn({ cwd }, "eval", "--checkpoint", checkpoint, "--json");
    assert.equal(scored.code, 0, scored.stderr);
    const { mIoU } = JSON.parse(scored.stdout);
    const was = earlier.stages[1].mIoU;
    assert.ok(Math.abs(mIoU - was) < TOLERANCE, `mIoU is ${mIoU}, was ${was}`);
  }));
