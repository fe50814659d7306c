import assert from "node:assert/strict";
import { join } from "node:path";
import { TRAIN_IDS } from "../../../train/data/classes.ts";
import { type Dataset, openDataset } from "../../../train/data/dataset.ts";
import { CITYSCAPES, GTA5 } from "../../../train/data/layouts.ts";
import { renderStreet, writeStreets } from "../../../train/streets/mod.ts";
import { Loader, type LoaderOptions } from "../../../train/data/loader.ts";
import { classCounts } from "../../../train/data/class_pixels.ts";
import { RareClasses } from "../../../train/data/rare_classes.ts";
import {
  type DecodedLabel,
  type Sample,
  SamplesInMemory,
  shuffledOrder,
} from "../../../train/data/samples.ts";
import { dataError, withFolder } from "../_folder.ts";
import { imagePng, labelPng, write } from "../_png.ts";

const COUNT = 7;

/** Item i is an image of shade i whose label is class 8 (train id 1). */
function makeDataset(root: string): Dataset {
  for (let i = 0; i < COUNT; i++) {
    write(join(root, "images", `${i}.png`), imagePng(i));
    write(join(root, "labels", `${i}.png`), labelPng(8));
  }
  return openDataset({ root, layout: GTA5, split: "train", trainIds: TRAIN_IDS });
}

async function stream(options: LoaderOptions, counts: number[], from = 0): Promise<Sample[]> {
  using loader = new Loader(options);
  loader.seek(from);
  const samples: Sample[] = [];
  for (const count of counts) samples.push(...await loader.next(count));
  return samples;
}

const places = (samples: Sample[]) =>
  samples.map(({ position, epoch, index, image }) => [position, epoch, index, image.data[0]]);

Deno.test("an order is a permutation that seed, stream and epoch decide", () => {
  const order = shuffledOrder(50, 1, "source", 0);
  assert.deepEqual([...order].sort((a, b) => a - b), [...Array(50).keys()]);
  assert.deepEqual(shuffledOrder(50, 1, "source", 0), order);
  for (
    const other of [
      shuffledOrder(50, 2, "source", 0),
      shuffledOrder(50, 1, "target", 0),
      shuffledOrder(50, 1, "source", 1),
    ]
  ) {
    assert.notDeepEqual(other, order);
  }
});

Deno.test("every order of a small set is about equally frequent", () => {
  const seen = new Map<string, number>();
  for (let epoch = 0; epoch < 2400; epoch++) {
    const key = shuffledOrder(4, 5, "", epoch).join("");
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  assert.equal(seen.size, 24);
  // Each count is binomial with mean 100 and deviation 9.8; five deviations on either side.
  for (const [key, times] of seen) assert(Math.abs(times - 100) < 49, `${key}: ${times} times`);
});

Deno.test("samples carry the pixels of their item, train ids and their place in the stream", () =>
  withFolder(async (root) => {
    const samples = await stream({ dataset: makeDataset(root), order: "shuffled", seed: 3 }, [9]);
    const order = [...shuffledOrder(COUNT, 3, "", 0), ...shuffledOrder(COUNT, 3, "", 1)];
    assert.deepEqual(
      places(samples),
      order.slice(0, 9).map((index, p) => [p, Math.floor(p / COUNT), index, index]),
    );
    for (const { name, index, label, image } of samples) {
      assert.equal(name, String(index));
      assert.deepEqual([image.width, image.height, image.data.length], [4, 2, 24]);
      assert.deepEqual({ ...label }, { data: new Uint8Array(8).fill(1), width: 4, height: 2 });
    }
  }));

Deno.test("the stream does not depend on batch sizes, workers, look-ahead or cache", () =>
  withFolder(async (root) => {
    const options: LoaderOptions = { dataset: makeDataset(root), order: "shuffled", seed: 3 };
    const expected = places(await stream(options, [16]));
    for (
      const [variant, counts] of [
        [{ workers: 2, ahead: 3 }, [5, 5, 6]],
        [{ cacheBytes: 0, ahead: 0 }, [1, 15]],
        [{ cacheBytes: 70, workers: 2 }, [4, 4, 4, 4]],
      ] as const
    ) {
      assert.deepEqual(places(await stream({ ...options, ...variant }, [...counts])), expected);
    }
    for (const workers of [1, 2]) {
      const resumed = await stream({ ...options, workers, ahead: 1 }, [1, 6], 9);
      assert.deepEqual(places(resumed), expected.slice(9));
    }
  }));

Deno.test("a sequential pass ends with fewer samples and starts again by seeking", () =>
  withFolder(async (root) => {
    using loader = new Loader({ dataset: makeDataset(root), order: "sequential" });
    const sizes = [];
    for (let pass = 0; pass < 2; pass++) {
      loader.seek(0);
      const samples = [];
      for (let batch = await loader.next(3); batch.length > 0; batch = await loader.next(3)) {
        sizes.push(batch.length);
        samples.push(...batch);
      }
      assert.deepEqual(samples.map(({ index }) => index), [0, 1, 2, 3, 4, 5, 6]);
    }
    assert.deepEqual(sizes, [3, 3, 1, 3, 3, 1]);
    assert.equal(loader.position, COUNT);
  }));

Deno.test("a later epoch comes from the cache, as far as its bytes go", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    // An image has 24 bytes and a label 8: the cache holds the first three items.
    using loader = new Loader({ dataset, order: "sequential", ahead: 0, cacheBytes: 3 * 32 + 31 });
    await loader.next(COUNT);
    for (let i = 0; i < COUNT; i++) write(join(root, "images", `${i}.png`), imagePng(100 + i));
    loader.seek(0);
    const shades = (await loader.next(COUNT)).map(({ image }) => image.data[0]);
    assert.deepEqual(shades, [0, 1, 2, 103, 104, 105, 106]);
  }));

