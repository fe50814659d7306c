// Batches: which pixels they show, and that nothing but seed, stage and position decides.

import { strict as assert } from "node:assert";
import { join } from "node:path";
import type { Gpu } from "../../../../kernels/runtime/mod.ts";
import { warpLabelMaps, warpMaps, warpMask } from "../../../../kernels/warp.ts";
import { countClasses } from "../../../../train/data/class_counts.ts";
import { GTA5 } from "../../../../train/data/layouts.ts";
import { quarterOf } from "../../../../train/stages/common/batch.ts";
import { Batches } from "../../../../train/stages/common/batches.ts";
import { type Dataset, openDataset } from "../../../../train/data/dataset.ts";
import { encodeImage, encodeLabel } from "../../../../train/images/image.ts";
import { Loader, type LoaderOptions } from "../../../../train/data/loader.ts";
import { RareClasses } from "../../../../train/data/rare_classes.ts";
import { nextDistilBatch } from "../../../../train/stages/distil/next_batch.ts";
import { nextDenoiseBatch } from "../../../../train/stages/denoise/next_batch.ts";
import { SoftLabels } from "../../../../train/stages/denoise/soft_labels.ts";
import { nextSourceOnlyBatch } from "../../../../train/stages/source_only/kind.ts";
import { IGNORE } from "../../../../kernels/ignore_label.ts";
import { nextWarmUpBatch } from "../../../../train/stages/warm_up/next_batch.ts";
import { releaseBatch, type SourceBatch } from "../../../../train/stages/common/batch.ts";
import { FILL, type Rectangle } from "../../../../train/views/views.ts";
import { testGpu } from "../../../_device.ts";
import { withFolder } from "../../_folder.ts";
import { write } from "../../_png.ts";
import { arraysIn } from "../../_stages.ts";
import { assertSame } from "../../../_same.ts";

const SIZES = [[64, 40], [50, 61], [90, 33]] as const;
/** Shades of the two classes. What lies halfway is nearest to neither. */
const [DARK, BRIGHT] = [20, 220];
const HALFWAY = (DARK + BRIGHT) / 2 / 255;
const CROP = { height: 29, width: 41 };
const BATCH = 3;

/** Images whose first columns are dark, class 0, and whose others are bright, class 1. */
function makeDataset(root: string, trainIds: readonly number[] | null): Dataset {
  for (const [index, [width, height]] of SIZES.entries()) {
    const edge = edgeOf(index);
    const label = Uint8Array.from({ length: width * height }, (_, i) => i % width < edge ? 0 : 1);
    const data = Uint8Array.from({ length: 3 * label.length }, (_, i) => {
      return label[Math.floor(i / 3)] === 0 ? DARK : BRIGHT;
    });
    write(join(root, "images", `${index}.png`), encodeImage({ data, width, height }));
    write(join(root, "labels", `${index}.png`), encodeLabel({ data: label, width, height }));
  }
  return openDataset({ root, layout: GTA5, split: "train", trainIds });
}

function edgeOf(index: number): number {
  return 20 + 5 * index;
}

/** Soft labels that say the same as the labels, for sure. */
async function makeSoftLabels(gpu: Gpu, root: string): Promise<SoftLabels> {
  const folder = join(root, "soft");
  Deno.mkdirSync(folder);
  const softLabels = new SoftLabels(folder);
  using loader = new Loader({ dataset: makeDataset(root, null), order: "sequential" });
  for (const sample of await loader.next(SIZES.length)) {
    const size = quarterOf(sample.image);
    const plane = size.width * size.height;
    const data = Float32Array.from({ length: 2 * plane }, (_, i) => {
      const place = (i % size.width) * (sample.image.width - 1) / (size.width - 1);
      return (place < edgeOf(sample.index) - 0.5) === (i < plane) ? 1 : 0;
    });
    using array = gpu.upload(data, [1, 2, size.height, size.width], "soft labels");
    await softLabels.write([sample], array);
  }
  return softLabels;
}

interface Choices {
  readonly seed?: number;
  readonly stage?: string;
  /** Batches to skip. */
  readonly skip?: number;
  readonly middle?: "grey" | "image";
  readonly sourceColours?: "own" | "target";
  /** How the target's loader is made; with `renders`, it renders the views. */
  readonly target?: Pick<LoaderOptions, "ahead" | "cacheBytes" | "workers"> & {
    readonly renders?: boolean;
    /** How labels of target images are read; not at all unless given. */
    readonly trainIds?: readonly number[];
  };
}

