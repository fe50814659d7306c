// Spoilt files of a run folder: none is believed, and nothing of what is sound is lost.

import assert from "node:assert/strict";
import { join } from "node:path";
import { runAblation } from "../../../train/ablation/ablation.ts";
import { GRIDS } from "../../../train/ablation/grids.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { writeReport } from "../../../train/report/report.ts";
import { readRunRecord } from "../../../train/report/run_record.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { RunFolder, type RunResult } from "../../../train/run/run_folder.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { tinyConfig } from "../_resume.ts";

const { signal } = new AbortController();

/** Notes the warnings of a run. */
function listener(warnings: string[] = []): TrainingObserver {
  return {
    stageStart() {},
    step() {},
    evaluation() {},
    stageEnd() {},
    message: (text) => void (text.startsWith("WARNING") && warnings.push(text)),
  };
}

/** A finished run of two stages of four steps each. */
async function finishedRun(folder: string): Promise<RunConfig> {
  const values = {
    ...tinyConfig(folder),
    out: join(folder, "run"),
    pipeline: ["source", "warmup"],
  };
  const config = mergeConfig(presetConfig("default"), { values, from: "the test" });
  await runTraining(config, await testGpu(), listener(), signal);
  return config;
}

Deno.test("a damaged line of the metrics takes no other with it, and the file as it was is kept", () =>
  withFolder((folder) => {
    const path = join(folder, "run");
    const metrics = join(path, "metrics.jsonl");
    RunFolder.create(path, {}).close();
    const line = (step: number) => `{"stage":"größe","step":${step},"loss":1}`;
    const sound = [0, 1, 2, 3, 4].map(line);
    const damages: [string, string[]][] = [
      ["no JSON", sound.with(1, line(1).slice(0, -1) + "\u0000")],
      ["torn in the middle", sound.with(1, '{"stage":"gr')],
      ["no object", sound.with(1, "7")],
      ["null", sound.with(1, "null")],
      ["no stage", sound.with(1, '{"step":1}')],
      ["a stage of no name", sound.with(1, '{"stage":{},"step":1}')],
      ["another stage", sound.with(1, line(1).replace("größe", "grüße"))],
      ["no step", sound.with(1, '{"stage":"größe"}')],
      ["half a step", sound.with(1, '{"stage":"größe","step":0.5}')],
      ["a step of later", sound.with(1, line(9))],
      ["an empty line", sound.with(1, "")],
    ];
    for (const [index, [what, lines]] of damages.entries()) {
      const before = `${lines.join("\n")}\n{"stage":"größe","step":5`;
      Deno.writeTextFileSync(metrics, before);
      const warnings: string[] = [];
      using run = RunFolder.open(path);
      const keep = ({ stage, step }: { stage: string; step: number }) =>
        stage === "größe" && step < 4;
      run.rewindMetrics(keep, (text) => warnings.push(text));
      run.appendMetrics({ stage: "größe", step: 4 });
      const left = [line(0), line(2), line(3), '{"stage":"größe","step":4}', ""];
      assert.deepEqual(Deno.readTextFileSync(metrics).split("\n"), left, what);
      const aside = index === 0 ? "metrics.jsonl.damaged" : `metrics.jsonl.damaged.${index + 1}`;
      assert.equal(Deno.readTextFileSync(join(path, aside)), before, what);
      assert.equal(warnings.length, 1, what);
      assert.match(warnings[0], /^WARNING: .*metrics\.jsonl\.damaged.*: line 2 is not as a run/);
    }

    Deno.writeTextFileSync(metrics, `${sound.slice(0, 3).join("\n")}`); // but for the last line's end
    const names = namesIn(path);
    {
      using run = RunFolder.open(path);
      run.rewindMetrics(() => true, assert.fail);
      run.appendMetrics({ stage: "größe", step: 3 });
    }
    assert.deepEqual(
      Deno.readTextFileSync(metrics).split("\n"),
      [...sound.slice(0, 3), '{"stage":"größe","step":3}', ""],
    );
    assert.deepEqual(namesIn(path), names, "a torn end is what any kill leaves");
  }));

