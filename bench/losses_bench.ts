// Throughput of the loss and prototype kernels at K = 19, each checked against its f64 twin first:
// `deno task bench` or `deno bench bench/losses_bench.ts`.

import { accumulateCentroids, updateCentroids } from "../kernels/centroids.ts";
import { classSums } from "../kernels/class_sums.ts";
import { crossEntropyBackward, crossEntropyForward } from "../kernels/cross_entropy.ts";
import { scaleForward } from "../kernels/elementwise.ts";
import { klDivergenceBackward, klDivergenceForward } from "../kernels/kl_divergence.ts";
import {
  prototypeDistancesBackward,
  prototypeDistancesForward,
} from "../kernels/prototype_distances.ts";
import { denoiseLabels, rectifySoftLabels } from "../kernels/rectification.ts";
import { type Gpu, type GpuArray, openGpu } from "../kernels/runtime/mod.ts";
import { softmaxBackward, softmaxForward } from "../kernels/softmax.ts";
import { uniformPriorBackward, uniformPriorForward } from "../kernels/uniform_prior.ts";
import type { WeightedMean } from "../kernels/weighted_mean.ts";
import { type Nd, randomNd, seededRandom } from "../tests/_check.ts";
import * as losses from "../tests/_reference/losses.ts";
import * as prototypes from "../tests/_reference/prototypes.ts";
import { checkKernels, type KernelCase, printKernelTable } from "./_kernel_table.ts";
import { measureRoof } from "./_roof.ts";

const CLASSES = 19, CHANNELS = 256;
const IGNORED = CLASSES; // the label that random labels below have as often as any class
const PLAIN = { ignoreLabel: IGNORED, alpha: 1, beta: 0 };
const SYMMETRIC = { ignoreLabel: IGNORED, alpha: 0.1, beta: 1 };
const DIVERGENCE = { scale: 1, divisor: 1, formula: "divergence" } as const;
const CENTROIDS = { minimumPixels: 10, perImage: false };

function upload(gpu: Gpu, { data, shape }: Nd, label: string): GpuArray {
  return gpu.upload(Float32Array.from(data), shape, label);
}

function randomLabels(count: number, random: () => number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length: count }, () => Math.floor(random() * (CLASSES + 1)));
}

/** Cases on class maps [images, K, height, width]. */
function mapCases(gpu: Gpu, images: number, height: number, width: number): KernelCase[] {
  const random = seededRandom(1);
  const shape = [images, CLASSES, height, width];
  const map = randomNd(shape, random, [-4, 4]);
  const soft = losses.softmax(randomNd(shape, random, [-4, 4]));
  const far = randomNd(shape, random, [0, 9]);
  const ids = randomLabels(images * height * width, random);
  const labels = gpu.upload(ids, [images, height, width], "labels");
  const mask = gpu.upload(new Uint32Array(ids.length).fill(1), labels.shape, "mask");
  const logits = upload(gpu, map, "logits");
  const targets = upload(gpu, soft, "soft labels");
  const distances = upload(gpu, far, "distances");
  const one = gpu.upload(Float32Array.of(1), [], "gradient of the loss");
  const loss = ({ mean, weight }: WeightedMean, backward: (weight: GpuArray) => GpuArray) => [
    mean,
    weight,
    backward(weight),
  ];
  return [
    {
      name: "copy",
      run: () => [scaleForward(logits, 2)],
      expected: () => ({ data: map.data.map((x) => 2 * x), shape }),
    },
    {
      name: "softmax",
      run: () => {
        const output = softmaxForward(logits);
        return [output, softmaxBackward(logits, output)];
      },
      expected: () => losses.softmax(map),
    },
    {
      name: "cross entropy",
      run: () =>
        loss(
          crossEntropyForward({ logits, labels }, PLAIN),
          (weight) => crossEntropyBackward(one, { logits, labels }, weight, PLAIN),
        ),
      expected: () => losses.crossEntropy(map, ids, IGNORED),
    },
    {
      name: "symmetric cross entropy",
      run: () =>
        loss(
          crossEntropyForward({ logits, labels }, SYMMETRIC),
          (weight) => crossEntropyBackward(one, { logits, labels }, weight, SYMMETRIC),
        ),
      expected: () => losses.symmetricCrossEntropy(map, ids, 0.1, 1, IGNORED),
    },
    {
      name: "KL divergence",
      run: () =>
        loss(
          klDivergenceForward(logits, targets, mask, DIVERGENCE),
          (weight) => klDivergenceBackward(one, logits, targets, mask, weight, DIVERGENCE),
        ),
      expected: () => losses.klDivergence(map, soft, null),
    },
    {
      name: "uniform prior",
      run: () =>
        loss(
          uniformPriorForward(logits, 1),
          (weight) => uniformPriorBackward(one, logits, weight),
        ),
      expected: () => losses.uniformPrior(map),
    },
    {
      name: "rectification",
      run: () => {
        const rectified = rectifySoftLabels(targets, distances, 1);
        const options = { temperature: 1, threshold: 0, ignoreLabel: IGNORED };
        const { labels, confidence } = denoiseLabels(targets, distances, options);
        return [rectified, labels, confidence];
      },
      expected: () => prototypes.rectify(soft, far, 1),
    },
  ];
}

/** Cases on features [images, 256, height, width]. */
function featureCases(gpu: Gpu, images: number, height: number, width: number): KernelCase[] {
  const random = seededRandom(2);
  const input = randomNd([images, CHANNELS, height, width], random);
  const centres = randomNd([CLASSES, CHANNELS], random);
  const ids = randomLabels(images * height * width, random);
  const features = upload(gpu, input, "features");
  const bank = upload(gpu, centres, "prototypes");
  const moving = upload(gpu, centres, "moving prototypes");
  const labels = gpu.upload(ids, [images, height, width], "labels");
  const state = gpu.zeros([CLASSES, CHANNELS + 1, 2], "totals");
  return [
    {
      name: "prototype distances",
      run: () => {
        const distances = prototypeDistancesForward(features, bank);
        return [distances, prototypeDistancesBackward(distances, features, bank, distances)];
      },
      expected: () => prototypes.prototypeDistances(input, centres),
    },
    {
      name: "class sums and centroids",
      run: () => {
        const { sums, counts } = classSums(features, labels, CLASSES);
        accumulateCentroids(state, { sums, counts }, CENTROIDS);
        updateCentroids(moving, { sums, counts }, { ...CENTROIDS, decay: 0.9999 });
        return [sums, counts];
      },
      expected: () => prototypes.classSums(input, ids, CLASSES).sums,
    },
  ];
}

const gpu = await openGpu({ profile: true });
await checkKernels([...mapCases(gpu, 2, 5, 7), ...featureCases(gpu, 2, 5, 7)]);
const roof = await measureRoof(gpu);
const maps = mapCases(gpu, 4, 128, 256);
await printKernelTable(gpu, `Losses on class maps [4, ${CLASSES}, 128, 256]`, maps, roof);
const features = featureCases(gpu, 4, 32, 64);
await printKernelTable(gpu, `Prototypes on features [4, ${CHANNELS}, 32, 64]`, features, roof);
gpu.close();
