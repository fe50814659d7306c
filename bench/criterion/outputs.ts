// What a network makes of images without their labels, kept in a file: so that a criterion can be
// tried in a second.

import { deserialize, serialize } from "node:v8";
import { argmaxResized } from "../../kernels/argmax.ts";
import { resizeBilinearForward } from "../../kernels/resize.ts";
import type { GpuArray } from "../../kernels/runtime/mod.ts";
import { resizeLabels } from "../../kernels/resize.ts";
import type { DeepLab } from "../../nn/deeplab.ts";
import { Random } from "../../nn/random.ts";
import { input, noGrad, scope } from "../../nn/tape.ts";
import { exists } from "../../train/base/folders.ts";
import { spread } from "../../train/base/spread.ts";
import type { Dataset } from "../../train/data/dataset.ts";
import { Loader } from "../../train/data/loader.ts";
import { forEachImageBatch } from "../../train/evaluation/image_batches.ts";

/** Looks at an image; all but the scales keep its size. */
export const VIEWS = [
  "plain",
  "mirror",
  "smaller",
  "larger",
  "noise",
] as const;
export type ViewName = typeof VIEWS[number];

/** Of one view of all images. */
export interface ViewOutput {
  /** Classes at the images' size, laid over those of the plain view. */
  readonly labels: Uint8Array;
  /** Logits at the size that the network gives of the plain view, laid over them: image, class, pixel. */
  readonly logits: Float32Array;
}

/** Of one set of images. */
export interface SetOutput {
  readonly images: number;
  readonly classes: number;
  /** Pixels of an image's logits. */
  readonly height: number;
  readonly width: number;
  readonly views: Partial<Record<ViewName, ViewOutput>>;
  /** Of the plain view: image, channel, pixel. */
  readonly features: Float32Array;
  readonly channels: number;
  /** The true classes at the size of the logits (nearest), 255 where unknown; for source only to learn from. */
  readonly truth: Uint8Array;
  /** The true classes at the images' size. */
  readonly fullTruth: Uint8Array;
  /** Images in 8-bit RGB at the size of the logits: image, channel, pixel. */
  readonly colours: Float32Array;
}

/** All of one network. */
export interface NetworkOutput {
  readonly target: SetOutput;
  readonly source: SetOutput;
  /** Source images with the colours of target images. */
  readonly styled: SetOutput;
}

/** Mean and deviation of the three channels. */
type Colours = readonly (readonly [mean: number, deviation: number])[];

/** What a network makes of target images in all views, and of source images. */
export async function outputsOf(
  network: DeepLab,
  longSide: number,
  target: Dataset,
  source: Dataset,
): Promise<NetworkOutput> {
  const styles = await coloursOf(network, longSide, target);
  return {
    target: await outputOf(network, longSide, target, VIEWS),
    source: await outputOf(network, longSide, source, ["plain"]),
    styled: await outputOf(network, longSide, source, ["plain"], styles),
  };
}

/** What is kept in a file; null where there is none. */
export function readOutputs(path: string): NetworkOutput | null {
  return exists(path) ? deserialize(Deno.readFileSync(path)) as NetworkOutput : null;
}

/** Keeps outputs in a file. */
export function writeOutputs(path: string, output: NetworkOutput): void {
  Deno.writeFileSync(path, serialize(output));
}

async function coloursOf(network: DeepLab, longSide: number, set: Dataset): Promise<Colours[]> {
  const all: Colours[] = [];
  using loader = new Loader({ dataset: set, order: "sequential", cacheBytes: 0 });
  await forEachImageBatch(network, loader, { longSide }, async ({ images }) => {
    const values = await images.read();
    const plane = (images.shape[2] ?? 0) * (images.shape[3] ?? 0);
    for (let i = 0; i < (images.shape[0] ?? 0); i++) {
      all.push([0, 1, 2].map((c) => moments(values, (3 * i + c) * plane, plane)));
    }
  });
  return all;
}

function moments(values: Float32Array, from: number, count: number): [number, number] {
  let [sum, squares] = [0, 0];
  for (let i = from; i < from + count; i++) {
    sum += values[i];
    squares += values[i] ** 2;
  }
  const mean = sum / count;
  return [mean, Math.sqrt(Math.max(1e-8, squares / count - mean ** 2))];
}

