// Throughput of pooling, resizing, argmax, confusion and warps at the sizes of a training step with
// 128×256 crops and 19 classes: `deno task bench` or `deno bench bench/spatial_bench.ts`.

import { argmax, argmaxResized } from "../kernels/argmax.ts";
import { confusion } from "../kernels/confusion.ts";
import {
  globalAveragePoolBackward,
  globalAveragePoolForward,
} from "../kernels/global_average_pool.ts";
import { maxPool2dBackward, maxPool2dForward } from "../kernels/max_pool2d.ts";
import type { Size } from "../kernels/planes.ts";
import { resizeBilinearBackward, resizeBilinearForward } from "../kernels/resize.ts";
import { type Gpu, type GpuArray, openGpu, type Shape } from "../kernels/runtime/mod.ts";
import {
  packImages,
  packLabels,
  warpImages,
  warpLabels,
  warpMaps,
  warpMask,
  type WarpView,
} from "../kernels/warp.ts";
import { type Nd, randomNd, seededRandom } from "../tests/_check.ts";
import * as spatial from "../tests/_reference/spatial.ts";
import * as warp from "../tests/_reference/warp.ts";
import { checkKernels, type KernelCase, printKernelTable } from "./_kernel_table.ts";
import { measureRoof } from "./_roof.ts";

const IMAGES = 4, CLASSES = 19;
const STEM = { kernel: 3, stride: 2, padding: 1, ceilMode: true };

/** Draws inputs: their numbers, and the array that holds them. */
type Draw = (shape: Shape) => [Nd, GpuArray];

function drawOn(gpu: Gpu): Draw {
  const random = seededRandom(1);
  return (shape) => {
    const values = randomNd(shape, random);
    return [values, gpu.upload(Float32Array.from(values.data), shape, "input")];
  };
}

function fraction({ height, width }: Size, of: number): Size {
  return { height: Math.ceil(height / of), width: Math.ceil(width / of) };
}

/** Pooling, resizing and argmax for a crop, with `channels` at half its size. */
function mapCases(gpu: Gpu, crop: Size, channels: number): KernelCase[] {
  const draw = drawOn(gpu);
  const [half, eighth] = [fraction(crop, 2), fraction(crop, 8)];
  const [stemValues, stem] = draw([IMAGES, channels, half.height, half.width]);
  const { output: pooled, at } = maxPool2dForward(stem, STEM);
  const [, gradPooled] = draw(pooled.shape);
  const [joinedValues, joined] = draw([IMAGES, 4 * channels, eighth.height, eighth.width]);
  const [, gradAverage] = draw([IMAGES, 4 * channels]);
  const [logitValues, logits] = draw([IMAGES, CLASSES, eighth.height, eighth.width]);
  const large = resizeBilinearForward(logits, crop);
  const { labels } = argmax(large);
  const largeValues = () => spatial.resizeBilinear(logitValues, crop);
  const largest = () => {
    const { labels } = spatial.argmax(largeValues());
    return { data: Float64Array.from(labels), shape: [labels.length] };
  };
  const size = `${crop.height}×${crop.width}`;
  return [
    {
      name: `max pool, [${stem.shape}]`,
      run: () => {
        const { output, at: found } = maxPool2dForward(stem, STEM);
        return [output, found, maxPool2dBackward(gradPooled, at, stem.shape, STEM)];
      },
      expected: () => spatial.maxPool2d(stemValues, STEM),
    },
    {
      name: `global average pool, [${joined.shape}]`,
      run: () => [
        globalAveragePoolForward(joined),
        globalAveragePoolBackward(gradAverage, joined.shape),
      ],
      expected: () => spatial.globalAveragePool(joinedValues),
    },
    {
      name: `resize, [${logits.shape}] to ${size}`,
      run: () => [resizeBilinearForward(logits, crop), resizeBilinearBackward(large, logits.shape)],
      expected: largeValues,
    },
    {
      name: `argmax, [${large.shape}]`,
      run: () => Object.values(argmax(large)),
      expected: largest,
    },
    {
      name: `resize and argmax, [${logits.shape}] to ${size}`,
      run: () => Object.values(argmaxResized(logits, crop)),
      expected: largest,
    },
    {
      name: `confusion, [${labels.shape}]`,
      run: () => {
        const counts = gpu.zeros([CLASSES, CLASSES], "counts", "u32");
        confusion(labels, labels, counts);
        return [counts];
      },
      expected: () => {
        const counts = new Float64Array(CLASSES * CLASSES);
        for (const k of largest().data) counts[k * (CLASSES + 1)]++;
        return { data: counts, shape: [CLASSES, CLASSES] };
      },
    },
  ];
}

