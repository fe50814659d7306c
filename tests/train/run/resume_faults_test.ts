// Checkpoints that cannot be used when a run goes on: which are set aside, which stop it, which it does
// not need.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { startProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { assertSameOutcome, outcomeOf, STEPS, tinyConfig } from "../_resume.ts";
import { assertSame } from "../../_same.ts";

const { signal } = new AbortController();

function listener(heard: string[]): TrainingObserver {
  return {
    stageStart: ({ name, firstStep }) => heard.push(`${name} from ${firstStep}`),
    step: () => {},
    evaluation: () => {},
    stageEnd: () => {},
    message: (text) => heard.push(text),
  };
}

async function train(
  folder: string,
  pipeline: string[],
  values: Record<string, unknown> = {},
): Promise<RunConfig> {
  const config = mergeConfig(
    presetConfig("default"),
    { values: { ...tinyConfig(folder), pipeline, out: join(folder, "run") }, from: "the test" },
    { values, from: "the test" },
  );
  await runTraining(config, await testGpu(), listener([]), signal);
  return config;
}

async function resume({ out }: RunConfig): Promise<string[]> {
  const heard: string[] = [];
  await resumeTraining(out, await testGpu(), listener(heard), signal);
  return heard;
}

/** The bytes of a checkpoint of another version, with the digest that they then have. */
function ofVersion(version: string, bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString("latin1");
  const at = text.indexOf('"sha256":"') + '"sha256":"'.length;
  const other = Buffer.from(
    text.replace('"checkpoint":"1"', `"checkpoint":"${version}"`),
    "latin1",
  );
  other.write("0".repeat(64), at);
  other.write(createHash("sha256").update(other).digest("hex"), at);
  return new Uint8Array(other);
}

Deno.test("a checkpoint that is whole, but of another version or unreadable, stops a run and stays", () =>
  withFolder(async (folder) => {
    const config = await train(folder, ["source"]);
    const checkpoints = join(config.out, "checkpoints");
    const path = join(checkpoints, "source.safetensors");
    const bytes = Deno.readFileSync(path);
    const files = namesIn(checkpoints);
    assert.deepEqual(files, ["source.previous.safetensors", "source.safetensors"]);

    for (const version of ["2", "0"]) {
      Deno.writeFileSync(path, ofVersion(version, bytes));
      await assert.rejects(
        resume(config),
        dataError(path, `it has version ${version}: expected version 1; `),
      );
      assertSame(Deno.readFileSync(path), ofVersion(version, bytes));
    }
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    await assert.rejects(resume(config), dataError(path, "it is a folder"));
    Deno.removeSync(path);
    Deno.writeFileSync(path, bytes);

    const permissions = ["--allow-read", "--allow-write", `--deny-read=${path}`];
    const args = ["train", "--resume", config.out];
    const { code, stderr } = await startProgram(args, { permissions }).output();
    const said = new TextDecoder().decode(stderr);
    assert.match(said, /^Cannot [^\n]*source\.safetensors as Deno was started without [^\n]*\n$/);
    assert.equal(code, 2);
    assert.deepEqual(namesIn(checkpoints), files);
    assertSame(Deno.readFileSync(path), bytes);
    await resume(config);
  }));

Deno.test("a run goes on from its newest checkpoint whatever has become of those of the stages before", () =>
  withFolder(async (folder) => {
    const weights = join(folder, "weights.safetensors");
    const { out } = await train(folder, ["source"], { out: join(folder, "first") });
    Deno.renameSync(join(out, "checkpoints", "source.safetensors"), weights);
    const pipeline = ["source", "stage1", "stage2"];
    const config = await train(folder, pipeline, { stages: { selfsup: { weights } } });
    const expected = outcomeOf(config.out, pipeline);
    const pathOf = (name: string) => join(config.out, "checkpoints", `${name}.safetensors`);
    for (const [at, stage] of pipeline.entries()) {
      if (at === 0) continue;
      // As it was in the middle of the stage.
      for (const later of pipeline.slice(at + 1)) Deno.removeSync(pathOf(`${later}.previous`));
      for (const name of pipeline.slice(at)) Deno.removeSync(pathOf(name));
      if (stage === "stage2") Deno.removeSync(weights); // it has taken what it needs of them
      const sound = pipeline.slice(0, at).map(pathOf).map((path) =>
        [path, Deno.readFileSync(path)] as const
      );
      for (const [path] of sound) Deno.writeTextFileSync(path, "damaged");
      const heard = await resume(config);
      assert.ok(heard.includes(`${stage} from ${STEPS - 2}`), heard.join("\n"));
      for (const [path, bytes] of sound) {
        assert.equal(Deno.readTextFileSync(path), "damaged");
        Deno.writeFileSync(path, bytes);
      }
      assertSameOutcome(outcomeOf(config.out, pipeline), expected);
    }
  }));
