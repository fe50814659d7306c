// Files of labels that a stage has made: damaged, exchanged or missing, they are never learnt from in silence.

import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { Safetensors, writeSafetensors } from "../../../nn/formats/safetensors.ts";
import { mergeConfig, presetConfig } from "../../../train/config/config.ts";
import type { RunConfig } from "../../../train/config/settings.ts";
import type { TrainingObserver } from "../../../train/run/observer.ts";
import { resumeTraining, runTraining } from "../../../train/run/run.ts";
import { SoftLabels } from "../../../train/stages/denoise/soft_labels.ts";
import { runProgram } from "../../cli/_program.ts";
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { assertSameOutcome, outcomeOf, tinyConfig } from "../_resume.ts";
import { assertSame } from "../../_same.ts";

const { signal } = new AbortController();

function listener(messages: string[] = [], heard: (text: string) => void = () => {}) {
  return {
    stageStart: ({ name, firstStep }) => messages.push(`${name} from ${firstStep}`),
    step: ({ stage, step }) => heard(`${stage} ${step}`),
    evaluation() {},
    stageEnd() {},
    message: (text) => messages.push(text),
  } satisfies TrainingObserver;
}

/** A run that is stopped after two of four steps of a stage, and what it comes to if it goes on. */
async function stoppedIn(
  folder: string,
  stage: string,
): Promise<{ config: RunConfig; saved: string; expected: Record<string, unknown> }> {
  const gpu = await testGpu();
  const config = mergeConfig(presetConfig("default"), {
    values: { ...tinyConfig(folder), pipeline: [stage], out: join(folder, "run"), evalEvery: 9 },
    from: "the test",
  }, { values: { stages: { stage2: { studentStart: "teacher" } } }, from: "the test" });
  const stop = new AbortController();
  const observer = listener([], (text) => text === `${stage} 1` && stop.abort());
  await runTraining(config, gpu, observer, stop.signal);
  const saved = join(folder, "saved");
  cpSync(config.out, saved, { recursive: true });
  await resumeTraining(config.out, gpu, listener(), signal);
  return { config, saved, expected: outcome(config.out, stage) };
}

function outcome(out: string, stage: string): Record<string, unknown> {
  Deno.mkdirSync(join(out, "soft_labels"), { recursive: true });
  return outcomeOf(out, [stage]);
}

/** Puts a run back to where it was stopped. */
function putBack(out: string, saved: string): void {
  Deno.removeSync(out, { recursive: true });
  cpSync(saved, out, { recursive: true });
}

Deno.test("soft labels that are damaged, exchanged or none are named, and made again once they are removed", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { config, saved, expected } = await stoppedIn(folder, "stage1");
    putBack(config.out, saved);
    const soft = join(config.out, "soft_labels");
    const [path, other] = ["000000", "000001"].map((name) => join(soft, `${name}.safetensors`));
    const [sound, ofOther] = [Deno.readFileSync(path), Deno.readFileSync(other)];

    const refused = (...parts: string[]) =>
      assert.rejects(
        resumeTraining(config.out, gpu, listener(), signal),
        dataError("Cannot use soft labels", path, "remove the file and resume", ...parts),
      );
    for (const [of, bytes] of [[path, sound], [other, ofOther]] as const) {
      const flipped = bytes.slice();
      flipped[bytes.length - 40] ^= 16;
      Deno.writeFileSync(of, flipped);
      await assert.rejects(
        resumeTraining(config.out, gpu, listener(), signal),
        dataError("Cannot use soft labels", of, "does not match its digest"),
      );
      Deno.writeFileSync(of, bytes);
    }
    Deno.writeFileSync(path, sound.subarray(0, 100));
    await refused("damaged");
    Deno.writeFileSync(path, ofOther);
    Deno.writeFileSync(other, sound);
    await refused("it is of the image", "expected that of");
    Deno.writeFileSync(other, ofOther);
    // Sound labels of the same image, as another run would have them.
    const { shape, data } = new SoftLabels(soft).read(1);
    using array = gpu.upload(data, shape, "soft labels");
    const name = new Safetensors(sound).metadata.get("image") ?? assert.fail();
    const image = { data: new Uint8Array(), width: 0, height: 0 };
    const sample = { index: 0, name, epoch: 0, position: 0, image, label: null };
    await new SoftLabels(soft).write([sample], array);
    await refused("another file than the stage has learnt from");
    const { code, stderr } = await runProgram("train", "--resume", config.out);
    assert.equal(code, 2);
    assert.match(stderr, /^Cannot use soft labels .*000000\.safetensors .*\(--resume\)\n$/m);

    Deno.removeSync(path);
    const messages: string[] = [];
    await resumeTraining(config.out, gpu, listener(messages), signal);
    assert.ok(messages.some((text) => /1 of 5 soft labels are missing.*made again/.test(text)));
    assert.ok(messages.includes("stage1 from 2"), messages.join("\n"));
    assertSameOutcome(outcome(config.out, "stage1"), expected);

    putBack(config.out, saved);
    Deno.removeSync(soft, { recursive: true });
    await resumeTraining(config.out, gpu, listener(messages), signal);
    assert.ok(messages.some((text) => /5 of 5 soft labels are missing/.test(text)));
    assertSameOutcome(outcome(config.out, "stage1"), expected);
  }));

