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

/**
 * Numbers that are exchanged at once: so few that halves are made of others meanwhile, which takes about as
 * long, but not so few that what a rank sends to another is short.
 */
export function pieceOf(ranks: number): number {
  return Math.min(Math.max(2 ** 18, 2 ** 14 * ranks), 2 ** 21);
}
/** One piece is made, one added up and one taken back at a time. */
const PIECES_AT_ONCE = 3;

/** Memory for a piece. */
interface Room {
  readonly sent: Float16Array;
  readonly received: Float16Array;
  /** Sums of the part that is this rank's. */
  readonly own: Float16Array;
  readonly all: Float16Array;
}

/** Adds up numbers of all ranks; keeps the memory that it needs for the next time. */
export class HalfSums {
  readonly #ranks: HalfExchange;
  readonly #piece: number;
  readonly #rooms: Room[];
  readonly #sums: Float32Array;

  /** For the ranks between which halves go so. */
  constructor(ranks: HalfExchange) {
    this.#ranks = ranks;
    this.#piece = pieceOf(ranks.size);
    const part = Math.ceil(this.#piece / ranks.size);
    const halves = (length: number) => new Float16Array(length);
    this.#sums = new Float32Array(part);
    this.#rooms = Array.from({ length: PIECES_AT_ONCE }, () => ({
      ...{ sent: halves(part * ranks.size), received: halves(part * ranks.size) },
      ...{ own: halves(part), all: halves(part * ranks.size) },
    }));
  }

  /**
   * Adds up arrays of all ranks element by element, in place. A power of two brings all numbers into the
   * range of halves; infinities and NaN stay what they are.
   *
   * A number of each rank and the sum are rounded once, by at most 2^-11 of themselves; where they are
   * small, by at most 2^-37 of the largest number of all ranks, times their count.
   */
  async sum(data: Float32Array): Promise<void> {
    const { size } = this.#ranks;
    const scale = scaleOf(await this.#ranks.greatest(greatestOf(data)), size);
    const pieces: { readonly numbers: Float32Array; readonly room: Room }[] = [];
    for (let at = 0; at < data.length; at += this.#piece) {
      const numbers = data.subarray(at, at + this.#piece);
      pieces.push({ numbers, room: this.#roomFor(numbers, pieces.length) });
    }
    const [exchanged, gathered]: Promise<void>[][] = [[], []];
    let last = Promise.resolve(); // one call at a time, in an order that is the same on all ranks
    const inOrder = (call: () => Promise<void>): Promise<void> => {
      last = last.then(call);
      last.catch(() => {}); // who waits for it hears of it
      return last;
    };
    for (let turn = 0; turn < pieces.length + PIECES_AT_ONCE - 1; turn++) {
      const [next, sent, summed] = [pieces[turn], pieces[turn - 1], pieces[turn - 2]];
      if (next) {
        const { numbers, room } = next;
        for (let at = 0; at < numbers.length; at++) room.sent[at] = numbers[at] * scale;
        exchanged.push(inOrder(() => this.#ranks.exchange(room.sent, room.received)));
      }
      if (sent) {
        await exchanged[turn - 1];
        this.#addUp(sent.room);
        const { own, all } = sent.room;
        gathered.push(inOrder(() => this.#ranks.gather(own, all)));
      }
      if (summed) {
        await gathered[turn - 2];
        const { numbers, room: { all } } = summed;
        const back = 1 / scale;
        for (let at = 0; at < numbers.length; at++) numbers[at] = all[at] * back;
      }
    }
  }

  /** Adds up the parts that all ranks have sent. */
  #addUp({ received, own }: Room): void {
    const sums = this.#sums;
    const { length } = own;
    for (let at = 0; at < length; at++) sums[at] = received[at];
    for (let from = length; from < received.length; from += length) {
      for (let at = 0; at < length; at++) sums[at] += received[from + at];
    }
    for (let at = 0; at < length; at++) own[at] = sums[at];
  }

  /** The room of a piece in parts of equal length; what is behind the last number goes along unused. */
  #roomFor({ length }: Float32Array, piece: number): Room {
    const part = Math.ceil(length / this.#ranks.size);
    const whole = part * this.#ranks.size;
    const { sent, received, own, all } = this.#rooms[piece % PIECES_AT_ONCE] as Room;
    return {
      ...{ sent: sent.subarray(0, whole), received: received.subarray(0, whole) },
      ...{ own: own.subarray(0, part), all: all.subarray(0, whole) },
    };
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
