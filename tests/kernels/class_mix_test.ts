import { strict as assert } from "node:assert";
import {
  chooseClasses,
  mixImages,
  pasteLabels,
  pasteProbabilities,
  pasteValue,
} from "../../kernels/class_mix.ts";
import { randomNd, seededRandom } from "../_check.ts";
import { guardedGpu, narrowGpu, testGpu } from "../_device.ts";
import * as reference from "../_reference/class_mix.ts";

const [IMAGES, HEIGHT, WIDTH] = [5, 7, 13] as const;
const PLANE = HEIGHT * WIDTH;
const IGNORE = 255;

/** Labels of which image n has only the first few classes, a fifth ignored, and some that are none. */
function randomLabels(classes: number): Uint32Array<ArrayBuffer> {
  const random = seededRandom(classes);
  return Uint32Array.from({ length: IMAGES * PLANE }, (_, i) => {
    const image = Math.floor(i / PLANE);
    const some = Math.ceil(classes * image / (IMAGES - 1)); // none in the first image
    if (random() < 0.2 || some === 0) return [IGNORE, classes, 4_000_000_000][i % 3];
    return (classes - 1) - Math.floor(random() * some);
  });
}

const rows = <T>(values: ArrayLike<T>, image: number, length: number) =>
  Array.from({ length }, (_, i) => values[image * length + i]);

for (const classes of [1, 8, 19, 130, 256]) {
  Deno.test(`half of ${classes} classes in an image are chosen by their keys, as in the twin`, async () => {
    const random = seededRandom(3);
    const labels = randomLabels(classes);
    // Few different keys, so that some are equal, and some beyond 2³¹.
    const keys = Uint32Array.from(
      { length: IMAGES * classes },
      () => Math.floor(random() * 12) * 357_913_941,
    );
    for (const gpu of [await guardedGpu(), await narrowGpu(2 * 4 * Math.max(PLANE, classes))]) {
      for (const ignoreLabel of [IGNORE, classes - 1]) {
        using ids = gpu.upload(labels, [IMAGES, HEIGHT, WIDTH], "labels");
        using order = gpu.upload(keys, [IMAGES, classes], "keys");
        using chosen = chooseClasses(ids, order, ignoreLabel);
        const found = await chosen.read();
        for (let image = 0; image < IMAGES; image++) {
          const expected = reference.chosenClasses(
            rows(labels, image, PLANE),
            rows(keys, image, classes),
            ignoreLabel,
          );
          const flags = rows(found, image, classes);
          assert.deepEqual(
            flags.flatMap((flag, k) => flag === 0 ? [] : [k]),
            expected.sort((a, b) => a - b),
            `image ${image} without ${ignoreLabel}`,
          );
          if (image === 0) assert.deepEqual(expected, [], "an image without a class gives none");
        }
      }
    }
  });
}

Deno.test("every class of an image is as likely to be chosen", async () => {
  const gpu = await testGpu();
  const [draws, classes] = [2000, 5];
  const random = seededRandom(1);
  const labels = Uint32Array.from({ length: draws * classes }, (_, i) => i % classes);
  const keys = Uint32Array.from(labels, () => random() * 2 ** 32);
  using ids = gpu.upload(labels, [draws, 1, classes], "labels");
  using order = gpu.upload(keys, [draws, classes], "keys");
  using chosen = chooseClasses(ids, order);
  const times = new Array(classes).fill(0);
  (await chosen.read()).forEach((flag, i) => times[i % classes] += flag);
  for (const count of times) assert.ok(Math.abs(count / draws - 3 / 5) < 0.05, times.join());
});

