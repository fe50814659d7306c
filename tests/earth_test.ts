// The example of the Earth, on tiny Earths and without the network: which tiles are cut, and what
// becomes of a folder that is not whole.

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cutTiles, type Pictures } from "../examples/earth/tiles.ts";
import { openDataset } from "../train/data/dataset.ts";
import { FOLDER } from "../train/data/layouts.ts";
import { classesOf } from "../train/data/place.ts";
import { readImage, readLabel } from "../train/images/image.ts";
import type { RgbImage } from "../train/images/rgb.ts";
import { runProgramIn } from "./cli/_program.ts";
import { dataError, namesIn, withFolder } from "./train/_folder.ts";

const WIDTH = 64;
const SPLITS = [["source", "train"], ["source", "val"], ["target", "train"], ["target", "val"]];

function picture(width: number, colour: (x: number, y: number) => number[]): RgbImage {
  const height = width / 2;
  const pixels = Array.from(
    { length: width * height },
    (_, i) => colour(i % width, Math.floor(i / width)),
  );
  return { data: Uint8Array.from(pixels.flat()), width, height };
}

/** Of each pixel its column and row, and whether it is night. */
const day = picture(WIDTH, (x, y) => [x, y, 0]);
const night = picture(WIDTH, (x, y) => [x, y, 1]);
const isWater = (x: number, y: number) => (x * 7 + y * 5) % 11 < 6;
const water = picture(WIDTH, (x, y) => Array(3).fill(isWater(x, y) ? 255 : 0));

const give = (pictures: Pictures) => () => Promise.resolve(pictures);
const refuse = () => Promise.reject(new Error("the pictures are not needed"));

/** The tiles of a split: their pixels' columns and rows, and labels where they have any. */
function tiles(directory: string, domain: string, split: string) {
  const folder = (kind: string) => join(directory, domain, kind, split);
  const labelled = domain === "source" || split === "val";
  return namesIn(folder("images")).map((name) => ({
    image: readImage(join(folder("images"), name)),
    label: labelled ? readLabel(join(folder("labels"), name)) : null,
  }));
}

Deno.test("no place of the Earth is in two splits, and each domain has its picture", () =>
  withFolder(async (folder) => {
    const directory = join(folder, "earth");
    assert.equal(await cutTiles(directory, give({ day, night, water })), true);
    const columns = new Map<number, string>();
    for (const [domain, split] of SPLITS) {
      for (const { image: { data, width, height } } of tiles(directory, domain, split)) {
        assert.deepEqual([width, height], [4, 8]);
        for (let i = 0; i < data.length; i += 3) {
          assert.equal(data[i + 2], Number(domain === "target"));
          const other = columns.get(data[i]) ?? `${domain}/${split}`;
          assert.equal(other, `${domain}/${split}`, `column ${data[i]} is in two splits`);
          columns.set(data[i], other);
        }
      }
    }
    assert.equal(columns.size, 13 * 4, "each strip has a split of its own");
    const counts = SPLITS.map(([domain, split]) => tiles(directory, domain, split).length);
    assert.deepEqual(counts, [85, 17, 85, 34]);
  }));

Deno.test("labels lie where their pixels were, whatever the size of the mask", () =>
  withFolder(async (folder) => {
    const half = picture(WIDTH / 2, (x) => Array(3).fill(x % 16 < 8 ? 255 : 0));
    const masks = [[water, isWater], [half, (x: number) => x % 32 < 16]] as const;
    for (const [index, [mask, truth]] of masks.entries()) {
      const directory = join(folder, `earth${index}`);
      await cutTiles(directory, give({ day, night, water: mask }));
      for (const [domain, split] of SPLITS) {
        for (const { image, label } of tiles(directory, domain, split)) {
          label?.data.forEach((id, i) => {
            const [x, y] = image.data.subarray(3 * i);
            assert.equal(id, Number(truth(x, y)), `${domain}/${split}, column ${x}, row ${y}`);
          });
        }
      }
    }
  }));