/** The next `count` batches of a stage that starts anew. */
async function batchesOf<B>(
  gpu: Gpu,
  root: string,
  {
    seed = 1,
    stage = "stage1",
    skip = 0,
    middle = "grey",
    sourceColours = "own",
    target: { renders, trainIds, ...choices } = {},
  }: Choices,
  count: number,
  next: (batches: Batches) => Promise<B>,
): Promise<B[]> {
  const view = { crop: CROP, longSide: 60, scales: [0.5, 1.5], flip: 0.5 } as const;
  const load = (trainIds: readonly number[] | null, stream: string, options = {}) => {
    const dataset = makeDataset(root, trainIds);
    return new Loader({ dataset, order: "shuffled", seed: 1, stream, ...options });
  };
  using source = load([0, 1], "source");
  const views = renders ? { seed, stage, view } : null;
  using target = load(trainIds ?? null, "target", { ...choices, views });
  for (const loader of [source, target]) loader.seek(skip * BATCH);
  const options = { gpu, batch: BATCH, seed, stage, view, middle, sourceColours };
  const batches = new Batches(options, source, target);
  const made = [];
  for (let i = 0; i < count; i++) made.push(await next(batches));
  return made;
}

/** Numbers of a batch in the order of its arrays; frees it. */
async function take(gpu: Gpu, batch: unknown): Promise<(Float32Array | Uint32Array)[]> {
  const values = await gpu.readAll(arraysIn(batch));
  releaseBatch(batch);
  return values;
}

Deno.test("seed, stage and position decide a batch, and nothing else", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const before = gpu.memory.live;
    const make = async (choices: Choices, count: number) => {
      const next = (batches: Batches) => nextDenoiseBatch(batches, softLabels);
      const batches = await batchesOf(gpu, root, choices, count, next);
      const views = batches.map(({ target }) => target.strongViews);
      const values = [];
      for (const batch of batches) values.push(await take(gpu, batch));
      return { views, values };
    };
    const first = await make({}, 3);
    assertSame(await make({}, 3), first, "the same again");
    const last = { views: first.views.slice(2), values: first.values.slice(2) };
    assertSame(await make({ skip: 2 }, 1), last, "from a position on");
    for (const other of [{ seed: 2 }, { stage: "warmup" }, { skip: 1 }]) {
      const { values } = await make(other, 1);
      for (const [index, array] of values[0].entries()) {
        assert.notDeepEqual(
          array,
          first.values[0]?.[index],
          `array ${index} of ${Object.keys(other)}`,
        );
      }
    }
    assert.equal(gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("views that the loader renders are those of the GPU in 8 bits, with a strong view of their own", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const before = gpu.memory.live;
    const make = async (choices: Choices, count: number) => {
      const next = (batches: Batches) => nextDenoiseBatch(batches, softLabels);
      const made = [];
      for (const { source, target } of await batchesOf(gpu, root, choices, count, next)) {
        const { weak, strong, strongViews, softLabels } = target;
        const [weakValues, strongValues, softValues] = await gpu.readAll([
          weak,
          strong,
          softLabels,
        ]);
        made.push({ weakValues, strongValues, softValues, strongViews });
        releaseBatch({ source, target });
      }
      return made;
    };
    const renders = true;
    const rendered = await make({ target: { renders } }, 4);
    const others = { workers: 2, ahead: 1, cacheBytes: 0 };
    assertSame(await make({ target: { renders, ...others } }, 4), rendered, "the same again");
    const later = await make({ skip: 3, target: { renders } }, 1);
    assert.deepEqual(later, rendered.slice(3), "from a position on");
    const onGpu = await make({}, 4);
    for (
      const [index, { weakValues, strongValues, softValues, strongViews }] of rendered.entries()
    ) {
      const exact = onGpu[index] as (typeof onGpu)[number];
      assertSame(softValues, exact.softValues, "soft labels follow the same weak view");
      for (const [i, value] of weakValues.entries()) {
        assert.ok(Math.abs(value - (exact.weakValues[i] as number)) < 0.501 / 255, `value ${i}`);
      }
      assert.notDeepEqual(strongValues, exact.strongValues);
      for (const value of [...weakValues, ...strongValues]) {
        assert.ok(Math.abs(value * 255 - Math.round(value * 255)) < 1e-4, "8 bits");
      }
      using mask = warpMask(gpu, strongViews.map((view) => view.mapView(CROP, CROP)), CROP, CROP);
      const seen = await mask.read();
      const plane = CROP.height * CROP.width;
      const { left, top } = strongViews[0]?.operations.at(-1) as Rectangle;
      const corner = top * CROP.width + left;
      assert.equal(seen[corner], 0, "the cutout is last");
      assert.ok(Math.abs((strongValues[corner + plane] as number) - FILL) < 1e-6, "and grey");
    }
    assert.equal(gpu.memory.live, before, "bytes left behind");
  }));

