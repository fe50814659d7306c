// Ablations: what they plan, that they go on where they were stopped, and their tables.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { planAblation, runAblation, tablePaths } from "../../../train/ablation/ablation.ts";
import { type AblationGrid, GRIDS, RUNS } from "../../../train/ablation/grids.ts";
import { type AblationTable, formatTable, statistics } from "../../../train/ablation/table.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { PresetName } from "../../../train/config/presets.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { killWhen, tinyConfig } from "../_resume.ts";
import { SILENT } from "../_observer.ts";

const base = presetConfig("default");

function gridOf(wanted: string): AblationGrid {
  return GRIDS.find(({ name }) => name === wanted) ?? assert.fail(`no grid ${wanted}`);
}

/** Two trainings. */
const SMALL: AblationGrid = {
  name: "small",
  title: "Small",
  finding: "",
  rows: gridOf("table3").rows.filter(({ run }) => ["start", "denoise"].includes(run)),
};

Deno.test("every row shows a run that trains its stage", () => {
  for (const { name, rows } of GRIDS) {
    assert.equal(new Set(rows.map(({ title }) => title)).size, rows.length, name);
    for (const { run, stage } of rows) assert.ok(RUNS[run].pipeline.includes(stage), run);
  }
  for (const { after } of Object.values(RUNS)) assert.ok(after === null || RUNS[after]);
});

Deno.test("a plan trains the common start first and once a seed, and no training twice", () => {
  const plan = planAblation({ grid: gridOf("table3"), seeds: [4, 7], base, out: "out" });
  const ofSeed = [
    "start",
    "oracle",
    "oracle-long",
    "stage1",
    "self-training",
    "symmetric",
    "denoise",
    "structure",
    "students",
  ];
  assert.deepEqual(
    plan.map(({ seed, name }) => [seed, name]),
    [4, 7].flatMap((seed) => ofSeed.map((name) => [seed, name])),
  );
  const { config } = plan.find(({ seed, name }) => seed === 7 && name === "self-training") ??
    plan[0];
  assert.equal(config.base, join("out", "seed-7", "start"));
  assert.equal(config.out, join("out", "seed-7", "self-training"));
  const { reweighting, threshold, alpha, beta, gamma1, gamma2, studentView } = config.stages.stage1;
  assert.deepEqual(
    [reweighting, threshold, alpha, beta, gamma1, gamma2, studentView],
    ["none", 0.9, 1, 0, 0, 0, "weak"],
  );
  // Streets' students start from their teachers, the published ones from what selfsup makes.
  const pipelines = (preset: PresetName) =>
    planAblation({ grid: gridOf("table3"), seeds: [0], base: presetConfig(preset), out: "out" })
      .at(-1)?.config.pipeline;
  assert.deepEqual(pipelines("default"), ["stage2", "stage3"]);
  assert.deepEqual(pipelines("full"), ["selfsup", "stage2", "stage3"]);
  // One oracle learns as long as the source is learnt, one as long as all stages together.
  const longer = mergeConfig(base, {
    values: { pipeline: ["source", "selfsup", "stage1"], stages: { source: { steps: 70 } } },
    from: "the test",
  });
  const oracles = planAblation({ grid: gridOf("table3"), seeds: [0], base: longer, out: "out" })
    .filter(({ name }) => name.startsWith("oracle"))
    .map(({ config: { stages: { oracle } } }) => [oracle.steps, oracle.scheduleSteps]);
  const all = 70 + base.stages.stage1.steps;
  assert.deepEqual(oracles, [[70, 70], [all, all]]);
  // Streets' own decay is 0.99: stage 1 as it is.
  const decay = planAblation({ grid: gridOf("decay"), seeds: [0], base, out: "out" });
  assert.deepEqual(decay.map(({ name }) => name), [
    "start",
    "stage1",
    "decay-0.9",
    "decay-0.999",
    "decay-0.9999",
    "decay-0.99999",
  ]);
});

