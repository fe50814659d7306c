/**
 * Images on their way to a stage: streams of them, whatever they come from, and one of images that lie
 * in memory.
 *
 * @module
 */
import { Random } from "../../nn/random.ts";
import type { RgbImage } from "../images/rgb.ts";
import type { TargetPixels } from "../views/target_views.ts";

/** A decoded image, and its label as train ids where the data set reads labels. */
export interface DecodedItem {
  /** 8-bit RGB. */
  image: RgbImage;
  /** One train id, or `IGNORE`, per pixel, of the image's size. */
  label: DecodedLabel | null;
}

/** A decoded label. */
export interface DecodedLabel {
  /** One train id, or `IGNORE`, per pixel, row by row. */
  data: Uint8Array<ArrayBuffer>;
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
}

/** What the crop of an image should show. */
export interface Wanted {
  /** The class, by its train id, that the image was drawn for. */
  readonly trainId: number;
  /** Pixels of the image that should be of it. */
  readonly pixels: number;
}

/**
 * A decoded image at its place in the stream. The pixels may be shared with later samples: read
 * only.
 */
export interface Sample extends DecodedItem {
  /** The item's name in the data set. */
  name: string;
  /** The item's place in the data set. */
  index: number;
  /** How often the data set has been gone through before. */
  epoch: number;
  /** The sample's place in the stream, from 0; random views are drawn from (seed, position). */
  position: number;
  /** Views of the image, where the loader renders them. */
  pixels?: TargetPixels;
  /** What a view of it should show, where it was drawn for that. */
  wanted?: Wanted;
}

/** Samples in an order that depends on nothing but the stream's options and the position in it. */
export interface SampleStream {
  /** Milliseconds that were spent waiting for pixels so far. */
  readonly waited: number;
  /**
   * The next samples.
   *
   * @returns `count` samples; fewer, at last none, at the end of a stream that ends.
   * @throws {DataError} If one of them cannot be read.
   */
  next(count: number): Promise<Sample[]>;
  /** Goes to a position of the stream. */
  seek(position: number): void;
}

/**
 * The order of one epoch: a permutation of 0…count−1 that depends on nothing but the arguments
 * (Fisher–Yates with a stream of its own), so that any position can be resumed.
 */
export function shuffledOrder(
  count: number,
  seed: number,
  stream: string,
  epoch: number,
): Uint32Array<ArrayBuffer> {
  const random = new Random(seed, `order/${stream}/${epoch}`);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** The index at a position of a stream that goes on for ever, each epoch in its {@link shuffledOrder}. */
export function shuffledIndices(
  count: number,
  seed: number,
  stream: string,
): (position: number) => number {
  let order = { epoch: -1, indices: new Uint32Array(0) };
  return (position) => {
    const epoch = Math.floor(position / count);
    if (order.epoch !== epoch) {
      order = { epoch, indices: shuffledOrder(count, seed, stream, epoch) };
    }
    return order.indices[position % count];
  };
}

/** Which image stands at a position of a stream, and what a view of it should show. */
export type Draw = Pick<Sample, "index" | "wanted">;

/** A random order: a pure function of seed, stream and position. */
export interface RandomOrder {
  /** Seed of the order. */
  readonly seed: number;
  /** Tells apart streams of one seed, such as `source` and `target`. */
  readonly stream: string;
  /** Draws every image on its own, as `RareClasses` does; shuffled epochs unless given. */
  readonly draws?: { draw(seed: number, stream: string, position: number): Draw };
}

/** What stands at the positions of a stream of `count` images. */
export function drawsOf(
  count: number,
  order: "sequential" | RandomOrder,
): (position: number) => Draw {
  if (order === "sequential") return (position) => ({ index: position });
  const { seed, stream, draws } = order;
  if (draws) return (position) => draws.draw(seed, stream, position);
  const indexAt = shuffledIndices(count, seed, stream);
  return (position) => ({ index: indexAt(position) });
}

/** Which samples of a stream a process takes that learns each batch together with others. */
export interface StreamShare {
  /** The process, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** Samples of a batch that each takes: those of rank 0 come first. */
  readonly batch: number;
}

/**
 * The place in the whole stream of a process's own sample `position`: whatever the number of processes, the
 * same samples are in the same batches.
 */
export function placeInStream({ rank, size, batch }: StreamShare, position: number): number {
  return (Math.floor(position / batch) * size + rank) * batch + position % batch;
}

/** Images that lie in memory, as a stream. */
export class SamplesInMemory implements SampleStream {
  /** Nothing is waited for. */
  readonly waited = 0;
  readonly #items: readonly DecodedItem[];
  readonly #end: number;
  readonly #drawAt: (position: number) => Draw;
  #position = 0;

  /**
   * Takes the images, which stay the caller's.
   *
   * @param items At least one; a label is null where there is none.
   * @param order `sequential` gives every image once; a random order goes on for ever, each epoch in
   * another one, see {@link shuffledOrder}; with `draws` images are drawn anew.
   */
  constructor(items: readonly DecodedItem[], order: "sequential" | RandomOrder) {
    if (items.length === 0) throw new RangeError("Cannot make a stream of no images");
    this.#items = items;
    this.#end = order === "sequential" ? items.length : Infinity;
    this.#drawAt = drawsOf(items.length, order);
  }

  /** See {@link SampleStream.next}. */
  next(count: number): Promise<Sample[]> {
    const end = Math.min(this.#position + count, this.#end);
    const samples: Sample[] = [];
    for (; this.#position < end; this.#position++) {
      const position = this.#position;
      const drawn = this.#drawAt(position);
      const { index } = drawn;
      const epoch = Math.floor(position / this.#items.length);
      samples.push({ ...this.#items[index], name: String(index), epoch, position, ...drawn });
    }
    return Promise.resolve(samples);
  }

  /** See {@link SampleStream.seek}. */
  seek(position: number): void {
    this.#position = position;
  }
}
