// Whether predicted classes look different, against sums over pixels one by one.

import { strict as assert } from "node:assert";
import { ClassCorrelation } from "../../../train/evaluation/class_correlation.ts";
import { labelFreeScore } from "../../../train/evaluation/label_free.ts";
import { evaluationOf, measure } from "../../../train/evaluation/evaluate.ts";
import { decodeItem } from "../../../train/data/dataset.ts";
import { Loader } from "../../../train/data/loader.ts";
import { Separation } from "../../../train/evaluation/separation.ts";
import { noGrad, scope } from "../../../nn/tape.ts";
import { tensor } from "../../../nn/tensor.ts";
import { seededRandom } from "../../_check.ts";
import { resizeBilinear } from "../../_reference/spatial.ts";
import { withFolder } from "../_folder.ts";
import { CLASSES, LONG_SIDE, makeDataset, makeNetwork, resizedPlanes } from "./_host.ts";

/** Pixels of an image: its place, its colour and its class. */
interface Pixel {
  readonly image: number;
  readonly colour: readonly number[];
  readonly label: number;
}

/** In percent, by the definition. */
function separationOf(pixels: readonly Pixel[]): number {
  const meanOf = (own: readonly Pixel[]) =>
    [0, 1, 2].map((c) => own.reduce((sum, { colour }) => sum + colour[c], 0) / own.length);
  const deviation = (groupOf: (pixel: Pixel) => string) =>
    pixels.reduce((sum, pixel) => {
      const mean = meanOf(pixels.filter((other) => groupOf(other) === groupOf(pixel)));
      return sum + pixel.colour.reduce((all, value, c) => all + (value - mean[c]) ** 2, 0);
    }, 0);
  const within = deviation(({ image, label }) => `${image} ${label}`);
  return 100 * (1 - within / deviation(({ image }) => `${image}`));
}

Deno.test("separation is the share of the variance of colours that classes explain", () => {
  const random = seededRandom(5);
  const [images, classes, height, width] = [3, 4, 3, 5];
  const plane = height * width;
  const probabilities = Float32Array.from({ length: images * classes * plane }, () => random());
  const colours = Float32Array.from({ length: images * 3 * plane }, () => random());
  const pixels = Array.from({ length: images * plane }, (_, i): Pixel => {
    const [image, at] = [Math.floor(i / plane), i % plane];
    const scores = Array.from(
      { length: classes },
      (_, k) => probabilities[(image * classes + k) * plane + at],
    );
    return {
      image,
      colour: [0, 1, 2].map((c) => colours[(image * 3 + c) * plane + at]),
      label: scores.indexOf(Math.max(...scores)),
    };
  });
  const separation = new Separation(classes);
  assert.equal(separation.percent, 0, "of nothing");
  separation.add(probabilities, colours, [images, classes, height, width]);
  assert.ok(Math.abs(separation.percent - separationOf(pixels)) < 1e-9);
  const apart = new Separation(classes);
  for (let image = 0; image < images; image++) {
    apart.add(
      probabilities.subarray(image * classes * plane, (image + 1) * classes * plane),
      colours.subarray(image * 3 * plane, (image + 1) * 3 * plane),
      [1, classes, height, width],
    );
  }
  assert.equal(apart.percent, separation.percent, "whatever the batch");
  const shape = [images, classes, height, width];
  assert.throws(() => new Separation(3).add(probabilities, colours, shape), RangeError);
  assert.throws(() => separation.add(probabilities, colours.subarray(1), shape), RangeError);
});

Deno.test("separation is full for classes of one colour, and nothing where all are one class", () => {
  const of = (labels: readonly number[], colours: readonly number[]) => {
    const separation = new Separation(2);
    const planes = [0, 1].flatMap((k) => labels.map((label) => label === k ? 0.9 : 0.1));
    const three = [colours, colours, colours].flat();
    separation.add(Float32Array.from(planes), Float32Array.from(three), [1, 2, 1, labels.length]);
    return separation.percent;
  };
  assert.equal(of([0, 0, 1, 1], [0.25, 0.25, 1, 1]), 100);
  assert.equal(of([1, 1, 0, 0], [0.25, 0.25, 1, 1]), 100, "whatever the classes are called");
  assert.equal(of([0, 0, 0, 0], [0.25, 0.25, 1, 1]), 0);
  assert.equal(of([0, 1, 0, 1], [0.25, 0.25, 1, 1]), 0, "classes that follow nothing");
  assert.equal(of([0, 1], [0.5, 0.5]), 0, "an image of one colour");
});

