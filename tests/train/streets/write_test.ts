// Streets as folders of files.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { DataError } from "../../../train/base/data_error.ts";
import { decodeImage, decodeLabel } from "../../../train/images/image.ts";
import { runProgram, startProgram } from "../../cli/_program.ts";
import { fileCallsOf } from "../_file_calls.ts";
import { until } from "../_until.ts";
import { renderStreet, writeStreets } from "../../../train/streets/mod.ts";
import { assertSame } from "../../_same.ts";

const counts = { sourceTrain: 2, targetTrain: 1, targetVal: 2, sourceVal: 1, targetChoose: 1 };
const options = { seed: 5, counts, width: 48, height: 32 };

async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("streets are written as PNG in the GTA5 and Cityscapes layouts", async () => {
  await withFolder(async (folder) => {
    const directory = join(folder, "made", "streets");
    const progress: number[] = [];
    await writeStreets(directory, {
      ...options,
      onProgress: (done, total) => progress.push(done, total),
    });
    assert.deepEqual(progress, [1, 7, 2, 7, 3, 7, 4, 7, 5, 7, 6, 7, 7, 7]);
    assert.deepEqual([...Deno.readDirSync(join(folder, "made"))].map(({ name }) => name), [
      "streets",
    ]);
    const target = (kind: string, split: string, number: string, suffix: string): string =>
      `target/${kind}/${split}/streets/streets_${number}_000000_${suffix}.png`;
    for (
      const [domain, split, index, image, label] of [
        ["source", "train", 1, "source/images/00002.png", "source/labels/00002.png"],
        ["source", "val", 0, "source/images/val/00001.png", "source/labels/val/00001.png"],
        [
          "target",
          "choose",
          0,
          target("leftImg8bit", "choose", "000001", "leftImg8bit"),
          target("gtFine", "choose", "000001", "gtFine_labelIds"),
        ],
        [
          "target",
          "train",
          0,
          target("leftImg8bit", "train", "000001", "leftImg8bit"),
          target("gtFine", "train", "000001", "gtFine_labelIds"),
        ],
        [
          "target",
          "val",
          1,
          target("leftImg8bit", "val", "000002", "leftImg8bit"),
          target("gtFine", "val", "000002", "gtFine_labelIds"),
        ],
      ] as const
    ) {
      const street = renderStreet({ ...options, domain, split, index });
      const read = (path: string): Uint8Array => Deno.readFileSync(join(directory, path));
      assertSame(decodeImage(read(image), image).data, street.image, image);
      assertSame(decodeLabel(read(label), label).data, street.label, label);
    }
  });
});

Deno.test("a folder of streets with the same parameters is reused, with others refused", async () => {
  await withFolder(async (folder) => {
    const directory = join(folder, "streets");
    await writeStreets(directory, options);
    await writeStreets(directory, {
      ...options,
      onProgress: () => assert.fail("streets were drawn again"),
    });
    await assert.rejects(writeStreets(directory, { ...options, seed: 6 }), DataError);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["streets"]);
  });
});

/** Turns a folder of streets into one that the first version wrote, without the later splits. */
function makeEarlier(directory: string, earlier: Record<string, number>): void {
  for (const path of ["source/images/val", "source/labels/val"]) {
    Deno.removeSync(join(directory, path), { recursive: true });
  }
  for (const kind of ["leftImg8bit", "gtFine"]) {
    Deno.removeSync(join(directory, "target", kind, "choose"), { recursive: true });
  }
  const marker = { benchmark: "streets", version: 1, ...earlier };
  Deno.writeTextFileSync(join(directory, "streets.json"), JSON.stringify(marker) + "\n");
}

/** The content of every file in a folder by its path, and when it was written. */
function contentOf(directory: string): Map<string, string> {
  const files = new Map<string, string>();
  const visit = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(join(directory, folder))) {
      const path = join(folder, name);
      if (isDirectory) visit(path);
      else {
        const digest = createHash("sha256").update(Deno.readFileSync(join(directory, path)));
        files.set(path, digest.digest("hex"));
      }
    }
  };
  visit("");
  return files;
}

Deno.test("a folder of the first version gets the splits and images that it lacks, and keeps its own", async () => {
  await withFolder(async (folder) => {
    const { width, height, seed } = options;
    const directory = join(folder, "streets");
    await writeStreets(directory, options);
    const whole = contentOf(directory);
    const mark = new Date(1e12);
    const kept = join(
      directory,
      "target/leftImg8bit/val/streets/streets_000001_000000_leftImg8bit.png",
    );
    const gone = ["leftImg8bit/val", "gtFine/val"].flatMap((at) =>
      [...whole.keys()].filter((path) => path.includes(at) && path.includes("000002"))
    );
    assert.equal(gone.length, 2);
    for (const path of gone) Deno.removeSync(join(directory, path));
    makeEarlier(directory, { seed, width, height, sourceTrain: 2, targetTrain: 1, targetVal: 1 });
    Deno.utimeSync(kept, mark, mark);
    await writeStreets(directory, options);
    assert.deepEqual(contentOf(directory), whole);
    assert.equal(Deno.statSync(kept).mtime?.getTime(), mark.getTime(), "what was there stays");
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["streets"]);

    // One that was interrupted is completed by the next.
    makeEarlier(directory, { seed, width, height, sourceTrain: 2, targetTrain: 1, targetVal: 2 });
    Deno.mkdirSync(join(directory, "source/images/val"));
    await writeStreets(directory, options);
    assert.deepEqual(contentOf(directory), whole);

    // Those with other images are others.
    for (const other of [{ seed: 6 }, { width: 64 }, { sourceTrain: 3 }]) {
      const parameters = { seed, width, height, sourceTrain: 2, targetTrain: 1, targetVal: 2 };
      makeEarlier(directory, { ...parameters, ...other });
      await assert.rejects(writeStreets(directory, options), /streets with other parameters/);
      const marker = { benchmark: "streets", version: 1, ...parameters };
      Deno.writeTextFileSync(join(directory, "streets.json"), JSON.stringify(marker));
      await writeStreets(directory, options);
    }
  });
});