/** Views of images twice the size of the crop, and of maps a quarter of it. */
function viewCases(gpu: Gpu, crop: Size): KernelCase[] {
  const draw = drawOn(gpu);
  const random = seededRandom(2);
  const whole = { height: 2 * crop.height, width: 2 * crop.width };
  const photograph = (channels: number) => ({
    ...whole,
    data: Uint8Array.from({ length: whole.height * whole.width * channels }, () => random() * 19),
  });
  const photographs = Array.from({ length: IMAGES }, () => photograph(3));
  const annotations = Array.from({ length: IMAGES }, () => photograph(1));
  const images = packImages(gpu, photographs);
  const labels = packLabels(gpu, annotations);
  const [weakValues, weak] = draw([IMAGES, 3, crop.height, crop.width]);
  const quarter = fraction(crop, 4);
  const [mapValues, maps] = draw([IMAGES, CLASSES, quarter.height, quarter.width]);
  const turned: WarpView = { matrix: [0.871, -0.313, 2.0137, 0.293, 0.912, -1.0271], fill: 0.5 };
  const views = photographs.map(() => turned);
  const expected = (planes: readonly warp.Plane[], output: Size): Nd => {
    const data = planes.flatMap((plane) =>
      warp.places(turned, plane, output).map((place) => place ? warp.bilinear(plane, place) : 0.5)
    );
    return { data: Float64Array.from(data), shape: [data.length] };
  };
  const planesOf = ({ data, shape }: Nd): warp.Plane[] => {
    const [n = 0, c = 0, height = 0, width = 0] = shape;
    return Array.from({ length: n * c }, (_, at) => ({
      data: data.subarray(at * height * width, (at + 1) * height * width),
      height,
      width,
    }));
  };
  return [
    {
      name: `images of ${whole.height}×${whole.width} to ${crop.height}×${crop.width}`,
      run: () => [warpImages(images, views, crop)],
      expected: () =>
        expected(
          photographs.flatMap(({ data }) =>
            [0, 1, 2].map((c) => ({
              ...whole,
              data: Float64Array.from(data.filter((_, i) => i % 3 === c), (byte) => byte / 255),
            }))
          ),
          crop,
        ),
    },
    {
      name: `labels of ${whole.height}×${whole.width} to ${crop.height}×${crop.width}`,
      run: () => [warpLabels(labels, views, crop)],
      expected: () => {
        const data = annotations.flatMap((plane) =>
          warp.places(turned, plane, crop).map((place) => place ? warp.nearest(plane, place) : 255)
        );
        return { data: Float64Array.from(data), shape: [data.length] };
      },
    },
    {
      name: `strong views, [${weak.shape}]`,
      run: () => [warpMaps(weak, views, crop)],
      expected: () => expected(planesOf(weakValues), crop),
    },
    {
      name: `maps, [${maps.shape}], and a mask`,
      run: () => [warpMaps(maps, views, quarter), warpMask(gpu, views, quarter, quarter)],
      expected: () => expected(planesOf(mapValues), quarter),
    },
  ];
}

const SMALL = { height: 13, width: 18 };
const CROP = { height: 128, width: 256 };

const gpu = await openGpu({ profile: true });
await checkKernels([...mapCases(gpu, SMALL, 3), ...viewCases(gpu, SMALL)]);
const roof = await measureRoof(gpu);
const title = "Pooling, resizing and argmax";
await printKernelTable(gpu, title, mapCases(gpu, CROP, 64), roof);
await printKernelTable(gpu, "Views of four images", viewCases(gpu, CROP), roof);
gpu.close();
