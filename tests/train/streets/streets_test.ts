import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { CLASSES, STREETS_TRAIN_IDS, TRAIN_IDS } from "../../../train/data/classes.ts";
import { DataError } from "../../../train/base/data_error.ts";
import { decodeImage, decodeLabel } from "../../../train/images/image.ts";
import { runProgram, startProgram } from "../../cli/_program.ts";
import { fileCallsOf } from "../_file_calls.ts";
import { until } from "../_until.ts";
import { renderStreet, type StreetOptions, writeStreets } from "../../../train/streets/mod.ts";
import { assertSame } from "../../_same.ts";

const base: StreetOptions = {
  seed: 7,
  domain: "target",
  split: "val",
  index: 3,
  width: 96,
  height: 48,
};
const DOMAINS = ["source", "target"] as const;

function render(domain: StreetOptions["domain"], count: number, first = 0) {
  return Array.from(
    { length: count },
    (_, i) =>
      renderStreet({ ...base, domain, split: "train", index: first + i, width: 128, height: 64 }),
  );
}

Deno.test("a street is a pure function of its options", () => {
  const first = renderStreet(base);
  renderStreet({ ...base, index: 4 });
  assertSame(renderStreet(base), first);
  for (const change of [{ seed: 8 }, { domain: "source" }, { split: "train" }, { index: 2 }]) {
    const other = renderStreet({ ...base, ...change } as StreetOptions);
    assert.notDeepEqual(other.image, first.image, JSON.stringify(change));
    assert.notDeepEqual(other.label, first.label, JSON.stringify(change));
  }
});

/** A digest of the first images of a split with their labels, as the benchmark draws them. */
function digestOf(domain: StreetOptions["domain"], split: StreetOptions["split"]): string {
  const hash = createHash("sha256");
  for (let index = 0; index < 3; index++) {
    const options = { ...base, seed: 0, domain, split, index, width: 256, height: 128 };
    const { image, label } = renderStreet(options);
    hash.update(image).update(label);
  }
  return hash.digest("hex").slice(0, 32);
}

Deno.test("the images of streets are those of the first version", () => {
  assert.deepEqual(
    [digestOf("source", "train"), digestOf("target", "train"), digestOf("target", "val")],
    [
      "575e2a7b86199b247aeeb51624785d7e",
      "7f6539edd727c106e2f7c6a417499445",
      "544830d70192cb06b0cee3d641241c89",
    ],
  );
});

Deno.test("no image is in two splits", () => {
  const seen = new Map<string, string>();
  for (const domain of DOMAINS) {
    for (const split of ["train", "val", "choose"] as const) {
      for (let index = 0; index < 30; index++) {
        const { image } = renderStreet({ ...base, domain, split, index });
        const digest = createHash("sha256").update(image).digest("hex");
        const name = `${domain} ${split} ${index}`;
        assert.equal(seen.get(digest), undefined, `${name} is also ${seen.get(digest)}`);
        seen.set(digest, name);
      }
    }
  }
});

Deno.test("streets of any size have a known label id on every pixel", () => {
  const known = new Set([...STREETS_TRAIN_IDS, IGNORE]);
  for (const domain of DOMAINS) {
    for (let index = 0; index < 20; index++) {
      const { image, label } = renderStreet({ ...base, domain, index, width: 67, height: 41 });
      assert.equal(image.length, 67 * 41 * 3);
      assert.equal(label.length, 67 * 41);
      for (const id of label) assert.ok(known.has(TRAIN_IDS[id]), `${domain} ${index}: id ${id}`);
    }
  }
});

Deno.test("both domains show every class often enough to be learnt", () => {
  for (const domain of DOMAINS) {
    const streets = render(domain, 60);
    for (const trainId of STREETS_TRAIN_IDS) {
      const { name, labelId } = CLASSES[trainId];
      const seen = streets.map(({ label }) => label.filter((id) => id === labelId).length);
      const share = seen.reduce((sum, count) => sum + count, 0) / (60 * 128 * 64);
      const images = seen.filter((count) => count > 20).length;
      assert.ok(share > 0.01 && share < 0.45, `${domain} ${name} covers ${share} of the pixels`);
      assert.ok(images > 30, `${domain} ${name} is in ${images} of 60 images`);
    }
  }
});

Deno.test("colour alone does not tell the classes of the other domain", () => {
  // The best a colour can do: the most frequent source class of each of 16³ colours.
  const bin = (image: Uint8Array, at: number): number =>
    (image[at * 3] >> 4) << 8 | (image[at * 3 + 1] >> 4) << 4 | image[at * 3 + 2] >> 4;
  const votes = Array.from({ length: 4096 }, () => new Uint32Array(256));
  for (const { image, label } of render("source", 60)) {
    label.forEach((id, at) => votes[bin(image, at)][id]++);
  }
  const best = votes.map((counts) => counts.indexOf(Math.max(...counts)));
  const classIoU = (domain: StreetOptions["domain"]): number[] => {
    const [hits, seen, said] = [0, 1, 2].map(() => new Uint32Array(256));
    for (const { image, label } of render(domain, 40, 60)) {
      label.forEach((id, at) => {
        const guess = best[bin(image, at)];
        seen[id]++;
        said[guess]++;
        if (guess === id) hits[id]++;
      });
    }
    return STREETS_TRAIN_IDS.map((trainId) => CLASSES[trainId].labelId).map((id) =>
      hits[id] / (seen[id] + said[id] - hits[id])
    );
  };
  const mean = (values: number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;
  const [within, across] = [classIoU("source"), classIoU("target")];
  assert.ok(mean(within) < 0.5, `colour reaches ${mean(within)} within the source domain`);
  assert.ok(mean(across) < 0.2, `colour reaches ${mean(across)} on the target domain`);
  across.forEach((iou, i) => {
    assert.ok(iou < 0.5, `colour finds ${CLASSES[STREETS_TRAIN_IDS[i]].name} with IoU ${iou}`);
  });
});

Deno.test("a size, seed or index that cannot be drawn is refused", () => {
  for (const change of [{ width: 15 }, { height: 40.5 }, { index: -1 }, { seed: NaN }]) {
    assert.throws(() => renderStreet({ ...base, ...change }), RangeError);
  }
});

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
