import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  resolveConfig,
  resolveLayers,
  resolveTraining,
  type TrainFlags,
} from "../../cli/train_config.ts";
import { shippedNetworks } from "../../train/networks/shipped.ts";
import { mergeConfig, presetConfig, withSteps } from "../../train/config/config.ts";
import { PRESETS } from "../../train/config/presets.ts";
import { choicesOf } from "../../train/config/recipes.ts";
import { withFolder } from "../train/_folder.ts";
import type { RunConfig } from "../../train/config/settings.ts";
import { DataError } from "../../train/base/data_error.ts";

function merge(values: unknown): RunConfig {
  return mergeConfig(presetConfig("default"), { values, from: "config file a.json" });
}

function refuses(values: unknown, message: RegExp): void {
  assert.throws(() => merge(values), (error) => {
    assert.ok(error instanceof DataError);
    assert.match(error.message, message);
    assert.match(error.message, /^Cannot use [^\n]*$/);
    return true;
  });
}

const NOON = new Date(2026, 0, 31, 12, 5, 9);

Deno.test("every preset is a valid configuration", () => {
  for (const [name, preset] of Object.entries(PRESETS)) {
    assert.deepEqual(mergeConfig(preset), preset, name);
  }
});

Deno.test("the full preset holds the published hyper-parameters", () => {
  const { network, data, stages } = PRESETS.full;
  assert.deepEqual(network.blocks, [3, 4, 23, 3]);
  assert.deepEqual([data.cropWidth, data.cropHeight, data.batch, data.longSide], [
    896,
    512,
    4,
    2200,
  ]);
  assert.deepEqual(
    [stages.warmup.learningRate, stages.warmup.headFactor, stages.stage1.learningRate],
    [2.5e-4, 10, 1e-4],
  );
  const { alpha, beta, gamma1, gamma2, temperature, prototypeDecay, emaDecay } = stages.stage1;
  assert.deepEqual(
    [alpha, beta, gamma1, gamma2, temperature, prototypeDecay, emaDecay],
    [0.1, 1, 10, 0.1, 1, 0.9999, 0.999],
  );
});

/** What the recipes choose, for all stages. */
const CHOICES: Record<string, readonly [paper: unknown, official: unknown]> = {
  "network.initialisation": ["he", "official"],
  "stages.stage1.studentView": ["weak", "weak"],
  "stages.stage1.encoderView": ["weak", "whole"],
  "stages.stage1.encoderStatistics": ["running", "batch"],
  "stages.stage1.encoderDropout": [false, true],
  "stages.stage1.distanceWarp": ["bilinear", "nearest"],
  "stages.stage1.padding": ["masked", "counted"],
  "stages.stage1.normalisation": ["paper", "official"],
  "stages.stage1.prototypeStart": ["paper", "official"],
  "stages.stage1.prototypeUpdate": ["paper", "official"],
  "stages.stage2.teacherView": ["weak", "strong"],
  "stages.stage2.formula": ["paper", "official"],
  "stages.stage2.studentStart": ["self-supervised", "self-supervised"],
  "stages.stage3.teacherView": ["weak", "strong"],
  "stages.stage3.formula": ["paper", "official"],
  "stages.stage3.studentStart": ["self-supervised", "teacher"],
};

async function choicesWith(flags: Parameters<typeof resolveLayers>[0]) {
  const { config, preset, layers } = await resolveLayers(flags, NOON);
  return choicesOf(config, preset, layers);
}

Deno.test("a recipe sets every choice in which the paper and its released code disagree", async () => {
  const experiment = fileURLToPath(
    new URL("../../experiments/gta5_to_cityscapes.json", import.meta.url),
  );
  for (const [at, recipe] of (["paper", "official"] as const).entries()) {
    for (const config of [[], [experiment]]) {
      const found = await choicesWith({ recipe, config });
      const expected = Object.entries(CHOICES).map(([key, values]) => [key, values[at]]);
      assert.deepEqual(
        found.map(({ key, value }) => [key, value]),
        expected,
        `${recipe} ${config}`,
      );
      assert.ok(found.every(({ from }) => from === `recipe ${recipe}`), "a recipe wins over files");
    }
  }
});

