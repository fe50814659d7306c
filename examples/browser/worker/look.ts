// What a network makes of one image, as large as a screen shows it and at the image's own size.

import {
  ConfusionMatrix,
  type DeepLab,
  type Gpu,
  input,
  kernels,
  noGrad,
  type Sample,
  scope,
  uploadSamples,
} from "@proda/webgpu";
import type { ClassMap, Look, LookRequest, Picture, Scores, Size } from "../protocol.ts";

/** The longest side at which predictions are shown. */
const SHOWN_SIDE = 512;

/** A network with the size in which it sees images. */
export interface Eye {
  readonly network: DeepLab;
  readonly longSide: number;
}

/** An image as what the library takes. */
export function sampleOf(image: Picture): Sample {
  return { image, label: null, name: "image", index: 0, epoch: 0, position: 0 };
}

/** Predicts an image, and scores the prediction where there is a label. */
export async function look(
  { network, longSide }: Eye,
  { image, label }: Pick<LookRequest, "image" | "label">,
): Promise<Look> {
  const began = performance.now();
  const { gpu } = network;
  const { images } = uploadSamples(gpu, [sampleOf(image)], longSide);
  const size = shownSize(image);
  const { own, shown } = inEvaluation(network, () =>
    noGrad(() =>
      scope(() => {
        const { logits } = network.forward(input(images));
        return {
          own: kernels.argmaxResized(logits.array, image),
          shown: kernels.argmaxResized(logits.array, size),
        };
      })
    ));
  images.release();
  const [labels, ownConfidence, shownLabels, confidence] = await readAndRelease(
    gpu,
    [own.labels, own.confidence, shown.labels, shown.confidence],
  );
  if (!ownConfidence.every(Number.isFinite)) {
    throw new Error("Cannot show the prediction as it is not finite: the network has diverged.");
  }
  const bytes = Uint8Array.from(labels);
  return {
    labels: bytes,
    shown: { ...size, ...classMap(shownLabels, confidence) },
    scores: label && scoresOf([[label, bytes]], network.classes),
    milliseconds: performance.now() - began,
  };
}

/** Scores of predictions, all together. */
export function scoresOf(
  pairs: readonly (readonly [label: Uint8Array, prediction: ArrayLike<number>])[],
  classes: number,
): Scores {
  const matrix = new ConfusionMatrix(classes);
  for (const [label, prediction] of pairs) matrix.addPixels(label, prediction);
  return matrix.scores();
}

/** Numbers from the GPU as bytes. */
export function classMap(
  labels: ArrayLike<number>,
  confidence: ArrayLike<number>,
): Omit<ClassMap, keyof Size> {
  return {
    labels: Uint8Array.from(labels),
    confidence: Uint8Array.from(confidence, (value) => Math.round(255 * value)),
  };
}

/** Reads arrays in one transfer, and frees them. */
export async function readAndRelease(
  gpu: Gpu,
  arrays: Parameters<Gpu["readAll"]>[0],
): Promise<(Float32Array | Uint32Array)[]> {
  try {
    return await gpu.readAll(arrays);
  } finally {
    for (const array of arrays) array.release();
  }
}

/** Runs `body` in evaluation mode, also where a training has just let go of the network. */
export function inEvaluation<T>(network: DeepLab, body: () => T): T {
  const { training } = network;
  network.eval();
  try {
    return body();
  } finally {
    network.train(training);
  }
}

/** A size in which a prediction looks smooth: small images grow by a whole factor. */
function shownSize({ width, height }: Size): Size {
  const factor = Math.max(1, Math.floor(SHOWN_SIDE / Math.max(width, height)));
  return { width: width * factor, height: height * factor };
}
