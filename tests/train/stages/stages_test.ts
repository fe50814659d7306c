// The stages' steps: against two steps of each in PyTorch, and what callers may rely on.

import { strict as assert } from "node:assert";
import { type Gpu, openGpu } from "../../../kernels/runtime/mod.ts";
import { denoiseLabels } from "../../../kernels/rectification.ts";
import { DeepLab } from "../../../nn/deeplab.ts";
import { Discriminator } from "../../../nn/discriminator.ts";
import { resizeBilinear } from "../../../nn/functional/spatial.ts";
import { Dropout2d } from "../../../nn/layers.ts";
import { input, noGrad, scope } from "../../../nn/tape.ts";
import { Distil } from "../../../train/stages/distil/distil.ts";
import { PrototypeBank } from "../../../train/stages/denoise/prototypes.ts";
import { releaseBatch } from "../../../train/stages/common/batch.ts";
import {
  Denoise,
  type DenoiseBatch,
  type DenoiseOptions,
} from "../../../train/stages/denoise/denoise.ts";
import { SourceOnly } from "../../../train/stages/source_only/source_only.ts";
import type { Stage } from "../../../train/stages/common/stage.ts";
import type { SourceBatch } from "../../../train/stages/common/batch.ts";
import {
  WarmUp,
  type WarmUpBatch,
  type WarmUpOptions,
} from "../../../train/stages/warm_up/warm_up.ts";
import { testGpu } from "../../_device.ts";
import { Fill } from "../../goldens/fill.ts";
import {
  assertDenoise,
  assertStatistics,
  assertUpdated,
  runSteps,
  startOf,
} from "../_golden_steps.ts";
import {
  arraysIn,
  classes,
  denoiseBatches,
  encoderOf,
  golden,
  labelled,
  networkOf,
  readAll,
  take,
  type Values,
} from "../_stages.ts";
import { assertSame } from "../../_same.ts";

Deno.test("two steps of source-only agree with PyTorch", async () => {
  const gpu = await testGpu();
  const { salt, options, losses, network: updates, statistics } = golden.source;
  const fill = new Fill(salt);
  using network = networkOf(gpu, fill);
  const start = await startOf(network);
  using stage = new SourceOnly(network, { ...options, seed: 0 });
  const batches = labelled(gpu, fill, "source").map((source) => ({ source }));
  await runSteps(gpu, stage, batches, losses);
  await assertUpdated(start, updates);
  await assertStatistics(network, statistics);
});

for (const name of ["warmup", "warmupBce"] as const) {
  const { salt, options, losses, network: updates, statistics, discriminator: moves } =
    golden[name];
  Deno.test(`two steps of warm-up with the ${options.gan} loss agree with PyTorch`, async () => {
    const gpu = await testGpu();
    const fill = new Fill(salt);
    using network = networkOf(gpu, fill);
    const discriminator = new Discriminator(gpu, { classes, planes: options.discriminatorPlanes });
    fill.module(discriminator);
    const starts = [await startOf(network), await startOf(discriminator)] as const;
    using stage = new WarmUp(network, discriminator, { ...options, seed: 0 });
    const target = labelled(gpu, fill, "target");
    const batches = labelled(gpu, fill, "source").map((source, step) => {
      const { images, labels } = target[step] as SourceBatch;
      labels.release();
      return { source, target: { images } };
    });
    await runSteps(gpu, stage, batches, losses);
    await assertUpdated(starts[0], updates);
    await assertUpdated(starts[1], moves);
    await assertStatistics(network, statistics);
  });
}

for (const name of ["stage1", "stage1Batch", "stage1Weak", "stage1Whole"] as const) {
  const { salt, options } = golden[name];
  const title =
    `two steps of stage 1 with ${options.encoderStatistics} statistics of the encoder ` +
    `on ${options.encoderView} views, labels on the ${options.studentView} view`;
  Deno.test(`${title} agree with PyTorch`, async () => {
    const gpu = await testGpu();
    const fill = new Fill(salt);
    using network = networkOf(gpu, fill);
    const encoder = encoderOf(gpu, fill);
    await assertDenoise(gpu, { network, encoder }, golden[name]);
  });
}

/** Settings of no case above: dropout, and a little of everything. */
const OPTIONS = {
  ...golden.stage1.options,
  ...golden.warmup.options,
  seed: 7,
} satisfies DenoiseOptions & WarmUpOptions;

function dropoutNetwork(gpu: Gpu, seed: number): DeepLab {
  return new DeepLab(gpu, { ...golden.network, dropout: 0.3, seed });
}

const resumeFill = new Fill("resume");

/** What any stage takes. */
type AnyBatch = DenoiseBatch & WarmUpBatch;

function anyBatches(gpu: Gpu): AnyBatch[] {
  return denoiseBatches(gpu, resumeFill, golden.stage1).map(({ source, target }) => ({
    source,
    target: { ...target, images: target.weak.retain() },
  }));
}