Deno.test("streets never touch a folder that holds something else", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "thesis.txt"), "mine");
    await assert.rejects(writeStreets(folder, options), /occupied by thesis\.txt/);
    const file = join(folder, "thesis.txt");
    await assert.rejects(writeStreets(join(file, "streets"), options), DataError);
    await assert.rejects(writeStreets(file, options), DataError);
    assert.equal(await Deno.readTextFile(file), "mine");
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["thesis.txt"]);
  });
});

Deno.test("writing streets that fails halfway leaves nothing behind", async () => {
  await withFolder(async (folder) => {
    const directory = join(folder, "streets");
    const stop = (): void => {
      throw new Error("stopped");
    };
    await assert.rejects(writeStreets(directory, { ...options, onProgress: stop }), /stopped/);
    const broken = { ...options, counts: { ...counts, targetVal: -1 } };
    await assert.rejects(writeStreets(directory, broken), RangeError);
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("streets appear by one rename, when they are complete", async () => {
  await withFolder(async (folder) => {
    const directory = join(folder, "streets");
    const calls = await fileCallsOf(() =>
      writeStreets(directory, {
        ...options,
        onProgress: () => assert.ok(!existsSync(directory), "nothing is there before all is"),
      })
    );
    const renames = calls.filter((call) => call.startsWith("rename"));
    assert.equal(renames.length, 1);
    assert.match(renames[0], /^rename .*\.streets-[^/]*\.partial to .*\/streets$/);
    assert.equal(calls.at(-1), renames[0], "nothing is written afterwards");
  });
});

/** What `generate` draws for tests that must catch it at work. */
function generating(out: string, images: number): string[] {
  const size = ["--width", "64", "--height", "32", "--source-images", String(images)];
  const others = ["target", "val", "choose", "source-val"];
  const one = others.flatMap((split) => [`--${split}-images`, "1"]);
  return ["generate", "--out", out, ...size, ...one];
}

Deno.test("processes that write the same streets at once all succeed", async () => {
  await withFolder(async (folder) => {
    const args = generating(join(folder, "streets"), 100);
    const outcomes = await Promise.all([1, 2, 3].map(() => runProgram(...args)));
    for (const { code, stderr } of outcomes) assert.deepEqual([code, stderr], [0, ""]);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["streets"]);
  });
});

Deno.test("streets of another process that is faster are used, or refused if they are others", async () => {
  await withFolder(async (folder) => {
    const directory = join(folder, "streets");
    const overtakenBy = async (seed: number) => {
      const other = join(folder, "other");
      await writeStreets(other, { ...options, seed });
      const onProgress = (done: number, total: number) => {
        if (done === total) Deno.renameSync(other, directory); // all but the rename is done
      };
      await writeStreets(directory, { ...options, onProgress });
    };
    await overtakenBy(options.seed);
    Deno.removeSync(directory, { recursive: true });
    await assert.rejects(overtakenBy(6), /streets with other parameters/);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["streets"]);
  });
});

Deno.test("what a killed generate leaves is removed by the next one, what a live one makes is not", async () => {
  await withFolder(async (folder) => {
    const hidden = () =>
      [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.startsWith("."));
    /** A process that has begun to draw, and its folder. */
    const begin = async () => {
      const before = hidden();
      const child = startProgram(generating(join(folder, "streets"), 5000));
      const name = await until(
        "a street is drawn",
        () =>
          hidden().find((name) =>
            !before.includes(name) &&
            existsSync(join(folder, name, "source", "images", "00001.png"))
          ),
      );
      return { child, output: child.output(), name };
    };
    const killed = await begin();
    killed.child.kill("SIGKILL");
    await killed.output;
    const live = await begin();
    assert.deepEqual(hidden(), [live.name], "the next one has removed what was left");
    const mine = [".streets-backup", ".streets-backup.partial", ".street"];
    for (const name of mine) Deno.mkdirSync(join(folder, name));
    await writeStreets(join(folder, "streets"), options);
    assert.deepEqual(hidden().sort(), [live.name, ...mine].sort());
    live.child.kill("SIGINT");
    const { code, stderr } = await live.output;
    assert.equal(code, 130, new TextDecoder().decode(stderr));
    assert.deepEqual(hidden().sort(), mine.sort(), "one that is stopped leaves nothing");
  });
});
