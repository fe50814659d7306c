/**
 * What can be wrong with a run or its data, each with the sentence that says so: whoever finds it, on the
 * terminal, in `result.json` and in a report, the words are these.
 *
 * Each is judged without a target label. A training that is slow or middling is no cause: the thresholds
 * leave a wide berth around what good runs do.
 *
 * @module
 */
import { shortList } from "../base/data_error.ts";
import type { Findings, PredictionScores, SourceScores } from "./findings.ts";
import type { ConfusionMatrix } from "./metrics.ts";

/** Something that is wrong, and the way out. */
export interface Cause {
  /** A short name that stays, for programs. */
  readonly name: string;
  /** What was found: a sentence without its full stop. */
  readonly found: string;
  /** What helps; settings by their keys in the configuration. */
  readonly remedy: string;
}

/** A cause in one sentence. */
export function sentenceOf({ found, remedy }: Cause): string {
  return `${found}; ${remedy}`;
}

/** Pixels between two features of the network. */
export const STRIDE = 8;
/** Pixels of a part, each way, that the features resolve: two of them. */
export const LEAST_PART = 2 * STRIDE;

/** Classes whose parts fall between the features; null where there are none. */
export function partsTooSmall(
  classes: readonly string[],
  partSizes: readonly (number | null)[],
  longSide: number,
): Cause | null {
  const small = classes.map((name, id) => ({ name, share: partSizes[id] ?? Infinity }))
    .filter(({ share }) => share * longSide < LEAST_PART - 0.5)
    .sort((a, b) => a.share - b.share);
  if (small.length === 0) return null;
  const [{ name, share }] = small;
  const whose = small.length === 1 ? name : `${small.length} of ${classes.length} classes`;
  return {
    name: "parts too small",
    found:
      `The parts of ${whose} are smaller than two features of the network: at a long side of ` +
      `${longSide} pixels one of ${name} measures ${Math.round(share * longSide)}, expected ` +
      `${LEAST_PART} or more`,
    remedy:
      `set data.longSide to ${neededLongSide(share)} or more, even if the images have less, or ` +
      "leave the classes out of data.classes",
  };
}

/** The long side at which parts of a size are as large as two features; in steps of 32 pixels. */
export function neededLongSide(share: number): number {
  return 32 * Math.ceil(LEAST_PART / share / 32);
}

/** The way out where a stage has made its network worse. */
const WITHOUT_THIS_STAGE =
  "use the network of the stage before, or train this one with fewer steps or a lower learningRate";

/** The cause for which a run stops. */
export const SOURCE_NOT_LEARNT = "source not learnt";

/** Share of the way from the constant prediction to a perfect one that a network must have come. */
const LEAST_GAIN = 0.05;

/**
 * The source is not learnt: on images that were held out the network is no better than to predict the most
 * frequent class everywhere, or has come less than a twentieth of the way from there to a perfect one.
 */
export function sourceNotLearnt(source: SourceScores): Cause | null {
  if (gainOf(source) >= LEAST_GAIN) return null;
  const { frequent, mIoU } = constantPrediction(source);
  return {
    name: SOURCE_NOT_LEARNT,
    found: `The source is not learnt: on its held-out images the network has ${
      percent(source.mIoU)
    } mIoU, and predicting ${frequent} everywhere has ${percent(mIoU)}`,
    remedy:
      "give stages.source.steps more steps, show objects larger by data.longSide and smaller " +
      "crops, or check the labels with inspect",
  };
}

/** How far a network has come from the constant prediction, at 0, to a perfect one, at 1. */
function gainOf(source: SourceScores): number {
  const { mIoU } = constantPrediction(source);
  return (source.mIoU - mIoU) / (100 - mIoU);
}

/** Of the gain that the stage before had, the part that a stage must keep. */
const LEAST_KEPT = 0.25;

/** The stage has lost most of what the network knew of the source, though it goes on learning its labels. */
export function sourceForgotten(now: SourceScores, before: SourceScores): Cause | null {
  if (gainOf(before) < 2 * LEAST_GAIN || gainOf(now) >= LEAST_KEPT * gainOf(before)) return null;
  return {
    name: "source forgotten",
    found:
      `The stage has forgotten the source: its held-out images had ${
        percent(before.mIoU)
      } mIoU before, ` +
      `and have ${percent(now.mIoU)}`,
    remedy: WITHOUT_THIS_STAGE,
  };
}

