// What the host changes in the middle of what the GPU does. Numbers come to it a bucket at a time: while
// one is being changed, for which other machines may be asked, the next one is fetched and the one before
// is given back.

import type { CommandQueue } from "./queue.ts";
import { arrived } from "./read_back.ts";
import type { Span } from "./storage.ts";

/** Bytes of a bucket. What connects processes is fastest at 1 to 16 MB: for more it takes new memory. */
export const BUCKET_BYTES = 8 * 2 ** 20;

/** Staging buffers and places on the host: one bucket is changed while the next one is fetched. */
const PAIR = 2;

/**
 * Where time has gone while the host had something to change, in milliseconds since the device was opened.
 * The rest of it are the changes themselves, with what was copied meanwhile.
 */
export interface HostTimes {
  /** Until the GPU had done what came before; of small arrays with their way to the host. */
  gpu: number;
  /** Numbers on their way to the host and back, while nothing was being changed. */
  copy: number;
}

/** A place in the GPU's memory, and the name of the array there. */
export interface Place extends Span {
  /** For errors. */
  readonly label: string;
}

/** Lets the host change what arrays hold. */
export class HostChanges {
  /** See {@link HostTimes}. */
  readonly times: HostTimes = { gpu: 0, copy: 0 };
  readonly #device: GPUDevice;
  readonly #queue: CommandQueue;
  readonly #staging: GPUBuffer[] = [];
  /** Where numbers are changed. It is kept: large memory is slow while it is new. */
  readonly #memory: Float32Array<ArrayBuffer>[] = [];

  /** For what is submitted to that device through that queue. */
  constructor(device: GPUDevice, queue: CommandQueue) {
    this.#device = device;
    this.#queue = queue;
  }

  /**
   * Changes what places hold after all that was submitted.
   *
   * @param places They count as one array, end to end, that is cut every {@link BUCKET_BYTES}.
   * @param change Is called with one bucket after the other, each once it is done with the one before.
   * @throws {GpuError} If the GPU does not give the numbers.
   */
  async run(
    places: readonly Place[],
    change: (numbers: Float32Array) => Promise<void>,
  ): Promise<void> {
    const buckets = bucketsOf(places);
    if (buckets.length === 0) return;
    const started = performance.now();
    let done = NaN;
    if (buckets.length > 1) { // a few numbers come first, to tell the GPU's work from a long transfer
      await this.#fetch(this.#send([{ ...buckets[0]![0]!, byteLength: 4 }], 0));
      done = performance.now();
    }
    const sent = buckets.slice(0, PAIR).map((bucket, turn) => this.#send(bucket, turn));
    let changed = 0;
    let changing = Promise.resolve();
    let giveBack = () => {};
    for (const [at, bucket] of buckets.entries()) {
      const numbers = await this.#fetch(sent[at]!);
      if (at === 0 && buckets.length === 1) done = performance.now();
      const later = buckets[at + PAIR];
      if (later) sent.push(this.#send(later, at + PAIR));
      await changing;
      const began = performance.now();
      changing = change(numbers).then(() => {
        changed += performance.now() - began;
      });
      changing.catch(() => {}); // who waits for it hears of it
      giveBack(); // the one before
      giveBack = () => this.#write(bucket, numbers);
    }
    await changing;
    giveBack();
    this.times.gpu += done - started;
    this.times.copy += performance.now() - done - changed;
  }

  /** Lets the GPU copy a bucket to the staging buffer whose turn it is. */
  #send(bucket: readonly Place[], turn: number): Sent {
    const at = turn % PAIR;
    const bytes = bytesOf(bucket);
    const staging = this.#stagingOf(bytes, at);
    const encoder = this.#device.createCommandEncoder();
    let offset = 0;
    for (const { storage, byteOffset, byteLength } of bucket) {
      encoder.copyBufferToBuffer(storage.buffer, byteOffset, staging, offset, byteLength);
      offset += byteLength;
    }
    this.#device.queue.submit([encoder.finish()]);
    return { staging, at, bytes, label: bucket[0]!.label };
  }

  /** The numbers that were sent, in memory that is good until the next but one is fetched. */
  async #fetch({ staging, at, bytes, label }: Sent): Promise<Float32Array> {
    const done = this.#queue.work.wait();
    const mapped = Math.ceil(bytes / 8) * 8;
    const mapping = staging.mapAsync(GPUMapMode.READ, 0, mapped);
    mapping.catch(() => {}); // below
    let range: ArrayBuffer;
    try {
      // Deno has waited for the GPU when `mapAsync` returns, though its promise takes ten milliseconds
      // more: a hundred times as long as all the rest of a small change.
      range = staging.getMappedRange(0, mapped);
    } catch {
      await arrived(this.#device, mapping, { label, bytes });
      range = staging.getMappedRange(0, mapped);
    }
    done();
    const numbers = this.#memoryOf(bytes, at);
    numbers.set(new Float32Array(range, 0, bytes / 4));
    staging.unmap();
    return numbers;
  }

  /** Gives a bucket back to the GPU. */
  #write(bucket: readonly Place[], numbers: Float32Array): void {
    let from = 0;
    for (const { storage, byteOffset, byteLength } of bucket) {
      const to = from + byteLength / 4;
      this.#queue.writeNow(storage, byteOffset, numbers.subarray(from, to));
      from = to;
    }
  }

  #stagingOf(bytes: number, at: number): GPUBuffer {
    const kept = this.#staging[at];
    if (kept && kept.size >= bytes) return kept;
    kept?.destroy();
    const staging = this.#device.createBuffer({
      label: "numbers for the host",
      size: Math.ceil(bytes / 65536) * 65536,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      mappedAtCreation: true, // Deno panics where a range is asked of a buffer that has never been mapped
    });
    staging.unmap();
    return this.#staging[at] = staging;
  }

  #memoryOf(bytes: number, at: number): Float32Array<ArrayBuffer> {
    const kept = this.#memory[at];
    const memory = kept && kept.byteLength >= bytes ? kept : new Float32Array(bytes / 4);
    this.#memory[at] = memory;
    return memory.subarray(0, bytes / 4);
  }

  /** Frees the staging buffers. */
  close(): void {
    for (const staging of this.#staging) staging.destroy();
  }
}

/** What is on its way to the host. */
interface Sent {
  readonly staging: GPUBuffer;
  /** Which of a pair it takes. */
  readonly at: number;
  readonly bytes: number;
  readonly label: string;
}

/** Places end to end, cut where their lengths alone say: the same on all machines. */
function bucketsOf(places: readonly Place[]): Place[][] {
  const buckets: Place[][] = [];
  let room = 0;
  for (const place of places) {
    for (let from = 0; from < place.byteLength;) {
      if (room === 0) {
        buckets.push([]);
        room = BUCKET_BYTES;
      }
      const byteLength = Math.min(room, place.byteLength - from);
      buckets.at(-1)?.push({ ...place, byteOffset: place.byteOffset + from, byteLength });
      from += byteLength;
      room -= byteLength;
    }
  }
  return buckets;
}

function bytesOf(bucket: readonly Place[]): number {
  return bucket.reduce((sum, { byteLength }) => sum + byteLength, 0);
}