/** Choices with which a batch holds all that there is. */
const MIXED = {
  encoderView: "weak",
  studentView: "strong",
  mix: "classes",
  maskedWeight: 1,
  maskRatio: 0.5,
  maskBlock: 8,
} as const;

Deno.test("half of the classes of a source image are pasted onto the target image of its place, anew each time", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const before = gpu.memory.live;
    const make = (studentView: "weak" | "strong", choices: Choices = {}, count = 8) =>
      batchesOf(
        gpu,
        root,
        choices,
        count,
        (batches) => nextDenoiseBatch(batches, softLabels, { ...MIXED, studentView }),
      );
    const plain = await batchesOf(gpu, root, {}, 8, (batches) => {
      return nextDenoiseBatch(batches, softLabels);
    });
    const [weak, strong] = [await make("weak"), await make("strong")];
    const plane = CROP.height * CROP.width;
    const drawn = new Map<number, number>();
    for (const [index, { source, target }] of weak.entries()) {
      const [images, labels, own, mixed, pasted] = await gpu.readAll([
        source.images,
        source.labels,
        target.weak,
        target.pasted?.weak ?? assert.fail(),
        target.pasted?.labels ?? assert.fail(),
      ]);
      assertSame(own, await plain[index].target.weak.read(), "the encoder sees the target alone");
      for (let image = 0; image < BATCH; image++) {
        const of = (map: typeof labels) => map.subarray(image * plane, (image + 1) * plane);
        const present = new Set(of(labels).filter((label) => label !== 255));
        const chosen = new Set(of(pasted).filter((label) => label !== 255));
        assert.equal(chosen.size, Math.ceil(present.size / 2), "half of the classes, rounded up");
        if (present.size === 2) {
          for (const label of chosen) drawn.set(label, (drawn.get(label) ?? 0) + 1);
        }
        of(labels).forEach((label, pixel) => {
          assert.equal(of(pasted)[pixel], chosen.has(label) ? label : 255);
          for (let channel = 0; channel < 3; channel++) {
            const at = (3 * image + channel) * plane + pixel;
            assert.equal(mixed[at], chosen.has(label) ? images[at] : own[at], `pixel ${pixel}`);
          }
        });
      }
      // The strong view is of what is mixed, geometry and colours alike, and its labels are the same.
      const { target: { strong: found, strongViews, pasted: same } } = strong[index];
      assertSame(await same?.labels.read(), pasted);
      assert.equal(same?.weak, undefined);
      assert.deepEqual(strongViews, target.strongViews);
      assertSame(await target.strong.read(), await plain[index].target.strong.read());
      // Its colours are what those of the target alone become.
      const looks = strongViews.map((view) => view.imageView());
      using moved = warpMaps(target.pasted?.weak ?? assert.fail(), looks, CROP);
      using movedAlone = warpMaps(target.weak, looks, CROP);
      const pairs = [
        [movedAlone, plain[index].target.strong],
        [moved, found],
      ] as const;
      const shades = new Map<string, number>();
      let compared = 0;
      for (const [at, pair] of pairs.entries()) {
        const [before, after] = await gpu.readAll(pair) as Float32Array[];
        for (let image = 0; image < BATCH; image++) {
          for (let i = 3 * image * plane; i < (3 * image + 1) * plane; i++) {
            if (Math.abs(before[i] - FILL) < 1e-6) continue; // unseen
            const shade = `${image} ${Math.round(before[i] * 1e4)}`;
            const known = shades.get(shade);
            if (at === 1 && known !== undefined) compared++;
            assert.ok(Math.abs(after[i] - (known ?? after[i])) < 1e-3, `shade ${shade}`);
            shades.set(shade, known ?? after[i]);
          }
        }
      }
      assert.ok(compared > plane / 2, `${compared} pixels have shades of the target alone`);
    }
    assert.ok(drawn.size === 2 && Math.min(...drawn.values()) > 3, [...drawn].join());
    // From any position on, as after resuming.
    const [later] = await make("strong", { skip: 7 }, 1);
    assertSame(await take(gpu, later), await take(gpu, strong.pop()));
    const [other] = await make("strong", { seed: 2 }, 1);
    assert.notDeepEqual(
      await other.target.pasted?.labels.read(),
      await strong[0].target.pasted?.labels.read(),
    );
    [plain, weak, strong, other].forEach(releaseBatch);
    assert.equal(gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("rendered strong views of mixed images are rendered after mixing", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const before = gpu.memory.live;
    const make = (mix: "classes" | "none") =>
      batchesOf(
        gpu,
        root,
        { target: { renders: true } },
        3,
        (batches) => nextDenoiseBatch(batches, softLabels, { ...MIXED, mix }),
      );
    const [mixed, plain] = [await make("classes"), await make("none")];
    const plane = CROP.height * CROP.width;
    let changed = 0;
    for (const [index, { target }] of mixed.entries()) {
      const alone = plain[index].target;
      assert.deepEqual(target.strongViews, alone.strongViews);
      assertSame(await target.weak.read(), await alone.weak.read());
      assertSame(await target.masked?.read(), await alone.masked?.read(), "of the target alone");
      // Without pasted pixels in the image, colours of its whole do not change either.
      using moved = warpLabelMaps(
        target.pasted?.labels ?? assert.fail(),
        target.strongViews.map((view) => view.mapView(CROP, CROP)),
        CROP,
      );
      const [after, own, pasted] = await gpu.readAll([target.strong, alone.strong, moved]);
      for (let image = 0; image < BATCH; image++) {
        const of = (map: typeof after, length: number) =>
          map.subarray(image * length, (image + 1) * length);
        const isPasted = of(pasted, plane).some((label) => label !== 255);
        const isChanged = of(after, 3 * plane).some((x, i) => x !== of(own, 3 * plane)[i]);
        if (isChanged) changed++;
        assert.ok(isPasted || !isChanged);
      }
      for (const value of after) {
        assert.ok(Math.abs(value * 255 - Math.round(value * 255)) < 1e-4, "8 bits");
      }
    }
    assert.ok(changed > 2, `${changed} views are changed`);
    [mixed, plain].forEach(releaseBatch);
    assert.equal(gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("patches of the strong view are hidden, as many as the ratio says, others at each position", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const before = gpu.memory.live;
    const make = (maskRatio: number, skip = 0) =>
      batchesOf(gpu, root, { skip }, 12 - skip, (batches) =>
        nextDenoiseBatch(batches, softLabels, {
          ...MIXED,
          mix: "none",
          maskRatio,
        }));
    const { maskBlock: side } = MIXED;
    const columns = Math.ceil(CROP.width / side);
    for (const ratio of [0.3, 0.7]) {
      const made = await make(ratio);
      const kept: boolean[] = [];
      for (const { target } of made) {
        const [hidden, own] = await gpu.readAll([target.masked ?? assert.fail(), target.strong]);
        for (let image = 0; image < BATCH; image++) {
          const stays = new Map<number, boolean>();
          const plane = CROP.height * CROP.width;
          for (let pixel = 0; pixel < plane; pixel++) {
            const at = 3 * image * plane + pixel;
            const patch = Math.floor(Math.floor(pixel / CROP.width) / side) * columns +
              Math.floor(pixel % CROP.width / side);
            const isKept = hidden[at] === own[at] && own[at] !== 0;
            if (!isKept) assert.equal(hidden[at], 0);
            if (own[at] === 0) continue;
            assert.equal(isKept, stays.get(patch) ?? isKept, `patch ${patch}`);
            stays.set(patch, isKept);
          }
          kept.push(...stays.values());
        }
      }
      const share = kept.filter((is) => !is).length / kept.length;
      assert.ok(Math.abs(share - ratio) < 0.06, `${share} of ${kept.length} patches are hidden`);
      const [later, ...rest] = await make(ratio, 11);
      assertSame(await take(gpu, later), await take(gpu, made.pop()));
      [made, rest].forEach(releaseBatch);
    }
    assert.equal(gpu.memory.live, before, "bytes left behind");
  }));

Deno.test("every stage gets what its batches are said to hold", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const { height, width } = CROP;
    const images = [BATCH, 3, height, width];
    const shapes = async (next: (batches: Batches) => Promise<unknown>) => {
      const [batch] = await batchesOf(gpu, root, {}, 1, next);
      const found = arraysIn(batch).map(({ shape }) => [...shape]);
      releaseBatch(batch);
      return found;
    };
    const source = [images, [BATCH, height, width]];
    assert.deepEqual(await shapes(nextSourceOnlyBatch), source);
    assert.deepEqual(await shapes(nextWarmUpBatch), [...source, images]);
    const soft = [BATCH, 2, Math.floor(height / 4), Math.floor(width / 4)];
    const denoise = await shapes((batches) => nextDenoiseBatch(batches, softLabels));
    assert.deepEqual(denoise, [...source, images, images, soft]);
    const all = await shapes((batches) => nextDenoiseBatch(batches, softLabels, MIXED));
    const [, ids] = source;
    assert.deepEqual(all, [...source, images, images, ids, soft, images]);
  }));

