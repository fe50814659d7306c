// What `train` says of a run before its first step and after its last.

import assert from "node:assert/strict";
import { join } from "node:path";
import { describeRun, nextCommands } from "../../cli/run_texts.ts";
import { mergeConfig, presetConfig } from "../../train/config/config.ts";
import type { RunResult } from "../../train/run/observer.ts";
import { withFolder } from "../train/_folder.ts";
import { runProgram } from "./_program.ts";

const RESULT: RunResult = {
  adapter: "none",
  seed: 0,
  stages: ["source", "warmup", "stage1"].map((name) => ({
    ...{ name, steps: 1, mIoU: 40, classIoU: {}, pixelAccuracy: 50, seconds: 1 },
  })),
};

Deno.test("a run says what its stages are and do, in a table of a hundred columns", () => {
  const lines = describeRun(presetConfig("full"), { preset: "full" }).split("\n");
  assert.match(lines[0], /^stage +steps$/);
  assert.match(lines[2], /^source +62412 {2}supervised training on source$/);
  assert.equal(lines.length, 2 + presetConfig("full").pipeline.length);
  assert.ok(lines.every((line) => line.length <= 100));
});

Deno.test("the quick preset says that it is a trial, of streets or of sizes that are not one's own", () => {
  const config = presetConfig("quick");
  const streets = describeRun(config, { preset: "quick" });
  assert.match(streets, /^preset quick: .* streets, the built-in benchmark[^]*without --preset/);
  const data = { sourceDirectory: "game", targetDirectory: "camera" };
  const own = mergeConfig(config, { values: { data }, from: "the test" });
  assert.match(
    describeRun(own, { preset: "quick" }),
    /^preset quick: [^]*chosen for your images\n/,
  );
  for (const text of [streets, describeRun(own, { preset: "quick" })]) {
    assert.ok(text.split("\n").every((line) => line.length <= 100), text);
  }
  assert.doesNotMatch(describeRun(config, {}), /quick/);
});

Deno.test("what comes next is about the network that is handed on", () => {
  const { stages } = RESULT;
  const path = (name: string) => join("runs/a", "checkpoints", `${name}.safetensors`);
  assert.ok(nextCommands(RESULT, "runs/a").includes(`--checkpoint ${path("stage1")} `));
  const [source, warmup, stage1] = stages;
  const marked = [source, { ...warmup, handedOn: true as const }, stage1];
  const text = nextCommands({ ...RESULT, stages: marked }, "runs/a");
  assert.ok(text.includes(`--checkpoint ${path("warmup")} `));
  assert.match(text, /^Next: \.\/run report runs\/a {2,}\S/);
  const best = { ...stage1, steps: 9, selected: { step: 3, value: 1 } };
  const chosen = nextCommands({ ...RESULT, stages: [best] }, "runs/a");
  assert.ok(chosen.includes(`--checkpoint ${path("stage1.best")} `), "which is not the last");
  assert.match(nextCommands({ ...RESULT, stages: [] }, "runs/a"), /^[^\n]*report[^\n]*$/);
});

Deno.test("a quick run says at its start what it is, and at its end what comes next", () =>
  withFolder(async (folder) => {
    const counts = { sourceTrain: 2, targetTrain: 2, targetVal: 1, sourceVal: 1, targetChoose: 1 };
    const streets = { directory: join(folder, "streets"), width: 32, height: 16, ...counts };
    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(
      config,
      JSON.stringify({
        pipeline: ["source"],
        network: { blocks: [1, 1, 1, 1], width: 4, headChannels: 8, groups: 2, dilations: [1] },
        data: { heldOut: { share: 0 }, batch: 1, cropHeight: 16, cropWidth: 16, streets },
      }),
    );
    const out = join(folder, "run");
    const flags = ["--config", config, "--steps", "2", "--out", out];
    const { code, stdout, stderr } = await runProgram("train", "--preset", "quick", ...flags);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^[^\n]*; run folder [^\n]*\npreset quick: /);
    assert.match(stdout, /^source +2 {2}supervised training on source$/m);
    assert.match(stdout, /^source: steps made and measured; /m);
    assert.ok(stdout.includes(`\nNext: ./run report ${out} `), stdout);
    assert.ok(stdout.includes(join(out, "checkpoints", "source.safetensors")));
    const resumed = await runProgram("train", "--resume", out);
    assert.doesNotMatch(resumed.stdout, /^stage +steps$/m, "of a run that goes on it is known");
  }));
