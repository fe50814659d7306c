/**
 * Data sets on disk: finds the pairs of image and label in a known layout, and reads one of them.
 * What can be wrong is looked for when a data set is opened, before hours of training depend on it;
 * only what needs the pixels waits until a file is decoded.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { DataError, describeFailure, shortList } from "./data_error.ts";
import { readImage, readLabel, readPngHeader, type RgbImage } from "./image.ts";

/** The known folder layouts. */
export const LAYOUTS = ["gta5", "cityscapes"] as const;

/**
 * - `gta5`: `images/<name>.png` and `labels/<name>.png`; it has no splits.
 * - `cityscapes`: `leftImg8bit/<split>/<city>/<name>_leftImg8bit.png` and
 *   `gtFine/<split>/<city>/<name>_gtFine_labelIds.png`.
 */
export type Layout = typeof LAYOUTS[number];

/** What to open. */
export interface DatasetOptions {
  /** The folder that holds the layout. */
  root: string;
  /** How the files lie in it. */
  layout: Layout;
  /** `train`, `val` …; used by layouts that have splits. */
  split: string;
  /**
   * Train ids by label id (see `TRAIN_IDS`): how label files are read. With null labels are neither
   * read nor looked for, as for the target images that are trained on.
   */
  trainIds: readonly number[] | null;
}

/** The files of one image. */
export interface DatasetItem {
  /** Unique in the data set, without extension, such as `00001` or `aachen/aachen_000000_000019`. */
  name: string;
  /** Path of the image. */
  image: string;
  /** Path of the label, or null if labels are not read. */
  label: string | null;
}

/** An opened data set: at least one item, in the order of their names. */
export interface Dataset extends DatasetOptions {
  /** The images with their labels. */
  items: readonly DatasetItem[];
}

/** A decoded image, and its label as train ids where the data set reads labels. */
export interface DecodedItem {
  /** 8-bit RGB. */
  image: RgbImage;
  /** One train id (or 255) a pixel, of the image's size. */
  label: { data: Uint8Array<ArrayBuffer>; width: number; height: number } | null;
}

/** The top folder of images and of labels, and what a file's name ends in, by layout. */
const PLACES = {
  gta5: { image: ["images", ".png"], label: ["labels", ".png"] },
  cityscapes: {
    image: ["leftImg8bit", "_leftImg8bit.png"],
    label: ["gtFine", "_gtFine_labelIds.png"],
  },
} as const;

/**
 * Lists a data set and checks every file's header: that it is a PNG, and that a label has its
 * image's size.
 *
 * @throws {DataError} If a folder is missing, the split is empty, an image has no label, a file is no
 * PNG or is too large, or sizes differ.
 */
export function openDataset(options: DatasetOptions): Dataset {
  const { root, trainIds } = options;
  const images = filesOf(options, "image");
  const labels = trainIds ? filesOf(options, "label") : null;
  const bare = labels ? [...images.keys()].filter((name) => !labels.has(name)) : [];
  if (bare.length > 0) {
    const [, ending] = PLACES[options.layout].label;
    const expected = join(root, folderOf(options, "label"), bare[0] + ending);
    throw new DataError(
      `Cannot use data set ${root} as ${count(bare, "image has", "images have")} no label: ` +
        `${images.get(bare[0])} expects ${expected}; add the label or remove the image`,
    );
  }
  const items = [...images].sort(([a], [b]) => a < b ? -1 : 1).map(([name, image]) => ({
    name,
    image,
    label: labels?.get(name) ?? null,
  }));
  checkHeaders(root, items);
  return { ...options, items };
}

/**
 * Reads and decodes one item.
 *
 * @throws {DataError} If a file cannot be decoded, sizes differ, or a label has an id that has
 * no train id.
 */