Deno.test("images and labels are cut alike, and what lies outside is grey and ignored", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const batches = await batchesOf(gpu, root, {}, 4, nextSourceOnlyBatch);
    const plane = CROP.height * CROP.width;
    const seen = new Map<number, number>();
    for (const batch of batches) {
      const [images, labels] = await take(gpu, batch) as [Float32Array, Uint32Array];
      for (const [pixel, label] of labels.entries()) {
        seen.set(label, (seen.get(label) ?? 0) + 1);
        const image = Math.floor(pixel / plane);
        const value = images[(3 * image + 1) * plane + pixel % plane] as number;
        const what = `pixel ${pixel} of shade ${value} has label ${label}`;
        if (label === 255) assert.ok(Math.abs(value - FILL) < 1e-6, what);
        else if (Math.abs(value - HALFWAY) > 1e-3) {
          assert.equal(label, value < HALFWAY ? 0 : 1, what);
        }
      }
    }
    assert.deepEqual([...seen.keys()].sort(), [0, 1, 255], "there is something of everything");
    for (const count of seen.values()) assert.ok(count > plane / 2);
  }));

Deno.test("with the image's own middle, what lies outside has its mean, and all else stays", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const means = SIZES.map(([width], index) =>
      (DARK * edgeOf(index) + BRIGHT * (width - edgeOf(index))) / width / 255
    );
    const next = (batches: Batches) => nextDenoiseBatch(batches, softLabels);
    const made = async (middle: "grey" | "image") => {
      const batches = await batchesOf(gpu, root, { middle }, 4, next);
      const values = [];
      for (const { source, target: { weak, strong, strongViews, softLabels } } of batches) {
        using mask = warpMask(gpu, strongViews.map((view) => view.mapView(CROP, CROP)), CROP, CROP);
        const unseen = strongViews.map((view) => view.imageView(null, 0));
        using moved = warpMaps(weak, unseen, CROP);
        const images = [source.images, weak, strong, mask, moved];
        values.push(await gpu.readAll(images) as Float32Array[]);
        releaseBatch({ source, weak, strong, softLabels });
      }
      return values;
    };
    const [grey, own] = [await made("grey"), await made("image")];
    const filled = { source: 0, weak: 0, strong: 0 };
    let turned = 0;
    const plane = CROP.height * CROP.width;
    for (const [index, [source, weak, strong, mask, moved]] of own.entries()) {
      for (
        const [name, values, before] of [
          ["source", source, grey[index][0]],
          ["weak", weak, grey[index][1]],
        ] as const
      ) {
        for (const [i, value] of values.entries()) {
          if (Math.abs(before[i] - FILL) > 1e-6) assert.equal(value, before[i]);
          else {
            filled[name]++;
            assert.ok(means.some((mean) => Math.abs(value - mean) < 1e-5), `filled with ${value}`);
          }
        }
      }
      for (const [i, seen] of mask.entries()) {
        if (seen !== 0) continue;
        filled.strong++;
        const value = strong[3 * plane * Math.floor(i / plane) + i % plane];
        assert.ok(means.some((mean) => Math.abs(value - mean) < 1e-5), `cut out to ${value}`);
      }
      // Where weak views show the same, strong ones differ by what contrast adds.
      for (const [i, value] of moved.entries()) {
        const isSeen = value > 0.05 && Math.abs(value - grey[index][4][i]) < 1e-6;
        if (isSeen && Math.abs(strong[i] - grey[index][2][i]) > 0.005) turned++;
      }
    }
    for (const count of Object.values(filled)) assert.ok(count > plane / 2, JSON.stringify(filled));
    assert.ok(turned > plane / 2, `contrast turns about another grey in ${turned} pixels`);
  }));

