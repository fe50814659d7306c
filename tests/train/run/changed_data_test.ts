// A run does not go on with other data than it has seen, unless someone wants that.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { Safetensors } from "../../../nn/formats/safetensors.ts";
import { unpack } from "../../../train/base/packed.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import { Checkpoint, writeCheckpoint } from "../../../train/networks/checkpoint.ts";
import type { KnownFiles } from "../../../train/run/resume.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, withFolder } from "../_folder.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../_resume.ts";
import { assertSame } from "../../_same.ts";

const { signal } = new AbortController();

function listener(messages: string[] = [], heard: (text: string) => void = () => {}) {
  return {
    stageStart: ({ name, firstStep }: { name: string; firstStep: number }) =>
      messages.push(`${name} from ${firstStep}`),
    step: ({ stage, step }: { stage: string; step: number }) => heard(`${stage} ${step}`),
    evaluation() {},
    stageEnd() {},
    message: (text: string) => messages.push(text),
  };
}

/** A run on folders of its own that is stopped after two of four steps. */
async function stoppedRun(folder: string, pipeline: readonly string[] = ["source"]) {
  const gpu = await testGpu();
  const tiny = tinyConfig(folder) as { data: Record<string, unknown> };
  const values = { ...tiny, pipeline, out: join(folder, "made") };
  const made = mergeConfig(presetConfig("default"), { values, from: "the test" });
  const { data: { streets } } = made;
  await runTraining({ ...made, pipeline: [] }, gpu, listener(), signal); // writes streets
  const [source, target] = ["source", "target"].map((name) => join(folder, name));
  cpSync(join(streets.directory, "source"), source, { recursive: true });
  cpSync(join(streets.directory, "target"), target, { recursive: true });
  const config = {
    ...made,
    out: join(folder, "run"),
    data: { ...made.data, sourceDirectory: source, targetDirectory: target },
  };
  const stop = new AbortController();
  const observer = listener([], (text) => text === `${pipeline.at(-1)} 1` && stop.abort());
  await runTraining(config, gpu, observer, stop.signal);
  return { gpu, config, source, target };
}

Deno.test("a resume with changed data is refused with the first difference, and goes on if that is accepted", () =>
  withFolder(async (folder) => {
    const { gpu, config, source } = await stoppedRun(folder);
    const { out } = config;
    const images = [...Deno.readDirSync(join(source, "images"))].map(({ name }) => name).sort();
    const [pair] = images;
    const before = Deno.readTextFileSync(join(out, "metrics.jsonl"));
    const checkpoint = join(out, "checkpoints", "source.safetensors");
    const bytes = Deno.readFileSync(checkpoint);
    for (const kind of ["images", "labels"]) Deno.removeSync(join(source, kind, pair));
    const gone = join(source, "images", pair);

    const refused = dataError("Cannot resume", out, checkpoint, `${gone} is missing`, "accept the");
    await assert.rejects(resumeTraining(out, gpu, listener(), signal), refused);
    const { code, stderr } = await runProgram("train", "--resume", out);
    assert.equal(code, 2);
    assert.match(stderr, /^Cannot resume [^\n]* is missing; [^\n]*\(--accept-changed-data\)\n$/m);
    assert.equal(Deno.readTextFileSync(join(out, "metrics.jsonl")), before, "nothing is touched");
    assertSame(Deno.readFileSync(checkpoint), bytes);

    const accepted = await runProgram("train", "--resume", out, "--accept-changed-data");
    assert.equal(accepted.code, 0, accepted.stderr);
    assert.match(accepted.stdout, /WARNING: the run goes on with changed data.* is missing$/m);
    // From then on these are its data.
    const messages: string[] = [];
    await resumeTraining(out, gpu, listener(messages), signal);
    assert.ok(!messages.some((text) => text.startsWith("WARNING")), messages.join("\n"));

    const alone = await runProgram("train", "--accept-changed-data", "--out", join(folder, "x"));
    assert.deepEqual([alone.code, alone.stdout], [2, ""]);
    assert.match(alone.stderr, /^Cannot accept changed data as no run goes on/);
  }));