Deno.test("it is known where every choice was made", async () => {
  const fromOf = async (flags: Parameters<typeof resolveLayers>[0], wanted: string) =>
    (await choicesWith(flags)).find(({ key }) => key === wanted)?.from;
  await withFolder(async (folder) => {
    const file = join(folder, "mine.json");
    Deno.writeTextFileSync(file, JSON.stringify({ stages: { stage1: { padding: "counted" } } }));
    const key = "stages.stage1.padding";
    assert.equal(await fromOf({}, key), "preset default");
    assert.equal(await fromOf({ config: [file] }, key), `config file ${file}`);
    assert.equal(await fromOf({ config: [file], recipe: "paper" }, key), "recipe paper");
    const start = { studentInit: "simclr.pth", recipe: "paper" } as const;
    assert.equal(await fromOf(start, "stages.stage2.studentStart"), "the flags");
  });
  const stages = (await choicesWith({ until: "warmup" })).map(({ key }) => key);
  assert.deepEqual(stages, ["network.initialisation"], "of stages that do not run there is none");
});

Deno.test("pre-training is put in where a student starts from it", async () => {
  const pipelineOf = async (flags: Parameters<typeof resolveConfig>[0]) =>
    (await resolveConfig(flags, NOON)).pipeline;
  const whole = ["source", "warmup", "stage1", "selfsup", "stage2", "stage3"];
  assert.deepEqual(await pipelineOf({ recipe: "paper" }), whole);
  assert.deepEqual(await pipelineOf({ recipe: "official" }), whole);
  assert.deepEqual(await pipelineOf({}), whole.filter((name) => name !== "selfsup"));
  assert.deepEqual(await pipelineOf({ recipe: "paper", studentInit: "simclr.pth" }), [
    "source",
    "warmup",
    "stage1",
    "stage2",
    "stage3",
  ]);
});

Deno.test("a config file sets the keys it names and leaves the others", () => {
  const config = merge({
    seed: 7,
    network: { dilations: [1, 2] },
    stages: { stage1: { alpha: 0 } },
  });
  const expected = presetConfig("default");
  expected.seed = 7;
  expected.network.dilations = [1, 2];
  expected.stages.stage1.alpha = 0;
  assert.deepEqual(config, expected);
});

Deno.test("merging changes neither the preset nor the given values", () => {
  const before = structuredClone(PRESETS.default);
  const values = { network: { dilations: [3] } };
  const config = merge(values);
  config.network.dilations.push(4);
  config.data.scales[0] = 9;
  assert.deepEqual(PRESETS.default, before);
  assert.deepEqual(values, { network: { dilations: [3] } });
});

Deno.test("an unknown key is refused with the nearest name", () => {
  refuses({ sede: 1 }, /key sede is unknown: did you mean seed\?$/);
  refuses({ stages: { stage1: { emaDecai: 1 } } }, /did you mean stages\.stage1\.emaDecay\?$/);
  refuses(
    { data: { colour: 1 } },
    /key data\.colour is unknown: expected one of sourceDirectory, /,
  );
});

Deno.test("a key that every object inherits is still unknown", () => {
  refuses({ toString: 1 }, /key toString is unknown/);
  refuses(JSON.parse(`{ "__proto__": { "seed": 1 } }`), /key __proto__ is unknown/);
});

Deno.test("a value of another kind or out of range is refused with what was expected", () => {
  refuses({ seed: "1" }, /as seed is "1": expected a whole number of at least 0; correct it$/);
  refuses({ seed: 1.5 }, /as seed is 1\.5: expected a whole number/);
  refuses({ network: { head: "v3" } }, /network\.head is "v3": expected one of proda, classic/);
  refuses(
    { network: { dropout: 1 } },
    /network\.dropout is 1: expected a number from 0 to below 1/,
  );
  refuses(
    { network: { blocks: [1, 1] } },
    /network\.blocks is \[1,1\]: expected four whole numbers/,
  );
  refuses({ network: { blocks: [1, 1, 1, 0] } }, /network\.blocks\.3 is 0/);
  refuses({ network: 3 }, /as network is 3: expected an object with any of the keys blocks, /);
  refuses({ data: { scales: [2, 1] } }, /data\.scales is \[2,1\]: expected two numbers, the least/);
  refuses(
    { stages: { source: { learningRate: 0 } } },
    /learningRate is 0: expected a number above/,
  );
  refuses({ pipeline: [] }, /pipeline is \[\]: expected a list of stages, each once/);
  refuses({ pipeline: ["stage9"] }, /pipeline\.0 is "stage9": expected one of source, /);
  refuses([], /as it is \[\]: expected an object/);
  refuses(null, /as it is null: expected an object/);
});