Deno.test("the tiles are data sets with land and water, and by night only val has labels", () =>
  withFolder(async (folder) => {
    const directory = join(folder, "earth");
    await cutTiles(directory, give({ day, night, water }));
    for (const [domain, split] of SPLITS) {
      const root = join(directory, domain);
      const classes = classesOf(root, FOLDER);
      assert.deepEqual([classes?.names, classes?.labelIds], [["land", "water"], [0, 1]]);
      const open = () =>
        openDataset({ root, layout: FOLDER, split, trainIds: classes?.trainIds ?? null });
      if (domain === "target" && split === "train") assert.throws(open, dataError("labels"));
      else assert.ok(open().items.every(({ label }) => label !== null));
    }
  }));

Deno.test("whole tiles are used again, and half of them are cut anew", () =>
  withFolder(async (folder) => {
    const directory = join(folder, "earth");
    await assert.rejects(cutTiles(directory, refuse), /not needed/);
    assert.deepEqual(namesIn(folder), []);
    const broken: RgbImage = {
      ...night,
      get data(): never {
        throw new Error("interrupted");
      },
    };
    await assert.rejects(cutTiles(directory, give({ day, night: broken, water })), /interrupted/);
    assert.deepEqual(namesIn(folder), ["earth.partial"]);
    Deno.writeTextFileSync(join(folder, "earth.partial", "source", "images", "old.png"), "old");
    assert.equal(await cutTiles(directory, give({ day, night, water })), true);
    assert.deepEqual(namesIn(folder), ["earth"]);
    assert.deepEqual(namesIn(join(directory, "source", "images")), ["train", "val"]);
    assert.equal(await cutTiles(directory, refuse), false);
  }));

Deno.test("a folder of something else, or without a tile, is refused and left alone", () =>
  withFolder(async (folder) => {
    const [mine, torn] = [join(folder, "mine"), join(folder, "torn")];
    Deno.mkdirSync(mine);
    await cutTiles(torn, give({ day, night, water }));
    Deno.removeSync(join(torn, "target", "labels", "val", "09_03.png"));
    for (const directory of [mine, torn]) {
      const before = namesIn(directory);
      await assert.rejects(cutTiles(directory, refuse), dataError(directory, "move it away"));
      assert.deepEqual(namesIn(directory), before);
    }
  }));

Deno.test("the task cuts tiles with the permissions that its program names, and nothing where they are", () =>
  withFolder(async (folder) => {
    const program = new URL("../examples/earth/tiles.ts", import.meta.url);
    const [, flags] = /^ \* {5}deno run ((?:--\S+ )+)examples\/earth\/tiles\.ts$/m
      .exec(Deno.readTextFileSync(program)) ?? [];
    const config = new URL("../deno.json", import.meta.url);
    const { command } = JSON.parse(Deno.readTextFileSync(config)).tasks.earth;
    assert.ok(
      command.includes(` && deno run --no-prompt ${flags}examples/earth/tiles.ts && `),
      `the task is ${command}, the program names ${flags}`,
    );
    await cutTiles(join(folder, "data", "earth"), give({ day, night, water }));
    const run = async (permissions: string) => {
      const { code, stdout, stderr } = await new Deno.Command("deno", {
        args: ["run", "--no-prompt", ...permissions.trim().split(" "), fileURLToPath(program)],
        cwd: folder,
      }).output();
      const decoder = new TextDecoder();
      return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
    };
    assert.deepEqual(await run(flags), {
      code: 0,
      stdout: "data/earth: tiles are there\n",
      stderr: "",
    });
    Deno.removeSync(join(folder, "data", "earth", "target"), { recursive: true });
    const { code, stderr } = await run(flags);
    assert.equal(code, 2);
    assert.match(stderr, /^Cannot cut tiles of the Earth into data\/earth as .*; move it away\n$/);
  }));

Deno.test("its configuration trains where the tiles are, and says how to get them where they are not", () =>
  withFolder(async (folder) => {
    const file = fileURLToPath(new URL("../examples/earth.ts", import.meta.url));
    const train = () =>
      runProgramIn(
        { cwd: folder, permissions: ["--no-prompt", "--allow-read"] },
        ...["train", "--config", file, "--dry-run"],
      );
    const without = await train();
    assert.equal(without.code, 2, without.stderr);
    assert.match(without.stderr, /^Cannot train on the Earth as .*; \.\/run earth fetches them/);
    await cutTiles(join(folder, "data", "earth"), give({ day, night, water }));
    const { code, stdout, stderr } = await train();
    assert.equal(code, 0, stderr);
    assert.match(stdout, /source.*stage1/s);
  }));
