/**
 * Data sets on disk: finds the pairs of image and label by a layout, and reads one of them.
 * What can be wrong is looked for when a data set is opened, before hours of training depend on it;
 * only what needs the pixels waits until a file is decoded.
 *
 * @module
 */
import { join } from "node:path";
import { DataError } from "../base/data_error.ts";
import { readImage, readImageSize, readPngHeader } from "../images/image.ts";
import {
  describeKnown,
  describeValue,
  type LabelCode,
  PLAIN_CODE,
  trainIdsByValue,
} from "./label_code.ts";
import { type RawLabel, readRawLabel } from "./label_file.ts";
import { findFiles, folderOf, labelCodeOf, type Place } from "./place.ts";
import type { DecodedItem, DecodedLabel } from "./samples.ts";

/** The files of one image. */
export interface DatasetItem {
  /**
   * Unique in the data set, without extension, such as `00001` or `aachen/aachen_000000_000019`.
   */
  name: string;
  /** Path of the image. */
  image: string;
  /** Path of the label, or null if labels are not read. */
  label: string | null;
}

/** Images to load, with their labels where those are read. */
export interface Dataset {
  /** The images with their labels. */
  items: readonly DatasetItem[];
  /**
   * Train ids by label id (see `TRAIN_IDS`): how label files are read. With null labels are neither
   * read nor looked for, as for the target images that are trained on.
   */
  trainIds: readonly number[] | null;
  /** How the label files hold label ids; as such unless given. */
  code?: LabelCode;
}

/** What to open. */
export interface DatasetOptions extends Place, Pick<Dataset, "trainIds"> {}

/** A data set of a folder: at least one item, in the order of their names. */
export interface OpenedDataset extends Dataset, Place {}

/** Images in the order of their names, with their labels where there are any. */
export interface Listing {
  /** The images. */
  readonly items: readonly DatasetItem[];
  /** The path that the label of an item should have. */
  readonly labelPath: (item: DatasetItem) => string;
  /** How the label files hold label ids. */
  readonly code: LabelCode;
  /** Links to folders that were left out, as their files are listed under another name. */
  readonly skipped: readonly string[];
}

/**
 * Lists a data set without opening a file of it.
 *
 * @param withLabels Whether labels are looked for.
 * @throws {DataError} If a folder is missing, the split is empty, or classes.json cannot be used.
 */
export function listDataset(place: Place, withLabels: boolean): Listing {
  const { paths: images, skipped } = findFiles(place, "image");
  const labels = withLabels ? findFiles(place, "label") : null;
  const items = [...images].sort(([a], [b]) => a < b ? -1 : 1).map(([name, image]) => ({
    name,
    image,
    label: labels?.paths.get(name) ?? null,
  }));
  return {
    items,
    labelPath: ({ name, label }) =>
      label ?? join(place.root, folderOf(place, "label"), name + (labels?.ending ?? "")),
    code: labels ? labelCodeOf(place, labels.ending) : PLAIN_CODE,
    skipped: [...skipped, ...labels?.skipped ?? []],
  };
}

/**
 * Lists a data set and checks every file's header: that it is an image, and that a label has its
 * image's size.
 *
 * @throws {DataError} If a folder is missing, the split is empty, an image has no label, a file is
 * no PNG or JPEG or is too large, or sizes differ.
 */
export function openDataset(options: DatasetOptions): OpenedDataset {
  const { root, layout, split, trainIds } = options;
  const { items, labelPath, code } = listDataset(options, trainIds !== null);
  const bare = trainIds ? items.filter(({ label }) => label === null) : [];
  if (bare.length > 0) {
    throw new DataError(
      `Cannot use data set ${root} as ${count(bare, "image has", "images have")} no label: ` +
        `${bare[0].image} expects ${labelPath(bare[0])}; add the label or remove the image`,
    );
  }
  checkHeaders(root, items);
  return { root, layout, split, trainIds, items, code };
}

/**
 * Reads and decodes one item. A JPEG image needs `loadJpegCodec` to be awaited before.
 *
 * @param trainIds Train ids by label id; with null the label is not read.
 * @param code How the label file holds label ids.
 * @throws {DataError} If a file cannot be decoded, sizes differ, or a label has an id or a colour
 * that the data set does not know.
 */
export function decodeItem(
  item: DatasetItem,
  trainIds: readonly number[] | null,
  code: LabelCode = PLAIN_CODE,
): DecodedItem {
  const image = readImage(item.image);
  if (item.label === null || trainIds === null) return { image, label: null };
  const label = decodeLabel(item.label, trainIds, code);
  const { width, height } = label;
  if (width !== image.width || height !== image.height) {
    throw new DataError(
      `Cannot use label ${item.label} as its size is ${width}×${height}: expected the image's ` +
        `${image.width}×${image.height}; replace it`,
    );
  }
  return { image, label };
}

/**
 * Reads and decodes a label, without its image.
 *
 * @param trainIds Train ids by label id.
 * @param code How the label file holds label ids.
 * @throws {DataError} If the file cannot be decoded, or has an id or a colour that is not known.
 */
export function decodeLabel(
  path: string,
  trainIds: readonly number[],
  code: LabelCode = PLAIN_CODE,
): DecodedLabel {
  const raw = readRawLabel(path, code);
  const { width, height } = raw;
  return { data: toTrainIds(raw, trainIds, code, path), width, height };
}

function toTrainIds(
  { values, kind, width }: RawLabel,
  trainIds: readonly number[],
  code: LabelCode,
  path: string,
): Uint8Array<ArrayBuffer> {
  const trainIdOf = trainIdsByValue(kind, code, trainIds);
  const mapped = new Uint8Array(values.length);
  let [last, lastId] = [-1, 0]; // neighbours are mostly alike, and a look-up costs more
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== last) {
      const trainId = trainIdOf(values[i]);
      if (trainId === undefined) {
        throw new DataError(
          `Cannot use label ${path} as the pixel in column ${i % width}, row ` +
            `${Math.floor(i / width)} has ${describeValue(kind, values[i])}: expected ` +
            `${describeKnown(kind, code, trainIds)}; convert the label to these ${kind}s`,
        );
      }
      [last, lastId] = [values[i], trainId];
    }
    mapped[i] = lastId;
  }
  return mapped;
}

function checkHeaders(root: string, items: readonly DatasetItem[]): void {
  const odd: string[] = [];
  for (const { image, label } of items) {
    const { width, height } = readImageSize(image);
    const found = label === null ? null : readPngHeader(label);
    if (found && (found.width !== width || found.height !== height)) {
      odd.push(`${label} is ${found.width}×${found.height}, ${image} is ${width}×${height}`);
    }
  }
  if (odd.length > 0) {
    throw new DataError(
      `Cannot use data set ${root} as ${count(odd, "label has", "labels have")} not the size of ` +
        `the image: ${odd[0]}; replace or remove such pairs`,
    );
  }
}

function count(things: unknown[], one: string, many: string): string {
  return `${things.length} ${things.length === 1 ? one : many}`;
}