Deno.test("numbers beyond any use are refused, as they would end in a stack trace or take all memory", () => {
  refuses(
    { data: { scales: [1, 1e30] } },
    /data\.scales\.1 is 1e\+30: expected a number above 0 and at most 1000; correct it$/,
  );
  refuses({ data: { scales: [0, 1] } }, /data\.scales\.0 is 0: expected a number above 0/);
  refuses({ data: { batch: 1e15 } }, /data\.batch is 10{15}: expected .* from 1 to 100000/);
  refuses({ data: { longSide: 1e12 } }, /longSide is 10{12}: expected .* from 16 to 65536/);
  refuses({ data: { streets: { width: 1e11 } } }, /streets\.width is 10{11}: expected/);
  refuses({ data: { streets: { targetVal: 1e12 } } }, /targetVal is 10{12}: expected/);
  refuses({ network: { blocks: [1e9, 1, 1, 1] } }, /blocks\.0 is 10{9}: expected .* 1 to 1000/);
});

Deno.test("values that do not go together are refused", () => {
  refuses({ network: { groups: 7 } }, /network\.groups is 7: expected a divisor of/);
  refuses({ data: { targetDirectory: "t" } }, /set data.sourceDirectory too$/);
  refuses({ pipeline: ["source", "oracle"] }, /expected it alone/);
});

Deno.test("a number of steps stretches the schedules with the stages", () => {
  const full = withSteps(presetConfig("full"), 1000);
  assert.equal(full.stages.stage1.steps, 1000);
  assert.equal(full.stages.stage1.scheduleSteps, Math.round(90_000 * 1000 / 62_412));
  const half = withSteps(presetConfig("default"), PRESETS.default.stages.source.steps / 2);
  assert.equal(half.stages.source.rampSteps, PRESETS.default.stages.source.rampSteps / 2);
  const one = withSteps(presetConfig("default"), 1);
  assert.equal(one.stages.source.scheduleSteps, 1);
  assert.equal(one.logEvery, 1);
});

Deno.test("on streets the quick preset starts from the network that comes with the project, where nothing else is said", () =>
  withFolder(async (folder) => {
    const path = join(folder, "config.json");
    const [{ path: shipped }] = shippedNetworks();
    const startOf = async (flags: TrainFlags, values: object = {}) => {
      Deno.writeTextFileSync(path, JSON.stringify(values));
      const { config } = await resolveTraining({ preset: "quick", ...flags, config: [path] }, NOON);
      return [config.init, config.pipeline];
    };
    const [first, ...others] = PRESETS.quick.pipeline;
    assert.equal(first, "source");
    const [started, plain] = [[shipped, others], [null, [first, ...others]]];
    assert.deepEqual(await startOf({}), started);
    assert.deepEqual(await startOf({ steps: 3, seed: 2, recipe: "official" }), started);
    assert.deepEqual(await startOf({ until: others[0] }), [shipped, [others[0]]]);
    assert.deepEqual(await startOf({ until: "source" }), [null, ["source"]]);
    assert.deepEqual(await startOf({ preset: "default" }), [null, PRESETS.default.pipeline]);
    assert.deepEqual(await startOf({ source: "a", target: "b" }), plain);
    assert.deepEqual(await startOf({ stages: ["source", "stage1"] }), [null, ["source", "stage1"]]);
    assert.deepEqual(await startOf({ init: "mine.pth" }), ["mine.pth", plain[1]]);
    assert.deepEqual(await startOf({}, { network: { width: 4 } }), plain);
    assert.deepEqual(await startOf({}, { pipeline: ["source", "warmup"] }), [null, [
      "source",
      "warmup",
    ]]);
    assert.deepEqual((await resolveConfig({ preset: "quick" }, NOON)).pipeline, plain[1]);
  }));

