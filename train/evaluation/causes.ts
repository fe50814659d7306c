// What keeps a training from working, each cause with its way out, in the same words wherever it is met.

/** Something that is wrong with a training or its data. */
export interface Cause {
  /** What it is called in `result.json`. */
  readonly name: string;
  /** What was found, and what was expected. */
  readonly found: string;
  /** The way out. */
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
  const small = classes.map((name, id) => ({ name, share: partSizes[id] ?? 1 }))
    .filter(({ share }) => share * longSide < LEAST_PART - 0.5)
    .sort((a, b) => a.share - b.share);
  if (small.length === 0) return null;
  const [{ name, share }] = small;
  const names = small.length === 1
    ? `class ${name} is`
    : `${small.length} of ${classes.length} classes are`;
  return {
    name: "partsTooSmall",
    found: `the parts of ${names} smaller than two features of the network: ` +
      `at a long side of ${longSide} pixels one of ${name} typically measures ` +
      `${(share * longSide).toFixed(0)} pixels, expected ${LEAST_PART} or more`,
    remedy: `set data.longSide to ${neededLongSide(share)} or more, which may be more than the images have`,
  };
}

/** The long side at which parts of a size are as large as two features; in steps of 32 pixels. */
export function neededLongSide(share: number): number {
  return 32 * Math.ceil(LEAST_PART / share / 32);
}
