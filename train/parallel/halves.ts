// Sums over ranks of numbers that travel as 16-bit floats: half the bytes of a reduction of 32-bit ones,
// at the price of their precision. Every rank adds up one part of the numbers, in the order of ranks, and
// hands its sums to all, so that all have the same bits.

/** How halves go from rank to rank. */
export interface HalfExchange {
  /** How many ranks there are. */
  readonly size: number;
  /** The greatest number that any rank has. */
  greatest(value: number): Promise<number>;
  /** Sends each rank its part, in their order, and receives what they have sent to this one. */
  exchange(sent: Float16Array, received: Float16Array): Promise<void>;
  /** Gathers the parts of all ranks, in their order. */
  gather(part: Float16Array, all: Float16Array): Promise<void>;
}

/** Adds up numbers of all ranks; keeps the memory that it needs for the next time. */
export class HalfSums {
  readonly #ranks: HalfExchange;
  readonly #rooms = new Map<string, Float16Array<ArrayBuffer>>();
  #sums = new Float32Array(0);

  /** For the ranks between which halves go so. */
  constructor(ranks: HalfExchange) {
    this.#ranks = ranks;
  }

  /**
   * Adds up arrays of all ranks element by element, in place. A power of two brings all numbers into the
   * range of halves; infinities and NaN stay what they are.
   *
   * A number of each rank and the sum are rounded once, by at most 2^-11 of themselves; the error of what is
   * 2^-28 times as large as the largest number, divided by the ranks, is not bounded so.
   */
  async sum(data: Float32Array): Promise<void> {
    const { size } = this.#ranks;
    const length = Math.ceil(data.length / size);
    const [sent, received, own, all] = ["sent", "received", "own", "all"].map((name) =>
      this.#room(name, name === "own" ? length : length * size)
    ) as [Float16Array, Float16Array, Float16Array, Float16Array];
    const scale = scaleOf(await this.#ranks.greatest(greatestOf(data)), size);
    for (let at = 0; at < data.length; at++) sent[at] = data[at] * scale;
    sent.fill(0, data.length);
    await this.#ranks.exchange(sent, received);
    if (this.#sums.length < length) this.#sums = new Float32Array(length);
    const sums = this.#sums;
    for (let at = 0; at < length; at++) sums[at] = received[at];
    for (let rank = 1; rank < size; rank++) {
      const from = rank * length;
      for (let at = 0; at < length; at++) sums[at] += received[from + at];
    }
    for (let at = 0; at < length; at++) own[at] = sums[at];
    await this.#ranks.gather(own, all);
    const back = 1 / scale;
    for (let at = 0; at < data.length; at++) data[at] = all[at] * back;
  }

  #room(name: string, length: number): Float16Array {
    const kept = this.#rooms.get(name);
    const room = kept && kept.length >= length ? kept : new Float16Array(length);
    this.#rooms.set(name, room);
    return room.subarray(0, length);
  }
}

/** Bits of the largest finite number are below these of infinity. */
const INFINITY_BITS = 0x7f800000;

/** The greatest finite amount of any number, 0 if there is none. */
function greatestOf({ buffer, byteOffset, length }: Float32Array): number {
  const words = new Uint32Array(buffer, byteOffset, length);
  let greatest = 0;
  for (let at = 0; at < length; at++) {
    const amount = words[at] & 0x7fffffff; // as integers, amounts are in the same order
    if (amount > greatest && amount < INFINITY_BITS) greatest = amount;
  }
  return new Float32Array(Uint32Array.of(greatest).buffer)[0];
}

/** A power of two by which sums of so many numbers become at most 2^15: halves reach 65,504. */
function scaleOf(greatest: number, ranks: number): number {
  if (greatest === 0) return 1;
  return 2 ** (14 - Math.floor(Math.log2(greatest)) - Math.ceil(Math.log2(ranks)));
}