Deno.test("what the field has added is tried by itself, then all of it together", () => {
  const off = base.stages.stage1;
  const runs = gridOf("successors").rows.filter(({ stage }) => stage === "stage1")
    .map(({ run }) => RUNS[run].values)
    .map((values) => typeof values === "function" ? values(base) : values);
  const settings = runs.map(({ stages }) => stages?.stage1 ?? {});
  for (const [name, value] of settings.flatMap((own) => Object.entries(own))) {
    assert.notDeepEqual(off[name as keyof typeof off], value, `${name} is on`);
  }
  assert.deepEqual(settings[0], {}, "the first row is stage 1 as it is");
  const [all, data] = [settings.at(-1), runs.at(-1)?.data];
  const { featuresOf: _, ...each } = Object.assign({}, ...settings.slice(0, -1));
  assert.deepEqual(all, each);
  assert.ok(Object.keys(each).length >= 4);
  assert.deepEqual(data, { rareClassSampling: 0.01 });
});

Deno.test("rare classes are sampled from the first stage on, and features kept near to what is there", () => {
  const plan = planAblation({ grid: gridOf("successors"), seeds: [0], base, out: "out" });
  const configOf = (wanted: string) =>
    plan.find(({ name }) => name === wanted)?.config ?? assert.fail(`no run ${wanted}`);
  for (const temperature of [0, 0.05]) {
    const [start, run] = [configOf(`start-rare-${temperature}`), configOf(`rare-${temperature}`)];
    for (const { data } of [start, run]) assert.equal(data.rareClassSampling, temperature);
    assert.equal(run.base, start.out);
  }
  assert.equal(configOf("stage1").data.rareClassSampling, base.data.rareClassSampling);
  const own = configOf("own-colours");
  assert.deepEqual([own.data.sourceColours, own.base], ["own", null]);
  const selfsup = configOf("feature-distance-selfsup");
  assert.deepEqual(selfsup.pipeline, ["selfsup", "stage1"]);
  for (const { stages, base } of [configOf("feature-distance"), selfsup]) {
    assert.equal(stages.stage1.featureDistance, 0.005);
    assert.equal(base, configOf("stage1").base);
  }
});

/** Notes what an ablation says. */
function listener(heard: string[], listen: (text: string) => void = () => {}): TrainingObserver {
  return {
    ...SILENT,
    message: (text) => {
      heard.push(text);
      listen(text);
    },
  };
}

Deno.test("an ablation that is killed and stopped ends in the scores of one that is not", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const tiny = tinyConfig(folder, 2) as { data: Record<string, unknown> };
    const data = { ...tiny.data, heldOut: { share: 0.4 } }; // so that it would stop, as it learns nothing
    const values = { ...tiny, data, labelWatch: { images: 2, pictures: 1 } };
    const { signal } = new AbortController();
    const whole = {
      grid: SMALL,
      seeds: [0],
      base: mergeConfig(presetConfig("quick"), { values, from: "the test" }),
      out: join(folder, "whole"),
    };
    const expected = await runAblation(whole, gpu, listener([]), signal);
    for (const { mIoU } of expected.rows) assert.ok((mIoU[0] ?? 0) > 0);
    assert.deepEqual(namesIn(join(whole.out, "seed-0", "denoise", "samples", "stage1")), [
      "step_00000.png",
      "step_00001.png",
      "step_00002.png",
    ]);
    assert.equal(existsSync(join(whole.out, "seed-0", "denoise", "soft_labels")), false);

    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(config, JSON.stringify(values));
    const out = join(folder, "killed");
    const args = ["--grid", "decay", "--seeds", "0", "--preset", "quick", "--config", config];
    const metrics = join(out, "seed-0", "start", "metrics.jsonl");
    const begun = () => existsSync(metrics) && Deno.readTextFileSync(metrics).includes('"step":0');
    const killed = await killWhen(begun, ["ablate", ...args, "--out", out]);
    assert.ok(killed, "the ablation ended before it was to be killed");

    const stop = new AbortController();
    const stopping = listener([], (text) => /^seed 0, denoise/.test(text) && stop.abort());
    const stopped = await runAblation({ ...whole, out }, gpu, stopping, stop.signal);
    assert.deepEqual(stopped.rows.map(({ mIoU: [score] }) => score === null), [false, false, true]);

    const heard: string[] = [];
    const last = await runAblation({ ...whole, out }, gpu, listener(heard), signal);
    assert.equal(heard[0], "seed 0, denoise (run 2 of 2)", "what is done is skipped");
    const scores = (table: AblationTable) => table.rows.map(({ seconds: _, ...row }) => row);
    assert.deepEqual(scores(last), scores(expected));
    const { json, markdown } = tablePaths({ grid: SMALL, out });
    assert.deepEqual(JSON.parse(Deno.readTextFileSync(json)), last);
    assert.equal(Deno.readTextFileSync(markdown), formatTable(last));

    const { stages, ...shared } = whole.base;
    const unused = { ...stages, stage3: { ...stages.stage3, steps: 9 } };
    const same = { ...whole, out, base: { ...shared, stages: unused } };
    assert.deepEqual(await runAblation(same, gpu, listener([]), signal), last, "nothing to train");
    const other = { ...whole, out, base: { ...whole.base, logEvery: 7 } };
    await assert.rejects(
      runAblation(other, gpu, listener([]), signal),
      dataError("seed-0", "another training", "another folder"),
    );
  }));

