// How much work one submission holds. Systems reset a GPU that is busy with one for some seconds
// (Windows after two), while a submission of its own for each kernel would keep a fast GPU waiting:
// so what is recorded is submitted once it is likely to take a fraction of a second.

/** As slow as a GPU is expected to be, and taken for until it has run something. */
const SLOW_GPU = { flopsPerSecond: 1e12, bytesPerSecond: 5e10 } as const;

/** What launchers let one dispatch take on such a GPU, in seconds: they split what takes longer. */
const LONGEST_DISPATCH = 0.14;

/** The operations of such a dispatch. */
export const MOST_FLOPS = LONGEST_DISPATCH * SLOW_GPU.flopsPerSecond;

/** The bytes of all arrays of such a dispatch. */
export const MOST_BYTES = LONGEST_DISPATCH * SLOW_GPU.bytesPerSecond;

/** What one submission may take on the GPU at hand, in seconds, unless it is opened otherwise. */
export const LONGEST_SUBMISSION = 0.3;

/** The seconds that work takes on a slow GPU. */
export function slowSeconds(flops: number, bytes: number): number {
  return Math.max(flops / SLOW_GPU.flopsPerSecond, bytes / SLOW_GPU.bytesPerSecond);
}

/** Counts the work of submissions, and learns from waits for it how fast the GPU is. */
export class WorkMeter {
  readonly #mostSeconds: number;
  readonly #now: () => number;
  /** How many times as fast as a slow GPU this one has been, at least. */
  #speed = 1;
  #recorded = 0;
  /** What was submitted since the last wait, and when that began. */
  #submitted = 0;
  #since = 0;

  /** `mostSeconds` for a submission; `now` tells the time in milliseconds. */
  constructor(mostSeconds: number, now: () => number = () => performance.now()) {
    this.#mostSeconds = mostSeconds;
    this.#now = now;
  }

  /** Whether work of so many seconds on a slow GPU fits what is recorded, where anything is. */
  fits(seconds: number): boolean {
    return this.#recorded === 0 || this.#recorded + seconds <= this.#mostSeconds * this.#speed;
  }

  /** Counts what is recorded. */
  add(seconds: number): void {
    this.#recorded += seconds;
  }

  /** Begins to count the next submission. Returns what was recorded for this one. */
  take(): number {
    const recorded = this.#recorded;
    this.#recorded = 0;
    return recorded;
  }

  /** What was taken goes to the GPU; what is recorded now, unless some was taken before. */
  submit(taken: number = this.take()): void {
    if (this.#submitted === 0) this.#since = this.#now();
    this.#submitted += taken;
  }

  /**
   * Begins a wait for all that was submitted.
   *
   * @returns To be called once the GPU has run it. The time since may hold more than its work, so
   *   the GPU is never taken for faster than it was.
   */
  wait(): () => void {
    const [work, since] = [this.#submitted, this.#since];
    this.#submitted = 0;
    return () => {
      const seconds = (this.#now() - since) / 1000;
      if (seconds > 0) this.#speed = Math.max(this.#speed, work / seconds);
    };
  }
}