Deno.test("files of soft labels are checked byte by byte, and those of earlier versions for what they hold", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const shape = [1, 3, 2, 4];
    const values = Float32Array.from({ length: 24 }, (_, i) => i < 8 ? 0.5 : 0.25);
    const sample = (index: number) => ({
      index,
      name: `größe/${index}`,
      epoch: 0,
      position: 0,
      image: { data: new Uint8Array(3 * 8 * 16), width: 16, height: 8 },
      label: null,
    });
    using array = gpu.upload(values, shape, "soft labels");
    const written = new SoftLabels(folder);
    await written.write([sample(0)], array);
    const path = join(folder, "000000.safetensors");
    const sound = Deno.readFileSync(path);
    assert.deepEqual(written.read(0, sample(0)), { shape, data: values });
    for (let at = 0; at < sound.length; at++) {
      const flipped = sound.slice();
      flipped[at] ^= 1 << (at % 8);
      Deno.writeFileSync(path, flipped);
      const read = () => new SoftLabels(folder).read(0, sample(0));
      assert.throws(read, dataError(path, "remove the file"), `byte ${at}`);
      assert.throws(() => written.read(0, sample(0)), dataError(path), `byte ${at}, read before`);
    }
    // Content is checked once, and again where the file was written since.
    const old = (bytes: Uint8Array, time: number) => {
      Deno.writeFileSync(path, bytes);
      Deno.utimeSync(path, time, time);
    };
    old(sound, 1000);
    written.read(0, sample(0));
    old(sound.with(sound.length - 2, 9), 1001);
    assert.throws(() => written.read(0, sample(0)), dataError(path, "digest"));

    const earlier = new SoftLabels(folder, { classes: 3 });
    const write = (data: Float32Array, shape: readonly number[]) =>
      Deno.writeFileSync(path, writeSafetensors(new Map([["probabilities", { shape, data }]])));
    write(values, shape);
    assert.deepEqual(earlier.read(0, sample(0)), { shape, data: values });
    for (
      const [change, reason] of [
        [NaN, "NaN is the probability of class 1 at pixel 3"],
        [Infinity, "Infinity is the probability"],
        [-0.25, "-0.25 is the probability"],
        [1.25, "1.25 is the probability"],
        [0.75, "pixel 3 add up to 1.5: expected 1"],
      ] as const
    ) {
      write(values.with(8 + 3, change), shape);
      assert.throws(() => earlier.read(0, sample(0)), dataError(path, reason));
    }
    for (const wrong of [[1, 3, 4, 2], [1, 6, 2, 2], [3, 2, 4], [3, 1, 2, 4]]) {
      write(values, wrong);
      assert.throws(
        () => earlier.read(0, sample(0)),
        dataError(path, "its shape is", wrong.join(", ")),
      );
    }
    Deno.writeFileSync(path, writeSafetensors(new Map([["logits", { shape, data: values }]])));
    assert.throws(() => earlier.read(0, sample(0)), dataError(path, "holds no probabilities"));
    Deno.removeSync(path);
    assert.throws(() => earlier.read(0, sample(0)), dataError(path, "does not exist"));

    using nan = gpu.upload(values.with(0, NaN), shape, "soft labels");
    await assert.rejects(earlier.write([sample(0)], nan), dataError("größe/0", "NaN", "diverged"));
  }));

Deno.test("pseudo labels that are changed or exchanged are named, and made again once they are removed", () =>
  withFolder(async (folder) => {
    const gpu = await testGpu();
    const { config, saved, expected } = await stoppedIn(folder, "stage2");
    putBack(config.out, saved);
    const [labels, others] = ["label", "confidence"].map((kind) =>
      join(config.out, "pseudo_labels", "stage2", kind, "streets")
    );
    const names = namesIn(labels);
    const paths = names.map((name) => join(labels, name));
    const sound = paths.map((path) => Deno.readFileSync(path));
    const refused = (path: string) =>
      assert.rejects(
        resumeTraining(config.out, gpu, listener(), signal),
        dataError("Cannot use pseudo label", path, "another file", "remove the file and resume"),
      );
    const flipped = sound[2].slice();
    flipped[40] ^= 1;
    Deno.writeFileSync(paths[2], flipped);
    await refused(paths[2]);
    Deno.writeFileSync(paths[2], sound[2]);
    Deno.copyFileSync(join(others, names[1]), paths[1]);
    await refused(paths[1]);

    Deno.removeSync(paths[1]);
    const messages: string[] = [];
    await resumeTraining(config.out, gpu, listener(messages), signal);
    assert.ok(messages.some((text) => /1 of 5 pseudo labels are missing.*made again/.test(text)));
    assertSameOutcome(outcome(config.out, "stage2"), expected);
    assertSame(paths.map((path) => Deno.readFileSync(path)), sound);
  }));