Deno.test("a measurement holds the separation of all images at the network's resolution", () =>
  withFolder(async (root) => {
    const dataset = makeDataset(root, null);
    using network = await makeNetwork();
    network.eval();
    const pixels: Pixel[] = [];
    for (const [image, item] of dataset.items.entries()) {
      const planes = resizedPlanes(decodeItem(item, null).image);
      using x = tensor(network.gpu, Float32Array.from(planes.data), planes.shape);
      using logits = noGrad(() => scope(() => network.forward(x).logits));
      const values = await logits.read();
      const [, , height = 0, width = 0] = logits.shape;
      const seen = resizeBilinear(planes, { height, width }).data;
      const plane = height * width;
      for (let at = 0; at < plane; at++) {
        const scores = Array.from({ length: CLASSES }, (_, k) => values[k * plane + at]);
        pixels.push({
          image,
          colour: [0, 1, 2].map((c) => seen[c * plane + at]),
          label: scores.indexOf(Math.max(...scores)),
        });
      }
    }
    using loader = new Loader({ dataset, order: "sequential" });
    const { separation } = evaluationOf(await measure(network, loader, LONG_SIDE));
    const expected = separationOf(pixels);
    assert.ok(expected > 1 && Math.abs((separation ?? 0) - expected) < 1e-3, `${separation}`);
  }));

Deno.test("class correlation is the cosine of all pixels' products of probabilities with the identity", () => {
  const random = seededRandom(6);
  const [images, classes, height, width] = [2, 3, 2, 4];
  const plane = height * width;
  const probabilities = Float32Array.from({ length: images * classes * plane }, () => random());
  const products = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
  for (let i = 0; i < images * plane; i++) {
    const of = (k: number) =>
      probabilities[(Math.floor(i / plane) * classes + k) * plane + i % plane];
    products.forEach((row, k) => row.forEach((_, l) => row[l] += of(k) * of(l)));
  }
  const identity = products.map((row, k) => row.map((_, l) => Number(k === l)));
  const dot = (a: number[][], b: number[][]) =>
    a.flat().reduce((sum, value, at) => sum + value * b.flat()[at], 0);
  const cosine = dot(products, identity) /
    Math.sqrt(dot(products, products) * dot(identity, identity));
  const correlation = new ClassCorrelation(classes);
  assert.equal(correlation.percent, 0, "of nothing");
  correlation.add(probabilities, [images, classes, height, width]);
  assert.ok(Math.abs(correlation.percent - 100 * cosine) < 1e-9);
  const apart = new ClassCorrelation(classes);
  for (const image of [0, 1]) {
    const own = probabilities.subarray(image * classes * plane, (image + 1) * classes * plane);
    apart.add(own, [1, classes, height, width]);
  }
  assert.equal(apart.percent, correlation.percent, "whatever the batch");
  assert.throws(() => new ClassCorrelation(2).add(probabilities, [2, 3, 2, 4]), RangeError);
});

Deno.test("class correlation is full for sure and balanced predictions, and least for one class", () => {
  const of = (...pixels: number[][]) => {
    const correlation = new ClassCorrelation(2);
    const planes = [0, 1].flatMap((k) => pixels.map((pixel) => pixel[k]));
    correlation.add(Float32Array.from(planes), [1, 2, 1, pixels.length]);
    return correlation.percent;
  };
  const near = (found: number, expected: number) => assert.ok(Math.abs(found - expected) < 1e-9);
  near(of([1, 0], [0, 1]), 100);
  near(of([1, 0], [1, 0]), 100 / Math.SQRT2);
  near(of([0.5, 0.5], [0.5, 0.5]), 100 / Math.SQRT2);
});

Deno.test("the label-free score is the geometric mean of separation and class correlation", () => {
  assert.equal(labelFreeScore({ separation: 25, correlation: 64 }), 40);
  assert.equal(labelFreeScore({ separation: 0, correlation: 100 }), 0);
  assert.equal(labelFreeScore({ separation: 25 }), undefined);
  assert.equal(labelFreeScore({ correlation: 25 }), undefined);
});
