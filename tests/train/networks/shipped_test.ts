// The networks that come with the project: that they are those that the manifest lists, that they do what it
// says, and that commands without a checkpoint take the last one from whatever folder they run in.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { STREETS_CLASSES } from "../../../train/data/class_set.ts";
import { encodeImage } from "../../../train/images/image.ts";
import { openNetwork } from "../../../train/networks/trained_network.ts";
import { lastShippedNetwork, shippedNetworks } from "../../../train/networks/shipped.ts";
import { renderStreet } from "../../../train/streets/mod.ts";
import { runProgramIn } from "../../cli/_program.ts";
import { namesIn, withFolder } from "../_folder.ts";
import { write } from "../_png.ts";

/** Points of mIoU that 16 bits may cost. */
const COST_OF_HALVES = 0.1;
/** Points of mIoU by which another processor may score the same network. */
const TOLERANCE = 1;

const networks = shippedNetworks();

Deno.test("the networks that come with the project have their hashes, and lie in less than 4 MB", () => {
  const folder = dirname(networks[0].path);
  for (const { path, sha256, bytes } of networks) {
    const content = Deno.readFileSync(path);
    assert.equal(createHash("sha256").update(content).digest("hex"), sha256, path);
    assert.equal(content.length, bytes, path);
  }
  const listed = networks.map(({ file }) => file);
  assert.deepEqual(
    namesIn(folder),
    [...listed, "README.md", "config.json", "metrics.jsonl", "networks.json"].sort(),
  );
  const size = namesIn(folder).reduce(
    (sum, name) => sum + Deno.statSync(join(folder, name)).size,
    0,
  );
  assert.ok(size < 4e6, `${size} bytes`);
});

Deno.test("the networks that come with the project are of streets, each of its stage, and name no place of one machine", () => {
  assert.equal(networks[0].stage, "source");
  for (const { path, stage, step, mIoU, before, classIoU } of networks) {
    using file = openNetwork(path);
    assert.deepEqual([file.stage, file.step], [stage, step]);
    assert.deepEqual(file.classes.names, STREETS_CLASSES.names);
    assert.deepEqual(Object.keys(classIoU), [...file.classes.names]);
    assert.equal(file.config.data.streets.directory, "data/streets");
    assert.deepEqual([file.config.base, file.config.init], [null, null]);
    assert.ok(Math.abs(mIoU - before) <= COST_OF_HALVES, `${stage}: ${mIoU} from ${before}`);
  }
  const scores = networks.map(({ mIoU }) => mIoU);
  assert.deepEqual(scores, scores.toSorted((a, b) => a - b), "each stage gains");
});

Deno.test("predict and eval without a checkpoint take the last network, from any folder", () =>
  withFolder(async (cwd) => {
    const size = { width: 256, height: 128 };
    const street = renderStreet({ seed: 0, domain: "target", split: "val", index: 0, ...size });
    write(join(cwd, "photographs", "a.png"), encodeImage({ data: street.image, ...size }));
    const predicted = await runProgramIn(
      { cwd },
      ...["predict", "--input", "photographs", "--output", "predicted"],
    );
    assert.equal(predicted.code, 0, predicted.stderr);
    assert.match(predicted.stderr, /No --checkpoint: .*\n.* road, .*\n.* it knows little\n/);
    assert.ok(existsSync(join(cwd, "predicted", "overlay", "a.png")));

    const { code, stdout, stderr } = await runProgramIn({ cwd }, "eval", "--json");
    assert.equal(code, 0, stderr);
    const scores = JSON.parse(stdout);
    const { path, stage, mIoU } = lastShippedNetwork();
    assert.equal(path, networks.at(-1)?.path);
    assert.deepEqual([scores.checkpoint, scores.stage], [path, stage]);
    assert.deepEqual([scores.split, scores.images], ["val", 100]);
    assert.ok(Math.abs(scores.mIoU - mIoU) < TOLERANCE, `${scores.mIoU}, and ${mIoU} once`);
  }));
