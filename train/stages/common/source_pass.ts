// Learning from labelled source images, which every stage but self-supervised pre-training does.

import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import type { DeepLab } from "../../../nn/deeplab.ts";
import { input, scope } from "../../../nn/tape.ts";
import { IGNORE } from "../../../kernels/ignore_label.ts";
import { type Counted, type Pass, type Share, weighed } from "./accumulate.ts";
import type { SourceBatch } from "./batch.ts";
import { sourceLoss } from "./losses.ts";
import type { NetworkTrainer } from "./stage.ts";

/** Pixels that have a label of one of a network's classes. */
export function labelled(labels: GpuArray<"u32">, { classes }: DeepLab): Counted {
  return { pixels: labels, rule: { classes, ignoreLabel: IGNORE } };
}

/**
 * The cross entropy of labelled source images, ℓ_ce(source) of equation 11, as the loss `source`.
 *
 * @param trainer The network's, which gets the gradients.
 * @param tracks Whether the images move the running statistics of batch norms.
 */
export function sourcePass(
  trainer: NetworkTrainer,
  tracks = true,
): Pass<SourceBatch, Record<never, never>, "labelled", { source: GpuArray }> {
  const { network } = trainer;
  const learn = ({ images, labels }: SourceBatch, share: Share) =>
    scope(() => {
      const { logits } = network.forward(input(images));
      const loss = weighed(sourceLoss(logits, labels), share);
      trainer.backward(loss);
      return { source: loss.array.retain() };
    });
  return {
    counted: ({ labels }) => ({ labelled: labelled(labels, network) }),
    learn: (images, { labelled }) =>
      tracks ? learn(images, labelled) : withoutTracking(network, () => learn(images, labelled)),
  };
}

/** Runs `fn` while the running statistics of batch norms stay as they are. */
export function withoutTracking<T>(network: DeepLab, fn: () => T): T {
  const norms = network.batchNorms();
  const momenta = norms.map(({ momentum }) => momentum);
  for (const norm of norms) norm.momentum = 0;
  try {
    return fn();
  } finally {
    norms.forEach((norm, index) => norm.momentum = momenta[index]);
  }
}
