// Data sets made by someone else, with odd sizes, train, are inspected and predicted without touching code.

import assert from "node:assert/strict";
import { join } from "node:path";
import { CLASSES } from "../../train/data/classes.ts";
import { sentenceOf } from "../../train/evaluation/causes.ts";
import { encodeImage, encodeLabel, readLabel } from "../../train/images/image.ts";
import golden from "../goldens/jpeg.json" with { type: "json" };
import { withFolder } from "../train/_folder.ts";
import { write } from "../train/_png.ts";
import { runProgram } from "./_program.ts";

const JPEG = Uint8Array.from(
  atob(golden.files.progressive.file),
  (letter) => letter.charCodeAt(0),
);

/** Noise of one size. */
function noise(width: number, height: number, channels: number, values: readonly number[]) {
  const data = Uint8Array.from(
    { length: width * height * channels },
    (_, i) => values[(i * 7919 + i % 13) % values.length],
  );
  return { data, width, height };
}

function image(width: number, height: number): Uint8Array {
  return encodeImage(noise(width, height, 3, Array.from({ length: 256 }, (_, value) => value)));
}

/** Two steps a stage of a small network. */
function writeConfig(folder: string): string {
  const stage = { steps: 2, scheduleSteps: 2 };
  const path = join(folder, "tiny.json");
  const config = {
    network: { blocks: [1, 1, 1, 1], width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
    data: { batch: 2, cropHeight: 24, cropWidth: 40, longSide: 48 },
    stages: {
      source: stage,
      warmup: { ...stage, discriminatorPlanes: 4 },
      stage1: stage,
      stage2: stage,
    },
  };
  Deno.writeTextFileSync(path, JSON.stringify(config));
  return path;
}

async function succeed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram(...args);
  assert.equal(code, 0, `${stdout}\n${stderr}`);
  return stdout;
}

Deno.test("a data set of one's own in the GTA5 layout adapts to one in the Cityscapes layout", () =>
  withFolder(async (folder) => {
    const [source, target] = [join(folder, "my game"), join(folder, "my camera")];
    for (const [name, width, height] of [["1", 33, 21], ["2", 47, 18], ["x y", 20, 31]] as const) {
      write(join(source, "images", `${name}.png`), image(width, height));
      const label = encodeLabel(noise(width, height, 1, [7, 8, 11, 0, 26]));
      write(join(source, "labels", `${name}.png`), label);
    }
    const pixels = new Uint8Array(33 * 21 * 3); // colours instead of ids
    for (let i = 0; i < 33 * 21; i++) pixels.set(CLASSES[i % 2 ? 0 : 13].colour, i * 3);
    write(join(source, "labels", "1.png"), encodeImage({ data: pixels, width: 33, height: 21 }));
    write(join(target, "leftImg8bit/train/a/a_1_leftImg8bit.png"), image(51, 23));
    write(join(target, "leftImg8bit/train/a/a_2_leftImg8bit.png"), image(30, 30));
    write(join(target, "leftImg8bit/val/a/a_3_leftImg8bit.png"), image(29, 17));
    const label = noise(29, 17, 1, [0, 13, 255]);
    write(join(target, "gtFine/val/a/a_3_gtFine_labelTrainIds.png"), encodeLabel(label));
    const out = join(folder, "run");
    const domains = ["--source", source, "--target", target];
    const run = ["train", "--config", writeConfig(folder), "--out", out, "--classes", "16"];
    const table = await succeed(...run, ...domains, "--stages", "source,warmup,stage1");
    assert.match(table, /^IoU in % +source\*? +warmup\*? +stage1\*?$/m);
    const causesOfData = () => JSON.parse(Deno.readTextFileSync(join(out, "result.json"))).causes;
    const [small] = causesOfData();
    assert.ok(table.includes(`\n${sentenceOf(small)}\n`), "what is found is said and recorded");
    await succeed("train", "--resume", out);
    assert.deepEqual(causesOfData(), [small], "a run that goes on remembers it");
    await succeed("report", out, "--out", join(folder, "page.html"));
    assert.match(
      Deno.readTextFileSync(join(folder, "page.html")),
      /<b>after looking at the data:<\/b> The parts of 4 of 16 classes are smaller/,
    );
    const { classes, counts } = JSON.parse(
      Deno.readTextFileSync(join(out, "confusion", "stage1.json")),
    );
    assert.deepEqual([classes.length, counts.flat().length], [16, 256]);
    const labelled = counts.flat().reduce((sum: number, count: number) => sum + count, 0);
    assert.equal(labelled, label.data.filter((id) => id < 255).length);
    const last = JSON.parse(
      Deno.readTextFileSync(join(out, "metrics.jsonl")).trimEnd().split("\n").at(-1) ?? "",
    );
    assert.deepEqual(Object.keys(last.means), ["13", "16"]);
    assert.ok(last.information > 0);
  }));

