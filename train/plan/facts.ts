// What the sizes of a run are chosen from: counts and sizes of images, and the parts of the source's classes.

import type { Size } from "../../kernels/planes.ts";
import { DataError } from "../base/data_error.ts";
import { spread } from "../base/spread.ts";
import type { RunConfig } from "../config/settings.ts";
import { listDataset } from "../data/dataset.ts";
import { layoutOf } from "../data/layouts.ts";
import { splitsOf } from "../data/place.ts";
import { readImageSize } from "../images/image.ts";
import { inspectDataset } from "../inspect/inspect.ts";
import { classesOfRun } from "../run/run_data.ts";

/** What is known of the data of a run. */
export interface Facts {
  /** Names of the classes. */
  readonly classes: readonly string[];
  /** Size of each class's typical part in the source, over the long side of an image; null for none. */
  readonly partSizes: readonly (number | null)[];
  /** Source images to train on. */
  readonly source: number;
  /** Target images to adapt to. */
  readonly target: number;
  /** Images of both domains that every evaluation measures. */
  readonly measured: number;
  /** The typical size of an image, of the domain that has the larger ones. */
  readonly size: Size;
}

/** Labels that are opened, and images whose size is read, spread over a data set. */
const [LABELS, SIZES] = [32, 64];

/**
 * Looks at some labels of the source, and at the headers of some images. Labels of the target are not
 * opened. The built-in benchmark is known without a look.
 *
 * @throws {DataError} If a data set cannot be used.
 */
export async function factsOf(data: RunConfig["data"], signal?: AbortSignal): Promise<Facts> {
  const { sourceDirectory, targetDirectory, sourceLayout, targetLayout } = data;
  const { evaluateOn, heldOut } = data;
  if (sourceDirectory === null || targetDirectory === null) return factsOfStreets(data);
  const source = { root: sourceDirectory, layout: layoutOf(sourceLayout) };
  const target = { root: targetDirectory, layout: layoutOf(targetLayout) };
  const [{ names }] = classesOfRun(data);
  const report = await inspectDataset({ ...source, split: "train", limit: LABELS, signal });
  const [split] = report.splits;
  if (!split || split.longSide === 0) throw new DataError(report.problems[0]);
  const ids = names.map((name) => report.classes?.names.indexOf(name) ?? -1);
  const list = (split: string) => listDataset({ ...target, split }, false).items;
  const images = list("train");
  const ofSource = listDataset({ ...source, split: "train" }, false).items;
  const val = splitsOf(source.root, source.layout).includes("val")
    ? listDataset({ ...source, split: "val" }, false).items.length
    : Math.floor(split.images * heldOut.share);
  return {
    classes: names,
    partSizes: ids.map((id) => split.partSizes[id] ?? null),
    source: split.images,
    target: images.length,
    measured: list(evaluateOn).length + Math.min(heldOut.images, val),
    size: larger(
      typicalSize(ofSource.map(({ image }) => image)),
      typicalSize(images.map(({ image }) => image)),
    ),
  };
}

function factsOfStreets({ streets, ...data }: RunConfig["data"]): Facts {
  const [{ names }] = classesOfRun({ ...data, streets });
  return {
    classes: names,
    partSizes: names.map(() => null),
    source: streets.sourceTrain,
    target: streets.targetTrain,
    measured: (data.evaluateOn === "val" ? streets.targetVal : streets.targetChoose) +
      Math.min(data.heldOut.images, streets.sourceVal),
    size: streets,
  };
}

/** The size of which as many images are larger as smaller. */
function typicalSize(paths: readonly string[]): Size {
  const sizes = spread(paths, SIZES).map(readImageSize).sort((a, b) => area(a) - area(b));
  const { width, height } = sizes[Math.floor(sizes.length / 2)];
  return { width, height };
}

function larger(a: Size, b: Size): Size {
  return area(b) > area(a) ? b : a;
}

function area({ width, height }: Size): number {
  return width * height;
}
