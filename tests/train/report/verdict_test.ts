// What the top of the page says of runs that went well, went wrong, or are not over.

import assert from "node:assert/strict";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { PRESETS } from "../../../train/config/presets.ts";
import type { RunResult, StageResult } from "../../../train/run/run_folder.ts";
import { presetOf } from "../../../train/report/preset_of.ts";
import { readRunRecord, type RunRecord } from "../../../train/report/run_record.ts";
import { dataOf, type Outcome, outcomeOf, verdict } from "../../../train/report/verdict.ts";
import { withFolder } from "../_folder.ts";

function config(values: unknown = {}): RunConfig {
  return mergeConfig(presetConfig("default"), { values, from: "the test" });
}

function stage(name: string, mIoU: number, rest: Partial<StageResult> = {}): StageResult {
  return { name, steps: 10, seconds: 60, mIoU, classIoU: {}, pixelAccuracy: mIoU, ...rest };
}

function record(result: Partial<RunResult>, values: unknown = {}): RunRecord {
  return {
    path: "runs/run/",
    config: config(values),
    result: { adapter: "a GPU", seed: 3, stages: [], ...result },
    metrics: [],
    earlier: [],
    date: "2026-11-29",
  };
}

const said = (run: RunRecord) => /<p class="said">(.*?)<\/p>/.exec(verdict(run).body)?.[1];
const tile = (run: RunRecord, name: string) =>
  new RegExp(`<dt>${name}</dt><dd class="value \\w*">(.*?)</dd><dd class="note">(.*?)</dd>`)
    .exec(verdict(run).body)?.slice(1);

Deno.test("the verdict says the gain, the best stage and what is handed on", () => {
  const pipeline = ["source", "warmup", "stage1"];
  const run = record({
    stages: [
      stage("source", 30, { causes: [] }),
      stage("warmup", 51, { handedOn: true }),
      stage("stage1", 52.5),
    ],
  }, { pipeline });
  const { title, body } = verdict(run);
  assert.equal(title, "run on streets: mIoU 51.0 %");
  assert.ok(body.includes("<h1>run on streets</h1>"));
  assert.match(
    said(run) ?? "",
    /warmup reaches 51\.0\u00a0% mIoU .* 21\.0 points more than that of source\.$/,
  );
  assert.deepEqual(tile(run, "Gain over source")?.[0], "+21.0");
  assert.deepEqual(tile(run, "Best stage")?.[0], "stage1");
  assert.deepEqual(tile(run, "Handed on")?.[0], "warmup");
  assert.match(tile(run, "Handed on")?.[1] ?? "", /1\.5 points below stage1/);
  assert.deepEqual(tile(run, "What went wrong")?.[0], "nothing");
  assert.match(body, /<dt>Date<\/dt><dd>2026-11-29<\/dd>/);
  assert.match(body, /<dt>Version<\/dt><dd>not recorded<\/dd>/);
});

Deno.test("a network that became worse has lost points, and one of the start is compared with", () => {
  const run = record({ start: stage("source", 40), stages: [stage("stage1", 35.5)] }, {
    pipeline: ["stage1"],
  });
  assert.match(said(run) ?? "", /4\.5 points less than that of source\.$/);
  assert.deepEqual(tile(run, "Gain over source")?.[0], "−4.5");
  assert.ok(verdict(run).body.includes('"value bad">−4.5'));
});

