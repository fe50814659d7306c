/**
 * Feeds a stage with decoded images: in an order that depends on nothing but seed, epoch and index,
 * decoded by workers ahead of the GPU.
 *
 * @module
 */
import { checkThreadsCanStart, endedThread, receivedError } from "../base/thread.ts";
import type { Dataset } from "./dataset.ts";
import type { Decoded, DecodeReply, DecodeRequest } from "./decode_worker.ts";
import type { RareClasses } from "./rare_classes.ts";
import {
  type DecodedItem,
  type Draw,
  drawsOf,
  placeInStream,
  type Sample,
  type SampleStream,
  type StreamShare,
} from "./samples.ts";
import type { ViewOptions } from "../views/target_views.ts";

/** How to load a data set. */
export interface LoaderOptions {
  /** What to load. */
  dataset: Dataset;
  /**
   * `shuffled` goes on for ever, each epoch in another order; `sequential` gives every item once,
   * in the data set's order; rare classes draw every item anew, for ever.
   */
  order: "shuffled" | "sequential" | RareClasses;
  /** Seed of the order. */
  seed?: number;
  /** Tells apart loaders of one seed, such as `source` and `target`. */
  stream?: string;
  /** Threads that decode (1). */
  workers?: number;
  /**
   * Samples that are decoded before they are asked for (8): what bounds the memory beside the
   * cache.
   */
  ahead?: number;
  /** Decoded pixels that are kept for later epochs (256 MiB). */
  cacheBytes?: number;
  /** Which part of every batch is loaded here (all of it). */
  share?: StreamShare | null;
  /** How to draw the views that the decoding threads render of every image (none). */
  views?: ViewOptions | null;
}

/** A stream of samples. Close it, or its workers keep the process alive. */
export class Loader implements SampleStream, Disposable {
  readonly #options: Required<LoaderOptions>;
  readonly #workers = new Map<number, DecodeThread>();
  readonly #cache = new Map<number, DecodedItem>();
  #cacheBytes = 0;
  /** The samples from `#position` on, as promised by the workers. */
  readonly #queue: Promise<Sample>[] = [];
  #position = 0;
  readonly #drawAt: (position: number) => Draw;
  #waited = 0;

  /** Starts nothing yet: workers start with the first sample that is wanted. */
  constructor(options: LoaderOptions) {
    this.#options = {
      seed: 0,
      stream: "",
      workers: 1,
      ahead: 8,
      cacheBytes: 256 * 2 ** 20,
      share: null,
      views: null,
      ...options,
    };
    const { dataset, order, seed, stream } = this.#options;
    const draws = typeof order === "string" ? {} : { draws: order };
    this.#drawAt = drawsOf(
      dataset.items.length,
      order === "sequential" ? order : { seed, stream, ...draws },
    );
  }

  /**
   * The position of the next sample, of those that are loaded here. Save it, and {@link Loader.seek} to it
   * to resume.
   */
  get position(): number {
    return this.#position;
  }

  /**
   * Milliseconds that were spent waiting for pixels so far: many mean that decoding holds up the
   * training.
   */
  get waited(): number {
    return this.#waited;
  }

  /**
   * The next samples of the stream.
   *
   * @returns `count` samples; fewer, at last none, at the end of a sequential pass.
   * @throws {DataError} If a file among them cannot be used.
   */
  async next(count: number): Promise<Sample[]> {
    const before = performance.now();
    this.#fill(count);
    const promises = this.#queue.splice(0, count);
    this.#position += promises.length;
    this.#fill(this.#options.ahead);
    const samples = await Promise.all(promises);
    this.#waited += performance.now() - before;
    return samples;
  }

  /** Goes to a position of the stream; samples decoded ahead are dropped. */
  seek(position: number): void {
    this.#queue.length = 0;
    this.#position = position;
  }

  /** Ends the workers. Samples that are still awaited are rejected. */
  close(): void {
    for (const worker of this.#workers.values()) worker.close();
    this.#workers.clear();
    this.#queue.length = 0;
  }

  /** The same as {@link Loader.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #fill(length: number): void {
    const { dataset, order, share } = this.#options;
    while (this.#queue.length < length) {
      const own = this.#position + this.#queue.length;
      const position = share ? placeInStream(share, own) : own;
      if (order === "sequential" && position >= dataset.items.length) return;
      const sample = this.#load(position);
      sample.catch(() => {}); // thrown when its turn comes, not while it waits in the queue
      this.#queue.push(sample);
    }
  }

  async #load(position: number): Promise<Sample> {
    const { dataset: { items, trainIds, code }, views } = this.#options;
    const epoch = Math.floor(position / items.length);
    const drawn = this.#drawAt(position);
    const { index } = drawn;
    const place = { name: items[index].name, epoch, position, ...drawn };
    const cached = this.#cache.get(index);
    if (cached && !views) return { ...cached, ...place };
    const reply = await this.#worker(position).request({
      item: items[index],
      trainIds,
      code,
      cached: cached?.image ?? null,
      render: views && { position, options: views },
    });
    const decoded = cached ?? reply.decoded;
    if (!decoded) throw new Error(`The decoding thread sent nothing for ${place.name}`);
    this.#keep(index, decoded);
    return { ...decoded, ...place, ...(reply.pixels && { pixels: reply.pixels }) };
  }

  #worker(position: number): DecodeThread {
    const at = position % this.#options.workers;
    const worker = this.#workers.get(at) ?? new DecodeThread();
    this.#workers.set(at, worker);
    return worker;
  }

  /**
   * What came first stays: under whole epochs in random order, evicting the oldest would hit less
   * often.
   */
  #keep(index: number, decoded: DecodedItem): void {
    const bytes = decoded.image.data.byteLength + (decoded.label?.data.byteLength ?? 0);
    if (this.#cache.has(index) || this.#cacheBytes + bytes > this.#options.cacheBytes) return;
    this.#cache.set(index, decoded);
    this.#cacheBytes += bytes;
  }
}

/** One worker and the requests that it has not answered. */
class DecodeThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<Decoded>>();
  #lastId = 0;
  #failure: Error | null = null;

  constructor() {
    checkThreadsCanStart();
    this.#worker = new Worker(new URL("./decode_worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<DecodeReply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if ("error" in data) waiting?.reject(receivedError(data.error));
      else waiting?.resolve(data);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(endedThread(event));
    };
  }

  request(request: Omit<DecodeRequest, "id">): Promise<Decoded> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<Decoded>();
    this.#waiting.set(id, waiting);
    this.#worker.postMessage({ ...request, id } satisfies DecodeRequest);
    return waiting.promise;
  }

  close(): void {
    this.#worker.terminate();
    this.#fail(new Error("The loader was closed before the sample was decoded"));
  }

  #fail(error: Error): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
