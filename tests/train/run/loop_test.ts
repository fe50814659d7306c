// The loop, around a stage whose losses a test sets.

import { strict as assert } from "node:assert";
import type { AnyArray, Gpu } from "../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { type LoopOptions, type LoopResult, runLoop } from "../../../train/run/loop.ts";
import { DivergenceError } from "../../../train/run/divergence_error.ts";
import type { Scores } from "../../../train/evaluation/metrics.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import type { Losses, Stage } from "../../../train/stages/common/stage.ts";
import { testGpu } from "../../_device.ts";

const CLASS_NAMES = ["road", "sky"];
const SCORES: Scores = { mIoU: 40, classIoU: [80, null], pixelAccuracy: 75 };

/** A stage that does nothing: its loss `first` is the step, `second` is as it is told. */
class FakeStage implements Stage<number> {
  readonly name = "fake";
  readonly network: DeepLab;
  readonly #second: (step: number) => number;
  readonly #spoiltIn: number | undefined;

  /** A weight becomes NaN in the step `spoiltIn`. */
  constructor(gpu: Gpu, second: (step: number) => number, spoiltIn?: number) {
    this.network = new DeepLab(gpu, {
      blocks: [1, 1, 1, 1],
      width: 1,
      classes: CLASS_NAMES.length,
      head: "classic",
      dilations: [1],
      init: "none",
    });
    this.#second = second;
    this.#spoiltIn = spoiltIn;
  }

