// What a run knows its data by.

import assert from "node:assert/strict";
import { join } from "node:path";
import { openDataset } from "../../../train/data/dataset.ts";
import { Fingerprint, type KnownData } from "../../../train/data/fingerprint.ts";
import { layoutOf } from "../../../train/data/layouts.ts";
import { encodeImage, encodeLabel } from "../../../train/images/image.ts";
import { dataError, withFolder } from "../_folder.ts";
import { write } from "../_png.ts";

const SIZE = { width: 6, height: 4 };
const NAMES = ["a", "b/größe", "c"];
const CLASSES = [{ name: "road", colour: [9, 9, 9] }, { name: "car", colour: [0, 0, 9] }];

function image(value: number): Uint8Array {
  return encodeImage({ data: new Uint8Array(72).fill(value), ...SIZE });
}

/**
 * A data set with labels and classes of its own, written long ago: what is written over a file within a tick of
 * the file system's clock has its times.
 */
function makeData(root: string): void {
  for (const [index, name] of NAMES.entries()) {
    write(join(root, "images", `${name}.png`), image(index));
    const label = encodeLabel({ data: new Uint8Array(24).fill(index % 2), ...SIZE });
    write(join(root, "labels", `${name}.png`), label);
  }
  Deno.writeTextFileSync(join(root, "classes.json"), JSON.stringify({ classes: CLASSES }));
  for (const name of NAMES) {
    for (const folder of ["images", "labels"]) {
      Deno.utimeSync(join(root, folder, `${name}.png`), 1_000_000, 1_000_000);
    }
  }
  Deno.utimeSync(join(root, "classes.json"), 1_000_000, 1_000_000);
}

function fingerprint(root: string): Fingerprint {
  const place = { root, layout: layoutOf("folder"), split: "train" };
  return new Fingerprint({
    source: openDataset({ ...place, trainIds: [0, 1] }),
    target: openDataset({ ...place, trainIds: null }),
  });
}

/** What a checkpoint gets. */
function known(root: string): KnownData {
  using found = fingerprint(root);
  found.start();
  return found.known ?? assert.fail();
}

Deno.test("every change of a data set's files is a difference, and the file is named", () =>
  withFolder((folder) => {
    const root = join(folder, "data");
    const at = (name: string) => join(root, name);
    const changes: [change: () => void, file: string, what: string][] = [
      [() => Deno.removeSync(at("images/c.png")), "images/c.png", "is missing"],
      [() => write(at("images/0.png"), image(1)), "images/0.png", "is new"],
      [() => Deno.renameSync(at("images/a.png"), at("images/A.png")), "images/A.png", "is new"],
      [() => write(at("images/a.png"), image(7)), "images/a.png", "has another content"],
      [
        () => {
          const [a, c] = ["images/a.png", "images/c.png"].map((name) =>
            Deno.readFileSync(at(name))
          );
          Deno.writeFileSync(at("images/a.png"), c);
          Deno.writeFileSync(at("images/c.png"), a);
        },
        "images/a.png",
        "has another content",
      ],
      [
        () => {
          const bytes = Deno.readFileSync(at("labels/b/größe.png"));
          bytes[bytes.length - 20] ^= 1;
          Deno.writeFileSync(at("labels/b/größe.png"), bytes);
        },
        "labels/b/größe.png",
        "has another content",
      ],
      [
        () => {
          const grey = encodeImage({ data: new Uint8Array(72).map((_, i) => i), ...SIZE });
          write(at("images/a.png"), grey);
        },
        "images/a.png",
        "bytes and had",
      ],
      [
        () =>
          Deno.writeTextFileSync(
            at("classes.json"),
            JSON.stringify({ classes: CLASSES.toReversed() }),
          ),
        "classes.json",
        "has another content",
      ],
    ];
    for (const [change, file, what] of changes) {
      makeData(root);
      const before = known(root);
      change();
      if (what === "is missing") Deno.removeSync(at("labels/c.png"));
      if (file === "images/0.png") Deno.copyFileSync(at("labels/a.png"), at("labels/0.png"));
      if (file === "images/A.png") Deno.renameSync(at("labels/a.png"), at("labels/A.png"));
      using found = fingerprint(root);
      const difference = found.differenceFrom(before, () => {}) ?? "";
      assert.ok(difference.startsWith(at(file)), difference);
      assert.ok(difference.includes(what), difference);
      Deno.removeSync(root, { recursive: true });
    }
  }));

Deno.test("files that were only touched or copied are read once and are no difference", () =>
  withFolder((folder) => {
    makeData(folder);
    const before = known(folder);
    const reads: number[] = [];
    const compare = (data: KnownData) => {
      using found = fingerprint(folder);
      const difference = found.differenceFrom(data, (files) => reads.push(files));
      found.start();
      return [difference, found.known ?? assert.fail()] as const;
    };
    assert.deepEqual(compare(before), [null, before]);
    assert.deepEqual(reads, [], "no file is read where times are the same");

    const path = join(folder, "images", "a.png");
    Deno.utimeSync(path, 5, 7);
    const [difference, after] = compare(before);
    assert.equal(difference, null);
    assert.deepEqual(reads, [2], "once for each data set that has it");
    assert.deepEqual(compare(after), [null, after]);

    // A file that was written and given its times of before has changed at another time still.
    const { source: [, [, , times]] } = after;
    write(path, image(3));
    Deno.utimeSync(path, 5, 7);
    const [time] = times.split(" ");
    const blind = JSON.parse(JSON.stringify(after).replaceAll(times, `${time} 0`));
    assert.match(compare(blind)[0] ?? "", /a\.png has another content/);

    // What a run had not come to read is known by name and size.
    const unread: KnownData = {
      source: before.source.map(([path, bytes]) => [path, bytes, "", null] as const),
    };
    assert.equal(unread.source[0][3], null);
    assert.deepEqual(compare(unread)[0], null);
    assert.deepEqual(
      compare({ source: before.target })[0],
      `${join(folder, "classes.json")} is new`,
    );
    assert.equal(compare({})[0], null, "sets that were not noted are free");
    Deno.removeSync(path);
    assert.throws(() => known(join(folder, "nothing")), dataError("nothing"));
  }));

Deno.test("large data sets are read on another thread, to the same digests", () =>
  withFolder(async (folder) => {
    makeData(folder);
    const expected = known(folder);
    using found = fingerprint(folder);
    found.start({ atOnce: 100 });
    assert.ok(found.known?.source.every(([, , , digest]) => digest === null));
    await found.settle(0); // not yet
    await found.settle(60_000);
    assert.deepEqual(found.known, expected);
    using abandoned = fingerprint(folder);
    abandoned.start({ atOnce: 0 });
  }));
