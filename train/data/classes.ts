/**
 * The 19 classes that GTA5, Cityscapes and the built-in benchmark share: names, colours and the
 * numbers they have on disk. The only place that knows them.
 *
 * A *label id* is what a label file holds (0 to 34, the Cityscapes numbering, which GTA5 uses too);
 * a *train id* is what the network predicts (0 to 18).
 *
 * @module
 */
import { IGNORE } from "../../kernels/ignore_label.ts";
import type { Colour } from "../images/rgb.ts";

/** One class that a network predicts; its train id is its index in {@link CLASSES}. */
export interface SegmentationClass {
  /** The Cityscapes name. */
  readonly name: string;
  /** The official Cityscapes colour. */
  readonly colour: Colour;
  /** The number of this class in a Cityscapes or GTA5 label file. */
  readonly labelId: number;
}

/** The 19 evaluated classes of Cityscapes in the order of their train ids. */
export const CLASSES: readonly SegmentationClass[] = [
  { name: "road", colour: [128, 64, 128], labelId: 7 },
  { name: "sidewalk", colour: [244, 35, 232], labelId: 8 },
  { name: "building", colour: [70, 70, 70], labelId: 11 },
  { name: "wall", colour: [102, 102, 156], labelId: 12 },
  { name: "fence", colour: [190, 153, 153], labelId: 13 },
  { name: "pole", colour: [153, 153, 153], labelId: 17 },
  { name: "traffic light", colour: [250, 170, 30], labelId: 19 },
  { name: "traffic sign", colour: [220, 220, 0], labelId: 20 },
  { name: "vegetation", colour: [107, 142, 35], labelId: 21 },
  { name: "terrain", colour: [152, 251, 152], labelId: 22 },
  { name: "sky", colour: [70, 130, 180], labelId: 23 },
  { name: "person", colour: [220, 20, 60], labelId: 24 },
  { name: "rider", colour: [255, 0, 0], labelId: 25 },
  { name: "car", colour: [0, 0, 142], labelId: 26 },
  { name: "truck", colour: [0, 0, 70], labelId: 27 },
  { name: "bus", colour: [0, 60, 100], labelId: 28 },
  { name: "train", colour: [0, 80, 100], labelId: 31 },
  { name: "motorcycle", colour: [0, 0, 230], labelId: 32 },
  { name: "bicycle", colour: [119, 11, 32], labelId: 33 },
];

/** The names of those that are things: they have a shape and can be counted (Hoyer et al., 2022). */
export const THINGS: readonly string[] = [
  "traffic light",
  "traffic sign",
  "person",
  "rider",
  "car",
  "truck",
  "bus",
  "train",
  "motorcycle",
  "bicycle",
];

/**
 * Train ids by label id: 35 entries, `IGNORE` for the ids that are not evaluated (unlabelled, ego
 * vehicle, parking, bridge, caravan …). An id past the end is no label id of these data sets.
 */
export const TRAIN_IDS: readonly number[] = Array.from({ length: 35 }, (_, labelId) => {
  const trainId = CLASSES.findIndex((candidate) => candidate.labelId === labelId);
  return trainId < 0 ? IGNORE : trainId;
});

/**
 * Colours of the label ids that are not evaluated, as in the colour files of Cityscapes and GTA5. A
 * file of colours cannot tell those that share one with an evaluated class (pole group, licence
 * plate).
 */
export const VOID_COLOURS: readonly (readonly [labelId: number, colour: Colour])[] = [
  [0, [0, 0, 0]],
  [1, [0, 0, 0]],
  [2, [0, 0, 0]],
  [3, [0, 0, 0]],
  [4, [0, 0, 0]],
  [4, [20, 20, 20]],
  [5, [111, 74, 0]],
  [6, [81, 0, 81]],
  [9, [250, 170, 160]],
  [10, [230, 150, 140]],
  [14, [180, 165, 180]],
  [15, [150, 100, 100]],
  [16, [150, 120, 90]],
  [18, [153, 153, 153]],
  [29, [0, 0, 90]],
  [30, [0, 0, 110]],
  [34, [0, 0, 142]],
];

/**
 * Cityscapes label ids by the ids of SYNTHIA (RAND_CITYSCAPES), 0 where Cityscapes has no such
 * class.
 */
export const SYNTHIA_LABEL_IDS: readonly number[] = [
  "void",
  "sky",
  "building",
  "road",
  "sidewalk",
  "fence",
  "vegetation",
  "pole",
  "car",
  "traffic sign",
  "person",
  "bicycle",
  "motorcycle",
  "parking slot",
  "road work",
  "traffic light",
  "terrain",
  "rider",
  "truck",
  "bus",
  "train",
  "wall",
  "lane marking",
].map((name) => CLASSES.find((candidate) => candidate.name === name)?.labelId ?? 0);

const without = (...names: string[]) =>
  CLASSES.map(({ name }) => name).filter((name) => !names.includes(name));

/**
 * Names of the classes that results are published for: all 19; the 16 of SYNTHIA → Cityscapes; and
 * the 13 of these that are left without the thin or rare wall, fence and pole.
 */
export const PUBLISHED_SUBSETS: Readonly<Record<"19" | "16" | "13", readonly string[]>> = {
  19: without(),
  16: without("terrain", "truck", "train"),
  13: without("terrain", "truck", "train", "wall", "fence", "pole"),
};

/** Train ids of the eight classes that the built-in benchmark, streets, draws. */
export const STREETS_TRAIN_IDS: readonly number[] = [
  "road",
  "sidewalk",
  "building",
  "vegetation",
  "sky",
  "person",
  "car",
  "bus",
].map((name) => CLASSES.findIndex((candidate) => candidate.name === name));

/**
 * Colours of classes in pictures of streets, where the official ones cannot be told apart: buses are
 * as dark a blue as cars. Sets of other classes, and files with labels, keep the official colours.
 */
export const STREETS_COLOURS: Readonly<Record<string, Colour>> = {
  bus: [255, 214, 10], // far from the other seven for colour-blind eyes too
};