/** Every stage, its weights drawn from a seed. */
const makers: Record<string, (gpu: Gpu, seed: number) => Stage<AnyBatch>> = {
  "source-only": (gpu, seed) => new SourceOnly(dropoutNetwork(gpu, seed), OPTIONS),
  "warm-up": (gpu, seed) => {
    const planes = OPTIONS.discriminatorPlanes;
    const discriminator = new Discriminator(gpu, { classes, planes, seed });
    return new WarmUp(dropoutNetwork(gpu, seed), discriminator, OPTIONS);
  },
  "stage 1": (gpu, seed) => {
    const channels = golden.network.headChannels;
    const bank = new PrototypeBank(gpu, { classes, channels });
    gpu.write(bank.prototypes, resumeFill.signed(`prototypes ${seed}`, classes * channels));
    const [network, encoder] = [dropoutNetwork(gpu, seed), dropoutNetwork(gpu, seed + 1)];
    return new Denoise(network, encoder, bank, OPTIONS);
  },
};

for (const [name, make] of Object.entries(makers)) {
  Deno.test(`${name} goes on from its state in the same bits`, async () => {
    const gpu = await testGpu();
    const before = gpu.memory.live;
    const [first, second] = anyBatches(gpu) as [AnyBatch, AnyBatch];
    const run = async (seed: number, saved?: Values) => {
      const stage = make(gpu, seed);
      if (saved) {
        const state = stage.state();
        assert.deepEqual([...state.keys()], [...saved.keys()]);
        for (const [name, array] of state) gpu.write(array, saved.get(name) as Float32Array);
      } else {
        await take(stage.step(first, 0));
        saved = await readAll(stage.state());
      }
      const losses = await take(stage.step(second, 1));
      const state = await readAll(stage.state());
      stage[Symbol.dispose]();
      stage.network.dispose();
      return { saved, losses, state };
    };
    const whole = await run(1);
    const resumed = await run(2, whole.saved);
    assert.deepEqual(resumed.losses, whole.losses);
    for (const [name, values] of whole.state) {
      assertSame(resumed.state.get(name), values, `${name} differs`);
    }
    const other = await run(2);
    assert.notDeepEqual(other.losses, whole.losses, "another start ends elsewhere");
    for (const batch of [first, second]) releaseBatch(batch);
    assert.equal(gpu.memory.live, before, "bytes left behind by a stage");
  });
}

for (const [name, make] of Object.entries(makers)) {
  Deno.test(`after its first steps, one of ${name} is one submit and makes no bind group`, async () => {
    using gpu = await openGpu();
    const { device } = gpu;
    const [batch, other] = anyBatches(gpu) as [AnyBatch, AnyBatch];
    const stage = make(gpu, 1);
    const calls = { submits: 0, bindGroups: 0 };
    const [submit, create] = [device.queue.submit, device.createBindGroup];
    device.queue.submit = (commands) => {
      calls.submits++;
      submit.call(device.queue, commands);
    };
    device.createBindGroup = (descriptor) => {
      calls.bindGroups++;
      return create.call(device, descriptor);
    };
    for (let step = 0; step < 8; step++) {
      calls.submits = calls.bindGroups = 0;
      for (const loss of Object.values(stage.step(batch, step))) loss.release();
      gpu.flush();
    }
    assert.deepEqual(calls, { submits: 1, bindGroups: 0 });
    stage[Symbol.dispose]();
    stage.network.dispose();
    for (const each of [batch, other]) releaseBatch(each);
  });
}

Deno.test("source-only learns one batch by heart", async () => {
  const gpu = await testGpu();
  using network = new DeepLab(gpu, { ...golden.network, dropout: 0 });
  const steps = 25;
  const options = { ...OPTIONS, learningRate: 0.2, headFactor: 1, scheduleSteps: steps };
  using stage = new SourceOnly(network, options);
  const batches = labelled(gpu, new Fill("by heart"), "source");
  const [source] = batches as [SourceBatch];
  const losses = Array.from(
    { length: steps },
    (_, step) => stage.step({ source }, step).source,
  );
  const values = (await gpu.readAll(losses)).map(([value = NaN]) => value);
  const [first = NaN] = values;
  assert.ok(values.at(-1) as number < first / 5, `losses: ${values.join(", ")}`);
  for (const array of [...batches.flatMap(arraysIn), ...losses]) array.release();
});

