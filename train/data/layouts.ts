/**
 * The folder layouts of data sets: where images and labels lie, and what the label files hold.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { CLASS_FILE, missingClassFile, readClassFile } from "./class_file.ts";
import { cityscapesClasses, type ClassSet } from "./class_set.ts";
import { CLASSES, PUBLISHED_SUBSETS, SYNTHIA_LABEL_IDS } from "./classes.ts";
import { DataError, describeFailure, shortList } from "../base/data_error.ts";
import { CITYSCAPES_CODE, type LabelCode, PLAIN_CODE } from "./label_code.ts";

/** The known folder layouts. */
export const LAYOUTS = ["gta5", "cityscapes", "synthia", "folder"] as const;

/**
 * - `gta5`: `images/<name>.png` and `labels/<name>.png` (Cityscapes label ids, or their colours); no splits.
 * - `cityscapes`: `leftImg8bit/<split>/<city>/<name>_leftImg8bit.png` and
 *   `gtFine/<split>/<city>/<name>_gtFine_labelIds.png`, or `…_labelTrainIds.png` where there are none.
 * - `synthia`: `RGB/<name>.png` and `GT/LABELS/<name>.png` (the id in the first of three 16-bit
 *   channels); no splits. This is RAND_CITYSCAPES.
 * - `folder`: any PNG and JPEG files in `images/` and its subfolders, or in `images/<split>/`; labels of the
 *   same names as PNG files of ids or colours in `labels/`; the classes in `classes.json`.
 */
export type Layout = typeof LAYOUTS[number];

/** A data set, or a split of one. */
export interface Place {
  /** The folder that holds the layout. */
  root: string;
  /** How the files lie in it. */
  layout: Layout;
  /** `train`, `val` …; used by layouts that have splits. */
  split: string;
}

/** An image or a label. */
export type FileKind = "image" | "label";

/** The top folder, and what a file's name ends in: of several endings those of labels exclude each other. */
const FILES: Readonly<
  Record<Layout, Readonly<Record<FileKind, { top: string; endings: readonly string[] }>>>
> = {
  gta5: {
    image: { top: "images", endings: [".png"] },
    label: { top: "labels", endings: [".png"] },
  },
  cityscapes: {
    image: { top: "leftImg8bit", endings: ["_leftImg8bit.png"] },
    label: { top: "gtFine", endings: ["_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"] },
  },
  synthia: {
    image: { top: "RGB", endings: [".png"] },
    label: { top: join("GT", "LABELS"), endings: [".png"] },
  },
  folder: {
    image: { top: "images", endings: [".png", ".jpg", ".jpeg"] },
    label: { top: "labels", endings: [".png"] },
  },
};

/** Files that hold train ids of Cityscapes; other ids, such as 255, are not evaluated. */
const TRAIN_ID_CODE: LabelCode = {
  ...PLAIN_CODE,
  ids: Array.from({ length: 256 }, (_, id) => CLASSES[id]?.labelId ?? 0),
};
const SYNTHIA_CODE: LabelCode = { ...PLAIN_CODE, ids: SYNTHIA_LABEL_IDS, firstChannel: true };

/** Files of one kind. */
export interface FoundFiles {
  /** Paths by item name. */
  readonly paths: ReadonlyMap<string, string>;
  /** What the names end in, for messages. */
  readonly ending: string;
}

/**
 * The images or labels of a split.
 *
 * @throws {DataError} If the folder cannot be read, two files have one name, or there is no image.
 */
export function findFiles(place: Place, kind: FileKind): FoundFiles {
  const { endings } = FILES[place.layout][kind];
  const folder = folderOf(place, kind);
  const found = [...walk(place, folder, "")];
  const isLabel = kind === "label";
  const chosen = isLabel
    ? [endings.find((ending) => found.some(([name]) => hasEnding(name, ending))) ?? endings[0]]
    : endings;
  const paths = new Map<string, string>();
  for (const [name, path] of found) {
    const ending = chosen.find((ending) => hasEnding(name, ending));
    if (ending === undefined) continue;
    const stem = name.slice(0, -ending.length);
    const other = paths.get(stem);
    if (other !== undefined) {
      throw new DataError(
        `Cannot use data set ${place.root} as ${other} and ${path} have one name: expected one file ` +
          `an ${kind}; remove one of them`,
      );
    }
    paths.set(stem, path);
  }
  const ending = chosen.map((ending) => `*${ending}`).join(", ");
  if (paths.size === 0 && !isLabel) {
    const names = list(place, folder).map(({ name }) => name);
    throw new DataError(
      `Cannot open data set ${place.root} as ${folder} has no ${ending}: found ` +
        `${shortList(names)}; ${wayOut(place)}`,
    );
  }
  return { paths, ending: chosen[0] };
}