Deno.test("source images take the colours of the target images beside them, and keep all else", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const statistics = SIZES.map(([width], index) => {
      const dark = edgeOf(index) / width;
      const mean = (DARK * dark + BRIGHT * (1 - dark)) / 255;
      return { mean, deviation: (BRIGHT - DARK) / 255 * Math.sqrt(dark * (1 - dark)) };
    });
    const drawn = async (stream: string) => {
      const dataset = makeDataset(root, null);
      using loader = new Loader({ dataset, order: "shuffled", seed: 1, stream });
      return (await loader.next(2 * BATCH)).map(({ index }) => statistics[index]);
    };
    const [from, to] = [await drawn("source"), await drawn("target")];
    const stages: readonly ((batches: Batches) => Promise<{ source: SourceBatch }>)[] = [
      nextWarmUpBatch,
      (batches) => nextDenoiseBatch(batches, softLabels),
      nextDistilBatch,
    ];
    const target = { trainIds: [0, 1] };
    for (const next of stages) {
      const made = async (choices: Choices) => {
        const batches = await batchesOf(gpu, root, { ...choices, target }, 2, next);
        const values = [];
        for (const batch of batches) {
          const { images, labels } = batch.source;
          values.push(await gpu.readAll([images, labels]) as [Float32Array, Uint32Array]);
          releaseBatch(batch);
        }
        return values;
      };
      const own = await made({});
      const taken = await made({ sourceColours: "target" });
      const filled = await made({ sourceColours: "target", middle: "image" });
      let recoloured = 0;
      for (const [batch, [images, labels]] of taken.entries()) {
        assert.deepEqual(labels, own[batch][1]);
        for (const [at, value] of images.entries()) {
          const image = Math.floor(at / (images.length / BATCH));
          const [{ mean, deviation }, other] = [from, to].map((list) =>
            list[batch * BATCH + image]
          );
          const before = own[batch][0][at];
          const isOutside = Math.abs(before - FILL) < 1e-6;
          const turned = (before - mean) * other.deviation / deviation + other.mean;
          const expected = isOutside ? FILL : turned;
          assert.ok(
            Math.abs(value - expected) < 1e-4,
            `${before} becomes ${value}, not ${expected}`,
          );
          if (Math.abs(turned - before) > 0.01 && !isOutside) recoloured++;
          const outside = filled[batch][0][at];
          const wanted = isOutside ? other.mean : value;
          assert.ok(Math.abs(outside - wanted) < 1e-4, `outside is ${outside}, not ${wanted}`);
        }
      }
      assert.ok(recoloured > CROP.height * CROP.width, `${recoloured}`);
    }
  }));

