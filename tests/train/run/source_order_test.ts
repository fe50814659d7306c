// Rare class sampling in a run: which stages draw by it, and that a run may stop anywhere.

import assert from "node:assert/strict";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import { countClasses } from "../../../train/data/class_counts.ts";
import type { LoaderOptions } from "../../../train/data/loader.ts";
import { RareClasses } from "../../../train/data/rare_classes.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { shardsOf } from "../../../train/parallel/shards.ts";
import { Solo } from "../../../train/parallel/solo.ts";
import { openRunData } from "../../../train/run/run_data.ts";
import { sourceOrder } from "../../../train/run/source_order.ts";
import { STREETS_CLASSES } from "../../../train/data/class_set.ts";
import { testGpu } from "../../_device.ts";
import { withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../_resume.ts";

const { signal } = new AbortController();
const STAGES = ["source", "warmup", "stage1", "selfsup", "stage2"] as const;

function configOf(folder: string, name: string, ...layers: readonly object[]): RunConfig {
  const own = { out: join(folder, name), pipeline: [...STAGES] };
  return mergeConfig(
    presetConfig("default"),
    ...[tinyConfig(folder), own, ...layers].map((values) => ({ values, from: "the test" })),
  );
}

const RARE = { data: { rareClassSampling: 0.1 } };
const OFF = { data: { rareClassSampling: 0 } };

Deno.test("a run by rare classes that is stopped in every stage ends in the bits of one that is not", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const whole = configOf(folder, "whole", RARE);
    await runTraining(whole, gpu, SILENT, signal);
    const stopped = configOf(folder, "stopped", RARE);
    const stopAt = (stage: string, step: number): [TrainingObserver, AbortSignal] => {
      const controller = new AbortController();
      const observer = {
        ...SILENT,
        step: (report: { readonly stage: string; readonly step: number }) => {
          if (report.stage === stage && report.step === step) controller.abort();
        },
      };
      return [observer, controller.signal];
    };
    await runTraining(stopped, gpu, ...stopAt("source", 0));
    for (const stage of STAGES) await resumeTraining(stopped.out, gpu, ...stopAt(stage, 2));
    await resumeTraining(stopped.out, gpu, SILENT, signal);
    assertSameOutcome(outcomeOf(stopped.out, STAGES), outcomeOf(whole.out, STAGES));
  }));

/** The streams that rare classes are drawn for in a run. */
async function streamsOf(config: RunConfig): Promise<string[]> {
  const streams = new Set<string>();
  const own = RareClasses.prototype.draw;
  RareClasses.prototype.draw = function (seed, stream, position) {
    assert.equal(seed, config.seed);
    streams.add(stream);
    return own.call(this, seed, stream, position);
  };
  try {
    await runTraining(config, await testGpu(), SILENT, signal);
  } finally {
    RareClasses.prototype.draw = own;
  }
  return [...streams];
}

Deno.test("every stage that learns labels draws by rare classes where a run is told to, and no other", () =>
  withFolder(async (folder) => {
    const labelled = ["source/source", "warmup/source", "stage1/source", "stage2/source"];
    assert.deepEqual(await streamsOf(configOf(folder, "adapted", RARE, { seed: 3 })), labelled);
    const reference = { pipeline: ["oracle"], stages: { oracle: { steps: 2 } } };
    const oracle = configOf(folder, "oracle", RARE, reference);
    assert.deepEqual(await streamsOf(oracle), ["oracle/source"]);
    assert.deepEqual(await streamsOf(configOf(folder, "off", OFF, { pipeline: ["source"] })), []);
  }));

Deno.test("an order is made of the labels, the temperature and the crop of a run, once", () =>
  withFolder(async (folder) => {
    const config = configOf(folder, "none", { data: { rareClassSampling: 0.3, longSide: 128 } });
    const data = await openRunData(config.data, () => {});
    const messages: string[] = [];
    const options = { config, ranks: new Solo(), classes: STREETS_CLASSES, signal };
    const orderOf = sourceOrder({ ...options, message: (text) => messages.push(text) });
    const order = await orderOf(data.source) as Exclude<LoaderOptions["order"], string>;
    const counts = await countClasses(data.source, { classes: 8 });
    const crop = { height: 32, width: 48 };
    const expected = new RareClasses(counts, { temperature: 0.3, crop, longSide: 128 });
    assert.deepEqual(order.probabilities, expected.probabilities);
    for (let position = 0; position < 20; position++) {
      assert.deepEqual(order.draw(0, "a", position), expected.draw(0, "a", position));
    }
    assert.equal(await orderOf(data.source), order);
    const others = shardsOf(new Solo(), 3).map((ranks) =>
      // each counts a third of the labels
      sourceOrder({ ...options, ranks, message() {} })(data.source)
    );
    for (const other of await Promise.all(others)) {
      assert.deepEqual((other as RareClasses).probabilities, expected.probabilities);
    }
    assert.equal(messages.length, 2, messages.join("\n"));
    assert.match(messages[1], /drawn for \S+ \d+ %/);
    const rarest = configOf(folder, "rarest", { data: { rareClassSampling: 0.001 } });
    const told: string[] = [];
    const message = (text: string) => void told.push(text);
    await sourceOrder({ ...options, config: rarest, message })(data.source);
    assert.match(told[1], /drawn for \S+ \d+ %/);
    assert.doesNotMatch(told[1], / 0 %/, "classes that are never drawn for are left out");
    const off = { ...options, config: configOf(folder, "off", OFF), message: assert.fail };
    assert.equal(await sourceOrder(off)(data.source), "shuffled");
  }));
