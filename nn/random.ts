// Random numbers on the host: xoshiro128**, one stream for each seed and name.

/** The generator xoshiro128** (Blackman and Vigna, 2018). */
export class Xoshiro128 {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Starts from four words of 32 bits, not all of them 0: that is its one fixed point. */
  constructor(a: number, b: number, c: number, d: number) {
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#d = d;
  }

  /** An integer in [0, 2³²). */
  next(): number {
    const scrambled = Math.imul(rotate(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotate(this.#d, 11);
    return scrambled;
  }
}

/**
 * A stream of random numbers that depends on nothing but its seed and name, so that drawing from
 * one stream never shifts another. Not for secrets.
 *
 * The generator is xoshiro128**, its state filled by SplitMix32 from the seed and the FNV-1a hash
 * of the name.
 */
export class Random {
  readonly #generator: Xoshiro128;
  #spare: number | undefined;

  /**
   * Starts a stream.
   *
   * @param seed Any integer; its low 32 bits count.
   * @param name What the stream is for; streams of one seed differ by it.
   */
  constructor(seed: number, name = "") {
    let state = (hash(name) ^ mix(seed >>> 0)) >>> 0;
    const next = (): number => mix(state = (state + 0x9e3779b9) >>> 0);
    this.#generator = new Xoshiro128(next(), next(), next(), next() | 1);
  }

  /** An integer in [0, 2³²). */
  uint32(): number {
    return this.#generator.next();
  }

  /** A number in [low, high), uniform in steps of 2⁻³² of the range. */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.uint32() / 0x100000000);
  }

  /** An integer in [0, bound), `bound` far below 2³². */
  below(bound: number): number {
    return Math.floor(this.uint32() / 0x100000000 * bound);
  }

  /** A number of the normal distribution with mean 0 and deviation 1 (Box and Muller, 1958). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log((this.uint32() + 1) / 0x100000000));
    const angle = 2 * Math.PI * this.uniform();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

function rotate(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}

function hash(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

function mix(x: number): number {
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return (x ^ (x >>> 15)) >>> 0;
}
