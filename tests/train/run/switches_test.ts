// Every setting reaches what it sets: a tiny run with another value of it leaves something else behind.
// The settings are walked, so that none can be left out.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Gpu, KernelClass } from "../../../kernels/runtime/mod.ts";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import type { Setting, SettingTable } from "../../../train/base/settings.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import { RUN_SETTINGS } from "../../../train/config/settings.ts";
import type { RunResult } from "../../../train/run/run_folder.ts";
import { runTraining } from "../../../train/run/run.ts";
import { stageContext } from "../../../train/run/stage_context.ts";
import { STAGE_SETTINGS } from "../../../train/stages/common/settings.ts";
import { kindOf, type StageName, STAGES } from "../../../train/stages/kinds.ts";
import { testGpu } from "../../_device.ts";
import { namesIn, withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";

/** Keys of a configuration by their paths, `stages.stage1.alpha`. */
type Values = Readonly<Record<string, unknown>>;

/** A run of two steps per stage on images of 48×24 pixels. */
const TINY: Values = {
  "logEvery": 2,
  "evalEvery": 5,
  "checkpointEvery": 5,
  "handOn": "last",
  "finalStatistics": "own",
  "network.width": 2,
  "network.headChannels": 8,
  "network.groups": 4,
  "network.dilations": [1],
  "data.heldOut.share": 0,
  "data.rareClassSampling": 0,
  "data.batch": 2,
  "data.cropHeight": 24,
  "data.cropWidth": 32,
  "data.longSide": 48,
  "data.streets.width": 48,
  "data.streets.height": 24,
  "data.streets.sourceTrain": 3,
  "data.streets.targetTrain": 3,
  "data.streets.targetVal": 2,
  "data.streets.sourceVal": 2,
  "data.streets.targetChoose": 2,
  ...Object.fromEntries(STAGES.flatMap((name) => [
    [`stages.${name}.steps`, 2],
    [`stages.${name}.scheduleSteps`, 4],
    [`stages.${name}.rampSteps`, 0],
  ])),
  "stages.warmup.discriminatorPlanes": 2,
  "stages.selfsup.projectionChannels": 4,
  "stages.selfsup.places": 4,
};

/** How a setting is seen to matter, where a run of its own stage, or of `source`, does not show it. */
interface Trial {
  /** The stage that shows it. */
  readonly stage?: StageName;
  /** Other values than those that its kind suggests. */
  readonly values?: (folder: string) => readonly unknown[];
  /** What else is set, in both runs. */
  readonly given?: (folder: string) => Values;
  /** The class of kernels that has it. */
  readonly kernels?: KernelClass;
  /** With another value the run is refused, with these words. */
  readonly refused?: RegExp;
  /** The file whose tests see it, where a run of one process cannot. */
  readonly seenBy?: string;
}

const HALF_SEEN: Trial = {
  given: () => ({ "data.longSide": 24, "data.scales": [1, 1] }), // half a crop lies beyond its image
};
const ownData = (folder: string): Values => ({
  "data.sourceDirectory": join(folder, "streets", "source"),
  "data.targetDirectory": join(folder, "streets", "target"),
});

const TRIALS: Readonly<Record<string, Trial>> = {
  "out": { values: (folder) => [join(folder, "elsewhere")] },
  "base": { stage: "stage1", values: (folder) => [join(folder, "other")] },
  "init": { values: (folder) => [join(folder, "base", "checkpoints", "source.safetensors")] },
  "handOn": { stage: "stage1", given: (folder) => ({ "base": join(folder, "judged") }) },
  "finalStatistics": { stage: "warmup" },
  "evalEvery": { values: () => [1] },
  "checkpointEvery": { values: () => [1] },
  "logEvery": { values: () => [1] },
  "labelWatch.every": { stage: "stage1", values: () => [1] },
  "labelWatch.images": {
    stage: "stage1",
    given: () => ({ "labelWatch.every": 1, "labelWatch.images": 1 }),
  },
  "labelWatch.pictures": {
    stage: "stage1",
    given: () => ({ "labelWatch.every": 1, "labelWatch.pictures": 0 }),
  },
  "network.groups": { values: () => [2] },
  "network.headChannels": { values: () => [16] },
  "network.blocks": { values: () => [[1, 1, 2, 1]] },
  "network.dilations": { values: () => [[2]] },
  "memory.accumulate": { values: () => [2] },
  "memory.compute": { kernels: "shared" },
  "parallel.wire": { seenBy: "tests/mpi/train.ts" },
  "parallel.shards": { values: () => [2], refused: /on 1 ranks as parallel.shards is 2/ },
  "data.sourceDirectory": {
    given: ownData,
    values: (folder) => [join(folder, "moved", "source")],
  },
  "data.targetDirectory": {
    given: ownData,
    values: (folder) => [join(folder, "moved", "target")],
  },
  "data.sourceLayout": { given: ownData, refused: /has no|cannot be read|it does not exist/ },
  "data.targetLayout": { given: ownData, refused: /has no|cannot be read|it does not exist/ },
  "data.classes": { given: ownData, values: () => [["road", "sky"]] },
  "data.heldOut.share": { values: () => [0.4] },
  "data.heldOut.images": {
    given: () => ({ "data.heldOut.share": 0.8, "data.heldOut.images": 1 }),
  },
  "data.batch": { values: () => [1] },
  "data.scales": { values: () => [[0.5, 0.6]] },
  "data.sourceColours": { stage: "warmup" },
  "data.strongView": { stage: "stage1" },
  "data.middle": { stage: "stage1" },
  "data.streets.directory": { values: (folder) => [join(folder, "elsewhere")] },
  "data.streets.sourceVal": {
    given: (folder) => ({ "data.streets.directory": join(folder, "elsewhere") }),
  },
  "data.streets.targetChoose": { given: () => ({ "data.evaluateOn": "choose" }) },
  "stages.stage1.distanceWarp": { given: () => ({ "data.strongView": "randaugment" }) },
  "stages.stage1.padding": HALF_SEEN,
  "stages.stage1.threshold": { values: () => [0.5] },
  "stages.stage1.prototypeUpdate": { given: () => ({ "stages.stage1.prototypeDecay": 0.5 }) },
  "stages.stage1.prototypeDecay": { values: () => [0.2] },
  "stages.stage1.statistics": { given: () => ({ "stages.stage1.statistics": "both" }) },
  "stages.stage1.maskRatio": { given: () => ({ "stages.stage1.maskedWeight": 1 }) },
  "stages.stage1.maskBlock": { given: () => ({ "stages.stage1.maskedWeight": 1 }) },
  "stages.stage1.featureDistance": { values: () => [0.1, 0.2] },
  "stages.stage1.featuresOf": {
    given: (folder) => ({
      "stages.stage1.featureDistance": 1,
      "stages.selfsup.weights": join(folder, "base", "checkpoints", "source.safetensors"),
      "init": join(folder, "other", "checkpoints", "source.safetensors"),
    }),
  },
  "stages.stage1.things": {
    given: () => ({ "stages.stage1.featureDistance": 1 }),
    values: () => [["road"], ["road", "building"]],
  },
  "stages.selfsup.weights": {
    stage: "stage2",
    given: () => ({ "stages.stage2.studentStart": "self-supervised" }),
    values: (folder) => [join(folder, "base", "checkpoints", "source.safetensors")],
  },
  ...Object.fromEntries(["stage2", "stage3"].flatMap((name) => [
    [`stages.${name}.keep`, { given: () => ({ [`stages.${name}.threshold`]: 0.99 }) }],
    [`stages.${name}.threshold`, {
      given: () => ({ [`stages.${name}.threshold`]: 0, [`stages.${name}.keep`]: 0 }),
    }],
    [`stages.${name}.formula`, { values: () => ["official"] }],
  ])),
};

/** Every setting by its path. */
function leaves(table: SettingTable, path = ""): [key: string, setting: Setting][] {
  return Object.entries(table).flatMap(([name, setting]): [string, Setting][] =>
    typeof setting === "string" || Array.isArray(setting)
      ? [[path + name, setting as Setting]]
      : leaves(setting as SettingTable, `${path}${name}.`)
  );
}

const SETTINGS = [
  ...leaves(RUN_SETTINGS),
  ...STAGES.flatMap((name) =>
    leaves({ ...STAGE_SETTINGS, ...kindOf(name).settings }, `stages.${name}.`)
  ),
];

/** Other values of a setting, by its kind. */
function otherValues(setting: Setting, value: unknown): readonly unknown[] {
  if (Array.isArray(setting)) return setting.filter((word) => word !== value);
  const number = value as number;
  switch (setting as Exclude<Setting, readonly string[]>) {
    case "count":
    case "whole":
    case "pixels":
    case "images":
      return [number + 3];
    case "positive":
    case "weight":
      return [2 * number + 0.1];
    case "share":
    case "belowOne":
      return [number > 0.5 ? number / 2 : number + 0.45];
    case "toggle":
      return [!value];
    default:
      return [];
  }
}

function nested(values: Values): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) {
    const path = key.split(".");
    const last = path.pop() as string;
    let section = config;
    for (const name of path) section = (section[name] ??= {}) as Record<string, unknown>;
    section[last] = value;
  }
  return config;
}