Deno.test("a run that goes on says which records and results are gone", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { out } = await finishedRun(folder);
    const metrics = join(out, "metrics.jsonl");
    const sound = Deno.readFileSync(metrics);
    const lines = new TextDecoder().decode(sound).split("\n");
    const resume = async () => {
      const warnings: string[] = [];
      await resumeTraining(out, gpu, listener(warnings), signal);
      return warnings;
    };
    assert.deepEqual(await resume(), []);
    assert.deepEqual(Deno.readFileSync(metrics), sound);

    const flipped = lines.with(1, lines[1].replace('"step":1', '"step";1'));
    Deno.writeTextFileSync(metrics, flipped.join("\n"));
    const [aside, gap, ...rest] = await resume();
    assert.match(aside, /metrics\.jsonl\.damaged.*: line 2 is not/);
    assert.match(gap, /no record of 1 of the 4 steps that source has made, step 1 first/);
    assert.deepEqual(rest, []);
    assert.equal(Deno.readTextFileSync(metrics), lines.toSpliced(1, 1).join("\n"));
    assert.equal(Deno.readTextFileSync(`${metrics}.damaged`), flipped.join("\n"));

    Deno.writeTextFileSync(metrics, lines.slice(0, 6).join("\n") + "\n");
    assert.match((await resume()).join("\n"), /no record of 2 of the 4 steps that warmup has made/);

    Deno.writeFileSync(metrics, sound);
    Deno.removeSync(join(out, "result.json"));
    assert.match((await resume()).join("\n"), /result\.json says nothing of source/);
  }));

/** Ways to spoil a result, and what the sentence says of each. */
const SPOILT: [(result: RunResult) => unknown, string][] = [
  [() => null, "content is null"],
  [() => 7, "content is 7"],
  [() => [], "adapter is missing"],
  [() => ({}), "adapter"],
  [({ adapter: _, ...rest }) => rest, "adapter"],
  [(result) => ({ ...result, adapter: 3 }), "adapter is 3"],
  [(result) => ({ ...result, seed: "7" }), 'seed is "7"'],
  [(result) => ({ ...result, seed: 0.5 }), "seed is 0.5"],
  [({ stages: _, ...rest }) => rest, "stages"],
  [(result) => ({ ...result, stages: {} }), "stages"],
  [(result) => ({ ...result, stages: [null] }), "stages.0 is null"],
  [(result) => ({ ...result, stages: [...result.stages, result.stages[0]] }), "each stage once"],
  ...([
    [{ name: "sourcf" }, 'name is "sourcf"'],
    [{ name: undefined }, "name"],
    [{ steps: -1 }, "steps is -1"],
    [{ steps: "2" }, 'steps is "2"'],
    [{ seconds: null }, "seconds is null"],
    [{ seconds: -1 }, "seconds is -1"],
    [{ mIoU: undefined }, "mIoU"],
    [{ mIoU: "40" }, 'mIoU is "40"'],
    [{ mIoU: 4000 }, "mIoU is 4000"],
    [{ classIoU: null }, "classIoU"],
    [{ classIoU: [1] }, "classIoU"],
    [{ classIoU: { road: "90" } }, 'classIoU.road is "90"'],
    [{ pixelAccuracy: -4 }, "pixelAccuracy is -4"],
    [{ pixelAccuracy: true }, "pixelAccuracy is true"],
    [{ waitShare: {} }, "waitShare"],
    [{ peakBytes: "many" }, 'peakBytes is "many"'],
    [{ selected: 3 }, "selected"],
    [{ selected: { step: 1 } }, "selected.value"],
    [{ source: 3 }, "source is 3"],
    [{ source: { mIoU: 4, classIoU: {}, pixelAccuracy: 4 } }, "source.shares"],
    [{ predictions: { shares: { road: 101 } } }, "predictions.shares.road is 101"],
    [{ predictions: { shares: {}, confidence: 4, agreement: "4" } }, "predictions.agreement"],
    [{ causes: {} }, "causes"],
    [{ causes: [{ name: "x", found: "y" }] }, "causes.0.remedy"],
    [{ handedOn: false }, "handedOn is false"],
  ] as const).map(([values, found]) =>
    [
      (result: RunResult) => ({ ...result, stages: [{ ...result.stages[0], ...values }] }),
      found,
    ] as [(result: RunResult) => unknown, string]
  ),
  [(result) => ({ ...result, pretraining: { name: "selfsup" } }), "pretraining.steps"],
  [(result) => ({ ...result, pretraining: [] }), "pretraining"],
  [(result) => ({ ...result, keepGoing: 1 }), "keepGoing is 1"],
];

