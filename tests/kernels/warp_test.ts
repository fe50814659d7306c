import { strict as assert } from "node:assert";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import {
  type ColourMatrix,
  type HostPixels,
  packImages,
  packLabels,
  warpImages,
  warpLabelMaps,
  warpLabels,
  warpMaps,
  warpMask,
  warpNearestMaps,
  type WarpView,
} from "../../kernels/warp.ts";
import { assertAllClose, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import * as reference from "../_reference/warp.ts";

/** Odd sizes, so that pixels and rows end anywhere in a word. */
const SIZES = [{ width: 9, height: 7 }, { width: 5, height: 12 }, { width: 1, height: 3 }];
const OUTPUT = { height: 11, width: 13 };

function pixels({ width, height }: { width: number; height: number }, channels: 1 | 3): HostPixels {
  const random = seededRandom(width * 100 + height * 10 + channels);
  const data = Uint8Array.from({ length: width * height * channels }, () => random() * 256);
  return { data, width, height };
}

/** A matrix that looks around the middle of the input, and partly past its border. */
function randomView(random: () => number, width: number, height: number): WarpView {
  const between = (low: number, high: number) => Math.fround(low + (high - low) * random());
  const [a, b, d, e] = [between(-1, 1), between(-1, 1), between(-1, 1), between(-1, 1)];
  const c = Math.fround(width / 2 - 6 * a - 5 * b + between(-2, 2));
  const f = Math.fround(height / 2 - 6 * d - 5 * e + between(-2, 2));
  const cutout = [0.213, 0.127, -1.114, -0.131, 0.257, 0.0531].map(Math.fround);
  return {
    matrix: [a, b, c, d, e, f],
    cutout: cutout as unknown as WarpView["matrix"],
    fill: 0.25,
  };
}

const RANDOM = seededRandom(7);
const VIEWS = SIZES.map(({ width, height }) => randomView(RANDOM, width, height));

const COLOUR: ColourMatrix = [[0.5, 0.25, 0, 0.1], [0, 1.5, -0.5, 0], [-0.25, 0, 1, 0.75]];

function plane({ data, width, height }: HostPixels, channel: number, channels: number) {
  const own = Array.from(
    { length: width * height },
    (_, i) => (data[i * channels + channel] as number) / 255,
  );
  return { data: own, width, height };
}

/** What the views of images must hold, [N, 3, 11, 13]. */
function expectedImages(images: readonly HostPixels[], colour: ColourMatrix | null): number[] {
  return images.flatMap((image, n) => {
    const view = VIEWS[n] as WarpView;
    const seen = reference.places(view, image, OUTPUT);
    const planes = [0, 1, 2].map((c) => plane(image, c, 3));
    return [0, 1, 2].flatMap((c) =>
      seen.map((place) => {
        if (!place) return view.fill ?? NaN;
        const rgb = planes.map((own) => reference.bilinear(own, place)) as [number, number, number];
        if (!colour) return rgb[c] as number;
        const [r, g, b, one] = colour[c] as ColourMatrix[number];
        return Math.min(1, Math.max(0, r * rgb[0] + g * rgb[1] + b * rgb[2] + one));
      })
    );
  });
}

/** The plain device, and one that cannot bind two images at once. */
async function devices(): Promise<Gpu[]> {
  return [await guardedGpu(), await narrowGpu(2048)];
}

Deno.test("views of images of different sizes match the reference, with and without colours", async () => {
  const images = SIZES.map((size) => pixels(size, 3));
  for (const gpu of await devices()) {
    using packed = packImages(gpu, images);
    for (const colour of [null, COLOUR]) {
      const views = VIEWS.map((view) => ({ ...view, colour }));
      using y = warpImages(packed, views, OUTPUT);
      assert.deepEqual(y.shape, [3, 3, 11, 13]);
      const expected = expectedImages(images, colour);
      const filled = expected.filter((value) => value === 0.25).length;
      assert.ok(filled > 300 && filled < 1200, `${filled} of 1287 values are fill`);
      assertAllClose("views", await y.read(), expected, { atol: 2e-6 });
    }
  }
});

Deno.test("views of labels match the reference and ignore what they do not see", async () => {
  const labels = SIZES.map((size) => pixels(size, 1));
  const expected = labels.flatMap((label, n) =>
    reference.places(VIEWS[n] as WarpView, label, OUTPUT)
      .map((place) => place ? reference.nearest(label, place) : 300)
  );
  for (const gpu of await devices()) {
    using packed = packLabels(gpu, labels);
    using ids = warpLabels(packed, VIEWS, OUTPUT, 300);
    assert.deepEqual([...await ids.read()], expected);
  }
});

for (const channels of [1, 3, 19]) {
  Deno.test(`views of maps of ${channels} channels match the reference, and so do labels and mask`, async () => {
    const random = seededRandom(channels);
    const [height, width] = [7, 9];
    const values = Float32Array.from({ length: 3 * channels * 63 }, () => random() * 8 - 4);
    const ids = Uint32Array.from({ length: 3 * 63 }, () => random() * 2 ** 32);
    const views = VIEWS.map(() => randomView(random, width, height));
    const seen = views.map((view) => reference.places(view, { width, height }, OUTPUT));
    const expected = seen.flatMap((places, n) =>
      Array.from({ length: channels }, (_, c) => {
        const data = values.subarray((n * channels + c) * 63, (n * channels + c + 1) * 63);
        return places.map((at) => at ? reference.bilinear({ data, width, height }, at) : 0.25);
      }).flat()
    );
    const expectedNearest = seen.flatMap((places, n) =>
      Array.from({ length: channels }, (_, c) => {
        const data = values.subarray((n * channels + c) * 63, (n * channels + c + 1) * 63);
        return places.map((at) => at ? reference.nearest({ data, width, height }, at) : 0.25);
      }).flat()
    );
    const expectedIds = seen.flatMap((places, n) => {
      const data = ids.subarray(n * 63, (n + 1) * 63);
      return places.map((at) => at ? reference.nearest({ data, width, height }, at) : 255);
    });
    for (const gpu of [await guardedGpu(), await narrowGpu(channels * 572 + 256)]) {
      using x = gpu.upload(values, [3, channels, height, width], "x");
      using y = warpMaps(x, views, OUTPUT);
      assertAllClose("maps", await y.read(), expected);
      using nearest = warpNearestMaps(x, views, OUTPUT);
      assert.deepEqual([...await nearest.read()], expectedNearest);
      using labels = gpu.upload(ids, [3, height, width], "labels");
      using warped = warpLabelMaps(labels, views, OUTPUT);
      assert.deepEqual([...await warped.read()], expectedIds);
      using mask = warpMask(gpu, views, { height, width }, OUTPUT);
      assert.deepEqual([...await mask.read()], seen.flat().map((place) => place ? 1 : 0));
    }
  });
}

Deno.test("the strong view of float images is made of the same colours as that of bytes", async () => {
  const gpu = await testGpu();
  const images = Array.from({ length: 3 }, () => pixels({ width: 9, height: 7 }, 3));
  using packed = packImages(gpu, images);
  const size = { height: 7, width: 9 };
  const identity = images.map((): WarpView => ({ matrix: [1, 0, 0, 0, 1, 0] }));
  using x = warpImages(packed, identity, size);
  const views = VIEWS.map((view) => ({ ...view, colour: COLOUR }));
  using fromFloats = warpMaps(x, views, OUTPUT);
  using fromBytes = warpImages(packed, views, OUTPUT);
  assertAllClose("colours", await fromFloats.read(), await fromBytes.read(), { atol: 1e-6 });
});

Deno.test("an identity view keeps every bit of images, maps and labels, a flip moves them as they are", async () => {
  const gpu = await testGpu();
  const [width, height] = [61, 37];
  const size = { width, height };
  const image = pixels(size, 3);
  const label = pixels(size, 1);
  const values = Float32Array.from({ length: 2 * 61 * 37 }, (_, i) => Math.sin(i) * 1e3);
  const mirror = (at: number) => at - at % width + width - 1 - at % width;
  const views: [WarpView, (at: number) => number][] = [
    [{ matrix: [1, 0, 0, 0, 1, 0] }, (at) => at],
    [{ matrix: [-1, 0, 60, 0, 1, 0] }, mirror],
  ];
  using packedImage = packImages(gpu, [image]);
  using packedLabel = packLabels(gpu, [label]);
  using x = gpu.upload(values, [1, 2, height, width], "x");
  for (const [view, from] of views) {
    using y = warpImages(packedImage, [view], size);
    using ids = warpLabels(packedLabel, [view], size);
    using maps = warpMaps(x, [view], size);
    const pixel = [...Array(width * height).keys()];
    assert.deepEqual(
      [...await y.read()],
      [0, 1, 2].flatMap((c) =>
        pixel.map((i) => Math.fround((image.data[from(i) * 3 + c] ?? NaN) * Math.fround(1 / 255)))
      ),
    );
    assert.deepEqual([...await ids.read()], pixel.map((i) => label.data[from(i)]));
    assert.deepEqual(
      [...await maps.read()],
      [0, 1].flatMap((c) => pixel.map((i) => values[c * width * height + from(i)])),
    );
  }
});

Deno.test("places far outside the input are unseen and harmless", async () => {
  const gpu = await testGpu();
  using packed = packLabels(gpu, [pixels({ width: 9, height: 7 }, 1)]);
  for (const far of [1e6, -1e6, 3e38, -3e38]) {
    using ids = warpLabels(packed, [{ matrix: [1, 0, far, 0, 1, 0] }], OUTPUT);
    assert.ok((await ids.read()).every((id) => id === 255));
  }
});

Deno.test("warps refuse wrong byte counts, numbers of views, infinite numbers and colours of features", async () => {
  const gpu = await testGpu();
  const view: WarpView = { matrix: [1, 0, 0, 0, 1, 0] };
  assert.throws(() => packImages(gpu, [{ data: new Uint8Array(10), width: 2, height: 2 }]), {
    name: "TypeError",
    message: "Cannot pack an image of 2×2 pixels as it must have 12 bytes, 3 per pixel: it has 10",
  });
  assert.throws(() => packLabels(gpu, [{ data: new Uint8Array(0), width: 0, height: 2 }]), {
    name: "RangeError",
    message: /height and width must be .* they are 2 and 0/,
  });
  using packed = packLabels(gpu, [pixels({ width: 9, height: 7 }, 1)]);
  using x = gpu.zeros([1, 2, 3, 4], "features");
  assert.throws(() => warpLabels(packed, [view, view], OUTPUT), /1 images with 2 views/);
  assert.throws(() => warpLabels(packed, [{ ...view, fill: 1e39 }], OUTPUT), /not finite/);
  assert.throws(() => warpLabels(packed, [view], { height: 0, width: 3 }), { name: "RangeError" });
  assert.throws(
    () => warpMaps(x, [{ ...view, colour: COLOUR }], OUTPUT),
    /the colours of "features" as it must have 3 channels: it has 2/,
  );
});