/** A pixel of the crop by its place in a map at a quarter of its size. */
function placeInCrop(pixel: number): { x: number; y: number } {
  const size = quarterOf(CROP);
  return {
    x: Math.round((pixel % size.width) * (CROP.width - 1) / (size.width - 1)),
    y: Math.round(Math.floor(pixel / size.width) * (CROP.height - 1) / (size.height - 1)),
  };
}

Deno.test("soft labels lie where the weak view shows what they are of", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const next = (batches: Batches) => nextDenoiseBatch(batches, softLabels);
    const batches = await batchesOf(gpu, root, {}, 6, next);
    const quarter = quarterOf(CROP);
    const plane = quarter.height * quarter.width;
    const compared = { dark: 0, bright: 0, outside: 0 };
    for (const { target: { weak, softLabels } } of batches) {
      const [pixels, soft] = await gpu.readAll([weak, softLabels]) as Float32Array[];
      for (let image = 0; image < BATCH; image++) {
        for (let pixel = 0; pixel < plane; pixel++) {
          const place = placeInCrop(pixel);
          const name = shadeAround(pixels, image, place);
          if (!name) continue; // near an edge, where a map of a quarter of the size is blurred
          const at = 2 * image * plane + pixel;
          const expected = { dark: [1, 0], bright: [0, 1], outside: [0, 0] }[name];
          const where = `${name} at ${place.x}, ${place.y}`;
          assert.deepEqual([soft?.[at], soft?.[at + plane]], expected, where);
          compared[name]++;
        }
      }
    }
    for (const count of Object.values(compared)) assert.ok(count >= 10, JSON.stringify(compared));
    batches.forEach(releaseBatch);
  }));

