// Whether predictions are sure and of all classes, against sums over pixels one by one.

import { strict as assert } from "node:assert";
import { ClassCorrelation } from "../../../train/evaluation/class_correlation.ts";
import { labelFreeScore } from "../../../train/evaluation/label_free.ts";
import { seededRandom } from "../../_check.ts";

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

Deno.test("the label-free score is the geometric mean of agreement and class correlation", () => {
  assert.equal(labelFreeScore({ agreement: 25, correlation: 64 }), 40);
  assert.equal(labelFreeScore({ agreement: 0, correlation: 100 }), 0);
  assert.equal(labelFreeScore({ agreement: 25 }), undefined);
  assert.equal(labelFreeScore({ correlation: 25 }), undefined);
});
