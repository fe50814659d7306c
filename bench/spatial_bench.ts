// Throughput of pooling, joining, resizing, argmax, confusion and warps at the sizes of a training
// step with 128×256 crops and 19 classes: `deno task bench` or `deno bench bench/spatial_bench.ts`.

import { argmax, argmaxResized } from "../kernels/argmax.ts";
import { confusion } from "../kernels/confusion.ts";
import {
  globalAveragePoolBackward,
  globalAveragePoolForward,
} from "../kernels/global_average_pool.ts";
import { maxPool2dBackward, maxPool2dForward } from "../kernels/max_pool2d.ts";
import { resizeBilinearBackward, resizeBilinearForward, resizeNearest } from "../kernels/resize.ts";
import { type AnyArray, openGpu, type Shape } from "../kernels/runtime/mod.ts";
import {
  packImages,
  packLabels,
  warpImages,
  warpLabelMaps,
  warpLabels,
  warpMaps,
  warpMask,
  type WarpView,
} from "../kernels/warp.ts";
import { randomNd, seededRandom } from "../tests/_check.ts";
import { type KernelCase, printKernelTable } from "./_kernel_table.ts";

const gpu = await openGpu({ profile: true });
const random = seededRandom(1);

function upload(shape: Shape) {
  return gpu.upload(Float32Array.from(randomNd(shape, random).data), shape, "input");
}

/** A case from a function that returns what it made. */
function made(name: string, run: () => AnyArray[]): KernelCase {
  return {
    name,
    run() {
      for (const array of run()) array.release();
    },
  };
}

const CROP = { height: 128, width: 256 };
const STEM = { kernel: 3, stride: 2, padding: 1, ceilMode: true };
const stem = upload([4, 64, 64, 128]);
const joined = upload([4, 1280, 17, 33]);
const logits = upload([4, 19, 17, 33]);
const { output: pooled, at } = maxPool2dForward(stem, STEM);
const gradPooled = upload(pooled.shape);
const gradAverage = upload([4, 1280]);
const upsampled = resizeBilinearForward(logits, CROP);
const { labels } = argmax(upsampled);
const counts = gpu.zeros([19, 19], "counts", "u32");

const spatial = [
  made("max pool, [4, 64, 64, 128]", () => {
    const { output, at } = maxPool2dForward(stem, STEM);
    return [output, at];
  }),
  made("its gradient", () => [maxPool2dBackward(gradPooled, at, stem.shape, STEM)]),
  made("global average pool, [4, 1280, 17, 33]", () => [
    globalAveragePoolForward(joined),
    globalAveragePoolBackward(gradAverage, joined.shape),
  ]),
  made("resize, [4, 19] of 17×33 to 128×256", () => [resizeBilinearForward(logits, CROP)]),
  made("its gradient", () => [resizeBilinearBackward(upsampled, logits.shape)]),
  made("resize, [4, 19] of 128×256 to 32×64", () => [
    resizeBilinearForward(upsampled, { height: 32, width: 64 }),
  ]),
  made("resize labels, 128×256 to 32×64", () => [
    resizeNearest(labels, { height: 32, width: 64 }),
  ]),
  made("argmax, [4, 19, 128, 256]", () => Object.values(argmax(upsampled))),
  made(
    "argmax resized, [4, 19] of 17×33 to 128×256",
    () => Object.values(argmaxResized(logits, CROP)),
  ),
  made("confusion, [4, 128, 256]", () => {
    confusion(labels, labels, counts);
    return [];
  }),
];

const IMAGE = { height: 256, width: 512 };
const bytes = (count: number) => Uint8Array.from({ length: count }, () => random() * 19);
const pixels = (channels: number) => ({ ...IMAGE, data: bytes(256 * 512 * channels) });
const images = packImages(gpu, [1, 2, 3, 4].map(() => pixels(3)));
const imageLabels = packLabels(gpu, [1, 2, 3, 4].map(() => pixels(1)));
const weak = upload([4, 3, 128, 256]);
const quarter = upload([4, 19, 32, 64]);
const quarterLabels = resizeNearest(labels, { height: 32, width: 64 });
const turned: WarpView = { matrix: [0.9, -0.3, 20, 0.3, 0.9, -10], fill: 0.5 };
const coloured: WarpView = { ...turned, colour: [[1, 0.1, 0, 0], [0, 1, 0.1, 0], [0.1, 0, 1, 0]] };
const views = [turned, turned, turned, turned];
const MAP = { height: 32, width: 64 };

const warps = [
  made("images of 256×512 to 128×256", () => [warpImages(images, views, CROP)]),
  made("labels of 256×512 to 128×256", () => [warpLabels(imageLabels, views, CROP)]),
  made("strong view, [4, 3, 128, 256]", () => [warpMaps(weak, views.map(() => coloured), CROP)]),
  made("maps, [4, 19, 32, 64]", () => [
    warpMaps(quarter, views, MAP),
    warpLabelMaps(quarterLabels, views, MAP),
    warpMask(gpu, views, MAP, MAP),
  ]),
];

await printKernelTable(gpu, "Pooling, resizing and argmax", spatial);
await printKernelTable(gpu, "Views of four images", warps);
gpu.close();
