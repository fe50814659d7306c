// Runs that are interrupted, in whatever moment, end as if they had not been.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";
import { assertSameOutcome, killWhen, outcomeOf, STEPS, tinyConfig } from "../_resume.ts";

Deno.test("a run that is killed in every stage ends in the bits of one that is not", () =>
  withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    Deno.writeTextFileSync(config, JSON.stringify(tinyConfig(folder)));
    const whole = join(folder, "whole");
    const run = await runProgram("train", "--config", config, "--out", whole);
    assert.equal(run.code, 0, run.stderr);

    const killed = join(folder, "killed");
    const holds = (name: string, text: string) => () => {
      try {
        return Deno.readTextFileSync(join(killed, name)).includes(text);
      } catch {
        return false;
      }
    };
    const has = (name: string) => () => existsSync(join(killed, name));
    const kill = async (...[when, args]: Parameters<typeof killWhen>) =>
      assert.ok(await killWhen(when, args), "the run ended before it was to be killed");
    const start = ["train", "--config", config, "--out", killed];
    const resume = ["train", "--resume", killed];
    const metrics = "metrics.jsonl";
    await kill(holds(metrics, '"stage":"source","step":0'), start); // before any checkpoint
    await kill(holds(metrics, '"stage":"source","step":2'), resume); // after one
    await kill(has("checkpoints/warmup.safetensors.partial"), resume); // while one is written
    await kill(has("soft_labels/000001.safetensors"), resume); // while labels are written
    await kill(has("checkpoints/stage1.previous.safetensors"), resume); // between old and new
    await kill(has("samples/stage1.png"), resume); // when only the result is missing
    await kill(holds(metrics, '"stage":"selfsup","step":1'), resume); // on a network of its own
    await kill(has("checkpoints/selfsup.previous.safetensors"), resume);
    await kill(has("pseudo_labels/stage2/label"), resume); // while pseudo labels are written
    await kill(holds(metrics, '"stage":"stage3","step":2'), resume);
    const last = await runProgram(...resume, "--json");
    assert.equal(last.code, 0, last.stderr);
    assertSameOutcome(outcomeOf(killed), outcomeOf(whole));

    const again = await runProgram(...resume, "--json"); // nothing is left to do
    assert.deepEqual(JSON.parse(again.stdout), JSON.parse(last.stdout));
    assertSameOutcome(outcomeOf(killed), outcomeOf(whole));
  }));

/** Notes the messages of a run. */
function listener(messages: string[]): TrainingObserver {
  return {
    stageStart: ({ name, firstStep }) => messages.push(`${name} from ${firstStep}`),
    step: () => {},
    evaluation: () => {},
    stageEnd: () => {},
    message: (text) => messages.push(text),
  };
}

Deno.test("a damaged checkpoint is passed over for the one before, and said so", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { signal } = new AbortController();
    const out = join(folder, "run");
    const values = { ...tinyConfig(folder), out };
    const config = mergeConfig(presetConfig("default"), { values, from: "the test" });
    await runTraining(config, gpu, listener([]), signal);
    const expected = outcomeOf(out);

    for (const damage of ["a flipped bit", "a torn end"]) {
      const path = join(out, "checkpoints", "stage3.safetensors");
      const bytes = Deno.readFileSync(path);
      const flipped = bytes.slice();
      flipped[bytes.length - 100] ^= 1;
      Deno.writeFileSync(path, damage === "a torn end" ? bytes.subarray(0, -7) : flipped);
      const messages: string[] = [];
      await resumeTraining(out, gpu, listener(messages), signal);
      const warning = messages.find((text) => text.startsWith("WARNING"));
      assert.match(warning ?? "", /an earlier checkpoint is used.*stage3\.safetensors/, damage);
      assert.ok(messages.includes(`stage3 from ${STEPS - 2}`), messages.join("\n"));
      assertSameOutcome(outcomeOf(out), expected);
    }
  }));

Deno.test("a run is not resumed with another configuration, other flags or beside itself", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { signal } = new AbortController();
    const out = join(folder, "run");
    const values = { ...tinyConfig(folder), out, pipeline: ["source"] };
    const config = mergeConfig(presetConfig("default"), { values, from: "the test" });
    await runTraining(config, gpu, listener([]), signal);
    const path = join(out, "config.json");
    const text = Deno.readTextFileSync(path);
    Deno.writeTextFileSync(path, text.replace('"seed": 0', '"seed": 1'));
    await assert.rejects(
      resumeTraining(out, gpu, listener([]), signal),
      dataError(out, "another configuration", "config.json"),
    );
    Deno.writeTextFileSync(path, text);
    const beside = resumeTraining(out, gpu, listener([]), signal);
    await assert.rejects(
      resumeTraining(out, gpu, listener([]), signal),
      dataError(out, "another process is writing"),
    );
    await beside;
    const flags = await runProgram("train", "--resume", out, "--seed", "3");
    assert.deepEqual([flags.code, flags.stdout], [2, ""]);
    assert.match(flags.stderr, /^Cannot resume .* with --seed as its config\.json decides/);
    const nothing = await runProgram("train", "--resume", join(folder, "nothing"));
    assert.equal(nothing.code, 2);
    assert.match(nothing.stderr, /^Cannot use run folder .*nothing/);
  }));

Deno.test("a run whose views are rendered goes on from where it was stopped in the same bits", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const pipeline = ["source", "stage1"];
    const configIn = (name: string) =>
      mergeConfig(
        presetConfig("default"),
        { values: tinyConfig(folder), from: "the test" },
        {
          values: { out: join(folder, name), pipeline, data: { strongView: "randaugment" } },
          from: "the test",
        },
      );
    const [whole, stopped] = [configIn("whole"), configIn("stopped")];
    const { signal } = new AbortController();
    await runTraining(whole, gpu, listener([]), signal);
    const stop = new AbortController();
    const observer: TrainingObserver = {
      ...listener([]),
      step: ({ stage, step }) => {
        if (stage === "stage1" && step === 1) stop.abort();
      },
    };
    await runTraining(stopped, gpu, observer, stop.signal);
    const messages: string[] = [];
    await resumeTraining(stopped.out, gpu, listener(messages), signal);
    assert.ok(messages.some((text) => /^stage1 from [1-3]$/.test(text)), messages.join("\n"));
    assertSameOutcome(outcomeOf(stopped.out, pipeline), outcomeOf(whole.out, pipeline));
  }));
