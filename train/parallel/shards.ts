// Several ranks in one process, which share what connects it to others. A fixed number of them, whatever
// the number of processes, computes the same bits.

import {
  type Collective,
  CollectiveError,
  type CollectiveTimes,
  type Reducible,
  type Reduction,
} from "./collective.ts";

/** What one shard has handed over, and is waiting for. */
interface Waiting {
  readonly data: Reducible | Uint8Array | null;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * Ranks within this process, each as if it were a process of its own: the whole job has `count` times as
 * many ranks as `outer` has. Sums are added up in the order of ranks, so that their bits depend on the
 * number of ranks alone; for that, numbers travel unsummed, as many times as there are ranks.
 *
 * @param outer What connects the processes; it stays the caller's.
 * @param count Ranks in each process.
 */
export function shardsOf(outer: Collective, count: number): Collective[] {
  const meeting = new Meeting(count);
  return Array.from({ length: count }, (_, index) => new Shard(outer, count, index, meeting));
}

/** Where the shards of a process wait for each other: the last to come does what all want done. */
class Meeting {
  readonly #count: number;
  #waiting = new Map<number, Waiting>();

  constructor(count: number) {
    this.#count = count;
  }

  /** Hands data over; `act` is called once, with those of all shards in their order. */
  join<T extends Waiting["data"]>(
    index: number,
    data: T,
    act: (all: readonly T[]) => Promise<void>,
  ): Promise<void> {
    if (this.#waiting.has(index)) {
      throw new CollectiveError(
        `Shard ${index} makes a call before another of its calls has ended`,
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.set(index, { data, resolve, reject });
      if (this.#waiting.size < this.#count) return;
      const all = [...this.#waiting].sort(([a], [b]) => a - b).map(([, waiting]) => waiting);
      this.#waiting = new Map();
      act(all.map((waiting) => waiting.data as T)).then(
        () => all.forEach((waiting) => waiting.resolve()),
        (reason) => all.forEach((waiting) => waiting.reject(reason)),
      );
    });
  }
}

/** One rank of those in a process. */
class Shard implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly engine: string;
  readonly times: Readonly<CollectiveTimes>;
  readonly #outer: Collective;
  readonly #count: number;
  readonly #index: number;
  readonly #meeting: Meeting;

  constructor(outer: Collective, count: number, index: number, meeting: Meeting) {
    this.rank = outer.rank * count + index;
    this.size = outer.size * count;
    this.localRank = outer.localRank;
    this.engine = `${count} shards a process, ${outer.engine}`;
    this.times = outer.times;
    this.#outer = outer;
    this.#count = count;
    this.#index = index;
    this.#meeting = meeting;
  }

  allReduce(data: Reducible, reduction: Reduction): Promise<void> {
    return this.#meeting.join(this.#index, data, (all) => this.#reduce(all, reduction));
  }

  /** As exactly as {@link Shard.allReduce}: nothing is summed on the way, where halves would save bytes. */
  sumInHalves(data: Float32Array): Promise<void> {
    return this.allReduce(data, "sum");
  }

  broadcast(data: Uint8Array, root: number): Promise<void> {
    const [process, index] = [Math.floor(root / this.#count), root % this.#count];
    return this.#meeting.join(this.#index, data, async (all) => {
      const from = all[process === this.#outer.rank ? index : 0] as Uint8Array;
      await this.#outer.broadcast(from, process);
      for (const to of all) if (to !== from) to.set(from);
    });
  }

  barrier(): Promise<void> {
    return this.#meeting.join(this.#index, null, () => this.#outer.barrier());
  }

  abort(exitCode: number): never {
    this.#outer.abort(exitCode);
  }

  close(): void {} // what connects the processes is the caller's

  async #reduce(all: readonly Reducible[], reduction: Reduction): Promise<void> {
    const { length } = all[0] as Reducible;
    for (let first = 0; first < length; first += MOST_AT_ONCE) {
      const parts = all.map((data) => data.subarray(first, first + MOST_AT_ONCE));
      const [total, ...others] = await this.#ofAllRanks(parts);
      for (const other of others) combine(total as Reducible, other, reduction);
      for (const part of parts) part.set(total as Reducible);
    }
  }

  /** What every rank has handed over, in their order. */
  async #ofAllRanks(own: readonly Reducible[]): Promise<Reducible[]> {
    if (this.#outer.size === 1) return own.map((data) => data.slice());
    const { length, BYTES_PER_ELEMENT: bytes } = own[0] as Reducible;
    const buffer = new ArrayBuffer(this.size * length * bytes);
    const rows = Array.from({ length: this.size }, (_, rank) => rowLike(own[0], buffer, rank));
    own.forEach((data, index) => rows[this.#outer.rank * this.#count + index]?.set(data));
    // As bits, to which the zeros of other processes add nothing, not even to a negative zero.
    await this.#outer.allReduce(new Int32Array(buffer), "sum");
    return rows;
  }
}

/** Elements of one exchange: all ranks' lie in memory at the same time. */
const MOST_AT_ONCE = 2 ** 18;

/** The part of a buffer that holds a rank's numbers, of the type of others. */
function rowLike(data: Reducible | undefined, buffer: ArrayBuffer, rank: number): Reducible {
  const { length = 0, BYTES_PER_ELEMENT: bytes = 4 } = data ?? {};
  const Numbers = data instanceof Float32Array
    ? Float32Array
    : data instanceof Float64Array
    ? Float64Array
    : Int32Array;
  return new Numbers(buffer, rank * length * bytes, length);
}

function combine(total: Reducible, other: Reducible, reduction: Reduction): void {
  for (let i = 0; i < total.length; i++) {
    const [a = 0, b = 0] = [total[i], other[i]];
    total[i] = reduction === "sum" ? a + b : reduction === "max" ? Math.max(a, b) : Math.min(a, b);
  }
}
