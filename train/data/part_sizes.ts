// How large the parts of classes are: connected areas of one class in a label, such as a car or a digit.

import { IGNORE } from "../../kernels/ignore_label.ts";

/**
 * Sizes are kept in bins of a sixteenth of an octave, 4 %, of an image's long side: as many as there are
 * for any number of images, and for images of different sizes.
 */
const BINS_PER_OCTAVE = 16;
const MOST_BINS = 512;
/** Pixels of a label that are looked at; of a larger one, every second row and column, or fewer. */
const MOST_PIXELS = 2 ** 22;
/** Share of a class's pixels whose parts count: the rest lies in its smallest, specks and torn edges. */
const COUNTED = 0.95;

/** How many parts there are of each class and size; it passes between threads. */
export type PartCounts = ReadonlyMap<number, number>;

/**
 * Counts parts by class and size. The size of a part is the root of its area: how many features there are to
 * tell it by, whichever way it lies, and whether it is filled or drawn with a thin stroke. The shorter side
 * of the box around it would call a long pole nothing, and the box itself a slanting line as large as a
 * house. (Areas are also what COCO, Lin et al., 2014, calls small by.)
 */
export class PartSizes {
  readonly #counts = new Map<number, number>();

  /** Goes on from counts, or starts with none. */
  constructor(counts: PartCounts = new Map()) {
    this.add(counts);
  }

  /** The counts so far. */
  get counts(): PartCounts {
    return this.#counts;
  }

  /** Adds counts, such as another thread's. */
  add(counts: PartCounts): void {
    for (const [key, count] of counts) this.#count(key, count);
  }

  /**
   * Adds the parts of a label: 4-connected pixels of one class.
   *
   * @param data Train ids, row by row; pixels of `IGNORE` are no part.
   */
  addLabel(data: ArrayLike<number>, { width, height }: { width: number; height: number }): void {
    const stride = Math.ceil(Math.sqrt(width * height / MOST_PIXELS));
    const long = Math.max(width, height) / stride;
    forEachPart(data, { width, height, stride }, (id, area) => {
      const share = Math.min(1, Math.sqrt(area) / long);
      this.#count(id * MOST_BINS + Math.round(-BINS_PER_OCTAVE * Math.log2(share)), 1);
    });
  }

  /** A class's parts by their size, over the long side of their images, the largest first. */
  sizes(id: number): { readonly share: number; readonly count: number }[] {
    return [...this.#counts]
      .filter(([key]) => Math.floor(key / MOST_BINS) === id)
      .map(([key, count]) => ({ share: 2 ** (-(key % MOST_BINS) / BINS_PER_OCTAVE), count }))
      .sort((a, b) => b.share - a.share);
  }

  /**
   * The size of a class's typical part, over the long side of its image: the median over its parts, of
   * which the smallest, those that hold a twentieth of its pixels together, are left out; null where there
   * is no part.
   */
  typical(id: number): number | null {
    const bins = this.sizes(id);
    const pixels = bins.reduce((sum, { share, count }) => sum + share ** 2 * count, 0);
    let [seen, counted] = [0, 0];
    const kept = bins.filter(({ share, count }) => {
      const isKept = seen < COUNTED * pixels;
      seen += share ** 2 * count;
      if (isKept) counted += count;
      return isKept;
    });
    let left = counted / 2;
    return kept.find(({ count }) => (left -= count) < 0)?.share ?? null;
  }

  #count(key: number, count: number): void {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }
}

/**
 * Calls `use` with class and area of every part, in pixels of those that are looked at: every `stride`th
 * of every `stride`th row. Runs of a row are joined to those above them (union and find).
 */
function forEachPart(
  data: ArrayLike<number>,
  { width, height, stride }: { width: number; height: number; stride: number },
  use: (id: number, area: number) => void,
): void {
  const columns = Math.ceil(width / stride);
  const parents: number[] = [];
  const [ids, areas]: [number[], number[]] = [[], []];
  const rootOf = (part: number) => {
    while (parents[part] !== part) part = parents[part] = parents[parents[part]];
    return part;
  };
  let [above, row] = [new Int32Array(columns), new Int32Array(columns)];
  for (let y = 0; y < height; y += stride) {
    for (let x = 0; x < columns;) {
      const id = data[y * width + x * stride];
      const start = x;
      let part = -1;
      for (; x < columns && data[y * width + x * stride] === id; x++) {
        if (y === 0 || data[(y - stride) * width + x * stride] !== id) continue;
        const root = rootOf(above[x]);
        if (part >= 0 && part !== root) {
          parents[root] = part;
          areas[part] += areas[root];
        } else part = root;
      }
      if (part < 0) {
        part = parents.length;
        parents.push(part);
        ids.push(id);
        areas.push(0);
      }
      areas[part] += x - start;
      row.fill(part, start, x);
    }
    [above, row] = [row, above];
  }
  parents.forEach((parent, part) => {
    if (parent === part && ids[part] !== IGNORE) use(ids[part], areas[part]);
  });
}