Deno.test("a result that a run has not written is believed by no command", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = await finishedRun(folder);
    const path = join(config.out, "result.json");
    const sound = Deno.readTextFileSync(path);
    const output = join(folder, "page.html");
    const commands = {
      report: () => writeReport(gpu, { run: config.out, compare: [], output, onMessage() {} }),
      resume: () => resumeTraining(config.out, gpu, listener(), signal),
    };
    const texts = SPOILT.map(([spoil, found]) =>
      [JSON.stringify(spoil(JSON.parse(sound))), found] as const
    );
    for (const [text, found] of [...texts, ["", "not JSON"], [sound.slice(0, -9), "not JSON"]]) {
      Deno.writeTextFileSync(path, text);
      for (const [name, run] of Object.entries(commands)) {
        await assert.rejects(run, dataError(path, found, "restore it"), `${name}: ${text}`);
      }
      assert.equal(Deno.readTextFileSync(path), text);
    }
    assert.ok(!namesIn(folder).includes("page.html"));
    const { code, stderr } = await runProgram("report", config.out);
    assert.equal(code, 2);
    assert.match(stderr, /^Cannot use [^\n]*result\.json as it is not JSON [^\n]*\n$/);

    Deno.writeTextFileSync(path, JSON.stringify({ ...JSON.parse(sound), ofLater: 1 }));
    assert.deepEqual(readRunRecord(config.out).result.stages, JSON.parse(sound).stages);
  }));

Deno.test("a run does not go on from the checkpoint of another stage", () =>
  withFolder(async (folder) => {
    const { out } = await finishedRun(folder);
    const [source, warmup] = ["source", "warmup"].map((stage) =>
      join(out, "checkpoints", `${stage}.safetensors`)
    );
    Deno.copyFileSync(source, warmup);
    await assert.rejects(
      resumeTraining(out, await testGpu(), listener(), signal),
      dataError(warmup, "is a checkpoint of source: expected one of warmup"),
    );
  }));

Deno.test("an ablation does not take a spoilt result into its table", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const grid = GRIDS.find(({ name }) => name === "table3") ?? assert.fail();
    const options = {
      grid: { ...grid, rows: grid.rows.filter(({ run }) => run === "start") },
      seeds: [0],
      base: mergeConfig(presetConfig("quick"), { values: tinyConfig(folder, 2), from: "the test" }),
      out: join(folder, "ablation"),
    };
    await runAblation(options, gpu, listener(), signal);
    const path = join(options.out, "seed-0", "start", "result.json");
    const sound = JSON.parse(Deno.readTextFileSync(path));
    for (const mIoU of ["ninety", undefined, 900]) {
      const stages = sound.stages.map((stage: object) => ({ ...stage, mIoU }));
      Deno.writeTextFileSync(path, JSON.stringify({ ...sound, stages }));
      await assert.rejects(
        runAblation(options, gpu, listener(), signal),
        dataError(path, "stages.0.mIoU", "expected"),
      );
    }
  }));

Deno.test("a report takes no configuration and no records but a run's own", () =>
  withFolder(async (folder) => {
    const { out } = await finishedRun(folder);
    const path = join(out, "config.json");
    const sound = Deno.readTextFileSync(path);
    for (
      const text of ["{}", "null", "[]", '{"seed":1}', sound.replace('"pipeline"', '"pipelinf"')]
    ) {
      Deno.writeTextFileSync(path, text);
      assert.throws(() => readRunRecord(out), dataError(path), text);
      const resumed = await runProgram("train", "--resume", out, "--dry-run");
      const based = await runProgram("train", "--from", "stage1", "--base", out, "--dry-run");
      for (const { code, stdout, stderr } of [resumed, based]) {
        assert.deepEqual([code, stdout], [2, ""], text);
        assert.match(stderr, /^Cannot use [^\n]*config\.json [^\n]*\n$/, text);
      }
    }
    Deno.writeTextFileSync(path, sound);
    const metrics = join(out, "metrics.jsonl");
    const lines = Deno.readTextFileSync(metrics).split("\n");
    for (const line of ["5", "null", '{"stage":"sourcf","step":1}', '{"stage":"source"}']) {
      Deno.writeTextFileSync(metrics, lines.with(2, line).join("\n"));
      assert.throws(() => readRunRecord(out), dataError("metrics.jsonl, line 3", "source, warmup"));
    }
  }));
