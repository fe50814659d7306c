// A run on several ranks is the run on one: here all ranks are in one process, over MPI in tests/mpi.

import assert from "node:assert/strict";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { type Collective, CollectiveError } from "../../../train/parallel/collective.ts";
import { shardsOf } from "../../../train/parallel/shards.ts";
import { Solo } from "../../../train/parallel/solo.ts";
import { readRunResult } from "../../../train/run/run_folder.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { kindOf, type StageName, STAGES } from "../../../train/stages/kinds.ts";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { unpack } from "../../../train/base/packed.ts";
import { Checkpoint } from "../../../train/networks/checkpoint.ts";
import type { CheckpointState, KnownFiles } from "../../../train/run/resume.ts";
import { testGpu } from "../../_device.ts";
import { onRanks } from "../../_peers.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../_resume.ts";

const signal = new AbortController().signal;
const TRAINED = STAGES.filter((name) => kindOf(name).role !== "reference");
const BATCH = 4;
/** Learning rates with which twenty steps of a tiny network do not multiply roundings a thousandfold. */
const [RATE, RATES] = [2e-4, { selfsup: 1e-7 } as Readonly<Record<string, number>>];
/** Soft labels, pseudo labels, and what comes before them. */
const SHORT = {
  pipeline: ["source", "stage1", "stage2"],
  stages: { stage2: { studentStart: "teacher" } },
} as const;

/** A tiny configuration of some stages, with a batch that two and four ranks can take. */
function configOf(
  folder: string,
  out: string,
  values: Record<string, unknown> = {},
  steps = 3,
): RunConfig {
  const tiny = { values: tinyConfig(folder, steps), from: "the test" };
  const batch = { values: { data: { batch: BATCH } }, from: "the test" };
  const own = { values: { ...values, out: join(folder, out) }, from: "the test" };
  return mergeConfig(presetConfig("default"), tiny, batch, own);
}

/** Trains on so many ranks of one process. */
function train(config: RunConfig, ranks: number | readonly Collective[]): Promise<unknown> {
  const all = typeof ranks === "number" ? shardsOf(new Solo(), ranks) : ranks;
  return onRanks(all, (gpu, own) => runTraining(config, gpu, SILENT, signal, { ranks: own }));
}

/** The numbers of the losses of every step. */
function lossesOf({ out }: RunConfig): [name: string, value: number][] {
  return Deno.readTextFileSync(join(out, "metrics.jsonl")).trim().split("\n").flatMap((line) => {
    const { stage, step, ...values } = JSON.parse(line);
    return Object.entries(values).filter(([, value]) => typeof value === "number")
      .map(([name, value]): [string, number] => [`${stage} ${step} ${name}`, value as number]);
  });
}

function arraysOf({ out }: RunConfig, stage: string): Map<string, Float32Array> {
  const file = new Safetensors(Deno.readFileSync(join(out, "checkpoints", `${stage}.safetensors`)));
  const names = [...file.entries].filter(([, { dtype }]) => dtype === "F32").map(([name]) => name);
  return new Map(names.map((name) => [name, file.floats(name).slice()]));
}

/** Names of the files that a stage has made, as its checkpoint knows them. */
function madeBy({ out }: RunConfig, stage: string): string[] {
  using checkpoint = new Checkpoint(join(out, "checkpoints", `${stage}.safetensors`));
  const { made } = unpack((checkpoint.state as CheckpointState).files ?? "") as KnownFiles;
  return Object.keys(made ?? {}).sort();
}

/** Compares what is measured at the end: each image counts once, and all of them do. */
function assertSameScores(found: RunConfig, expected: RunConfig, stage: StageName): void {
  if (kindOf(stage).role === "pretraining") return;
  const scoresOf = ({ out }: RunConfig) =>
    readRunResult(out)!.stages.find(({ name }) => name === stage)!;
  const [scores, wanted] = [scoresOf(found), scoresOf(expected)];
  assert.ok(Math.abs(scores.agreement! / wanted.agreement! - 1) < 0.02, `${scores.agreement}`);
  assert.ok(Math.abs(scores.correlation! / wanted.correlation! - 1) < 1e-4);
  const pixelsOf = ({ out }: RunConfig) => {
    const path = join(out, "confusion", `${stage}.json`);
    return (JSON.parse(Deno.readTextFileSync(path)).counts as number[][]).flat()
      .reduce((sum, count) => sum + count, 0);
  };
  assert.equal(pixelsOf(found), pixelsOf(expected), "labelled pixels that were measured");
}