Deno.test("chosen classes are pasted onto images, labels, probabilities and numbers as in the twin", async () => {
  const classes = 8;
  const random = seededRandom(5);
  const shape = [IMAGES, 3, HEIGHT, WIDTH];
  const [source, target] = [randomNd(shape, random), randomNd(shape, random)];
  const labels = randomLabels(classes);
  const flags = Uint32Array.from({ length: IMAGES * classes }, (_, i) => i % 3 === 0 ? 1 : 0);
  const own = Uint32Array.from(labels, () => Math.floor(random() * classes));
  const soft = randomNd([IMAGES, classes, HEIGHT, WIDTH], random, [0, 1]);
  const numbers = randomNd([IMAGES, HEIGHT, WIDTH], random);
  for (const gpu of [await guardedGpu(), await narrowGpu(2 * 4 * classes * PLANE)]) {
    using from = gpu.upload(Float32Array.from(source.data), shape, "source");
    using onto = gpu.upload(Float32Array.from(target.data), shape, "target");
    using ids = gpu.upload(labels, [IMAGES, HEIGHT, WIDTH], "labels");
    using chosen = gpu.upload(flags, [IMAGES, classes], "chosen");
    using ownIds = gpu.upload(own, ids.shape, "target labels");
    using ownSoft = gpu.upload(Float32Array.from(soft.data), soft.shape, "soft labels");
    using ownNumbers = gpu.upload(Float32Array.from(numbers.data), ids.shape, "numbers");
    const { mixed, pasted } = mixImages({ images: from, labels: ids }, onto, chosen);
    using newIds = pasteLabels(pasted, ownIds);
    using newSoft = pasteProbabilities(pasted, ownSoft);
    using newNumbers = pasteValue(pasted, ownNumbers, 0.75);
    const found = {
      mixed: await mixed.read(),
      pasted: await pasted.read(),
      ids: await newIds.read(),
      soft: await newSoft.read(),
      numbers: await newNumbers.read(),
    };
    for (const array of [mixed, pasted]) array.release();
    let count = 0;
    for (let image = 0; image < IMAGES; image++) {
      const chosen = rows(flags, image, classes).flatMap((flag, k) => flag ? [k] : []);
      const expected = reference.pastedLabels(rows(labels, image, PLANE), chosen);
      const isPasted = expected.map((label) => label !== IGNORE);
      count += isPasted.filter(Boolean).length;
      assert.deepEqual(rows(found.pasted, image, PLANE), expected);
      const [s, t] = [source, target].map(({ data }) => rows(data, image, 3 * PLANE));
      assert.deepEqual(
        rows(found.mixed, image, 3 * PLANE),
        reference.mixed(s, t, expected).map(Math.fround),
      );
      assert.deepEqual(
        rows(found.ids, image, PLANE),
        rows(own, image, PLANE).map((label, i) => isPasted[i] ? expected[i] : label),
      );
      assert.deepEqual(
        rows(found.numbers, image, PLANE),
        rows(numbers.data, image, PLANE).map((x, i) => isPasted[i] ? 0.75 : Math.fround(x)),
      );
      assert.deepEqual(
        rows(found.soft, image, classes * PLANE),
        rows(soft.data, image, classes * PLANE).map((p, i) => {
          const [k, pixel] = [Math.floor(i / PLANE), i % PLANE];
          return isPasted[pixel] ? Number(expected[pixel] === k) : Math.fround(p);
        }),
      );
    }
    assert.ok(count > PLANE / 2 && count < 3 * PLANE, `${count} pixels are pasted`);
  }
});

Deno.test("class mix refuses shapes that do not fit, and more classes than it has bits for", async () => {
  const gpu = await testGpu();
  using labels = gpu.zeros([2, 3, 4], "labels", "u32");
  using keys = gpu.zeros([2, 257], "keys", "u32");
  using images = gpu.zeros([2, 3, 3, 4], "images");
  using other = gpu.zeros([2, 3, 4, 3], "other");
  using one = gpu.zeros([1, 5], "one", "u32");
  assert.throws(() => chooseClasses(labels, keys), {
    name: "RangeError",
    message: /there are 257 classes: expected 256 at most/,
  });
  assert.throws(() => chooseClasses(labels, one), /"one" must be \[2, 5\]: it is \[1, 5\]/);
  assert.throws(
    () => mixImages({ images: other, labels }, images, one),
    /"other" must be \[2, 3, 3, 4\]/,
  );
  assert.throws(
    () => mixImages({ images, labels }, images, one),
    /the chosen classes must be \[2, K\]: they are \[1, 5\]/,
  );
  assert.throws(() => pasteLabels(labels, one), { name: "TypeError" });
  assert.throws(() => pasteValue(labels, images, 1), { name: "TypeError" });
});