Deno.test("flags win over the config file, and the file over the preset", async () => {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, `{ "seed": 5, "data": { "batch": 2 }, "out": "runs/file" }`);
    const config = await resolveConfig({ preset: "quick", config: [path], seed: 6 }, NOON);
    assert.equal(config.seed, 6);
    assert.equal(config.data.batch, 2);
    assert.equal(config.out, "runs/file");
    assert.equal(config.stages.source.steps, PRESETS.quick.stages.source.steps);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("one domain may come from the file and the other from a flag", async () => {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, `{ "data": { "sourceDirectory": "a" } }`);
    const { data } = await resolveConfig({ config: [path], target: "b" }, NOON);
    assert.deepEqual([data.sourceDirectory, data.targetDirectory], ["a", "b"]);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("a run without --out gets a folder of its own by date and time", async () => {
  assert.equal((await resolveConfig({}, NOON)).out, "runs/default-20260131-120509");
  assert.equal((await resolveConfig({ out: "here" }, NOON)).out, "here");
});

Deno.test("a config file that is missing or no JSON is named", async () => {
  await assert.rejects(
    resolveConfig({ config: ["no/such.json"] }, NOON),
    /^DataError: Cannot read config file no\/such\.json as it does not exist: expected an object/,
  );
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, "{ seed: 1 }");
    await assert.rejects(
      resolveConfig({ config: [path] }, NOON),
      /as it is not JSON \(.*\): expected/,
    );
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("--stages, --from and --until choose stages, and pre-training is never forgotten", async () => {
  const pipeline = async (flags: Parameters<typeof resolveConfig>[0]) =>
    (await resolveConfig(flags, NOON)).pipeline;
  const all = await pipeline({ preset: "full", source: "a", target: "b" });
  assert.deepEqual(all, ["source", "warmup", "stage1", "selfsup", "stage2", "stage3"]);
  const stages = all.filter((name) => name !== "selfsup");
  assert.deepEqual(await pipeline({ stages, recipe: "paper" }), all);
  assert.deepEqual(await pipeline({ stages: ["source", "stage1"] }), ["source", "stage1"]);
  assert.deepEqual(await pipeline({ stages, until: "warmup" }), ["source", "warmup"]);
  await assert.rejects(
    pipeline({ stages: ["source"], until: "stage1" }),
    /does not name it: .*source/,
  );
  await assert.rejects(pipeline({ from: "stage1" }), /--from and --base need each other/);

  const folder = await Deno.makeTempDir();
  try {
    const earlier = { ...presetConfig("quick"), seed: 5, out: folder, pipeline: ["source"] };
    await Deno.writeTextFile(join(folder, "config.json"), JSON.stringify(earlier));
    const flags = { base: folder, from: "stage2", stages } as const;
    const config = await resolveConfig(flags, NOON);
    assert.deepEqual(config.pipeline, ["stage2", "stage3"]);
    assert.deepEqual([config.seed, config.stages], [5, earlier.stages]);
    assert.notEqual(config.out, folder);
    assert.equal((await resolveConfig({ ...flags, seed: 6 }, NOON)).seed, 6);
    await assert.rejects(
      pipeline({ ...flags, until: "stage1" }),
      /from stage2 until stage1 as the one comes after the other/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("of several config files a later one wins, and a TypeScript file gives its default export", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const [json, module, bare, torn, sad] = ["a.json", "b.ts", "c.ts", "d.ts", "e.ts"].map((name) =>
      `${folder}/${name}`
    );
    await Deno.writeTextFile(json, `{ "seed": 5, "data": { "batch": 2, "flip": 0 } }`);
    await Deno.writeTextFile(
      module,
      `const batch: number = 2 * 3;\nexport default { data: { batch } };`,
    );
    await Deno.writeTextFile(bare, "export const data = {};");
    const { seed, data } = await resolveConfig({ config: [json, module] }, NOON);
    assert.deepEqual([seed, data.batch, data.flip], [5, 6, 0]);
    assert.equal((await resolveConfig({ config: [module, json] }, NOON)).data.batch, 2);
    await assert.rejects(resolveConfig({ config: [bare] }, NOON), /c\.ts as it exports no default/);
    await Deno.writeTextFile(torn, "export default {");
    await assert.rejects(
      resolveConfig({ config: [torn] }, NOON),
      /^DataError: Cannot run config file .*\.ts as .*: expected a TypeScript module/,
    );
    const errors = new URL("../../train/base/data_error.ts", import.meta.url).href;
    await Deno.writeTextFile(
      sad,
      `import { DataError } from "${errors}";\nthrow new DataError("Cannot go on as I lack data");`,
    );
    await assert.rejects(
      resolveConfig({ config: [sad] }, NOON),
      /^DataError: Cannot go on as I lack data$/,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