export function decodeItem(
  item: DatasetItem,
  trainIds: readonly number[] | null,
): DecodedItem {
  const image = readImage(item.image);
  if (item.label === null || trainIds === null) return { image, label: null };
  const { data, width, height } = readLabel(item.label);
  if (width !== image.width || height !== image.height) {
    throw new DataError(
      `Cannot use label ${item.label} as its size is ${width}×${height}: expected the image's ` +
        `${image.width}×${image.height}; replace it`,
    );
  }
  return { image, label: { data: toTrainIds(data, width, trainIds, item.label), width, height } };
}

function toTrainIds(
  labelIds: ArrayLike<number>,
  width: number,
  trainIds: readonly number[],
  path: string,
): Uint8Array<ArrayBuffer> {
  const mapped = new Uint8Array(labelIds.length);
  for (let i = 0; i < labelIds.length; i++) {
    const trainId = trainIds[labelIds[i]];
    if (trainId === undefined) {
      throw new DataError(
        `Cannot use label ${path} as the pixel in column ${i % width}, row ` +
          `${Math.floor(i / width)} has id ${labelIds[i]}: expected 0 to ${trainIds.length - 1}; ` +
          `convert the label to these ids`,
      );
    }
    mapped[i] = trainId;
  }
  return mapped;
}

function checkHeaders(root: string, items: readonly DatasetItem[]): void {
  const odd: string[] = [];
  for (const { image, label } of items) {
    const { width, height } = readPngHeader(image);
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

type Kind = "image" | "label";

/** The folder of files or, in the Cityscapes layout, of cities; relative to the root. */
function folderOf({ layout, split }: DatasetOptions, kind: Kind): string {
  const [top] = PLACES[layout][kind];
  return layout === "gta5" ? top : join(top, split);
}

/** Paths by item name. */
function filesOf(options: DatasetOptions, kind: Kind): Map<string, string> {
  const folder = folderOf(options, kind);
  const [, ending] = PLACES[options.layout][kind];
  const files = new Map<string, string>();
  const add = (folder: string, prefix: string) => {
    for (const { name } of list(options, folder)) {
      // Names that start with a dot are leavings of operating systems, not images.
      if (name.startsWith(".") || !name.toLowerCase().endsWith(ending.toLowerCase())) continue;
      files.set(prefix + name.slice(0, -ending.length), join(options.root, folder, name));
    }
  };
  if (options.layout === "gta5") {
    add(folder, "");
  } else {
    for (const city of list(options, folder)) {
      const path = join(folder, city.name);
      if (isFolder(join(options.root, path))) add(path, `${city.name}/`);
    }
  }
  if (files.size === 0 && kind === "image") {
    const found = list(options, folder).map(({ name }) => name);
    throw new DataError(
      `Cannot open data set ${options.root} as ${folder} has no *${ending}: found ` +
        `${shortList(found)}; ${wayOut(options)}`,
    );
  }
  return files;
}

function list(options: DatasetOptions, folder: string): Deno.DirEntry[] {
  const path = join(options.root, folder);
  try {
    return [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    throw new DataError(
      `Cannot open data set ${options.root} as folder ${path} cannot be read: ` +
        `${describeFailure(error)}${siblings(path)}; ${wayOut(options)}`,
      { cause: error },
    );
  }
}

/** What stands where a missing folder was expected, such as the other splits. */
function siblings(path: string): string {
  try {
    const names = [...Deno.readDirSync(dirname(path))].map(({ name }) => name).sort();
    return `, found ${shortList(names)} beside it`;
  } catch {
    return "";
  }
}

function wayOut({ root, layout }: DatasetOptions): string {
  const has = (name: Layout) => isFolder(join(root, PLACES[name].image[0]));
  if (has(layout)) return "complete the data set or choose another split";
  const other = LAYOUTS.find(has);
  return other
    ? `choose the ${other} layout`
    : `give the root of a data set in the ${layout} layout`;
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function count(things: unknown[], one: string, many: string): string {
  return `${things.length} ${things.length === 1 ? one : many}`;
}