function valueAt(config: unknown, key: string): unknown {
  return key.split(".").reduce(
    (section, name) => (section as Record<string, unknown>)[name],
    config,
  );
}

/** A text without what no two runs share, and without the seed, which a result names. */
const withoutTimes = (text: string) =>
  text.replace(/"(seconds|waitShare|seed)": ?[\d.e-]+/g, "").replace(/"started": ?"[^"]*"/g, "");

/** Counts what is read from the GPU while `body` runs: what shows of how often losses are read. */
async function countReads(gpu: Gpu, body: () => Promise<unknown>): Promise<number> {
  const own = Object.getPrototypeOf(gpu).readLater;
  let reads = 0;
  gpu.readLater = (arrays) => {
    reads++;
    return own.call(gpu, arrays);
  };
  try {
    await body();
  } finally {
    delete (gpu as Partial<Gpu>).readLater;
  }
  return reads;
}

let runs = 0;

/** Runs a stage, and says all that it leaves behind: files, arrays, records, results, and memory taken. */
async function outcome(
  folder: string,
  stage: StageName,
  values: Values,
  kernels?: KernelClass,
): Promise<string> {
  const gpu = await testGpu(kernels);
  const ofStreets = Object.entries(values).filter(([key]) => key.startsWith("data.streets."));
  const out = (values["out"] as string | undefined) ?? join(folder, `run ${runs++}`);
  const given = {
    ...TINY,
    "pipeline": [stage],
    "data.streets.directory": join(folder, ["streets", ...ofStreets].join(" ")),
    ...(["source", "oracle", "selfsup"].includes(stage) ? {} : { base: join(folder, "base") }),
    ...values,
    out,
  };
  const config = mergeConfig(presetConfig("default"), { values: nested(given), from: "the test" });
  gpu.pool.trim();
  const reads = await countReads(
    gpu,
    () => runTraining(config, gpu, SILENT, new AbortController().signal, { keepGoing: true }),
  );
  const said = [`read ${reads} times`, out.startsWith(join(folder, "run ")) ? "" : out];
  const visit = (path: string, name: string) => {
    for (const entry of namesIn(path)) {
      const file = join(path, entry);
      if (Deno.statSync(file).isDirectory) visit(file, `${name}${entry}/`);
      else if (entry === "config.json") continue;
      else if (!entry.endsWith(".safetensors")) {
        const text = entry.endsWith(".png") ? entry : withoutTimes(Deno.readTextFileSync(file));
        said.push(name + entry, text);
      } else if (entry.startsWith(stage)) {
        const arrays = new Safetensors(Deno.readFileSync(file));
        const hash = createHash("sha256");
        for (const key of arrays.entries.keys()) {
          hash.update(key).update(new Uint8Array(arrays.floats(key).slice().buffer));
        }
        said.push(name + entry, hash.digest("hex"));
      }
    }
  };
  visit(out, "");
  const elsewhere = join(folder, "elsewhere");
  if (existsSync(elsewhere)) {
    said.push(...readdirSync(elsewhere, { recursive: true, encoding: "utf8" }).sort());
    Deno.removeSync(elsewhere, { recursive: true });
  }
  if (existsSync(out)) Deno.removeSync(out, { recursive: true });
  return said.join("\n");
}

