// The commands end to end, on a benchmark of a few tiny images: train, eval, predict, generate.

import assert from "node:assert/strict";
import { join } from "node:path";
import { CLASSES, STREETS_TRAIN_IDS } from "../../train/data/classes.ts";
import { encodeImage, readImage, readLabel } from "../../train/images/image.ts";
import type { RunResult } from "../../train/run/observer.ts";
import { runProgram, startProgram } from "./_program.ts";

/** A run that takes seconds: five stages of two steps. */
function tinyConfig(folder: string): Record<string, unknown> {
  const stage = { steps: 2, scheduleSteps: 2 };
  return {
    pipeline: ["source", "warmup", "stage1", "stage2", "stage3"],
    logEvery: 1,
    evalEvery: 2,
    network: { blocks: [1, 1, 1, 1], width: 8, headChannels: 16, groups: 4, dilations: [1, 2] },
    data: {
      heldOut: { share: 0 },
      batch: 2,
      cropHeight: 32,
      cropWidth: 48,
      longSide: 64,
      streets: {
        directory: join(folder, "streets"),
        width: 64,
        height: 32,
        sourceTrain: 3,
        targetTrain: 3,
        targetVal: 2,
        sourceVal: 1,
        targetChoose: 1,
      },
    },
    stages: {
      source: stage,
      warmup: { ...stage, discriminatorPlanes: 4 },
      stage1: stage,
      stage2: { ...stage, studentStart: "supervised" },
      stage3: { ...stage, studentStart: "teacher" },
    },
  };
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("train, eval and predict work on what the one before has written", () =>
  withFolder(async (folder) => {
    const config = join(folder, "tiny.json");
    const out = join(folder, "run");
    await Deno.writeTextFile(config, JSON.stringify(tinyConfig(folder)));

    const run = await runProgram(
      "train",
      "--config",
      config,
      "--out",
      out,
      "--seed",
      "3",
      "--json",
    );
    assert.equal(run.code, 0, run.stderr);
    const result: RunResult = JSON.parse(run.stdout);
    assert.deepEqual(result.stages.map(({ name, steps }) => [name, steps]), [
      ["source", 2],
      ["warmup", 2],
      ["stage1", 2],
      ["stage2", 2],
      ["stage3", 2],
    ]);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(join(out, "result.json"))), result);
    assert.deepEqual([result.seed, typeof result.adapter], [3, "string"]);
    assert.match(run.stderr, /^source 2\/2 \| loss source \d/m);
    assert.match(run.stderr, /^IoU in %( +(source|warmup|stage[123])\*?){5}$/m);

    const metrics = (await Deno.readTextFile(join(out, "metrics.jsonl"))).trimEnd().split("\n");
    assert.equal(metrics.length, 10);
    assert.deepEqual(names(join(out, "checkpoints")), [
      "source.safetensors",
      "stage1.safetensors",
      "stage2.safetensors",
      "stage3.safetensors",
      "warmup.safetensors",
    ]);
    assert.equal(JSON.parse(await Deno.readTextFile(join(out, "config.json"))).seed, 3);
    assert.ok(names(join(out, "samples")).length >= 3);

    const occupied = await runProgram("train", "--config", config, "--out", out);
    assert.equal(occupied.code, 2);
    assert.match(occupied.stderr, /^Cannot create run folder [^\n]* occupied [^\n]*\n$/);

    const checkpoint = join(out, "checkpoints", "stage1.safetensors");
    const scores = await runProgram("eval", "--checkpoint", checkpoint, "--json");
    assert.equal(scores.code, 0, scores.stderr);
    const measured = JSON.parse(scores.stdout);
    assert.deepEqual(measured.classIoU, result.stages[2].classIoU);
    assert.deepEqual([measured.stage, measured.images], ["stage1", 2]);
    const target = join(folder, "streets", "target");
    const table = await runProgram("eval", "--checkpoint", checkpoint, "--target", target);
    assert.match(table.stdout, /^mIoU +\d[^]*\n\nWithout labels: score \S+ % \(agreement /m);

    const input = join(folder, "images");
    const sizes = { "a": [1, 1], "b": [37, 5], "sub/c": [64, 33], "d": [200, 90] };
    await Deno.mkdir(join(input, "sub"), { recursive: true });
    for (const [name, [width, height]] of Object.entries(sizes)) {
      const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => i * 7 % 256);
      const bytes = encodeImage({ data, width, height });
      await Deno.writeFile(join(input, `${name}.png`), bytes);
    }
    const output = join(folder, "pictures");
    const flags = ["--checkpoint", checkpoint, "--input", input, "--output", output];
    const predicted = await runProgram("predict", ...flags);
    assert.equal(predicted.code, 0, predicted.stderr);
    assert.match(predicted.stdout, /overlays of 4 images\n$/);
    const streetIds = STREETS_TRAIN_IDS.map((id) => CLASSES[id].labelId);
    for (const [name, [width, height]] of Object.entries(sizes)) {
      const label = readLabel(join(output, "label", `${name}.png`));
      assert.deepEqual([label.width, label.height], [width, height]);
      assert.ok(label.data.every((id) => streetIds.includes(id)));
      for (const kind of ["colour", "overlay"]) {
        const picture = readImage(join(output, kind, `${name}.png`));
        assert.deepEqual([picture.width, picture.height], [width, height]);
      }
    }

    const single = join(folder, "single");
    const one = ["--checkpoint", checkpoint, "--input", join(input, "b.png"), "--output", single];
    assert.equal((await runProgram("predict", ...one)).code, 0);
    assert.deepEqual(
      await Deno.readFile(join(single, "label", "b.png")),
      await Deno.readFile(join(output, "label", "b.png")),
      "a prediction depends on its image alone",
    );

    await checkMisuses(folder, checkpoint, input);
  }));