/** The scores of predicting the most frequent class everywhere, over the classes that the labels have. */
export function constantPrediction(
  { shares }: Pick<SourceScores, "shares">,
): { readonly frequent: string; readonly mIoU: number } {
  const [frequent, share] = largestOf(shares);
  const labelled = Object.values(shares).filter((share) => share > 0);
  return { frequent, mIoU: share / Math.max(1, labelled.length) };
}

/** Percent of a class's IoU below which nothing of it is learnt. */
const NO_IOU = 1;
/** Percent of the labelled pixels that a class needs to be judged: fewer may be one object. */
const LEAST_SHARE = 0.05;

/** Classes of the source of which the network has learnt nothing at all. */
export function classesNotLearnt({ classIoU, shares }: SourceScores): Cause | null {
  const names = Object.keys(shares).filter((name) =>
    shares[name] >= LEAST_SHARE && (classIoU[name] ?? 0) < NO_IOU
  );
  if (names.length === 0) return null;
  return {
    name: "classes not learnt",
    found:
      `Of some classes nothing is learnt, as their IoU on held-out source images is below ${NO_IOU} %: ` +
      shortList(names),
    remedy:
      "give stages.source.steps more steps, show small objects larger by data.longSide, or leave " +
      "the classes out of data.classes",
  };
}

/** Share of what is not the most frequent class that must be left of it. */
const LEAST_REST = 0.15;

/**
 * The predictions on the target have collapsed: one class takes nearly all pixels, and the others have less
 * than 15 % of the share that they have in the source's labels.
 *
 * @param before What the stage before had predicted, null where there was none: the way out depends on
 *   whether that was better.
 */
export function predictionsCollapsed(
  now: PredictionScores,
  before: PredictionScores | null,
  source: Pick<SourceScores, "shares">,
): Cause | null {
  const [largest, share] = largestOf(now.shares);
  if (!isCollapsed(now, source)) return null;
  return {
    name: "predictions collapsed",
    found:
      `Nearly all of the target is predicted as one class: ${largest} has ${
        percent(share)
      } of its ` +
      `pixels, and ${percent(source.shares[largest] ?? 0)} of the source's`,
    remedy: before && !isCollapsed(before, source)
      ? WITHOUT_THIS_STAGE
      : 'let the next stages take the target\'s statistics ("statistics": "target"), or train on source ' +
        "images that look more like the target's",
  };
}

function isCollapsed({ shares }: PredictionScores, source: Pick<SourceScores, "shares">): boolean {
  const [largest, share] = largestOf(shares);
  return 100 - share < LEAST_REST * (100 - (source.shares[largest] ?? 0));
}

function largestOf(
  shares: Readonly<Record<string, number>>,
): readonly [name: string, share: number] {
  return Object.entries(shares).reduce((most, one) => one[1] > most[1] ? one : most, [
    "nothing",
    0,
  ]);
}

/** Share of its part in the source at which a class is there, and at which it has vanished. */
const [THERE, VANISHED] = [0.25, 0.02];

/**
 * Classes have vanished: the stage before predicted them on the target about as often as the source has
 * them, and now they are next to nowhere.
 */
export function classesVanished(
  now: PredictionScores,
  before: PredictionScores,
  source: Pick<SourceScores, "shares">,
): Cause | null {
  const names = Object.entries(source.shares).filter(([name, share]) =>
    share >= LEAST_SHARE && before.shares[name] >= THERE * share &&
    now.shares[name] < VANISHED * share && now.shares[name] < VANISHED * before.shares[name]
  ).map(([name]) => name);
  if (names.length === 0) return null;
  return {
    name: "classes vanished",
    found:
      "Classes have vanished from the predictions on the target, where the stage before had found them: " +
      shortList(names),
    remedy: WITHOUT_THIS_STAGE,
  };
}

/** The cause for which a network is not handed on, nor those after it that have it too. */
export const CLASSES_EXCHANGED = "classes exchanged";

/** Share of the pixels of two classes that each must have before and after, and of all pixels that both have. */
const [LEAST_SIDE, LEAST_PAIR] = [0.05, 0.02];
/** Pixels that both must have: fewer are a few objects. */
const LEAST_PIXELS = 500;
/** Correlation of two classes before and after below which they have changed places. */
const EXCHANGED = -0.05;

/**
 * Pairs of classes that two networks see the wrong way round: of the pixels that are of one or the other
 * for both networks, those which the first sees as one class are of that class less often for the second
 * than those which the first sees as the other: the φ coefficient of the two by two counts is negative.
 *
 * @param moves Counts: rows are the classes for the first network, columns those for the second.
 * @returns The pairs as class ids, the most frequent first.
 */
