// What can be wrong with a run or its data, in the same words wherever it is met.

/** Something that is wrong, and the way out. */
export interface Cause {
  /** A short name that stays, for programs. */
  readonly name: string;
  /** What was found: a sentence without its full stop. */
  readonly found: string;
  /** What helps; settings by their keys in the configuration. */
  readonly remedy: string;
}

/** A cause as one sentence. */
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
