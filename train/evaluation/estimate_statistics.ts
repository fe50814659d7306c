// AdaBN (Li et al., 2016): the statistics of batch norms estimated anew on images of one domain.

import type { DeepLab } from "../../nn/deeplab.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import type { SampleStream } from "../data/samples.ts";
import { forEachImageBatch } from "./image_batches.ts";

/**
 * Sets the running statistics of a network's batch norms to the mean over all images of a data set,
 * whole and as evaluation sees them; no weight changes. Labels are not read. Peers do not take part: each
 * process that calls this goes through all images.
 *
 * @throws {DataError} If an image cannot be read.
 * @throws {Error} The signal's reason, if it is aborted.
 */
export async function estimateStatistics(
  network: DeepLab,
  images: SampleStream,
  longSide: number,
  signal?: AbortSignal,
): Promise<void> {
  const norms = network.batchNorms();
  const momenta = norms.map(({ momentum }) => momentum);
  let seen = 0;
  try {
    await forEachImageBatch(network, images, { longSide, signal }, ({ samples, images }) => {
      seen += samples.length;
      for (const norm of norms) {
        // Batch norms alone train: dropout would disturb those that come after it.
        norm.training = true;
        // Weighted so, every image counts the same in the end.
        norm.momentum = samples.length / seen;
      }
      const { gpu } = network;
      gpu.alone(() => noGrad(() => scope(() => void network.forward(input(images)))));
      gpu.flush();
    });
  } finally {
    norms.forEach((norm, index) => norm.momentum = momenta[index] as number);
  }
}