Deno.test("a folder of JPEG and PNG images with classes of its own trains, and predicts in its own ids", () =>
  withFolder(async (folder) => {
    const [source, target] = [join(folder, "fields"), join(folder, "drone")];
    const classes = [
      { name: "crop", colour: [0, 200, 0], ids: [10, 11] },
      { name: "weed", colour: [200, 0, 0], ids: [20] },
      { name: "soil", colour: [90, 60, 30], ids: [30] },
    ];
    const file = new TextEncoder().encode(JSON.stringify({ classes, ignore: { ids: [99] } }));
    write(join(source, "classes.json"), file);
    const { width, height } = golden;
    for (const name of ["may/a", "may/b", "june/c"]) {
      write(join(source, "images", `${name}.jpg`), JPEG);
      const label = encodeLabel(noise(width, height, 1, [10, 20, 11, 99, 30]));
      write(join(source, "labels", `${name}.png`), label);
    }
    for (const name of ["d.JPG", "e.png", "f.jpeg"]) {
      write(join(target, "images", name), name === "e.png" ? image(31, 19) : JPEG);
    }
    const sheet = join(folder, "sheet.png");
    const look = ["inspect", "--layout", "folder", "--sheet", sheet, "--data"];
    assert.match(
      await succeed(...look, source),
      /^3 images of \d+×\d+, all with labels\n[^]*^weed +19\.\d+ % +3 +\d+ px$/m,
    );
    assert.match(await succeed(...look, target), /Note: the data set has no labels/);

    const layouts = ["--source-layout", "folder", "--target-layout", "folder"];
    const run = ["train", "--config", writeConfig(folder), "--source", source, ...layouts];
    const out = join(folder, "run");
    const stages = ["--stages", "source,warmup,stage1,stage2", "--select", "unsupervised"];
    const text = await succeed(...run, "--target", target, "--out", out, ...stages);
    assert.match(text, /^stage2: 2 steps in .*, mIoU unknown without labels/m);

    const checkpoint = join(out, "checkpoints", "stage2.safetensors");
    const pictures = join(folder, "pictures");
    const paths = ["--input", join(target, "images"), "--output", pictures];
    await succeed("predict", "--checkpoint", checkpoint, ...paths);
    for (const name of ["d", "e", "f"]) {
      const { data } = readLabel(join(pictures, "label", `${name}.png`));
      assert.ok(data.every((id) => [10, 20, 30].includes(id)), "ids are those of classes.json");
    }
    const measure = ["eval", "--checkpoint", checkpoint, "--target", source, "--json"];
    const scores = JSON.parse(await succeed(...measure, "--target-layout", "folder"));
    assert.deepEqual(Object.keys(scores.classIoU), ["crop", "weed", "soil"]);

    write(
      join(target, "classes.json"),
      new TextEncoder().encode(
        JSON.stringify({ classes: [classes[0], { ...classes[1], name: "thistle" }] }),
      ),
    );
    const refused = await runProgram(...run, "--target", target, "--out", join(folder, "never"));
    assert.equal(refused.code, 2);
    assert.match(
      refused.stderr,
      /^Cannot train as source and target have different classes: source has crop, weed, soil, target has crop, thistle; [^\n]*\n$/,
    );

    write(join(source, "images", "may", "b.jpg"), JPEG.subarray(0, 300));
    const found = await runProgram(...look, source);
    assert.equal(found.code, 1);
    assert.match(found.stdout, /^1 problem was found:\n- Cannot read .*b\.jpg as it is truncated/m);
  }));