/** What can be wrong with a checkpoint, an input and an output. */
async function checkMisuses(folder: string, checkpoint: string, input: string): Promise<void> {
  const empty = join(folder, "empty");
  const torn = join(folder, "torn");
  for (const path of [empty, torn]) await Deno.mkdir(path);
  await Deno.writeTextFile(join(empty, "photo.gif"), "");
  const whole = await Deno.readFile(join(input, "d.png"));
  await Deno.writeFile(join(torn, "d.png"), whole.subarray(0, whole.length >> 1));
  await Deno.writeTextFile(join(folder, "text.png"), "no picture");
  const damaged = join(folder, "damaged.safetensors");
  const bytes = await Deno.readFile(checkpoint);
  bytes[bytes.length - 100] ^= 1;
  await Deno.writeFile(damaged, bytes);
  const output = join(folder, "never");
  const cases: [checkpoint: string, input: string, output: string, message: RegExp][] = [
    [
      join(folder, "no.safetensors"),
      input,
      output,
      /^Cannot open checkpoint .*no\.safetensors as it does not exist; /,
    ],
    [damaged, input, output, /^Cannot open checkpoint .* digest/],
    [
      checkpoint,
      join(folder, "nowhere"),
      output,
      /^Cannot predict images of .*nowhere as it does not exist: /,
    ],
    [
      checkpoint,
      empty,
      output,
      /has no PNG or JPEG file: found 1 other files, such as .*photo\.gif; /,
    ],
    [checkpoint, join(folder, "text.png"), output, /^Cannot read .*text\.png as /],
    [checkpoint, torn, join(folder, "half"), /^Cannot read .*d\.png as it is truncated/],
    [checkpoint, input, join(input, "pictures"), /lies in it, where a second run would find/],
    [checkpoint, input, join(folder, "text.png"), /^Cannot create folder .*text\.png/],
  ];
  for (const [file, from, to, message] of cases) {
    const { code, stderr } = await runProgram(
      "predict",
      ...["--checkpoint", file, "--input", from, "--output", to],
    );
    assert.match(stderr, message);
    assert.match(stderr, /^[^\n]+\n$/, "one sentence");
    assert.equal(code, 2, stderr);
  }
  assert.ok(!names(folder).includes("never"), "a refused run leaves no folder");
}

for (const [signal, exitCode] of [["SIGINT", 130], ["SIGUSR2", 140]] as const) {
  Deno.test(`${signal} ends a training after the step under way, with a checkpoint and exit code ${exitCode}`, () =>
    withFolder(async (folder) => {
      const config = join(folder, "tiny.json");
      const out = join(folder, "run");
      await Deno.writeTextFile(config, JSON.stringify(tinyConfig(folder)));
      const args = ["train", "--config", config, "--out", out, "--stages", "source"];
      const child = startProgram([...args, "--steps", "100000"]);
      let text = "";
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
        if (!text.includes("| loss") && (text + part).includes("| loss")) child.kill(signal);
        text += part;
      }
      const errors = await new Response(child.stderr).text();
      assert.equal((await child.status).code, exitCode, errors);
      assert.match(text, /^Stopping after this step; /m);
      assert.match(text, /^Stopped; \.\/run train --resume .*run goes on$/m);
      const checkpoint = join(out, "checkpoints", "source.safetensors");
      const scores = await runProgram("eval", "--checkpoint", checkpoint, "--json");
      const { step } = JSON.parse(scores.stdout);
      assert.ok(step > 0 && step < 100_000, `stopped at step ${step}`);
      const lines = (await Deno.readTextFile(join(out, "metrics.jsonl"))).trimEnd().split("\n");
      assert.equal(lines.length, step, "every step made is in the metrics");
    }));
}

Deno.test("generate writes the benchmark once and finds it again", () =>
  withFolder(async (folder) => {
    const out = join(folder, "streets");
    const size = ["--width", "32", "--height", "16"];
    const counts = ["--source-images", "2", "--target-images", "1", "--val-images", "1"];
    const first = await runProgram("generate", "--out", out, ...size, ...counts);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /holds 2 source images, 1 target images and 1 to measure on/);
    const written = (await Deno.stat(join(out, "source", "images", "00001.png"))).mtime;
    assert.equal((await runProgram("generate", "--out", out, ...size, ...counts)).code, 0);
    assert.deepEqual((await Deno.stat(join(out, "source", "images", "00001.png"))).mtime, written);
    const other = await runProgram("generate", "--out", out, ...size, ...counts, "--seed", "1");
    assert.equal(other.code, 2);
    assert.match(other.stderr, /^Cannot write streets to [^\n]+\n$/);
  }));
