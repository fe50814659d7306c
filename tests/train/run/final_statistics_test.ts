// With which batch-norm statistics a network leaves a stage, and that a run goes on from there.

import assert from "node:assert/strict";
import { join } from "node:path";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { Loader } from "../../../train/data/loader.ts";
import { exchangedPairs } from "../../../train/evaluation/causes.ts";
import { labelFreeScore } from "../../../train/evaluation/label_free.ts";
import { movesBetween, predictedClasses } from "../../../train/evaluation/moves.ts";
import { Checkpoint } from "../../../train/networks/checkpoint.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { takeBetterStatistics } from "../../../train/run/final_statistics.ts";
import { type FullScores, scoreNetwork, withSights } from "../../../train/run/network_scores.ts";
import type { CheckpointState } from "../../../train/run/resume.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import type { RunResult } from "../../../train/run/run_folder.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { Solo } from "../../../train/parallel/solo.ts";
import type { RunState } from "../../../train/run/run_state.ts";
import { createNetwork } from "../../../train/run/stage_context.ts";
import { seededRandom } from "../../_check.ts";
import { assertSame } from "../../_same.ts";
import { testGpu } from "../../_device.ts";
import { withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../_resume.ts";
import { halvesIn } from "./_halves.ts";
import { estimateFrom } from "../_estimate.ts";

const { signal } = new AbortController();
const PIPELINE = ["source", "warmup"] as const;

function configOf(folder: string, out: string, values: Record<string, unknown> = {}): RunConfig {
  const all = {
    ...tinyConfig(folder),
    finalStatistics: "better",
    pipeline: [...PIPELINE],
    ...values,
    out: join(folder, out),
  };
  return mergeConfig(presetConfig("default"), { values: all, from: "the test" });
}

async function valuesOf(network: DeepLab): Promise<Record<string, unknown>> {
  const arrays = [...network.stateDict()];
  const values = await network.gpu.readAll(arrays.map(([, array]) => array));
  return Object.fromEntries(arrays.map(([name], index) => [name, values[index]]));
}

/** What a run measures networks with. */
async function measuring(config: RunConfig) {
  const data = await openRunData(config.data, () => {});
  const validation = new Loader({ dataset: data.validation, order: "sequential" });
  const ranks = new Solo();
  const state = { config, ranks, data, signal, validation, sourceValidation: null };
  const run = state as unknown as RunState;
  return { run, [Symbol.dispose]: () => validation[Symbol.dispose]() };
}

/** The same scores with another label-free one. */
function scoring(scores: FullScores, percent: number): FullScores {
  const evaluation = { ...scores.evaluation, agreement: percent, correlation: percent };
  return { ...scores, evaluation };
}

Deno.test("a network takes the target's statistics if it scores better with them, else keeps every bit", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const config = configOf(folder, "run");
    using of = await measuring(config);
    const { run } = of;
    const { classes, target } = run.data;
    using network = createNetwork(config, gpu, classes.names.length);
    using estimated = createNetwork(config, gpu, classes.names.length);
    await estimateFrom(estimated, target, config.data.longSide, signal);
    const scored = async (own: DeepLab) => withSights(run, own, await scoreNetwork(run, own));
    const [own, expected] = [await scored(network), await scored(estimated)];
    const before = await valuesOf(network);

    assert.equal(await takeBetterStatistics(run, network, scoring(own, 100)), null);
    assertSame(await valuesOf(network), before);
    const score = labelFreeScore(expected.evaluation) ?? assert.fail();
    assert.equal(await takeBetterStatistics(run, network, scoring(own, score)), null, "as good");
    const stopped = { ...run, signal: AbortSignal.abort() } as RunState;
    await assert.rejects(takeBetterStatistics(stopped, network, own), { name: "AbortError" });
    assertSame(await valuesOf(network), before);

    const held = gpu.memory.live - gpu.memory.derived;
    const taken = await takeBetterStatistics(run, network, scoring(own, score - 0.1));
    assert.deepEqual(taken?.evaluation, expected.evaluation);
    assertSame(await valuesOf(network), await valuesOf(estimated));
    assert.notDeepEqual(await valuesOf(network), before);
    assert.equal(gpu.memory.live - gpu.memory.derived, held, "bytes left behind");
  }));