/** Compares by the largest element. */
function assertNear(found: Float32Array, expected: Float32Array, tolerance: number, what: string) {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-2);
  const worst = expected.reduce(
    (most, value, at) => Math.max(most, Math.abs(value - (found[at] ?? NaN))),
    0,
  );
  assert.ok(worst <= tolerance * scale, `${what}: off by ${worst / scale}`);
}

Deno.test("every stage on two ranks, and stage 1 on four, is that on one", () =>
  withFolder(async (folder) => {
    const base = configOf(folder, "base");
    await train(base, 1);
    for (const stage of TRAINED) {
      const isFirst = kindOf(stage).role === "pretraining" || stage === TRAINED[0];
      const own = (out: string) => {
        const values = { pipeline: [stage], ...(isFirst ? {} : { base: base.out }) };
        const stages = { [stage]: { learningRate: RATES[stage] ?? RATE } };
        return configOf(folder, out, { ...values, stages }, 20);
      };
      const alone = own(`${stage} 1`);
      await train(alone, 1);
      const expected = new Map(lossesOf(alone));
      assert.ok(expected.size > 6);
      for (const ranks of stage === "stage1" ? [2, 4] : [2]) {
        const config = own(`${stage} ${ranks}`);
        await train(config, ranks);
        for (const [name, value] of lossesOf(config)) {
          const wanted = expected.get(name) ?? NaN;
          assert.ok(
            Math.abs(value - wanted) <= 1e-5 * Math.max(1e-2, Math.abs(wanted)),
            `${ranks} ranks, ${name}: ${value}, alone ${wanted}`,
          );
        }
        const arrays = arraysOf(config, stage);
        for (const [name, values] of arraysOf(alone, stage)) {
          if (name.startsWith("optimizer.")) continue;
          assertNear(arrays.get(name) ?? new Float32Array(), values, 1e-4, `${stage} ${name}`);
        }
        assert.deepEqual(madeBy(config, stage), madeBy(alone, stage), "files that it has made");
        assertSameScores(config, alone, stage);
      }
    }
  }));

Deno.test("shards have the same bits in one process and in two", () =>
  withFolder(async (folder) => {
    const config = (out: string) =>
      configOf(folder, out, { ...SHORT, parallel: { shards: 4, wire: "f32" } });
    const [one, two] = [config("one"), config("two")];
    await train(one, 4);
    await train(two, shardsOf(new Solo(), 2).flatMap((process) => shardsOf(process, 2)));
    assertSameOutcome(outcomeOf(two.out, SHORT.pipeline), outcomeOf(one.out, SHORT.pipeline));
  }));