Deno.test("a table has mean and deviation, and gains over its first row", () => {
  assert.deepEqual(statistics([40, null, 44, 42]), { mean: 42, deviation: 2 });
  assert.deepEqual(statistics([null, 7]), { mean: 7, deviation: null });
  assert.equal(statistics([null]), null);
  const table = {
    grid: "some",
    title: "Some",
    finding: "It helps.",
    seeds: [0, 1],
    rows: [
      { title: "first", published: 36.6, mIoU: [30, 32], seconds: [1, 1] },
      { title: "second", published: 41.6, mIoU: [29, null], seconds: [1, null] },
      { title: "third", published: null, mIoU: [null, null], seconds: [null, null] },
    ],
  };
  assert.equal(
    formatTable(table),
    [
      "# Some",
      "",
      "| target mIoU in % | paper | gain | here | gain | seed 0 | seed 1 |",
      "| --- | --: | --: | --: | --: | --: | --: |",
      "| first | 36.6 | +0.0 | 31.0 ± 1.4 | +0.0 | 30.0 | 32.0 |",
      "| second | 41.6 | +5.0 | 29.0 | −2.0 | 29.0 | – |",
      "| third | – |  | – |  | – | – |",
      "",
      "Mean ± sample deviation over seeds 0, 1; gains are over the first row. It helps.",
      "",
    ].join("\n"),
  );
});

Deno.test("a table says which share of the gap to each oracle a row recovers", () => {
  const seconds = [1, 1];
  const table: AblationTable = {
    grid: "some",
    title: "Some",
    finding: "It helps.",
    seeds: [0, 1],
    rows: [
      { title: "first", published: null, mIoU: [30, 32], seconds },
      { title: "second", published: null, mIoU: [39, 41], seconds },
      { title: "third", published: null, mIoU: [29, null], seconds },
      { title: "short", published: null, reference: "7 steps", mIoU: [48, 50], seconds },
      { title: "long", published: null, reference: "9 steps", mIoU: [null, 61], seconds },
      { title: "longest", published: null, reference: "10 steps", mIoU: [null, null], seconds },
    ],
  };
  const cells = formatTable(table).split("\n").filter((line) => line.startsWith("| "))
    .map((line) => line.split(" | ").slice(5, 8));
  assert.deepEqual(cells, [
    ["of the gap, 7 steps", "of the gap, 9 steps", "of the gap, 10 steps"],
    ["--:", "--:", "--:"],
    ["0 %", "0 %", ""],
    ["50 %", "30 %", ""],
    ["−11 %", "−7 %", ""],
    ["", "", ""],
    ["", "", ""],
    ["", "", ""],
  ]);
  assert.match(formatTable(table), /the share of the gap .* is that of the means/);
});

Deno.test("ablate refuses a grid or seeds that it does not know, in a sentence", async () => {
  for (
    const [args, message] of [
      [["--grid", "tabel3"], /^Cannot run ablate as --grid is tabel3: .*did you mean table3\?/],
      [["--seeds", "0,1,0"], /^Cannot run ablate as --seeds is 0,1,0: expected each seed once/],
    ] as const
  ) {
    const { code, stderr } = await runProgram("ablate", ...args);
    assert.deepEqual(code, 2);
    assert.match(stderr, message);
  }
});