Deno.test("a network keeps its own statistics where classes change places by the target's", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const tiny = tinyConfig(folder) as { data: object };
    // Many features, so that an exchange can be told.
    const config = configOf(folder, "run", { data: { ...tiny.data, longSide: 384 } });
    using of = await measuring(config);
    const { run } = of;
    const { longSide } = config.data;
    const predicted = async (network: DeepLab) => {
      const images = { ...run.data.validation, trainIds: null };
      using loader = new Loader({ dataset: images, order: "sequential" });
      return await predictedClasses(network, loader, longSide);
    };
    const count = run.data.classes.names.length;
    // Networks of random statistics, until the target's exchange two classes.
    for (let seed = 0; seed < 100; seed++) {
      using network = createNetwork({ ...config, seed }, gpu, count);
      const random = seededRandom(seed);
      for (const { runningMean } of network.batchNorms()) {
        gpu.write(
          runningMean,
          Float32Array.from({ length: runningMean.size }, () => random() - 0.5),
        );
      }
      const own = await predicted(network);
      const before = await valuesOf(network);
      const scores = await withSights(run, network, await scoreNetwork(run, network));
      const taken = await takeBetterStatistics(run, network, scoring(scores, 0));
      const now = await predicted(network);
      if (taken) {
        assert.deepEqual(exchangedPairs(movesBetween(own, now, count)), []);
        continue;
      }
      assertSame(await valuesOf(network), before);
      await estimateFrom(network, run.data.target, longSide, signal);
      const others = await predicted(network);
      assert.ok(exchangedPairs(movesBetween(own, others, count)).length > 0);
      return;
    }
    assert.fail("classes are exchanged nowhere");
  }));

/** A source of halves, and a target of darker ones, to which a network with its own statistics is blind. */
function darkHalves(folder: string): Record<string, unknown> {
  const halves = halvesIn(folder, { source: { train: 20 }, target: { train: 6, val: 7 } }, [5, 30]);
  const schedule = (steps: number, learningRate: number) => {
    return { steps, scheduleSteps: steps, rampSteps: 0, learningRate };
  };
  return {
    data: {
      ...halves,
      sourceColours: "own",
      heldOut: { share: 0 },
      cropHeight: 32,
      cropWidth: 64,
      longSide: 64,
    },
    stages: {
      source: schedule(40, 0.1),
      warmup: { ...schedule(2, 1e-4), discriminatorPlanes: 4 },
    },
  };
}

const RUNS: readonly (readonly [what: string, (folder: string) => Record<string, unknown>])[] = [
  ["last", () => ({})],
  ["unsupervised", () => ({ select: "unsupervised" })],
  ["last, dark target", darkHalves],
  ["unsupervised, dark target", (folder) => ({ ...darkHalves(folder), select: "unsupervised" })],
];

for (const [what, valuesIn] of RUNS) {
  Deno.test(`a stage that adapts leaves the better statistics, in one go and resumed: ${what}`, () =>
    withFolder(async (folder) => {
      const gpu = await testGpu();
      const trained = async (config: RunConfig): Promise<RunResult> =>
        await runTraining(config, gpu, SILENT, signal);
      const values = valuesIn(folder);
      const config = configOf(folder, "better", values);
      const own = configOf(folder, "own", { ...values, finalStatistics: "own" });
      const { select } = config;
      const [better, plain] = [await trained(config), await trained(own)];
      assert.deepEqual(better.stages[0].agreement, plain.stages[0].agreement);
      assert.equal(
        better.stages[0].statistics,
        undefined,
        "source-only training adapts to nothing",
      );
      const [, now] = better.stages;
      const [, before] = plain.stages;
      assert.equal(before.statistics, undefined);

      // The network of the other run, with both statistics.
      const pathIn = (run: string) => {
        const isEarlier = select !== "last" && (now.selected?.step ?? 0) < now.steps;
        return join(
          run,
          "checkpoints",
          isEarlier ? "warmup.best.safetensors" : "warmup.safetensors",
        );
      };
      using of = await measuring(config);
      using loaded = loadTrainedNetwork(gpu, pathIn(own.out));
      const { network } = loaded;
      await estimateFrom(network, of.run.data.target, config.data.longSide, signal);
      const scores = await withSights(of.run, network, await scoreNetwork(of.run, network));
      const isBetter = (labelFreeScore(scores.evaluation) ?? 0) > (labelFreeScore(before) ?? 0);
      assert.equal(now.statistics, isBetter ? "target" : undefined);
      if (what.endsWith("dark target")) {
        assert.ok(isBetter, "a dark image is seen by its own light");
      }
      const { mIoU, agreement } = isBetter ? scores.evaluation : before;
      assert.deepEqual([now.mIoU, now.agreement], [mIoU, agreement]);
      using left = loadTrainedNetwork(gpu, pathIn(config.out));
      using kept = loadTrainedNetwork(gpu, pathIn(own.out));
      assertSame(await valuesOf(left.network), await valuesOf(isBetter ? network : kept.network));
      using checkpoint = new Checkpoint(pathIn(config.out));
      assert.equal((checkpoint.state as CheckpointState).statistics, now.statistics);

      // Interrupted after the network was written, and before its result was.
      const whole = outcomeOf(config.out, PIPELINE);
      const path = join(config.out, "result.json");
      const result: RunResult = JSON.parse(Deno.readTextFileSync(path));
      Deno.writeTextFileSync(path, JSON.stringify({ ...result, stages: [result.stages[0]] }));
      await resumeTraining(config.out, gpu, SILENT, signal);
      assertSameOutcome(outcomeOf(config.out, PIPELINE), whole);
    }));
}
