/**
 * What is found of a network after a stage, by which the stage is judged without a label of the target.
 * Classes have their names, as in results.
 *
 * @module
 */
import type { Sights } from "./agreement.ts";
import { byName, type ConfusionMatrix } from "./metrics.ts";

/** The scores of images of the source that were held out, and what their labels hold. All are percentages. */
export interface SourceScores {
  /** Mean IoU. */
  readonly mIoU: number;
  /** IoU by class name; null for a class that does not occur. */
  readonly classIoU: Readonly<Record<string, number | null>>;
  /** Share of pixels predicted right. */
  readonly pixelAccuracy: number;
  /** Share of the labelled pixels that are of each class. */
  readonly shares: Readonly<Record<string, number>>;
}

/** What a network predicts on target images, whose labels are not looked at. All are percentages. */
export interface PredictionScores {
  /** Share of the pixels that are predicted as each class. */
  readonly shares: Readonly<Record<string, number>>;
  /** Mean probability of the predicted class. */
  readonly confidence: number;
  /** Share of the pixels that have the same class in another view of the image: see `Sights`. */
  readonly agreement: number;
}

/** What is known of a network. */
export interface Findings {
  /** Of the source; undefined where no image of it was held out. */
  readonly source?: SourceScores | undefined;
  /** Of the target; undefined where nobody has looked, as in earlier versions. */
  readonly predictions?: PredictionScores | undefined;
}

/** What a network makes of source images, by the counts of its predictions there. */
export function sourceScores(classNames: readonly string[], counts: ConfusionMatrix): SourceScores {
  const { mIoU, classIoU, pixelAccuracy } = counts.scores();
  const labelled = counts.labelCounts();
  const total = labelled.reduce((sum, count) => sum + count, 0);
  const shares = labelled.map((count) => 100 * count / Math.max(1, total));
  return {
    mIoU,
    classIoU: byName(classNames, classIoU),
    pixelAccuracy,
    shares: byName(classNames, shares),
  };
}

/**
 * What is judged of a network's predictions.
 *
 * @param confidence Mean probability of the predicted class, in percent.
 */
export function predictionScores(
  classNames: readonly string[],
  { shares, alike }: Pick<Sights, "shares" | "alike">,
  confidence: number,
): PredictionScores {
  return { shares: byName(classNames, shares), confidence, agreement: alike };
}
