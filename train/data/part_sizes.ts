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

/** Parts of a class and a size. */
interface Parts {
  /** How many there are. */
  count: number;
  /** Their pixels, each image's over the square of its long side. */
  pixels: number;
}

/** The parts of each class and size; it passes between threads. */
export type PartCounts = ReadonlyMap<number, Readonly<Parts>>;

/**
 * Counts parts by class and size. The size of a part is the root of the area of the box around it: what
 * matters is how many features an object extends over, whether it is filled or drawn with a thin stroke. The
 * root of the part's own area would call a letter a dot, and the shorter side of the box a pole, which are
 * both recognised by their length.
 */
export class PartSizes {
  readonly #counts = new Map<number, Parts>();

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
    for (const [key, parts] of counts) this.#count(key, parts);
  }

  /**
   * Adds the parts of a label: 4-connected pixels of one class.
   *
   * @param data Train ids, row by row; pixels of `IGNORE` are no part.
   */
  addLabel(data: ArrayLike<number>, { width, height }: { width: number; height: number }): void {
    const stride = Math.ceil(Math.sqrt(width * height / MOST_PIXELS));
    const long = Math.max(width, height) / stride;
    forEachPart(data, { width, height, stride }, (id, area, box) => {
      const share = Math.min(1, Math.sqrt(box) / long);
      const bin = Math.round(-BINS_PER_OCTAVE * Math.log2(share));
      this.#count(id * MOST_BINS + bin, { count: 1, pixels: area / long ** 2 });
    });
  }

  /** A class's parts by their size, over the long side of their images, the largest first. */
  sizes(id: number): ({ readonly share: number } & Readonly<Parts>)[] {
    return [...this.#counts]
      .filter(([key]) => Math.floor(key / MOST_BINS) === id)
      .map(([key, parts]) => ({ share: 2 ** (-(key % MOST_BINS) / BINS_PER_OCTAVE), ...parts }))
      .sort((a, b) => b.share - a.share);
  }

  /**
   * The size of a class's typical part, over the long side of its image: the median over its parts, of
   * which the smallest, those that hold a twentieth of its pixels together, are left out; null where there
   * is no part.
   */
  typical(id: number): number | null {
    const bins = this.sizes(id);
    const all = bins.reduce((sum, { pixels }) => sum + pixels, 0);
    let [seen, counted] = [0, 0];
    const kept = bins.filter(({ pixels, count }) => {
      const isKept = seen < COUNTED * all;
      seen += pixels;
      if (isKept) counted += count;
      return isKept;
    });
    let left = counted / 2;
    return kept.find(({ count }) => (left -= count) < 0)?.share ?? null;
  }

  #count(key: number, { count, pixels }: Readonly<Parts>): void {
    const before = this.#counts.get(key) ?? { count: 0, pixels: 0 };
    this.#counts.set(key, { count: before.count + count, pixels: before.pixels + pixels });
  }
}

/**
 * Calls `use` with class, area, and area of the box of every part, in pixels of those that are looked at:
 * every `stride`th of every `stride`th row. Runs of a row are joined to those above them (union and find).
 */
function forEachPart(
  data: ArrayLike<number>,
  { width, height, stride }: { width: number; height: number; stride: number },
  use: (id: number, area: number, box: number) => void,
): void {
  const columns = Math.ceil(width / stride);
  const parents: number[] = [];
  const [ids, areas]: [number[], number[]] = [[], []];
  const [lefts, rights, tops, bottoms]: number[][] = [[], [], [], []];
  const rootOf = (part: number) => {
    while (parents[part] !== part) part = parents[part] = parents[parents[part]];
    return part;
  };
  const join = (part: number, other: number) => {
    parents[other] = part;
    areas[part] += areas[other];
    lefts[part] = Math.min(lefts[part], lefts[other]);
    rights[part] = Math.max(rights[part], rights[other]);
    tops[part] = Math.min(tops[part], tops[other]);
    bottoms[part] = Math.max(bottoms[part], bottoms[other]);
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
        if (part >= 0 && part !== root) join(part, root);
        else part = root;
      }
      if (part < 0) {
        part = parents.length;
        parents.push(part);
        ids.push(id);
        areas.push(0);
        lefts.push(start);
        rights.push(x);
        tops.push(y / stride);
        bottoms.push(0);
      }
      areas[part] += x - start;
      lefts[part] = Math.min(lefts[part], start);
      rights[part] = Math.max(rights[part], x);
      bottoms[part] = y / stride + 1;
      row.fill(part, start, x);
    }
    [above, row] = [row, above];
  }
  parents.forEach((parent, part) => {
    if (parent !== part || ids[part] === IGNORE) return;
    const box = (rights[part] - lefts[part]) * (bottoms[part] - tops[part]);
    use(ids[part], areas[part], box);
  });
}