export function exchangedPairs({ classCount, counts }: ConfusionMatrix): [number, number][] {
  const at = (row: number, column: number) => counts[row * classCount + column];
  const total = counts.reduce((sum, count) => sum + count, 0);
  const found: { pair: [number, number]; pixels: number }[] = [];
  for (let a = 0; a < classCount; a++) {
    for (let b = a + 1; b < classCount; b++) {
      const [aa, ab, ba, bb] = [at(a, a), at(a, b), at(b, a), at(b, b)];
      const pixels = aa + ab + ba + bb;
      const sides = [aa + ab, ba + bb, aa + ba, ab + bb];
      if (pixels < Math.max(LEAST_PIXELS, LEAST_PAIR * total)) continue;
      if (Math.min(...sides) < LEAST_SIDE * pixels) continue;
      const φ = (aa * bb - ab * ba) / Math.sqrt(sides.reduce((product, side) => product * side));
      if (φ < EXCHANGED) found.push({ pair: [a, b], pixels });
    }
  }
  return found.sort((one, other) => other.pixels - one.pixels).map(({ pair }) => pair);
}

/**
 * Classes have changed places: where an earlier network saw one of a pair, this one sees the other. Labels
 * of the source are all that tells classes from each other, and the earlier network is nearer to them.
 *
 * @param earlier The name of its stage.
 */
export function classesExchanged(
  classNames: readonly string[],
  moves: ConfusionMatrix,
  earlier: string,
): Cause | null {
  const pairs = exchangedPairs(moves).map((pair) => pair.map((id) => classNames[id]).join(" and "));
  if (pairs.length === 0) return null;
  return {
    name: CLASSES_EXCHANGED,
    found:
      `Classes have changed places on the target: where the network of ${earlier} sees one of a pair, ` +
      `this one sees the other, more often than by chance: ${shortList(pairs)}`,
    remedy:
      `look at both in samples/, and use the network of ${earlier} unless this one is right; fewer steps ` +
      "or source images that look more like the target's keep classes in their places",
  };
}

/** Percentage points by which confidence must have risen, and agreement fallen. */
const [SURER, LESS_ALIKE] = [1.5, 1];

/**
 * The network has become surer of its predictions on the target, and yet predicts less alike in two views of
 * one image: it has learnt its own mistakes.
 */
export function surerButLessConsistent(
  now: PredictionScores,
  before: PredictionScores,
): Cause | null {
  const [surer, lessAlike] = [
    now.confidence - before.confidence,
    before.agreement - now.agreement,
  ];
  if (surer < SURER || lessAlike < LESS_ALIKE) return null;
  return {
    name: "surer but less consistent",
    found:
      `The network has become surer of the target but less consistent: its confidence rose from ${
        percent(before.confidence)
      } to ${percent(now.confidence)}, the agreement between views of an image fell from ${
        percent(before.agreement)
      } to ${percent(now.agreement)}`,
    remedy: WITHOUT_THIS_STAGE,
  };
}

/**
 * What is wrong after a stage.
 *
 * @param now What is found after it.
 * @param before What was found after the stage before; null where there was none.
 * @param judgesSource Whether it is the stage's task to learn the source, as no stage before has.
 * @param comparesSource Whether what it knows of the source can be compared with what the stage before knew:
 *   not with batch-norm statistics of the target alone, with which no image of the source is seen right.
 * @param exchanged {@link classesExchanged}, compared with the network that would have been handed on.
 */
export function causesOf(
  { source, predictions }: Findings,
  before: Findings | null,
  judgesSource: boolean,
  comparesSource = true,
  exchanged: Cause | null = null,
): Cause[] {
  const unlearnt = judgesSource && source ? sourceNotLearnt(source) : null;
  if (unlearnt) return [unlearnt]; // all else would follow from it
  const earlier = before?.predictions ?? null;
  const causes = [judgesSource && source ? classesNotLearnt(source) : null, exchanged];
  if (source && before?.source && comparesSource) {
    causes.push(sourceForgotten(source, before.source));
  }
  if (predictions && source) {
    const collapsed = predictionsCollapsed(predictions, earlier, source);
    causes.push(collapsed ?? (earlier && classesVanished(predictions, earlier, source)));
  }
  if (predictions && earlier) causes.push(surerButLessConsistent(predictions, earlier));
  return causes.filter((cause) => cause !== null);
}

function percent(value: number): string {
  return `${value.toFixed(1)} %`;
}