/** Where a label is expected, relative to the root. */
export function folderOf({ root, layout, split }: Place, kind: FileKind): string {
  const { top } = FILES[layout][kind];
  if (layout === "cityscapes") return join(top, split);
  return layout === "folder" && hasSplits(root) ? join(top, split) : top;
}

/** The splits that there are; one of no name where the layout has none. */
export function splitsOf(root: string, layout: Layout): string[] {
  const { top } = FILES[layout].image;
  if (layout === "cityscapes") {
    const entries = list({ root, layout, split: "" }, top);
    return entries.filter(({ name }) => isFolder(join(root, top, name))).map(({ name }) => name);
  }
  if (layout !== "folder" || !hasSplits(root)) return [""];
  return SPLITS.filter((split) => isFolder(join(root, top, split)));
}

/** Whether a split has a folder for labels. */
export function hasLabels(place: Place): boolean {
  return isFolder(join(place.root, folderOf(place, "label")));
}

/** The classes that a data set has, null for one of a user's own without a class file. */
export function classesOf(root: string, layout: Layout): ClassSet | null {
  if (layout === "folder") return readClassFile(root)?.classes ?? null;
  return cityscapesClasses(PUBLISHED_SUBSETS[layout === "synthia" ? 16 : 19]);
}

/**
 * What label files hold.
 *
 * @param ending From {@link findFiles}.
 * @throws {DataError} If it cannot be known as there is no class file.
 */
export function labelCodeOf({ root, layout }: Place, ending: string): LabelCode {
  switch (layout) {
    case "synthia":
      return SYNTHIA_CODE;
    case "cityscapes":
      return ending.endsWith("TrainIds.png") ? TRAIN_ID_CODE : PLAIN_CODE;
    case "gta5":
      return CITYSCAPES_CODE;
    case "folder": {
      const file = readClassFile(root);
      if (!file) throw missingClassFile(root);
      return file.code;
    }
  }
}

const SPLITS = ["train", "val"] as const;

/** Whether the images of a user's own data set lie in `images/train` or `images/val`. */
function hasSplits(root: string): boolean {
  return SPLITS.some((split) => isFolder(join(root, FILES.folder.image.top, split)));
}

function hasEnding(name: string, ending: string): boolean {
  return name.toLowerCase().endsWith(ending.toLowerCase());
}

/** Names below the folder and paths of the files that a layout looks at. */
function* walk(place: Place, folder: string, prefix: string): Generator<[string, string]> {
  const { layout, root } = place;
  const depth = prefix.split("/").length - 1;
  for (const { name } of list(place, folder)) {
    // Names that start with a dot are leavings of operating systems, not images.
    if (name.startsWith(".")) continue;
    const path = join(folder, name);
    const isCity = layout === "cityscapes" && depth === 0;
    if (isCity || (layout === "folder" && depth < MAX_DEPTH)) {
      if (isFolder(join(root, path))) {
        yield* walk(place, path, `${prefix}${name}/`);
        continue;
      }
      if (isCity) continue; // a city's files are images, those beside it are not
    }
    yield [prefix + name, join(root, path)];
  }
}

/** Of nested folders: what goes deeper is a link to a folder above. */
const MAX_DEPTH = 16;

function list({ root, layout, split }: Place, folder: string): Deno.DirEntry[] {
  const path = join(root, folder);
  try {
    return [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    throw new DataError(
      `Cannot open data set ${root} as folder ${path} cannot be read: ` +
        `${describeFailure(error)}${siblings(path)}; ${wayOut({ root, layout, split })}`,
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

function wayOut({ root, layout }: Place): string {
  const isThere = (path: string) => {
    try {
      Deno.statSync(join(root, path));
      return true;
    } catch {
      return false;
    }
  };
  const has = (name: Layout) => isThere(name === "folder" ? CLASS_FILE : FILES[name].image.top);
  if (isThere(FILES[layout].image.top)) return "complete the data set or choose another split";
  const other = LAYOUTS.toReversed().find(has); // one with a class file first
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