Deno.test("a run that builds on another is compared with the first network of that one", () =>
  withFolder((folder) => {
    const base = join(folder, "base");
    const write = (path: string, result: unknown) => {
      Deno.mkdirSync(path, { recursive: true });
      Deno.writeTextFileSync(join(path, "result.json"), JSON.stringify(result));
    };
    const stages = [
      stage("source", 30),
      stage("warmup", 40, { handedOn: true }),
      stage("stage1", 9),
    ];
    write(base, { adapter: "a", seed: 1, stages });
    const path = join(folder, "run");
    const own = [stage("stage1", 45, { handedOn: true })];
    write(path, { adapter: "a", seed: 1, stages: own });
    const values = { base, pipeline: ["stage1"] };
    Deno.writeTextFileSync(join(path, "config.json"), JSON.stringify(config(values)));
    Deno.writeTextFileSync(join(path, "metrics.jsonl"), "");
    const run = readRunRecord(path);
    const { networks, before, after } = outcomeOf(run) as Outcome;
    assert.deepEqual(networks.map(({ name }) => name), ["source", "warmup", "stage1"]);
    assert.deepEqual([before.name, after.mIoU], ["source", 45]);
    assert.equal(tile(run, "Gain over source")?.[0], "+15.0");
    assert.match(run.date, /^\d{4}-\d\d-\d\d, by its files$/);

    Deno.removeSync(base, { recursive: true });
    assert.equal(outcomeOf(readRunRecord(path))?.networks.length, 1);
  }));

Deno.test("the first network may be handed on, and is compared with the last", () => {
  const run = record({
    stages: [stage("source", 26, { handedOn: true }), stage("warmup", 70), stage("stage1", 68)],
  }, { pipeline: ["source", "warmup", "stage1"] });
  assert.equal(outcomeOf(run)?.compared.name, "stage1");
  assert.match(said(run) ?? "", /It is handed on, though that of warmup reaches 70\.0/);
  assert.equal(tile(run, "Gain over source"), undefined);
});

Deno.test("without labels of the target no mIoU is made up, and an open run says so", () => {
  const scores = { agreement: 81, correlation: 100 };
  const run = record({ stages: [stage("source", NaN, scores)] }, {
    pipeline: ["source", "warmup"],
  });
  assert.match(said(run) ?? "", /no labels to measure mIoU on.*label-free score is 90\.0 %/);
  assert.match(said(run) ?? "", /1 of 2 stages are not over\.$/);
  assert.equal(verdict(run).title, "run on streets");
  assert.equal(tile(run, "Best stage"), undefined);
  assert.match(said(record({})) ?? "", /^No stage is over yet\. 5 of 5 stages/);
});

Deno.test("a cause that came after several stages counts once", () => {
  const cause = { name: "x", found: "Found", remedy: "help" };
  const run = record({
    causes: [{ ...cause, found: "Another" }],
    stages: [stage("source", 1, { causes: [cause] }), stage("warmup", 1, { causes: [cause] })],
  });
  assert.equal(tile(run, "What went wrong")?.[0], "2");
});

Deno.test("data are called by their folders, or by the one they are in", () => {
  const at = (sourceDirectory: string | null, targetDirectory: string | null) =>
    dataOf({ config: config({ data: { sourceDirectory, targetDirectory } }) } as RunRecord);
  assert.equal(at(null, null), "streets");
  assert.equal(at("data/earth/source", "data/earth/target"), "earth");
  assert.equal(at("/a/game", "/b/camera/"), "game → camera");
});

Deno.test("a run's preset is the nearest one, with what differs in what the run reads", () => {
  for (const [name, preset] of Object.entries(PRESETS)) {
    assert.deepEqual(presetOf({ ...preset, seed: 9, out: "elsewhere" }), { name, changed: [] });
  }
  const quick = presetConfig("quick");
  quick.pipeline = ["warmup"];
  quick.stages.warmup.learningRate = 0.5;
  quick.stages.stage1.learningRate = 0.5; // does not run
  quick.data.streets.directory = "elsewhere";
  assert.deepEqual(presetOf(quick), {
    name: "quick",
    changed: [{ key: "stages.warmup.learningRate", value: "0.5", preset: "0.02" }],
  });
  const own = { ...quick.data, sourceDirectory: "a", targetDirectory: "b" };
  own.streets = { ...own.streets, width: 12 }; // is not read
  assert.equal(presetOf({ ...quick, data: own }).changed.length, 1);
});
