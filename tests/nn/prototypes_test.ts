import { strict as assert } from "node:assert";
import { prototypeDistances } from "../../nn/functional/prototypes.ts";
import { backward, scope } from "../../nn/tape.ts";
import { tensor } from "../../nn/tensor.ts";
import { assertAllClose, checkOp, randomNd, seededRandom } from "../_check.ts";
import { KERNEL_CLASSES, testGpu } from "../_device.ts";
import * as reference from "../_reference/prototypes.ts";

// Official class counts, channels that no tile divides, and planes smaller and larger than a tile.
for (
  const [classes, channels, height, width] of [
    [8, 16, 4, 8],
    [13, 21, 5, 7],
    [19, 37, 3, 5],
    [21, 3, 1, 1],
  ] as const
) {
  const what = `${channels} channels to ${classes} prototypes`;
  for (const kernels of KERNEL_CLASSES) {
    Deno.test(
      `distances of ${what} match their reference on ${height}×${width} (${kernels})`,
      () => {
        const prototypes = randomNd([classes, channels], seededRandom(classes), [-1, 1]);
        return checkOp(
          (features) => {
            using array = features.gpu.upload(
              Float32Array.from(prototypes.data),
              prototypes.shape,
              "prototypes",
            );
            return prototypeDistances(features, array);
          },
          (features) => reference.prototypeDistances(features, prototypes),
          // The prototypes, padded to the tiles, must fit one binding.
          { shapes: [[3, channels, height, width]], range: [-2, 2], narrow: 19 * 48 * 4, kernels },
        );
      },
    );
  }
}

Deno.test("small distances of large features keep their digits", async () => {
  const gpu = await testGpu();
  const random = seededRandom(7);
  const prototypes = randomNd([19, 256], random, [9, 11]);
  const features = randomNd([1, 256, 3, 5], random, [-1e-2, 1e-2]);
  // Every feature lies next to one prototype.
  features.data.forEach((offset, i) => {
    const [channel, pixel] = [Math.floor(i / 15), i % 15];
    features.data[i] = Math.fround(offset + prototypes.data[pixel * 256 + channel]);
  });
  using input = tensor(gpu, Float32Array.from(features.data), features.shape);
  using array = gpu.upload(Float32Array.from(prototypes.data), prototypes.shape, "prototypes");
  using distances = prototypeDistances(input, array);
  assertAllClose(
    "distances",
    await distances.read(),
    reference.prototypeDistances(features, prototypes).data,
    { atol: 0, rtol: 1e-6 },
  );
});

Deno.test("a feature on its prototype has distance zero and passes no gradient from it", async () => {
  const gpu = await testGpu();
  using features = tensor(gpu, [1, 2, 3], [1, 3, 1, 1], { requiresGrad: true });
  using prototypes = gpu.upload(Float32Array.of(1, 2, 3, 1, 2, 0), [2, 3], "prototypes");
  using distances = scope(() => {
    const distances = prototypeDistances(features, prototypes);
    backward(distances, gpu.upload(Float32Array.of(5, 7), distances.shape, "gradient"));
    return distances;
  });
  assert.deepEqual(await distances.read(), Float32Array.of(0, 3));
  assert.deepEqual(await features.grad?.read(), Float32Array.of(0, 0, 7));
});

Deno.test("distances refuse prototypes of another width", async () => {
  const gpu = await testGpu();
  using features = tensor(gpu, [1, 2, 3], [1, 3, 1, 1]);
  using prototypes = gpu.upload(Float32Array.of(1, 2, 3, 4), [2, 2], "bank");
  assert.throws(() => prototypeDistances(features, prototypes), {
    name: "TypeError",
    message: /prototypes must be \[K, 3\] for these features: "bank" is \[2, 2\]/,
  });
});