/** Runs of all stages but the reference, for others to start from, and a copy of the data in another place. */
async function makeBases(folder: string): Promise<void> {
  const { signal } = new AbortController();
  for (const [name, seed] of [["base", 0], ["other", 1]] as const) {
    const values = nested({
      ...TINY,
      seed,
      "pipeline": STAGES.filter((name) => kindOf(name).role !== "reference"),
      "data.streets.directory": join(folder, "streets"),
      "out": join(folder, name),
    });
    const config = mergeConfig(presetConfig("default"), { values, from: "the test" });
    await runTraining(config, await testGpu(), SILENT, signal);
  }
  makeJudged(folder);
  cpSync(join(folder, "streets"), join(folder, "moved"), { recursive: true });
  const images = (at: string, name: string) => join(folder, "moved", "source", at, name);
  const [first, second] = namesIn(join(folder, "moved", "source", "images"));
  for (const at of ["images", "labels"]) Deno.copyFileSync(images(at, first), images(at, second));
  const val = join(folder, "moved", "target", "leftImg8bit", "val", "streets");
  const [one, two] = namesIn(val);
  Deno.copyFileSync(join(val, one), join(val, two));
}

/** A copy of the base whose first network is far better than those after it. */
function makeJudged(folder: string): void {
  const judged = join(folder, "judged");
  cpSync(join(folder, "base"), judged, { recursive: true });
  const path = join(judged, "result.json");
  const result = JSON.parse(Deno.readTextFileSync(path)) as RunResult;
  Object.assign(result.stages[0], { agreement: 100, correlation: 100 });
  Deno.writeTextFileSync(path, JSON.stringify(result));
}

