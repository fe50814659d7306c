// Where the pictures of predictions go: each image has its own, and none is written over an image.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DeepLab } from "../../../nn/deeplab.ts";
import { presetConfig } from "../../../train/config/config.ts";
import { classSet } from "../../../train/run/run_data.ts";
import { encodeImage } from "../../../train/images/image.ts";
import { predictFolder } from "../../../train/networks/predict.ts";
import type { TrainedNetwork } from "../../../train/networks/trained_network.ts";
import golden from "../../goldens/jpeg.json" with { type: "json" };
import { testGpu } from "../../_device.ts";
import { dataError, namesIn, withFolder } from "../_folder.ts";
import { write } from "../_png.ts";

const JPEG = Uint8Array.from(
  atob(golden.files.progressive.file),
  (letter) => letter.charCodeAt(0),
);
const PNG = encodeImage({ data: new Uint8Array(3 * 40 * 24).fill(90), width: 40, height: 24 });

/** An untrained network of two classes. */
async function makeTrained(): Promise<TrainedNetwork> {
  const network = new DeepLab(await testGpu(), {
    blocks: [1, 1, 1, 1],
    width: 4,
    classes: 2,
    headChannels: 8,
    groups: 4,
    dilations: [1],
  });
  network.eval();
  const config = presetConfig("quick");
  const classes = classSet([7, 8]);
  const dispose = () => network.dispose();
  return { network, config, classes, stage: "source", step: 1, [Symbol.dispose]: dispose };
}

Deno.test("images whose pictures would be called alike are refused before the first is written", () =>
  withFolder(async (folder) => {
    using trained = await makeTrained();
    const output = join(folder, "pictures");
    const cases: [first: string, second: string, ...parts: string[]][] = [
      ["a.jpg", "a.png", "rename"],
      ["a.jpeg", "a.jpg", "rename"],
      ["a.JPG", "a.png", "rename"],
      ["Road.png", "road.png", "case"],
      ["x/a.jpg", "x/a.png", "rename"],
      ["X/a.png", "x/a.png", "case"],
      ["caf\u00e9.png", "cafe\u0301.png", "rename"],
      ["a.jpg", "a.png/b.png", "folder"],
      ["x/a.jpg", "x/A.PNG/y/b.png", "folder"],
    ];
    for (const [index, [first, second, ...parts]] of cases.entries()) {
      const input = join(folder, `${index}`);
      for (const name of [first, second]) {
        write(join(input, name), /\.jpe?g$/i.test(name) ? JPEG : PNG);
      }
      const expected = dataError(
        "Cannot predict",
        join(input, first),
        join(input, second),
        ...parts,
      );
      await assert.rejects(predictFolder(trained, { input, output }), expected);
      assert.equal(existsSync(output), false);
    }
  }));

Deno.test("a picture never takes the place of an image, whatever way the folder is written", () =>
  withFolder(async (folder) => {
    using trained = await makeTrained();
    const image = join(folder, "label", "a.png");
    write(image, PNG);
    write(join(folder, "label", "b.png"), PNG);
    Deno.symlinkSync(folder, join(folder, "same"));
    for (const input of [image, join(folder, "label"), join(folder, "same", "label")]) {
      for (const output of [folder, join(folder, "same"), join(folder, "label", "..")]) {
        await assert.rejects(
          predictFolder(trained, { input, output }),
          dataError("a.png", "take the place of an image", "another one"),
        );
      }
    }
    assert.deepEqual(Deno.readFileSync(image), PNG);
    assert.deepEqual(namesIn(folder), ["label", "same"]);
    assert.equal(await predictFolder(trained, { input: image, output: join(folder, "out") }), 1);
    // A second time its own pictures are replaced.
    const again = { input: join(folder, "label"), output: join(folder, "out") };
    assert.equal(await predictFolder(trained, again), 2);
    assert.deepEqual(namesIn(join(folder, "out", "label")), ["a.png", "b.png"]);
  }));