  step(batch: number, step: number): Losses {
    assert.equal(batch, 10 * step, "each step gets its batch");
    if (step === this.#spoiltIn) {
      const [weight] = this.network.stateDict().values();
      this.network.gpu.write(weight, new Float32Array(weight.size).fill(NaN, -1));
    }
    const loss = (value: number) =>
      this.network.gpu.upload(Float32Array.of(value), [], "loss of a test");
    return { first: loss(step), second: loss(this.#second(step)) };
  }

  learningRate(step: number): number {
    return 1 / (step + 1);
  }

  state(): Map<string, AnyArray> {
    return new Map();
  }

  [Symbol.dispose](): void {
    this.network.dispose();
  }
}

interface Told {
  /** What happened, in order. */
  readonly events: string[];
  readonly records: Record<string, unknown>[];
  readonly steps: Parameters<TrainingObserver["step"]>[0][];
  readonly evaluations: Parameters<TrainingObserver["evaluation"]>[0][];
}

/** Runs a loop, notes what it does, and checks that it keeps no memory. */
async function run(
  options: Partial<LoopOptions<number>> & {
    readonly second?: (step: number) => number;
    /** The step in which a stop is asked for. */
    readonly stopIn?: number;
    /** The step in which a weight becomes NaN. */
    readonly spoiltIn?: number;
  },
): Promise<Told & { readonly ended: LoopResult | Error }> {
  const gpu = await testGpu();
  const before = gpu.memory.live;
  const told: Told = { events: [], records: [], steps: [], evaluations: [] };
  const stop = new AbortController();
  const { second = () => 1, stopIn, spoiltIn, ...rest } = options;
  const stage = new FakeStage(gpu, second, spoiltIn);
  const never = () => assert.fail("the loop knows nothing of stages' starts and ends");
  const ended = await runLoop<number>({
    stage,
    steps: 6,
    nextBatch: (step) => {
      told.events.push(`batch ${step}`);
      if (step === stopIn) stop.abort();
      return Promise.resolve(10 * step);
    },
    releaseBatch: (batch) => told.events.push(`release ${batch / 10}`),
    evaluate: () => {
      told.events.push("evaluate");
      return Promise.resolve(SCORES);
    },
    classNames: CLASS_NAMES,
    evalEvery: 100,
    logEvery: 1,
    record: (record) => {
      told.events.push(`record ${record.step}`);
      told.records.push(record);
    },
    checkpoint: (step) => {
      told.events.push(`save ${step}`);
      return Promise.resolve();
    },
    checkpointEvery: 100,
    observer: {
      stageStart: never,
      stageEnd: never,
      message: never,
      step: (report) => told.steps.push(report),
      evaluation: (report) => told.evaluations.push(report),
    },
    signal: stop.signal,
    ...rest,
  }).catch((error: Error) => error);
  stage[Symbol.dispose]();
  assert.equal(gpu.memory.live, before, "bytes left behind by the loop");
  return { ...told, ended };
}

function only(kind: string, { events }: Told): string[] {
  return events.filter((event) => event.startsWith(kind));
}

Deno.test("inspections come before the first step, every few steps and after the last, and have records", async () => {
  const inspection = { every: 2, inspect: (updates: number) => Promise.resolve({ of: updates }) };
  const inspected = ({ records }: Told) => records.filter(({ of }) => of !== undefined);
  const fresh = await run({ steps: 5, inspection, logEvery: 100 });
  assert.deepEqual(inspected(fresh), [
    { stage: "fake", step: 0, updates: 0, of: 0 },
    { stage: "fake", step: 1, updates: 2, of: 2 },
    { stage: "fake", step: 3, updates: 4, of: 4 },
    { stage: "fake", step: 4, updates: 5, of: 5 },
  ]);
  const order = fresh.events.filter((event) => event.startsWith("record"));
  assert.deepEqual(order.map((event) => Number(event.slice(7))), [0, 0, 1, 1, 2, 3, 3, 4, 4]);
  const resumed = await run({ steps: 5, firstStep: 2, inspection });
  assert.deepEqual(inspected(resumed).map(({ of }) => of), [4, 5]);
});

Deno.test("every step has one record and one report, and the last step an evaluation", async () => {
  const told = await run({ steps: 3, second: (step) => step / 4 });
  const record = (step: number) => ({
    stage: "fake",
    step,
    first: step,
    second: step / 4,
    learningRate: 1 / (step + 1),
  });
  const classIoU = { road: 80, sky: null };
  const evaluation = { mIoU: 40, classIoU, pixelAccuracy: 75 };
  assert.deepEqual(told.records, [record(0), record(1), { ...record(2), ...evaluation }]);
  assert.deepEqual(
    told.steps.map(({ stepsPerSecond, ...report }) => {
      assert.ok(stepsPerSecond > 0 && Number.isFinite(stepsPerSecond), `${stepsPerSecond}`);
      return report;
    }),
    [0, 1, 2].map((step) => ({
      stage: "fake",
      step,
      steps: 3,
      losses: { first: step, second: step / 4 },
      learningRate: 1 / (step + 1),
    })),
  );
  assert.deepEqual(told.evaluations, [{ stage: "fake", step: 3, ...evaluation }]);
  assert.deepEqual(told.ended, { steps: 3, stopped: false, scores: SCORES });
});

const step = (index: number) => [`batch ${index}`, `release ${index}`];
const steps = (first: number, end: number) =>
  Array.from({ length: end - first }, (_, index) => step(first + index)).flat();
const records = (first: number, end: number) =>
  Array.from({ length: end - first }, (_, index) => `record ${first + index}`);

Deno.test("batches are freed at once, evaluations and checkpoints keep their distance", async () => {
  const { events } = await run({ steps: 7, logEvery: 3, evalEvery: 4, checkpointEvery: 4 });
  assert.deepEqual(events, [
    ...steps(0, 4),
    ...records(0, 2),
    "evaluate",
    ...records(2, 4),
    "save 4",
    ...steps(4, 7),
    ...records(4, 6),
    "evaluate",
    ...records(6, 7),
    "save 7",
  ]);
});

Deno.test("losses are read while later steps run, a few at most, and recorded in order", async () => {
  const { events, ...told } = await run({ steps: 10, evaluate: null, logEvery: 2 });
  assert.deepEqual(events, [
    ...steps(0, 6),
    ...records(0, 2),
    ...steps(6, 8),
    ...records(2, 4),
    ...steps(8, 10),
    ...records(4, 10),
    "save 10",
  ]);
  assert.ok(told.steps.every(({ stepsPerSecond }) => stepsPerSecond > 0), "the speed is known");
  const logged = await run({ steps: 3, evaluate: null, logEvery: 1 });
  const inTurn = [0, 1, 2].flatMap((index) => [...steps(index, index + 1), `record ${index}`]);
  assert.deepEqual(logged.events, [...inTurn, "save 3"], "a log of every step is one in time");
});

Deno.test("a checkpoint never runs ahead of the records of its steps", async () => {
  const { events } = await run({ steps: 5, logEvery: 100, checkpointEvery: 2 });
  const saved = (step: number) => {
    const before = events.slice(0, events.indexOf(`save ${step}`));
    return before.filter((event) => event.startsWith("record")).length;
  };
  assert.deepEqual([2, 4, 5].map(saved), [2, 4, 5]);
});

Deno.test("a stop is obeyed after the step under way, with everything recorded and saved", async () => {
  const told = await run({ logEvery: 100, evalEvery: 2, stopIn: 2 });
  assert.deepEqual(
    told.ended,
    { steps: 3, stopped: true, scores: null },
    "scores of step 2 are old",
  );
  assert.deepEqual(only("batch", told), ["batch 0", "batch 1", "batch 2"]);
  assert.deepEqual(only("record", told), ["record 0", "record 1", "record 2"]);
  assert.equal(told.steps.length, 3);
  assert.equal(told.events.at(-1), "save 3");
  assert.deepEqual(only("evaluate", told), ["evaluate"]);
});

Deno.test("a stop in the last step changes nothing", async () => {
  const told = await run({ steps: 2, stopIn: 1 });
  assert.deepEqual(told.ended, { steps: 2, stopped: false, scores: SCORES });
});

Deno.test("a stop before the first step makes none", async () => {
  const told = await run({ signal: AbortSignal.abort() });
  assert.deepEqual(told.ended, { steps: 0, stopped: true, scores: null });
  assert.deepEqual(told.events, ["save 0"]);
});

Deno.test("a run that goes on counts from where it was", async () => {
  const told = await run({ steps: 5, firstStep: 3, evalEvery: 4 });
  assert.deepEqual(told.records.map(({ step, mIoU }) => [step, mIoU]), [[3, 40], [4, 40]]);
  assert.deepEqual(told.evaluations.map(({ step }) => step), [4, 5]);
  assert.deepEqual(only("save", told), ["save 5"]);
});

for (const [value, shown] of [[NaN, "NaN"], [Infinity, "Infinity"]] as const) {
  Deno.test(`a loss of ${shown} ends the run at its step, with the record and without a checkpoint`, async () => {
    const told = await run({
      second: (step) => (step === 2 ? value : 1),
      logEvery: 2,
      checkpointEvery: 3,
    });
    assert.ok(told.ended instanceof RangeError, `${told.ended}`);
    assert.equal(
      told.ended.message,
      `Training diverged in stage fake at step 2 as the loss "second" is ${shown}: lower the learning rate`,
    );
    assert.deepEqual(told.records.map(({ step, second }) => [step, second]), [
      [0, 1],
      [1, 1],
      [2, value],
    ]);
    assert.deepEqual(only("save", told), [], "no checkpoint holds what diverged");
  });
}

Deno.test("a weight of NaN ends the run when losses are read, though every loss is finite", async () => {
  const told = await run({ spoiltIn: 2, logEvery: 2, checkpointEvery: 4 });
  assert.ok(told.ended instanceof DivergenceError, `${told.ended}`);
  assert.match(
    told.ended.message,
    /^Training diverged in stage fake by step 4 as 1 of \d+ numbers of network\.\S+ are NaN or infinite: /,
  );
  assert.deepEqual(told.records.map(({ step }) => step), [0, 1, 2, 3]);
  assert.deepEqual(only("save", told), [], "no checkpoint holds what diverged");
});
