// Twins of class mix, hidden patches and the quality of labels: the formulas as written.

/** Of the n classes among labels, the ⌈n/2⌉ with the least keys; of equal keys the first. */
export function chosenClasses(
  labels: ArrayLike<number>,
  keys: readonly number[],
  ignoreLabel = 255,
): number[] {
  const classes = [...new Set(Array.from(labels))]
    .filter((label) => label < keys.length && label !== ignoreLabel)
    .sort((a, b) => keys[a] - keys[b] || a - b);
  return classes.slice(0, Math.ceil(classes.length / 2));
}

/** The labels of what is pasted, the ignore label elsewhere. */
export function pastedLabels(
  labels: ArrayLike<number>,
  chosen: readonly number[],
  ignoreLabel = 255,
): number[] {
  return Array.from(labels, (label) => chosen.includes(label) ? label : ignoreLabel);
}

/** M source + (1 − M) target of one image, channel by channel; M is 1 where something is pasted. */
export function mixed(
  source: ArrayLike<number>,
  target: ArrayLike<number>,
  pasted: readonly number[],
  ignoreLabel = 255,
): number[] {
  return Array.from(target, (own, i) => {
    const m = pasted[i % pasted.length] === ignoreLabel ? 0 : 1;
    return m * source[i] + (1 - m) * own;
  });
}

/** An image [height, width] whose pixels are 0 where the patch that they lie in is not kept. */
export function withHiddenPatches(
  plane: ArrayLike<number>,
  width: number,
  keeps: (row: number, column: number) => boolean,
  side: number,
): number[] {
  return Array.from(plane, (value, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    return keeps(Math.floor(y / side), Math.floor(x / side)) ? value : 0;
  });
}

/** The share of an image's pixels, whose confidence is above 0, that are surer than a threshold. */
export function labelQuality(confidence: ArrayLike<number>, threshold: number): number {
  const inside = Array.from(confidence).filter((sure) => sure > 0);
  return inside.length === 0 ? 0 : inside.filter((sure) => sure > threshold).length / inside.length;
}
