// Distances of features to prototypes; the formula and the tiles are in the WGSL.

import { checkShape, mapSizes } from "./class_map.ts";
import {
  defineKernel,
  dispatch,
  formatShape,
  type GpuArray,
  type Grid,
  gridFor,
  type Kernel,
  sliceByImage,
  wgslConstants,
} from "./runtime/mod.ts";
import source from "./prototype_distances.wgsl" with { type: "text" };

const shared = {
  file: "kernels/prototype_distances.wgsl",
  source,
  params: { images: "u32", channels: "u32", classes: "u32", plane: "u32", spacing: "u32" },
} as const;
const { FORWARD_PIXELS, FORWARD_CLASSES, BACKWARD_PIXELS, BACKWARD_CHANNELS, NARROW_CHANNELS } =
  wgslConstants(
    shared,
    "FORWARD_PIXELS",
    "FORWARD_CLASSES",
    "BACKWARD_PIXELS",
    "BACKWARD_CHANNELS",
    "NARROW_CHANNELS",
  );
const pack = defineKernel({
  ...shared,
  name: "prototype_distances.pack",
  entry: "pack",
  reads: ["prototypes"],
  writes: ["packed"],
  params: { rows: "u32", columns: "u32", used: "u32", rowStride: "u32", columnStride: "u32" },
  paramsVariable: "pack_params",
});
const forward = defineKernel({
  ...shared,
  name: "prototype_distances.forward",
  entry: "forward",
  reads: ["features", "byChannel"],
  writes: ["distances"],
});
const backwardArrays = {
  ...shared,
  reads: ["features", "savedDistances", "gradDistances", "byClass"],
  writes: ["gradFeatures"],
} as const;
const backward = {
  direct: {
    kernel: defineKernel({
      ...backwardArrays,
      name: "prototype_distances.backward",
      entry: "backward",
    }),
    ownChannels: BACKWARD_CHANNELS,
  },
  shared: {
    kernel: defineKernel({
      ...backwardArrays,
      name: "prototype_distances.backward_narrow",
      entry: "backward_narrow",
    }),
    ownChannels: NARROW_CHANNELS,
  },
};

/**
 * ‖f − η_k‖₂ of every pixel and class, [N, K, H, W].
 *
 * @param features [N, C, H, W].
 * @param prototypes [K, C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function prototypeDistancesForward(features: GpuArray, prototypes: GpuArray): GpuArray {
  const { images, channels, classes, height, width, plane } = sizesOf(features, prototypes);
  const { gpu } = features;
  const distances = gpu.empty([images, classes, height, width], "prototype distances");
  const columns = roundUp(classes, FORWARD_CLASSES);
  const byChannel = gpu.empty([channels, columns], "prototypes by channel");
  dispatch(
    pack,
    { prototypes, packed: byChannel },
    { rows: channels, columns, used: classes, rowStride: 1, columnStride: channels },
    byChannel.size,
  );
  sliceByImage([features], [distances], ([features], [distances]) => {
    const images = features.shape[0];
    const spacing = Math.ceil(plane / FORWARD_PIXELS);
    dispatch(
      forward,
      { features, byChannel, distances },
      { images, channels, classes, plane, spacing },
      tiles(forward, images * spacing, columns / FORWARD_CLASSES),
      { flops: 3 * distances.size * channels },
    );
  });
  byChannel.release();
  return distances;
}

/**
 * Gradient of {@link prototypeDistancesForward} to the features; `distances` is what the forward
 * returned. A class at distance 0 adds nothing.
 */
export function prototypeDistancesBackward(
  gradDistances: GpuArray,
  features: GpuArray,
  prototypes: GpuArray,
  distances: GpuArray,
): GpuArray {
  const { channels, classes, plane } = sizesOf(features, prototypes);
  checkShape("prototype_distances", gradDistances, distances.shape);
  const { gpu } = features;
  const gradFeatures = gpu.empty(features.shape, "gradient of prototype distances");
  const { kernel, ownChannels } = backward[gpu.kernelClass];
  const columns = roundUp(channels, ownChannels);
  const byClass = gpu.empty([classes, columns], "prototypes by class");
  dispatch(
    pack,
    { prototypes, packed: byClass },
    { rows: classes, columns, used: channels, rowStride: channels, columnStride: 1 },
    byClass.size,
  );
  sliceByImage(
    [features, distances, gradDistances],
    [gradFeatures],
    ([features, savedDistances, gradDistances], [gradFeatures]) => {
      const images = features.shape[0];
      const spacing = Math.ceil(plane / BACKWARD_PIXELS);
      dispatch(
        kernel,
        { features, savedDistances, gradDistances, byClass, gradFeatures },
        { images, channels, classes, plane, spacing },
        tiles(kernel, images * spacing, columns / ownChannels),
        { flops: 3 * savedDistances.size * channels },
      );
    },
  );
  byClass.release();
  return gradFeatures;
}

function sizesOf(features: GpuArray, prototypes: GpuArray) {
  const { classes: channels, ...sizes } = mapSizes("prototype_distances", features);
  const [classes, width] = prototypes.shape;
  if (prototypes.shape.length !== 2 || width !== channels) {
    throw new TypeError(
      `Cannot run prototype_distances as prototypes must be [K, ${channels}] for these features: ` +
        `"${prototypes.label}" is ${formatShape(prototypes.shape)}`,
    );
  }
  return { ...sizes, channels, classes };
}

function roundUp(count: number, multiple: number): number {
  return Math.ceil(count / multiple) * multiple;
}

/** Workgroups for tiles of pixels times blocks of classes or channels. */
function tiles(kernel: Kernel, pixelTiles: number, blocks: number): Grid {
  const [x, y] = gridFor(pixelTiles, kernel.workgroupSize);
  return [x, y, blocks];
}