Deno.test("a changed label, image or val image is noticed, a copy of all data is not", () =>
  withFolder(async (folder) => {
    const { gpu, config, source, target } = await stoppedRun(folder);
    const { out } = config;
    const first = (...parts: string[]) => {
      const path = join(...parts);
      const [name] = [...Deno.readDirSync(path)].map(({ name }) => name).sort();
      return join(path, name);
    };
    const others = [
      first(source, "images"),
      first(source, "labels"),
      first(first(target, "leftImg8bit", "train")),
      first(first(target, "leftImg8bit", "val")),
      first(first(target, "gtFine", "val")),
    ];
    for (const path of others) {
      const sound = Deno.readFileSync(path);
      const changed = sound.slice();
      changed[sound.length - 15] ^= 1; // as large as before
      Deno.writeFileSync(path, changed);
      await assert.rejects(
        resumeTraining(out, gpu, listener(), signal),
        dataError(`${path} has another content`),
      );
      Deno.writeFileSync(path, sound);
    }
    for (const root of [source, target]) {
      cpSync(root, `${root} again`, { recursive: true });
      Deno.removeSync(root, { recursive: true });
      Deno.renameSync(`${root} again`, root);
    }
    const messages: string[] = [];
    await resumeTraining(out, gpu, listener(messages), signal);
    assert.match(messages.join("\n"), /^19 files of the data have other times/m);
    const whole = { ...config, out: join(folder, "whole") };
    await runTraining(whole, gpu, listener(), signal);
    for (const run of [out, whole.out]) Deno.mkdirSync(join(run, "soft_labels"));
    assertSameOutcome(outcomeOf(out, ["source"]), outcomeOf(whole.out, ["source"]));
  }));

Deno.test("accepted data are not learnt from with labels of others", () =>
  withFolder(async (folder) => {
    const { gpu, config: { out }, target } = await stoppedRun(folder, ["stage1"]);
    const images = join(target, "leftImg8bit", "train", "streets");
    const [first] = [...Deno.readDirSync(images)].map(({ name }) => name).sort();
    Deno.removeSync(join(images, first));
    const resume = (messages: string[] = []) =>
      resumeTraining(out, gpu, listener(messages), signal, { acceptChangedData: true });
    const soft = join(out, "soft_labels", "000000.safetensors");
    await assert.rejects(resume(), dataError(soft, "it is of the image", "remove the file"));
    Deno.removeSync(soft);
    const messages: string[] = [];
    await resume(messages);
    assert.match(messages.join("\n"), /1 of 4 soft labels are missing.*made again/);
  }));

Deno.test("a checkpoint of an earlier version, which knows no data, is gone on from as before", () =>
  withFolder(async (folder) => {
    const { gpu, config: { out }, source } = await stoppedRun(folder);
    const path = join(out, "checkpoints", "source.safetensors");
    const file = new Safetensors(Deno.readFileSync(path));
    const arrays = new Map([...file.entries].map(([name, { shape }]) => [
      name,
      gpu.upload(file.floats(name).slice(), shape, name),
    ]));
    {
      using checkpoint = new Checkpoint(path);
      const { files, ...state } = checkpoint.state as Record<string, unknown>;
      const { data } = unpack(files as string) as KnownFiles;
      assert.deepEqual(Object.keys(data as object), ["source", "target", "val"]);
      await writeCheckpoint(path, arrays, state);
    }
    for (const array of arrays.values()) array.release();
    const [name] = [...Deno.readDirSync(join(source, "images"))].map(({ name }) => name);
    for (const kind of ["images", "labels"]) Deno.removeSync(join(source, kind, name));
    const messages: string[] = [];
    await resumeTraining(out, gpu, listener(messages), signal);
    assert.ok(messages.includes("source from 2"), messages.join("\n"));
  }));