Deno.test("no more is decoded ahead than was allowed", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using loader = new Loader({ dataset, order: "sequential", ahead: 2 });
    await loader.next(1);
    for (let i = 3; i < COUNT; i++) write(join(root, "images", `${i}.png`), imagePng(100 + i));
    const shades = (await loader.next(COUNT)).map(({ image }) => image.data[0]);
    assert.deepEqual(shades, [1, 2, 103, 104, 105, 106]);
  }));

Deno.test("a bad file is reported as a data error when its turn comes, not before", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    Deno.truncateSync(join(root, "images", "2.png"), 50);
    using loader = new Loader({ dataset, order: "sequential", workers: 2 });
    assert.equal((await loader.next(2)).length, 2);
    await assert.rejects(loader.next(2), dataError(join(root, "images", "2.png"), "truncated"));
  }));

Deno.test("closing rejects what is still awaited, and twice does no harm", () =>
  withFolder(async (root) => {
    const loader = new Loader({ dataset: makeDataset(root), order: "sequential" });
    const pending = loader.next(2);
    loader.close();
    loader.close();
    await assert.rejects(pending, /closed before the sample was decoded/);
  }));

Deno.test("the time of waiting is 0 before anything was asked for, and no time spent elsewhere", () =>
  withFolder(async (root) => {
    using loader = new Loader({ dataset: makeDataset(root), order: "shuffled" });
    assert.equal(loader.waited, 0);
    const before = performance.now();
    await loader.next(2);
    const { waited } = loader;
    const passed = performance.now() - before;
    assert(waited > 0 && waited <= passed, `waited ${waited} of ${passed} ms`);
    await new Promise((resolve) => setTimeout(resolve, 60));
    assert.equal(loader.waited, waited);
  }));

Deno.test("the built-in benchmark takes the way of a user's data, in both layouts", () =>
  withFolder(async (folder) => {
    const root = join(folder, "streets");
    const size = { width: 32, height: 16 };
    const counts = { sourceTrain: 2, targetTrain: 1, targetVal: 2, sourceVal: 1, targetChoose: 1 };
    await writeStreets(root, { seed: 4, counts, ...size });
    for (
      const [domain, layout, split, count] of [
        ["source", GTA5, "train", 2],
        ["target", CITYSCAPES, "val", 2],
      ] as const
    ) {
      const dataset = openDataset({ root: join(root, domain), layout, split, trainIds: TRAIN_IDS });
      const samples = await stream({ dataset, order: "sequential" }, [9]);
      assert.equal(samples.length, count);
      for (const { image, label, index } of samples) {
        const street = renderStreet({ seed: 4, domain, split, index, ...size });
        assert.deepEqual(image, { data: street.image, ...size });
        const trainIds = street.label.map((id) => TRAIN_IDS[id]);
        assert.deepEqual({ ...label }, { data: trainIds, ...size });
      }
    }
  }));

Deno.test("a stream of images in memory gives what a loader of their files gives", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    using decoding = new Loader({ dataset, order: "sequential" });
    const items = (await decoding.next(COUNT)).map(({ image, label }) => ({ image, label }));
    const essence = (samples: Sample[]) => samples.map(({ name: _, ...rest }) => rest);
    const shuffled = { seed: 3, stream: "target" };
    const rare = new RareClasses(
      items.map(({ label }) => classCounts(label as DecodedLabel, 2)),
      { temperature: 0.1, crop: { height: 1, width: 1 }, longSide: 1 },
    );
    for (
      const [order, inOrder] of [
        ["sequential", "sequential"],
        ["shuffled", shuffled],
        [rare, { ...shuffled, draws: rare }],
      ] as const
    ) {
      using loader = new Loader({ dataset, order, ...shuffled });
      const inMemory = new SamplesInMemory(items, inOrder);
      for (const count of [4, 5, 6]) {
        const expected = await loader.next(count);
        assert.deepEqual(essence(await inMemory.next(count)), essence(expected));
      }
      for (const stream of [loader, inMemory]) stream.seek(2);
      assert.deepEqual(essence(await inMemory.next(3)), essence(await loader.next(3)));
    }
    assert.throws(() => new SamplesInMemory([], "sequential"), RangeError);
  }));

Deno.test("processes that share a stream take each batch apart, and no sample twice", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root);
    const options = { dataset, order: "shuffled", seed: 3, stream: "source" } as const;
    using whole = new Loader(options);
    const batches: Sample[][] = [];
    for (let step = 0; step < 5; step++) batches.push(await whole.next(6));
    for (const size of [1, 2, 3]) {
      const batch = 6 / size;
      for (let rank = 0; rank < size; rank++) {
        using part = new Loader({ ...options, share: { rank, size, batch } });
        for (const all of batches.slice(0, 3)) {
          const own = all.slice(rank * batch, (rank + 1) * batch);
          assert.deepEqual(await part.next(batch), own, `rank ${rank} of ${size}`);
        }
        part.seek(4 * batch); // as a run that goes on does
        const own = batches[4].slice(rank * batch, (rank + 1) * batch);
        assert.deepEqual(await part.next(batch), own, `rank ${rank} of ${size} goes on`);
      }
    }
  }));