Deno.test("pseudo labels lie where the strong view shows what they are of", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const labelled = { trainIds: [0, 1] as const };
    const batches = await batchesOf(gpu, root, { target: labelled }, 8, nextDistilBatch);
    const quarter = quarterOf(CROP);
    const plane = quarter.height * quarter.width;
    const compared = { dark: 0, bright: 0, outside: 0 };
    for (const { target: { weak, strongViews, labels } } of batches) {
      // The weak images, moved as the strong ones are, and with colours that say the class.
      using moved = warpMaps(weak, strongViews.map((view) => view.imageView()), CROP);
      const [pixels, ids] = await gpu.readAll([moved, labels]);
      assert.deepEqual([...labels.shape], [BATCH, quarter.height, quarter.width]);
      for (let image = 0; image < BATCH; image++) {
        for (let pixel = 0; pixel < plane; pixel++) {
          const name = shadeAround(pixels as Float32Array, image, placeInCrop(pixel));
          if (!name) continue;
          const expected = { dark: 0, bright: 1, outside: 255 }[name];
          assert.equal(ids[image * plane + pixel], expected, `${name} pixel ${pixel}`);
          compared[name]++;
        }
      }
    }
    for (const count of Object.values(compared)) assert.ok(count >= 10, JSON.stringify(compared));
    batches.forEach(releaseBatch);
  }));

/** What a part of an image shows, where it shows one thing. */
function shadeAround(pixels: Float32Array, image: number, { x, y }: { x: number; y: number }) {
  const { height, width } = CROP;
  const shadeAt = (x: number, y: number) =>
    pixels[(3 * image * height + clamp(y, height)) * width + clamp(x, width)];
  const around = [-9, -4, 0, 4, 9].flatMap((dx) => [-9, 0, 9].map((dy) => shadeAt(x + dx, y + dy)));
  const shades = [["dark", DARK], ["bright", BRIGHT], ["outside", 127]] as const;
  return shades.find(([, shade]) => around.every((value) => Math.abs(value - shade / 255) < 1e-5))
    ?.[0];
}

function clamp(place: number, length: number): number {
  return Math.min(length - 1, Math.max(0, place));
}

Deno.test("a strong view is the weak one, moved by its transform and in one change of colours", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const softLabels = await makeSoftLabels(gpu, root);
    const next = (batches: Batches) => nextDenoiseBatch(batches, softLabels);
    const batches = await batchesOf(gpu, root, {}, 5, next);
    const plane = CROP.height * CROP.width;
    let [moved, recoloured, unseen] = [0, 0, 0];
    for (const { target: { weak, strong, strongViews } } of batches) {
      assert.equal(strongViews.length, BATCH);
      using plain = warpMaps(weak, strongViews.map((view) => view.imageView()), CROP);
      using mask = warpMask(gpu, strongViews.map((view) => view.mapView(CROP, CROP)), CROP, CROP);
      const [before, after, seen] = await gpu.readAll([plain, strong, mask]) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ];
      for (let image = 0; image < BATCH; image++) {
        if (strongViews[image]?.operations.length !== 0) moved++;
        for (let channel = 0; channel < 3; channel++) {
          const shades = new Map<number, number>();
          for (let pixel = 0; pixel < plane; pixel++) {
            const at = (3 * image + channel) * plane + pixel;
            const value = after[at] as number;
            if (seen[image * plane + pixel] === 0) {
              unseen++;
              assert.ok(Math.abs(value - FILL) < 1e-6, `unseen pixel ${pixel} is ${value}`);
              continue;
            }
            // Grey images: what all channels become depends on one number only.
            const shade = Math.round((before[at] as number) * 1e5);
            const known = shades.get(shade) ?? value;
            assert.ok(Math.abs(value - known) < 1e-4, `shade ${shade} is ${value} and ${known}`);
            shades.set(shade, known);
            if (Math.abs(value - (before[at] as number)) > 1e-3) recoloured++;
          }
        }
      }
    }
    assert.ok(moved > 5 && unseen > 100 && recoloured > plane, `${[moved, unseen, recoloured]}`);
    batches.forEach(releaseBatch);
  }));

