// How stage 1 would label an image: the warm-up network's probabilities, weighed by how near the features
// of each pixel lie to the prototypes of the classes (equations 2 to 4 of the paper).

import {
  type DeepLab,
  estimateStatistics,
  functional,
  type GpuArray,
  input,
  kernels,
  labelTarget,
  labelTargetPixels,
  networkSize,
  noGrad,
  type PrototypeBank,
  type Sample,
  SamplesInMemory,
  scope,
  SoftLabelsInMemory,
  streetItem,
  uploadSamples,
} from "@proda/webgpu";
import type { ClassMap, LookRequest, Size, Teaching } from "../protocol.ts";
import { classMap, type Eye, inEvaluation, readAndRelease, sampleOf } from "./look.ts";
import type { TrainingSettings } from "./settings.ts";

/** The warm-up network as stage 1 starts from it, and the prototypes of its features. */
export class Teacher {
  readonly #network: DeepLab;
  readonly #bank: PrototypeBank;
  readonly #longSide: number;
  readonly #temperature: number;
  /** Target streets that the prototypes are of. */
  readonly images: number;

  private constructor(
    { network, longSide }: Eye,
    bank: PrototypeBank,
    temperature: number,
    images: number,
  ) {
    this.#network = network;
    this.#bank = bank;
    this.#longSide = longSide;
    this.#temperature = temperature;
    this.images = images;
  }

  /**
   * Makes prototypes out of some target streets.
   *
   * @param eye The warm-up network, whose statistics become those of the target; passes to the teacher.
   */
  static async make(
    eye: Eye,
    { data: { streets }, stages: { stage1 } }: TrainingSettings,
    count: number,
  ): Promise<Teacher> {
    const { seed, width, height } = streets;
    const items = Array.from({ length: count }, (_, index) => ({
      image: streetItem({ seed, domain: "target", split: "train", index, width, height }).image,
      label: null,
    }));
    const images = new SamplesInMemory(items, "sequential");
    const { network, longSide } = eye;
    if (stage1.statistics === "target") {
      await estimateStatistics(network, images, longSide);
    }
    const bank = await labelTarget(network, images, new SoftLabelsInMemory(), { longSide });
    return new Teacher(eye, bank, stage1.temperature, count);
  }

  /** Labels an image as stage 1 would at its start. */
  async teach({ image, label }: Omit<LookRequest, "network">): Promise<Teaching> {
    const { gpu } = this.#network;
    const sample: Sample = sampleOf(image);
    const { images } = uploadSamples(gpu, [sample], this.#longSide);
    const seen = networkSize(image, this.#longSide);
    const quarter = {
      width: Math.max(1, Math.floor(seen.width / 4)),
      height: Math.max(1, Math.floor(seen.height / 4)),
    };
    const maps = inEvaluation(
      this.#network,
      () => noGrad(() => scope(() => this.#label(images, quarter))),
    );
    images.release();
    const read = await readAndRelease(gpu, maps);
    const map = (at: number): ClassMap => ({ ...quarter, ...classMap(read[at], read[at + 1]) });
    const [pseudo, assigned, denoised] = [map(0), map(2), map(4)];
    const share = (map: ClassMap) => label ? shareRight(map, image, label) : NaN;
    const accuracy = label &&
      ([share(pseudo), share(assigned), share(denoised)] as const);
    return { pseudo, assigned, denoised, accuracy, prototypeImages: this.images };
  }

  /** Labels and confidence of the three, one after the other. */
  #label(images: GpuArray, quarter: Size) {
    const forward = this.#network.forward(input(images));
    const logits = functional.resizeBilinear(forward.logits, quarter).array;
    const features = functional.resizeBilinear(forward.features, quarter).array;
    using softLabels = kernels.softmaxForward(logits);
    using distances = this.#bank.distances(features);
    using nearness = kernels.scaleForward(distances, -1 / this.#temperature);
    const pseudo = kernels.argmax(logits);
    const assigned = kernels.argmax(nearness);
    const evidence = { softLabels, logits, distances };
    const denoised = labelTargetPixels(evidence, { temperature: this.#temperature });
    return [pseudo, assigned, denoised].flatMap(({ labels, confidence }) => [labels, confidence]);
  }
}

/** The share of an image's pixels that a small map has right, in percent. */
function shareRight(map: ClassMap, { width, height }: Size, label: Uint8Array): number {
  let [right, counted] = [0, 0];
  for (let y = 0; y < height; y++) {
    const row = Math.floor(y * map.height / height) * map.width;
    for (let x = 0; x < width; x++) {
      const truth = label[y * width + x];
      if (truth === 255) continue;
      counted++;
      if (map.labels[row + Math.floor(x * map.width / width)] === truth) {
        right++;
      }
    }
  }
  return 100 * right / Math.max(1, counted);
}