Deno.test("every setting of a configuration makes a difference to the run that it is of", async (t) => {
  await withFolder(async (folder) => {
    await makeBases(folder);
    const plain = new Map<string, string>();
    const outcomeOf = async (stage: StageName, values: Values, kernels?: KernelClass) => {
      const key = JSON.stringify([stage, values, kernels]);
      const known = plain.get(key) ?? await outcome(folder, stage, values, kernels);
      plain.set(key, known);
      return known;
    };
    assert.equal(
      await outcome(folder, "stage1", {}),
      await outcomeOf("stage1", {}),
      "the same run leaves the same",
    );
    const unseen: string[] = [];
    for (const [key, setting] of SETTINGS) {
      const trial = TRIALS[key] ?? {};
      if (trial.seenBy) {
        const test = Deno.readTextFileSync(new URL(`../../../${trial.seenBy}`, import.meta.url));
        const [name] = key.split(".").slice(-1);
        assert.match(test, new RegExp(`\\b${name}: `), `${trial.seenBy} says nothing of ${key}`);
        continue;
      }
      const own = /^stages\.(\w+)\./.exec(key)?.[1] as StageName | undefined;
      const stage = trial.stage ?? own ?? "source";
      const given = trial.given?.(folder) ?? {};
      const config = mergeConfig(presetConfig("default"), {
        values: nested({ ...TINY, ...given }),
        from: "the test",
      });
      const values = trial.values?.(folder) ?? otherValues(setting, valueAt(config, key));
      assert.ok(values.length > 0, `the test has no other value for ${key}: add a trial`);
      await t.step(key, async () => {
        for (const value of values) {
          const { kernels, refused } = trial;
          const other = outcome(folder, stage, { ...given, [key]: value }, kernels);
          if (refused) await assert.rejects(other, refused);
          else if (await other === await outcomeOf(stage, given, kernels)) {
            unseen.push(`${key}: ${value}`);
          }
        }
      });
    }
    assert.deepEqual(unseen, [], "settings that change nothing");
    for (const key of Object.keys(TRIALS)) {
      assert.ok(SETTINGS.some(([name]) => name === key), `there is a trial of ${key}, no setting`);
    }
  });
});

Deno.test("the first weights of a student are those that it is told to start from, each others", () =>
  withFolder(async (folder) => {
    await makeBases(folder);
    for (const stage of ["stage2", "stage3"] as const) {
      const starts = ["self-supervised", "supervised", "teacher", "random"];
      const outcomes = [];
      for (const start of starts) {
        outcomes.push(await outcome(folder, stage, { [`stages.${stage}.studentStart`]: start }));
      }
      assert.equal(new Set(outcomes).size, starts.length, stage);
    }
  }));

/** A run in which a seed can matter for one thing only. */
const ONE_IMAGE: Values = {
  "data.streets.sourceTrain": 1,
  "data.streets.targetTrain": 1,
  "data.batch": 1,
  "data.cropHeight": 24,
  "data.cropWidth": 48,
  "data.scales": [1, 1],
  "data.flip": 0,
  "network.dropout": 0,
};
const SEEDED: Readonly<Record<string, Values>> = {
  "first weights": { "init": null },
  "the order of images": { "data.streets.sourceTrain": 8 },
  "views": { "data.flip": 0.5, "data.scales": [0.5, 1.5] },
  "dropout": { "network.dropout": 0.4 },
};

for (const [what, values] of Object.entries(SEEDED)) {
  Deno.test(`the seed of a run reaches ${what}`, () =>
    withFolder(async (folder) => {
      const gpu = await testGpu();
      const init = join(folder, "init.safetensors");
      const config = mergeConfig(presetConfig("default"), {
        values: nested({ ...TINY, ...ONE_IMAGE }),
        from: "the test",
      });
      const context = stageContext({ config, gpu, network: { classes: 8 } as never }, "source");
      {
        using network = context.createNetwork();
        const arrays = new Map<string, { shape: number[]; data: Float32Array }>();
        for (const [name, array] of network.stateDict()) {
          arrays.set(name, { shape: [...array.shape], data: await array.read() as Float32Array });
        }
        Deno.writeFileSync(init, writeSafetensors(arrays));
      }
      const run = (seed: number, more: Values = values) =>
        outcome(folder, "source", { init, ...ONE_IMAGE, ...more, seed });
      assert.notEqual(await run(1), await run(2));
      assert.equal(await run(1, {}), await run(2, {}), "nothing else depends on it");
    }));
}

Deno.test("every stage gets the seed and the parts of its run", async () => {
  const gpu = await testGpu();
  const config = presetConfig("default");
  config.seed = 7;
  config.memory.accumulate = 2;
  for (const name of STAGES) {
    const { options } = stageContext({ config, gpu, network: { classes: 8 } as never }, name);
    assert.deepEqual([options.seed, options.accumulate], [7, 2], name);
  }
});
