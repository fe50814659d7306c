/**
 * The layouts of data sets. A layout is one record: where images and labels lie in a data set's
 * folder, how splits do, what label files hold and which classes there are. Functions on data sets
 * take the record, so that a program can bring one of its own; those in {@link LAYOUTS} have names
 * that configurations and the command line know.
 *
 * @module
 */
import { join } from "node:path";
import { cityscapesClasses, type ClassSet } from "./class_set.ts";
import {
  CLASSES,
  PUBLISHED_SUBSETS,
  STREETS_COLOURS,
  SYNTHIA_LABEL_IDS,
  VOID_COLOURS,
} from "./classes.ts";
import { type LabelCode, PLAIN_CODE } from "./label_code.ts";

/** How the files of a data set lie in its folder, and what they mean. */
export interface LayoutRecord {
  /** A short name, for messages, configurations and the command line. */
  readonly name: string;
  /** Where images and labels lie, for people: a line or two without a full stop. */
  readonly help: string;
  /** The images: the folder that holds them, and what their names may end in. */
  readonly image: { readonly top: string; readonly endings: readonly string[] };
  /**
   * The labels: the folder that holds them, and what files of each ending hold. Of several endings
   * the first that is there counts, and those after it are left alone. With null the class file
   * says it.
   */
  readonly label: {
    readonly top: string;
    readonly codes: Readonly<Record<string, LabelCode | null>>;
  };
  /**
   * Which folders in the top folders are splits: `none`; `all`; those of a list, where there is one
   * of them, and else none; or `beside train`, where the files in the top folders themselves are the
   * split `train`, and folders beside them, if there are any, other splits.
   */
  readonly splits: "none" | "all" | "beside train" | readonly string[];
  /**
   * How deep below the top folder, or that of the split, the files lie: those outside are left
   * alone. With [0, 0] they lie beside one another, with [1, 1] each in a folder. The folders are
   * part of an item's name.
   */
  readonly depth: readonly [least: number, most: number];
  /**
   * The classes; null where they are the user's own, and a class file in the data set's folder
   * names them.
   */
  readonly classes: ClassSet | null;
}

/** GTA5 and Cityscapes: label ids, or the colours that both share; those of pictures of streets too. */
const CITYSCAPES_CODE: LabelCode = {
  ...PLAIN_CODE,
  colours: [
    ...CLASSES.map(({ colour, labelId }) => [colour, labelId] as const),
    ...VOID_COLOURS.map(([labelId, colour]) => [colour, labelId] as const),
    ...CLASSES.filter(({ name }) => name in STREETS_COLOURS)
      .map(({ name, labelId }) => [STREETS_COLOURS[name], labelId] as const),
  ],
};

/** Train ids of Cityscapes; other ids, such as 255, are not evaluated. */
const TRAIN_ID_CODE: LabelCode = {
  ...PLAIN_CODE,
  ids: Array.from({ length: 256 }, (_, id) => CLASSES[id]?.labelId ?? 0),
};

/** The id in the first of three 16-bit channels. */
const SYNTHIA_CODE: LabelCode = { ...PLAIN_CODE, ids: SYNTHIA_LABEL_IDS, firstChannel: true };

/** GTA5 as it is published, without splits; images that are held out may lie in a folder beside the others. */
export const GTA5 = {
  name: "gta5",
  help: "images/NAME.png, labels/NAME.png (label ids or colours);\n" +
    "images/val/NAME.png and labels/val/NAME.png, if they are there, are not trained on",
  image: { top: "images", endings: [".png"] },
  label: { top: "labels", codes: { ".png": CITYSCAPES_CODE } },
  splits: "beside train",
  depth: [0, 0],
  classes: cityscapesClasses(PUBLISHED_SUBSETS[19]),
} as const satisfies LayoutRecord;

/** Cityscapes as it is published: a folder per split, in it a folder per city. */
export const CITYSCAPES = {
  name: "cityscapes",
  help: "leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png,\n" +
    "gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png or …_labelTrainIds.png",
  image: { top: "leftImg8bit", endings: ["_leftImg8bit.png"] },
  label: {
    top: "gtFine",
    codes: { "_gtFine_labelIds.png": PLAIN_CODE, "_gtFine_labelTrainIds.png": TRAIN_ID_CODE },
  },
  splits: "all",
  depth: [1, 1],
  classes: cityscapesClasses(PUBLISHED_SUBSETS[19]),
} as const satisfies LayoutRecord;

/** RAND_CITYSCAPES of SYNTHIA: without splits. */
export const SYNTHIA = {
  name: "synthia",
  help: "RGB/NAME.png, GT/LABELS/NAME.png (RAND_CITYSCAPES)",
  image: { top: "RGB", endings: [".png"] },
  label: { top: join("GT", "LABELS"), codes: { ".png": SYNTHIA_CODE } },
  splits: "none",
  depth: [0, 0],
  classes: cityscapesClasses(PUBLISHED_SUBSETS[16]),
} as const satisfies LayoutRecord;

/** Images of one's own. What lies deeper than 16 folders is a link to a folder above. */
export const FOLDER = {
  name: "folder",
  help:
    "PNG and JPEG images in images/ or images/train/ and images/val/, folders in them allowed; " +
    "labels of the same names in labels/…, PNG files of ids or colours; the classes in classes.json",
  image: { top: "images", endings: [".png", ".jpg", ".jpeg"] },
  label: { top: "labels", codes: { ".png": null } },
  splits: ["train", "val"],
  depth: [0, 16],
  classes: null,
} as const satisfies LayoutRecord;

/**
 * The layouts that have a name in configurations; of those that fit a folder, a later one fits
 * better.
 */
export const LAYOUTS = [GTA5, CITYSCAPES, SYNTHIA, FOLDER] as const;

/** The name of a layout. */
export type Layout = typeof LAYOUTS[number]["name"];

/** The names of the layouts. */
export const LAYOUT_NAMES: readonly Layout[] = LAYOUTS.map(({ name }) => name);

/** The layout of a name. @throws {RangeError} If there is none. */
export function layoutOf(name: Layout): LayoutRecord {
  const layout = LAYOUTS.find((candidate) => candidate.name === name);
  if (layout) return layout;
  throw new RangeError(
    `Cannot find layout ${name}: expected one of ${LAYOUT_NAMES.join(", ")}`,
  );
}
