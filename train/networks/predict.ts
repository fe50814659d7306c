// Prediction: a folder of images of any size to label, colour and overlay PNG files.

import { basename, extname, join, relative, resolve, sep } from "node:path";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { entriesOf, makeFolder } from "../base/folders.ts";
import type { DatasetItem } from "../data/dataset.ts";
import { writeLabelPictures } from "../data/label_pictures.ts";
import { Loader } from "../data/loader.ts";
import type { Sample } from "../data/samples.ts";
import { readPrediction } from "../evaluation/evaluate.ts";
import { uploadSamples } from "../evaluation/image_batches.ts";
import { encodeImage, readImageSize } from "../images/image.ts";
import { isJpegPath } from "../images/jpeg.ts";
import { type LabelMap, overlay, writePicture } from "../images/pictures.ts";
import { checkPictures } from "./picture_paths.ts";
import type { TrainedNetwork } from "./trained_network.ts";

/** Of the class colours over the image. */
const OPACITY = 0.5;

/** What to predict, and where to. */
export interface PredictOptions {
  /** A PNG or JPEG file, or a folder that is searched for them, subfolders too. */
  readonly input: string;
  /**
   * Gets the folders `label` (label ids of the data set that it was trained for), `colour` and
   * `overlay`, each like the input. Files of an earlier prediction are replaced.
   */
  readonly output: string;
  /** Stops before the next image. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every image. */
  readonly onImage?: ((done: number, total: number, name: string) => void) | undefined;
}

/**
 * Predicts every image of a folder; one is in memory at a time, and the next is decoded meanwhile.
 *
 * @returns The number of images done.
 * @throws {DataError} If there is no image, one cannot be read, two would be written to one path or
 * one over an image, a file cannot be written, or the network's output is not finite. Files that are
 * there by then are complete.
 */
export async function predictFolder(
  trained: TrainedNetwork,
  options: PredictOptions,
): Promise<number> {
  const items = findImages(options);
  const dataset = { items, trainIds: null };
  using loader = new Loader({ dataset, order: "sequential", ahead: 2, cacheBytes: 0 });
  const { pool } = trained.network.gpu;
  let [done, lastSize] = [0, ""];
  while (!options.signal?.aborted) {
    const [sample] = await loader.next(1);
    if (sample === undefined) break;
    const size = `${sample.image.width}×${sample.image.height}`;
    // Buffers are kept for arrays of the same size; those of another size would only add up.
    if (size !== lastSize) pool.trim();
    lastSize = size;
    write(options.output, sample, await predict(trained, sample), trained);
    done++;
    options.onImage?.(done, items.length, sample.name);
  }
  return done;
}

async function predict({ network, config }: TrainedNetwork, sample: Sample): Promise<LabelMap> {
  const { images } = uploadSamples(network.gpu, [sample], config.data.longSide);
  try {
    const data = await readPrediction(network, images, sample);
    return { data, width: sample.image.width, height: sample.image.height };
  } finally {
    images.release();
  }
}

function write(
  output: string,
  { name, image }: Sample,
  prediction: LabelMap,
  { classes }: TrainedNetwork,
): void {
  writeLabelPictures(output, name, prediction, classes);
  const blended = overlay(image, prediction, OPACITY, classes.palette);
  writePicture(output, "overlay", name, encodeImage(blended));
}

/** Finds the images and reads their headers, so that most of what can be wrong is found at once. */
function findImages({ input, output }: PredictOptions): DatasetItem[] {
  const fail = (reason: string): DataError =>
    new DataError(`Cannot predict images of ${input} as ${reason}`);
  let isFile: boolean;
  try {
    isFile = Deno.statSync(input).isFile;
  } catch (error) {
    throw fail(
      `${
        describeFailure(error)
      }: expected a PNG or JPEG file or a folder of them; correct the path`,
    );
  }
  const fromInput = relative(resolve(input), resolve(output));
  if (!isFile && fromInput !== ".." && !fromInput.startsWith(`..${sep}`)) {
    throw fail(
      `the output folder ${output} lies in it, where a second run would find its own pictures: ` +
        `choose an output folder outside`,
    );
  }
  const others: string[] = [];
  const paths = isFile ? [input] : listFiles(input).filter((path) => {
    const isImage = extname(path).toLowerCase() === ".png" || isJpegPath(path);
    if (!isImage) others.push(path);
    return isImage;
  });
  if (paths.length === 0) {
    const found = others.length === 0
      ? "nothing"
      : `${others.length} other files, such as ${others[0]}`;
    throw fail(
      `it has no PNG or JPEG file: found ${found}; convert the images to PNG or correct the path`,
    );
  }
  for (const path of paths) readImageSize(path);
  const items = paths.map((image) => {
    const path = isFile ? basename(image) : relative(input, image);
    return { name: path.slice(0, -extname(path).length), image, label: null };
  });
  checkPictures(items, output);
  makeFolder(output);
  return items;
}

/** The files in a folder and its subfolders, sorted; hidden ones are left out. */
function listFiles(folder: string): string[] {
  let entries;
  try {
    entries = entriesOf(folder);
  } catch (error) {
    throw new DataError(
      `Cannot read folder ${folder} as ${describeFailure(error)}; correct its permissions`,
      { cause: error },
    );
  }
  return entries.filter(({ name }) => !name.startsWith("."))
    .flatMap(({ name, isDirectory }) =>
      isDirectory ? listFiles(join(folder, name)) : [join(folder, name)]
    );
}
