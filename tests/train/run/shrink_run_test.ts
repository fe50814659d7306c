// Networks of a run in a folder to hand on, and runs that start from one of them.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import { loadTrainedNetwork } from "../../../train/networks/trained_network.ts";
import { shrinkRun } from "../../../train/run/shrink_run.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import type { RunResult } from "../../../train/run/run_folder.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { SILENT } from "../_observer.ts";
import { tinyConfig, withoutCost } from "../_resume.ts";

/** Points of mIoU that 16 bits may cost a network of a few steps. */
const COST = 1;
const { signal } = new AbortController();

function configOf(folder: string, values: Record<string, unknown>): RunConfig {
  const layers = [tinyConfig(folder, 4), { pipeline: ["source", "warmup"], logEvery: 2 }, values];
  return mergeConfig(
    presetConfig("default"),
    ...layers.map((values) => ({ values, from: "the test" })),
  );
}

Deno.test("the networks of a run are shrunk with scores, hashes, configuration and log, and a run starts from one", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const run = join(folder, "run");
    const result = await runTraining(configOf(folder, { out: run }), gpu, SILENT, signal);
    const output = join(folder, "packed");
    const options = { run, output, command: "the test", message: () => {} };
    const manifest = await shrinkRun(gpu, options);
    assert.deepEqual(namesIn(output), [
      ...["README.md", "config.json", "metrics.jsonl", "networks.json"],
      ...["source.safetensors", "warmup.safetensors"],
    ]);
    assert.deepEqual(
      JSON.parse(Deno.readTextFileSync(join(output, "networks.json"))),
      JSON.parse(JSON.stringify(manifest)),
    );
    const page = Deno.readTextFileSync(join(output, "README.md"));
    for (const [at, network] of manifest.networks.entries()) {
      const { file, stage, step, mIoU, before, sha256 } = network;
      const bytes = Deno.readFileSync(join(output, file));
      assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256);
      assert.deepEqual([stage, step], [result.stages[at].name, 4]);
      assert.equal(before, result.stages[at].mIoU);
      assert.ok(Math.abs(mIoU - before) < COST, `${mIoU} from ${before}`);
      assert.ok(page.includes(sha256) && page.includes(`| ${file} | 4 | ${mIoU.toFixed(1)} |`));
      using trained = loadTrainedNetwork(gpu, join(output, file));
      assert.deepEqual([trained.config.out, trained.config.base], ["runs/default", null]);
      assert.equal(trained.config.data.streets.directory, "data/streets");
    }
    const steps = Deno.readTextFileSync(join(output, "metrics.jsonl")).trim().split("\n")
      .map((line) => JSON.parse(line)).map(({ stage, step }) => [stage, step]);
    assert.deepEqual(
      steps.filter(([stage]) => stage === "source").map(([, step]) => step),
      [1, 2, 3],
      "every other step is printed, and the third has scores",
    );

    // A run that starts from one says what it was before.
    const again = join(folder, "again");
    const init = join(output, "source.safetensors");
    const config = configOf(folder, { out: again, init, pipeline: ["warmup"] });
    const heard: string[] = [];
    const observer = { ...SILENT, message: (text: string) => heard.push(text) };
    const from = await runTraining(config, gpu, observer, signal);
    const { file: _f, stage, step, bytes: _b, sha256: _s, before: _o, ...scores } =
      manifest.networks[0];
    assert.deepEqual(withoutCost(from.start ?? {}), { name: stage, steps: step, ...scores });
    assert.ok((from.start?.seconds ?? 0) > 0);
    assert.ok(heard.some((text) => text.startsWith(`starts from ${init}: source, 4 steps, mIoU`)));
    assert.deepEqual(from.stages.map(({ name }) => name), ["warmup"]);

    // It is kept where the run goes on, and measured where it was stopped before.
    const read = (): RunResult => JSON.parse(Deno.readTextFileSync(join(again, "result.json")));
    Deno.removeSync(init);
    const resumed = await resumeTraining(again, gpu, SILENT, signal);
    assert.deepEqual(resumed.start, from.start);
    assert.deepEqual(read().start, from.start);

    await assert.rejects(
      shrinkRun(gpu, { ...options, stages: ["source", "stage1"] }),
      dataError(run, "says nothing of stage1", "finish the run"),
    );
  }));