async function outputOf(
  network: DeepLab,
  longSide: number,
  dataset: Dataset,
  views: readonly ViewName[],
  styles: readonly Colours[] = [],
): Promise<SetOutput> {
  const parts: { name: ViewName; labels: Uint8Array; logits: Float32Array }[] = [];
  const features: Float32Array[] = [];
  const truth: Uint8Array[] = [];
  const fullTruth: Uint8Array[] = [];
  const colours: Float32Array[] = [];
  let [height, width, channels, done] = [0, 0, 0, 0];
  using loader = new Loader({ dataset, order: "sequential", cacheBytes: 0 });
  await forEachImageBatch(
    network,
    loader,
    { longSide },
    async ({ images, labels, size, samples }) => {
      const values = await images.read();
      const restyled = styles.length ? restyle(values, images.shape, styles, done) : values;
      const shape = images.shape;
      const random = new Random(7, `noise/${done}`);
      done += samples.length;
      for (const name of views) {
        using view = viewOf(network, name, restyled, shape, random);
        const { logits, features: own } = noGrad(() =>
          scope(() => {
            const out = network.forward(input(view));
            return {
              logits: out.logits.array.retain(),
              features: out.features.array.retain(),
            };
          })
        );
        if (name === "plain") {
          [height, width] = [logits.shape[2] ?? 0, logits.shape[3] ?? 0];
          channels = own.shape[1] ?? 0;
          features.push(await own.read());
          using small = resizeBilinearForward(view, { height, width });
          colours.push(await small.read());
          if (labels) {
            using nearest = resizeLabels(labels, { height, width });
            truth.push(Uint8Array.from(await nearest.read()));
            fullTruth.push(Uint8Array.from(await labels.read()));
          }
        }
        const { labels: predicted, confidence } = argmaxResized(logits, size);
        using resized = resizeBilinearForward(logits, { height, width });
        const whole = Uint8Array.from(await predicted.read());
        const small = await resized.read();
        if (name === "mirror") {
          mirrorRows(whole, size.width);
          mirrorRows(small, width);
        }
        parts.push({ name, labels: whole, logits: small });
        for (const array of [predicted, confidence, logits, own]) array.release();
      }
    },
  );
  return {
    images: done,
    classes: network.classes,
    height,
    width,
    channels,
    views: Object.fromEntries(views.map((name) => {
      const own = parts.filter((part) => part.name === name);
      return [name, {
        labels: joinBytes(own.map(({ labels }) => labels)),
        logits: joinFloats(own.map(({ logits }) => logits)),
      }];
    })),
    features: joinFloats(features),
    truth: joinBytes(truth),
    fullTruth: joinBytes(fullTruth),
    colours: joinFloats(colours),
  };
}

/** Gives images the means and deviations of the channels of others (Reinhard et al., 2001). */
function restyle(
  values: Float32Array,
  shape: readonly number[],
  styles: readonly Colours[],
  first: number,
): Float32Array<ArrayBuffer> {
  const [images = 0, , height = 0, width = 0] = shape;
  const plane = height * width;
  const result = new Float32Array(values.length);
  for (let row = 0; row < 3 * images; row++) {
    const [mean, deviation] = moments(values, row * plane, plane);
    const style = styles[(first + Math.floor(row / 3)) % styles.length][row % 3];
    for (let i = row * plane; i < (row + 1) * plane; i++) {
      const moved = (values[i] - mean) / deviation * style[1] + style[0];
      result[i] = Math.min(1, Math.max(0, moved));
    }
  }
  return result;
}

function viewOf(
  network: DeepLab,
  name: ViewName,
  values: Float32Array,
  shape: readonly number[],
  random: Random,
): GpuArray {
  const { gpu } = network;
  const [, , height = 0, width = 0] = shape;
  const clip = (x: number) => Math.min(1, Math.max(0, x));
  const changed = new Float32Array(values);
  if (name === "mirror") mirrorRows(changed, width);
  const each: Partial<Record<ViewName, (x: number) => number>> = {
    noise: (x) => clip(x + 0.05 * random.normal()),
  };
  const change = each[name];
  if (change) { for (let i = 0; i < changed.length; i++) changed[i] = change(changed[i]); }
  const array = gpu.upload(changed, shape, "view");
  const factor = { smaller: 0.75, larger: 1.25 }[name as string];
  if (factor === undefined) return array;
  const size = { height: Math.round(factor * height), width: Math.round(factor * width) };
  const resized = resizeBilinearForward(array, size);
  array.release();
  return resized;
}

function mirrorRows(values: Uint8Array | Float32Array, width: number): void {
  for (let at = 0; at < values.length; at += width) values.subarray(at, at + width).reverse();
}

function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (result.set(part, at), at + part.length), 0);
  return result;
}

function joinFloats(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (result.set(part, at), at + part.length), 0);
  return result;
}

/** At most so many images, spread over a data set. */
export function some(dataset: Dataset, count: number): Dataset {
  return { ...dataset, items: spread(dataset.items, count) };
}