Deno.test("a batch with labels needs some", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    using bare = new Loader({ dataset: makeDataset(root, null), order: "sequential" });
    const view = { crop: CROP, longSide: 60, scales: [1, 1], flip: 0 } as const;
    const batches = new Batches({ gpu, batch: 1, seed: 0, stage: "source", view }, bare, bare);
    const message = 'Cannot make a labelled batch as "0" has no label';
    await assert.rejects(nextSourceOnlyBatch(batches), { name: "TypeError", message });
  }));

Deno.test("a batch has no label that is none of the classes", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    using loader = new Loader({ dataset: makeDataset(root, [0, 7]), order: "sequential" });
    const view = { crop: CROP, longSide: 60, scales: [1, 1], flip: 0 } as const;
    const options = { gpu, batch: 1, seed: 0, stage: "source", view };
    const made = (classes: number) =>
      nextSourceOnlyBatch(new Batches({ ...options, classes }, loader, loader));
    await assert.rejects(made(7), /has label 7: expected a class below 7, or 255/);
    releaseBatch(await made(8));
  }));

Deno.test("a source image that was drawn for a class is cropped so that it shows it", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const dataset = makeDataset(root, [0, 1]);
    const view = {
      crop: { height: 12, width: 12 },
      longSide: 60,
      scales: [1, 1],
      flip: 0,
    } as const;
    const counts = await countClasses(dataset, { classes: 2 });
    const rare = new RareClasses(counts, { temperature: 1, crop: view.crop, longSide: 60 });
    const count = 40;
    const load = (order: LoaderOptions["order"]) =>
      new Loader({ dataset, order, seed: 1, stream: "source" });
    /** How many crops show half of what an image should hold of the class that it was drawn for. */
    const shown = async (order: LoaderOptions["order"]) => {
      using loader = load(order);
      const options = { gpu, batch: count, seed: 1, stage: "source", view };
      const batch = await nextSourceOnlyBatch(new Batches(options, loader, loader));
      const [, labels] = await take(gpu, batch);
      return Array.from({ length: count }, (_, position) => {
        const { wanted, index } = rare.draw(1, "source", position);
        const crop = labels.subarray(144 * position, 144 * (position + 1));
        const pixels = crop.filter((label) => label === wanted.trainId).length;
        const [width, height] = SIZES[index];
        return pixels >= wanted.pixels * (60 / Math.max(width, height)) ** 2 / 2;
      }).filter((isShown) => isShown).length;
    };
    assert.equal(await shown(rare), count);
    // The same images in the views that they would have had.
    const blind = {
      draw: (...at: Parameters<RareClasses["draw"]>) => ({ index: rare.draw(...at).index }),
    };
    assert.ok(await shown(blind as unknown as RareClasses) < count - 3);
  }));

Deno.test("labels of the frequent class are thinned in the first half of supervised steps, and less to the end", () =>
  withFolder(async (root) => {
    const gpu = await testGpu();
    const steps = 8;
    const make = async (balance: number, choices: Choices, count: number) => {
      const next = (batches: Batches) => nextSourceOnlyBatch(batches, { balance, steps });
      const made = [];
      for (const batch of await batchesOf(gpu, root, choices, count, next)) {
        made.push(await take(gpu, batch));
      }
      return made;
    };
    const plain = await make(0, {}, steps);
    const favoured = await make(1, {}, steps);
    const left = favoured.map(([images, labels], step) => {
      const [plainImages, plainLabels] = plain[step];
      assertSame(images, plainImages, "images are as they are");
      const known = plainLabels.filter((id) => id !== IGNORE).length;
      const gone = labels.filter((id, at) => id !== plainLabels[at]);
      assert.ok(gone.every((id) => id === IGNORE), "no label becomes another");
      return gone.length / known;
    });
    const half = left.slice(0, steps / 2);
    const last = left[steps - 1];
    assert.ok(Math.min(...half) > 0.05, `${half}`);
    assert.ok(last < Math.min(...half) / 2, `${last} of the last, ${half} of the first half`);
    assertSame(await make(1, { skip: 6 }, 2), favoured.slice(6), "from a position on");
    assertSame(
      await batchesOf(gpu, root, {}, 1, nextSourceOnlyBatch).then(([batch]) => take(gpu, batch)),
      plain[0],
    );
  }));