Deno.test("with the official normalisation, structure loss and regulariser are means over classes too", async () => {
  const { options, ...expected } = golden.stage1;
  const gpu = await testGpu();
  const fill = new Fill(expected.salt);
  using network = networkOf(gpu, fill);
  const bank = new PrototypeBank(gpu, { classes, channels: golden.network.headChannels });
  const encoder = encoderOf(gpu, fill);
  gpu.write(bank.prototypes, fill.signed("prototypes", bank.prototypes.size));
  using stage = new Denoise(network, encoder, bank, {
    ...options,
    seed: 0,
    normalisation: "official",
  });
  const batches = denoiseBatches(gpu, fill, golden.stage1);
  const found = await take(stage.step(batches[0] as DenoiseBatch, 0));
  const [paper] = expected.losses as [Record<string, number>];
  for (
    const [name, share] of [["source", 1], ["structure", classes], [
      "regulariser",
      classes,
    ]] as const
  ) {
    const wanted = (paper[name] as number) / share;
    assert.ok(Math.abs((found[name] as number) / wanted - 1) < 1e-4, `${name} is ${found[name]}`);
  }
  batches.forEach(releaseBatch);
});

for (const statistics of ["target", "both"] as const) {
  Deno.test(
    `with the statistics of ${statistics}, source images ${
      statistics === "both" ? "move" : "do not move"
    } a network's running statistics`,
    async () => {
      const gpu = await testGpu();
      const before = gpu.memory.live;
      const statisticsAfter = async (name: "stage 1" | "stage 2", salt: string) => {
        const fill = new Fill("statistics");
        const network = networkOf(gpu, fill);
        const other = encoderOf(gpu, fill);
        const options = { ...OPTIONS, statistics };
        const bank = new PrototypeBank(gpu, { classes, channels: golden.network.headChannels });
        const stage = name === "stage 1"
          ? new Denoise(network, other, bank, options)
          : new Distil(network, other, { ...options, teacherView: "weak", formula: "paper" });
        if (name === "stage 2") bank.dispose();
        const [batch, ...rest] = denoiseBatches(gpu, fill, golden.stage1);
        const [source, ...others] = labelled(gpu, new Fill(salt), "source");
        const size = batch.target.softLabels.shape;
        const labels = gpu.zeros([size[0], size[2], size[3]], "pseudo labels", "u32");
        const given = { source, target: { ...batch.target, labels } };
        await take(stage.step(given as never, 0));
        const found = await readAll(network.namedBuffers());
        releaseBatch([batch, rest, source, others, labels]);
        stage[Symbol.dispose]();
        network.dispose();
        return found;
      };
      for (const name of ["stage 1", "stage 2"] as const) {
        const [one, two] = [await statisticsAfter(name, "one"), await statisticsAfter(name, "two")];
        if (statistics === "target") assert.deepEqual(one, two, name);
        else assert.notDeepEqual(one, two, name);
      }
      assert.equal(gpu.memory.live, before, "bytes left behind");
    },
  );
}

Deno.test("a momentum encoder with dropout drops as a network in training does, others nothing", async () => {
  const gpu = await testGpu();
  const rate = 0.5;
  const fill = new Fill("dropout");
  const dropping = (prefix: string) => {
    const network = new DeepLab(gpu, { ...golden.network, dropout: rate, init: "none" });
    const twin = encoderOf(gpu, new Fill(prefix));
    network.loadStateDict(twin.stateDict());
    twin.dispose();
    return network;
  };
  const labelsAfter = async (encoderDropout: boolean) => {
    using network = networkOf(gpu, fill);
    const bank = new PrototypeBank(gpu, { classes, channels: golden.network.headChannels });
    gpu.write(bank.prototypes, fill.signed("prototypes", bank.prototypes.size));
    // Neither the encoder nor the prototypes move.
    const options = {
      ...OPTIONS,
      emaDecay: 1,
      prototypeDecay: 1,
      encoderDropout,
      temperature: 0.3,
    };
    using stage = new Denoise(network, dropping("encoder"), bank, options);
    const [batch, ...rest] = denoiseBatches(gpu, fill, golden.stage1);
    await take(stage.step(batch, 0));
    using found = stage.denoise(batch.target.weak, batch.target.softLabels);
    // By hand: the second pass of step 0 of a network in training, but for its batch norms.
    using twin = dropping("encoder");
    // The encoder has taken over the network's running statistics.
    twin.loadStateDict(network.namedBuffers(), { strict: false });
    twin.eval();
    for (const [, module] of twin.namedModules()) {
      if (module instanceof Dropout2d) module.training = encoderDropout;
    }
    twin.setStep(OPTIONS.seed ^ 0x5eed, 0);
    const size = { height: golden.quarter[0], width: golden.quarter[1] };
    const expected = noGrad(() =>
      scope(() => {
        twin.forward(input(batch.target.weak));
        const { features } = twin.forward(input(batch.target.weak));
        const resized = resizeBilinear(features, size).array;
        using distances = bank.distances(resized);
        const { labels, confidence } = denoiseLabels(batch.target.softLabels, distances, {
          temperature: 0.3,
          threshold: 0,
          ignoreLabel: 255,
        });
        confidence.release();
        return labels;
      })
    );
    const [ids, byHand] = await gpu.readAll([found, expected]);
    assert.deepEqual(ids, byHand);
    releaseBatch([batch, rest, expected]);
    return ids;
  };
  assert.notDeepEqual(await labelsAfter(true), await labelsAfter(false));
});