Deno.test("one rank that is to stop stops all, and they go on in other numbers", () =>
  withFolder(async (folder) => {
    const [whole, stopped] = ["whole", "stopped"].map((out) => configOf(folder, out, SHORT)) as [
      RunConfig,
      RunConfig,
    ];
    await train(whole, 2);
    const stop = new AbortController();
    await onRanks(shardsOf(new Solo(), 2), (gpu, ranks) => {
      const isAsked = ranks.rank === 1;
      const observer = {
        ...SILENT,
        step: ({ stage, step }: { stage: StageName | string; step: number }) => {
          if (isAsked && stage === "stage1" && step === 0) stop.abort();
        },
      };
      return runTraining(stopped, gpu, observer, isAsked ? stop.signal : signal, { ranks });
    });
    assert.deepEqual(
      namesIn(join(stopped.out, "checkpoints")).includes("stage1.safetensors"),
      true,
    );
    assert.ok(!existsSync(join(stopped.out, "DONE")));
    const copy = join(folder, "copy");
    cpSync(stopped.out, copy, { recursive: true });
    await onRanks(
      shardsOf(new Solo(), 2),
      (gpu, ranks) => resumeTraining(stopped.out, gpu, SILENT, signal, { ranks }),
    );
    assertSameOutcome(outcomeOf(stopped.out, SHORT.pipeline), outcomeOf(whole.out, SHORT.pipeline));
    assert.ok(existsSync(join(stopped.out, "DONE")));
    // The same on one rank: the same batches, and sums that are rounded otherwise.
    await onRanks(
      [new Solo()],
      (gpu, ranks) => resumeTraining(copy, gpu, SILENT, signal, { ranks }),
    );
    const expected = new Map(lossesOf(whole));
    const found = lossesOf({ ...stopped, out: copy });
    assert.deepEqual(found.map(([name]) => name), [...expected.keys()]);
    for (const [name, value] of found) {
      if (!/^stage1 \d+ (source|symmetric)$/.test(name)) continue;
      assert.ok(Math.abs(value / expected.get(name)! - 1) < 1e-4, `${name}: ${value}`);
    }
  }));

Deno.test("the mark of a run that has ended goes where the run goes on", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, "run", { pipeline: ["source"] });
    await train(config, 1);
    const mark = join(config.out, "DONE");
    assert.ok(existsSync(mark));
    Deno.removeSync(join(config.out, "checkpoints/source.safetensors")); // its end is lost
    const stop = AbortSignal.abort();
    const gpu = await testGpu();
    const resumed = resumeTraining(config.out, gpu, SILENT, stop);
    await resumed.catch((reason) => assert.equal(reason, stop.reason));
    assert.ok(!existsSync(mark));
    await resumeTraining(config.out, gpu, SILENT, signal);
    assert.ok(existsSync(mark));
  }));

Deno.test("a rank whose weights have become others ends the run", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, "run", { pipeline: ["source"] });
    const found = onRanks(shardsOf(new Solo(), 2), (gpu, ranks) => {
      const run = gpu.run.bind(gpu);
      if (ranks.rank === 1) { // an adapter that rounds otherwise
        gpu.run = (kernel, arrays, params, grid, flops) => {
          const own = params.map((value) => Number.isInteger(value) ? value : value * (1 + 1e-6));
          run(kernel, arrays, kernel.name.startsWith("sgd") ? own : params, grid, flops);
        };
      }
      return runTraining(config, gpu, SILENT, signal, { ranks });
    });
    await assert.rejects(
      found,
      /Ranks have drifted apart: after 3 steps the weights of rank 1 are/,
    );
  }));

Deno.test("ranks that are told different things do not begin", () =>
  withFolder(async (folder) => {
    const found = onRanks(shardsOf(new Solo(), 2), (gpu, ranks) => {
      const config = configOf(folder, "run", { seed: ranks.rank });
      return runTraining(config, gpu, SILENT, signal, { ranks });
    });
    await assert.rejects(found, (error) => {
      assert.ok(error instanceof CollectiveError);
      assert.match(error.message, /as rank 1 differs from rank 0 in its configuration: expected/);
      return true;
    });
    assert.ok(!existsSync(join(folder, "run")));
  }));

Deno.test("a batch that ranks cannot share is refused, and so are other ranks than shards", () =>
  withFolder(async (folder) => {
    await assert.rejects(
      train(configOf(folder, "run"), 3),
      dataError("Cannot divide a batch of 4 images among 3 ranks", "data.batch"),
    );
    await assert.rejects(
      train(configOf(folder, "run", { memory: { accumulate: 4 } }), 2),
      dataError("among 2 ranks, each of which takes its share in 4 parts"),
    );
    await assert.rejects(
      train(configOf(folder, "run", { parallel: { shards: 4, wire: "f32" } }), 2),
      dataError("Cannot train on 2 ranks as parallel.shards is 4"),
    );
    assert.ok(!existsSync(join(folder, "run")));
  }));
