import { strict as assert } from "node:assert";
import type { Gpu } from "../../../../kernels/runtime/mod.ts";
import { prototypeDistances } from "../../../../nn/functional/prototypes.ts";
import { crossEntropy } from "../../../../nn/functional/losses.ts";
import { resizeBilinear } from "../../../../nn/functional/spatial.ts";
import { type Tensor, tensor } from "../../../../nn/tensor.ts";
import * as losses from "../../../../train/stages/common/losses.ts";
import { assertAllClose, checkOp, type Nd, randomNd, seededRandom } from "../../../_check.ts";
import { testGpu } from "../../../_device.ts";
import * as reference from "../../../_reference/losses.ts";
import { prototypeDistances as referenceDistances } from "../../../_reference/prototypes.ts";

const CLASSES = 13, HEIGHT = 5, WIDTH = 7;
const SHAPE = [2, CLASSES, HEIGHT, WIDTH];
const OPTIONS = { shapes: [SHAPE], range: [-4, 4], gradAtol: 1e-5 } as const;

const random = seededRandom(1);
const LABELS = Uint32Array.from(
  { length: 2 * HEIGHT * WIDTH },
  () => random() < 0.2 ? 255 : Math.floor(random() * CLASSES),
);
const MASK = LABELS.map((_, i) => i % 3 === 0 ? 0 : 1);

function pixels(gpu: Gpu, data: Uint32Array) {
  return gpu.upload(data, [2, HEIGHT, WIDTH], "pixels");
}

function map(gpu: Gpu, { data, shape }: Nd) {
  return gpu.upload(Float32Array.from(data), shape, "map");
}

for (const name of ["sourceLoss", "selfTrainingLoss"] as const) {
  Deno.test(`${name} is the cross entropy that ignores label 255`, () =>
    checkOp(
      (logits) => {
        using labels = pixels(logits.gpu, LABELS);
        return losses[name](logits, labels);
      },
      (logits) => reference.crossEntropy(logits, LABELS),
      OPTIONS,
    ));
}

Deno.test("symmetricLoss weighs the paper's way unless told otherwise", async () => {
  const gpu = await testGpu();
  const data = randomNd(SHAPE, seededRandom(2), [-4, 4]);
  using logits = tensor(gpu, Float32Array.from(data.data), SHAPE);
  using labels = pixels(gpu, LABELS);
  using byDefault = losses.symmetricLoss(logits, labels);
  using chosen = losses.symmetricLoss(logits, labels, { alpha: 2, beta: 0.5 });
  const expected = (alpha: number, beta: number) =>
    reference.symmetricCrossEntropy(data, LABELS, alpha, beta).data;
  assertAllClose("default", await byDefault.read(), expected(0.1, 1));
  assertAllClose("chosen", await chosen.read(), expected(2, 0.5));
});

Deno.test("losses with labels live at the size of the labels", async () => {
  const gpu = await testGpu();
  const small = [2, CLASSES, 3, 4];
  using logits = tensor(gpu, Float32Array.from(randomNd(small, random).data), small);
  using labels = pixels(gpu, LABELS);
  using resized = resizeBilinear(logits, { height: HEIGHT, width: WIDTH });
  using expected = crossEntropy(resized, labels);
  using found = losses.sourceLoss(logits, labels);
  assert.deepEqual(await found.read(), await expected.read());
});

for (const normalisation of ["paper", "official"] as const) {
  const divideByClasses = normalisation === "official";

  Deno.test(`structureLoss pulls features towards the weak view's assignment, ${normalisation}`, () => {
    const temperature = 0.5;
    const weak = randomNd(SHAPE, random, [0, 6]);
    const prototypes = randomNd([CLASSES, 9], random, [-2, 2]);
    return checkOp(
      (features: Tensor) => {
        using array = map(features.gpu, prototypes);
        using weakDistances = map(features.gpu, weak);
        using mask = pixels(features.gpu, MASK);
        const distances = prototypeDistances(features, array);
        return losses.structureLoss(distances, weakDistances, mask, {
          temperature,
          normalisation,
        });
      },
      (features) =>
        reference.klDivergence(
          referenceDistances(features, prototypes),
          reference.softmax(weak, -1 / temperature),
          MASK,
          { scale: -1 / temperature, divideByClasses },
        ),
      { shapes: [[2, 9, HEIGHT, WIDTH]], range: [-2, 2], gradAtol: 1e-5, narrow: 2048 },
    );
  });

  Deno.test(`regulariser is normalised as in the ${normalisation}`, () =>
    checkOp(
      (logits) => losses.regulariser(logits, { normalisation }),
      (logits) => reference.uniformPrior(logits, divideByClasses),
      OPTIONS,
    ));

  Deno.test(`distillationLoss follows the formula of the ${normalisation}`, () => {
    const teacher = reference.softmax(randomNd(SHAPE, random, [-4, 4]));
    return checkOp(
      (logits) => {
        using probabilities = map(logits.gpu, teacher);
        return losses.distillationLoss(logits, probabilities, { formula: normalisation });
      },
      (logits) =>
        reference.klDivergence(logits, teacher, null, {
          divideByClasses,
          softmaxAsLog: divideByClasses,
        }),
      OPTIONS,
    );
  });
}
