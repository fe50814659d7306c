// Distillation from a teacher that sees the weak view or the strong one.

import assert from "node:assert/strict";
import type { GpuArray } from "../../../../kernels/runtime/mod.ts";
import { DeepLab } from "../../../../nn/deeplab.ts";
import { resizeBilinear } from "../../../../nn/functional/spatial.ts";
import { input, noGrad, scope } from "../../../../nn/tape.ts";
import { Distil, type DistilBatch } from "../../../../train/stages/distil/distil.ts";
import { ViewTransform } from "../../../../train/views/views.ts";
import { testGpu } from "../../../_device.ts";
import { assertSame } from "../../../_same.ts";

const K = 8;
const TINY = {
  blocks: [1, 1, 1, 1],
  width: 4,
  headChannels: 8,
  groups: 4,
  dilations: [1, 2],
  classes: K,
  dropout: 0,
} as const;

/** Softmax in doubles. */
function softmax(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const exps = logits.map((value) => Math.exp(value - most));
  const sum = exps.reduce((a, b) => a + b);
  return exps.map((value) => value / sum);
}

for (const teacherView of ["weak", "strong"] as const) {
  for (const formula of ["paper", "official"] as const) {
    Deno.test(`distillation from a teacher that sees the ${teacherView} view, ${formula}, has the losses of equation 12`, async () => {
      const gpu = await testGpu();
      const [height, width] = [32, 32];
      const size = { height: height / 4, width: width / 4 };
      const noise = (salt: number) =>
        gpu.upload(
          Float32Array.from(
            { length: 3 * height * width },
            (_, i) => ((i * 7919 + salt * 15485863) % 1009) / 1009,
          ),
          [1, 3, height, width],
          "image",
        );
      const flip = new ViewTransform({ height, width }, [{ kind: "flip" }]);
      const pixels = size.height * size.width;
      const labels = Uint32Array.from({ length: pixels }, (_, i) => i % 3 === 0 ? 255 : i % K);
      const batch: DistilBatch = {
        source: {
          images: noise(1),
          labels: gpu.upload(new Uint32Array(height * width), [1, height, width], "labels"),
        },
        target: {
          weak: noise(2),
          strong: noise(3),
          strongViews: [flip],
          labels: gpu.upload(labels, [1, size.height, size.width], "pseudo labels"),
        },
      };
      // The student's logits, before it learns: with a rate of next to nothing, after it as well.
      const student = new DeepLab(gpu, { ...TINY, seed: 1 });
      const teacher = new DeepLab(gpu, { ...TINY, seed: 2 });
      const ofStudent = await logitsOf(student, batch.target.strong, true);
      const seen = teacherView === "weak" ? batch.target.weak : batch.target.strong;
      const ofTeacher = await logitsOf(teacher, seen, false);
      const at = (logits: number[][], i: number) => softmax(logits.map((plane) => plane[i]));
      let [pseudo, counted, divergence] = [0, 0, 0];
      for (let i = 0; i < pixels; i++) {
        const x = i % size.width;
        const place = teacherView === "weak" ? i - x + size.width - 1 - x : i;
        const [p, q] = [at(ofTeacher, place), at(ofStudent, i)];
        if (labels[i] < K) {
          pseudo -= Math.log(q[labels[i]]);
          counted++;
        }
        for (let k = 0; k < K; k++) {
          divergence += p[k] * (Math.log(p[k]) - (formula === "paper" ? Math.log(q[k]) : q[k]));
        }
      }
      const expected = {
        pseudo: pseudo / counted,
        distillation: divergence / pixels / (formula === "paper" ? 1 : K),
      };

      const options = {
        learningRate: 1e-9,
        headFactor: 1,
        momentum: 0.9,
        weightDecay: 0,
        scheduleSteps: 10,
        power: 0.9,
        rampSteps: 0,
        seed: 0,
      };
      using stage = new Distil(student, teacher, { ...options, beta: 1, teacherView, formula });
      const teacherBefore = await teacher.namedParameters().values().next().value?.read();
      const losses = stage.step(batch, 0);
      assert.deepEqual(Object.keys(losses), ["source", "pseudo", "distillation"]);
      for (const [name, value] of Object.entries(expected)) {
        const [found = NaN] = await (losses[name] as GpuArray).read();
        const tolerance = 1e-4 * Math.max(1, Math.abs(value));
        assert.ok(Math.abs(found - value) < tolerance, `${name} is ${found}, expected ${value}`);
      }
      const teacherAfter = await teacher.namedParameters().values().next().value?.read();
      assertSame(teacherAfter, teacherBefore, "the teacher is frozen");
      for (const array of Object.values(losses)) array.release();
      student.dispose();
    });
  }
}

/** A network's logits at a quarter of the image, by class. */
async function logitsOf(
  network: DeepLab,
  image: GpuArray,
  training: boolean,
): Promise<number[][]> {
  const [, , height = 0, width = 0] = image.shape;
  network.train(training);
  const tensor = noGrad(() =>
    scope(() =>
      resizeBilinear(network.forward(input(image)).logits, {
        height: height / 4,
        width: width / 4,
      })
    )
  );
  const values = Array.from(await tensor.read());
  tensor.dispose();
  const plane = values.length / K;
  return Array.from({ length: K }, (_, k) => values.slice(k * plane, (k + 1) * plane));
}
