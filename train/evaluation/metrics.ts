/**
 * Segmentation scores from confusion counts: class IoU, their mean and pixel accuracy, in percent
 * as the papers print them.
 *
 * @module
 */

import { PUBLISHED_SUBSETS } from "../data/classes.ts";
import { tableLines } from "../base/text.ts";

/** The scores of a set of images. All numbers are percentages. */
export interface Scores {
  /** Mean of `classIoU` over the classes that occur. */
  mIoU: number;
  /** Intersection over union of each class; null if it is in no label and no prediction. */
  classIoU: (number | null)[];
  /** Share of labelled pixels that are predicted right. */
  pixelAccuracy: number;
}

/** The scores of a network, and what can be said of it without labels. */
export interface Evaluation extends Scores {
  /**
   * Mutual information of images and predicted classes, in percent of its most; see `Information`.
   */
  information?: number;
  /** How sure predictions are and of all classes alike, in percent; see `ClassCorrelation`. */
  correlation?: number;
  /** How far predictions agree with those of other views, in percent; see `Sights`. */
  agreement?: number;
  /** Scores of the source's held-out images, where there are any. */
  source?: Scores;
}

/** Scores where nothing is labelled: NaN, and null for every class. */
export function unknownScores(classCount: number): Scores {
  return { mIoU: NaN, classIoU: Array(classCount).fill(null), pixelAccuracy: NaN };
}

/**
 * The means that results on Cityscapes are published as, over 19, 16 and 13 classes: those of whose
 * classes all are known. They follow from one set of IoU, whose unions count the confusions with
 * all classes.
 */
export function publishedMeans(
  classIoU: Readonly<Record<string, number | null>>,
): Record<string, number> {
  const means: Record<string, number> = {};
  for (const [title, names] of Object.entries(PUBLISHED_SUBSETS).toReversed()) {
    if (!names.every((name) => Object.hasOwn(classIoU, name))) continue;
    const known = names.flatMap((name) => classIoU[name] ?? []);
    means[title] = known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : NaN;
  }
  return means;
}

/** Counts of (label, prediction) pairs, from which all scores follow. */
export class ConfusionMatrix {
  /** The number of classes, K. */
  readonly classCount: number;
  /** `K · K` counts: row is the label, column the prediction. Doubles hold them exactly to 2^53. */
  readonly counts: Float64Array;

  /** Creates a matrix of zeros for `classCount` classes. */
  constructor(classCount: number) {
    this.classCount = classCount;
    this.counts = new Float64Array(classCount * classCount);
  }

  /**
   * Adds counts that the GPU has made.
   *
   * @param counts `K · K` counts: row is the label, column the prediction.
   * @throws {RangeError} If there are not K · K of them.
   */
  add(counts: ArrayLike<number>): void {
    if (counts.length !== this.counts.length) {
      throw new RangeError(
        `Cannot add confusion counts as their number must be ${this.counts.length}: found ` +
          `${counts.length}`,
      );
    }
    for (let i = 0; i < counts.length; i++) this.counts[i] += counts[i];
  }

  /**
   * Counts pixels on the host. Pixels whose label is no class (such as the ignore label) are
   * skipped.
   *
   * @param label Train ids.
   * @param prediction Class indices, as many.
   * @throws {RangeError} If the lengths differ, or a prediction is no class where there is a label.
   */
  addPixels(label: ArrayLike<number>, prediction: ArrayLike<number>): void {
    if (label.length !== prediction.length) {
      throw new RangeError(
        `Cannot count pixels as label and prediction must have the same size: label has ` +
          `${label.length} pixels, prediction has ${prediction.length}`,
      );
    }
    for (let i = 0; i < label.length; i++) {
      if (label[i] >= this.classCount) continue;
      if (!(prediction[i] < this.classCount)) {
        throw new RangeError(
          `Cannot count pixels as predictions must be below ${this.classCount}: found ` +
            `${prediction[i]} at pixel ${i}`,
        );
      }
      this.counts[label[i] * this.classCount + prediction[i]]++;
    }
  }

  /** How many pixels have each label. */
  labelCounts(): number[] {
    return this.toRows().map((row) => row.reduce((sum, count) => sum + count, 0));
  }

  /** The counts as rows, one per label, for JSON. */
  toRows(): number[][] {
    const { classCount, counts } = this;
    return Array.from(
      { length: classCount },
      (_, k) => [...counts.subarray(k * classCount, (k + 1) * classCount)],
    );
  }

  /** The scores so far. */
  scores(): Scores {
    const { classCount, counts } = this;
    const classIoU: (number | null)[] = [];
    let [total, right, iouSum, iouCount] = [0, 0, 0, 0];
    for (let k = 0; k < classCount; k++) {
      let [labelled, predicted] = [0, 0];
      for (let j = 0; j < classCount; j++) {
        labelled += counts[k * classCount + j];
        predicted += counts[j * classCount + k];
      }
      const hits = counts[k * classCount + k];
      const union = labelled + predicted - hits;
      total += labelled;
      right += hits;
      classIoU.push(union > 0 ? 100 * hits / union : null);
      if (union > 0) {
        iouSum += 100 * hits / union;
        iouCount++;
      }
    }
    return {
      mIoU: iouCount ? iouSum / iouCount : 0,
      classIoU,
      pixelAccuracy: total ? 100 * right / total : 0,
    };
  }
}

/** Values of the classes under their names. */
export function byName<T>(classNames: readonly string[], values: readonly T[]): Record<string, T> {
  return Object.fromEntries(classNames.map((name, k) => [name, values[k] as T]));
}

/**
 * A plain-text table of class IoU: one row per class that was scored, one column per stage or network.
 *
 * @param classNames The names of the K classes.
 * @param columns Titles and scores, from left to right; `source` is the mIoU of held-out source images,
 *   which has a row where one is known.
 */
export function formatScores(
  classNames: readonly string[],
  columns: readonly { title: string; scores: Scores; source?: number }[],
): string {
  const number = (value: number | null = null) =>
    value === null || Number.isNaN(value) ? "–" : value.toFixed(1);
  const scored = classNames.map((name, k) => ({ name, k }))
    .filter(({ k }) => columns.some(({ scores }) => scores.classIoU[k] !== null));
  const means = columns.map(({ scores }) => publishedMeans(byName(classNames, scores.classIoU)));
  const subsets = Object.entries(PUBLISHED_SUBSETS).toReversed().filter(([, names]) =>
    names.length < scored.length && names.every((own) => scored.some(({ name }) => name === own))
  );
  const hasSource = columns.some(({ source }) => source !== undefined);
  const rows = [
    ["IoU in %", ...columns.map(({ title }) => title)],
    ...scored.map((
      { name, k },
    ) => [name, ...columns.map(({ scores }) => number(scores.classIoU[k]))]),
    ["mIoU", ...columns.map(({ scores }) => number(scores.mIoU))],
    ...subsets.map(([title]) => [`mIoU of ${title}`, ...means.map((own) => number(own[title]))]),
    ["pixel accuracy", ...columns.map(({ scores }) => number(scores.pixelAccuracy))],
    ...(hasSource ? [["mIoU of source", ...columns.map(({ source }) => number(source))]] : []),
  ];
  const lines = tableLines(rows);
  const [, rule] = lines;
  lines.splice(2 + scored.length, 0, rule);
  return lines.join("\n");
}
