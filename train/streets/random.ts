/**
 * Random numbers for the benchmark: a stream per image (xoshiro128**) and hashes of surface
 * coordinates for textures. Integers and exact arithmetic only, so the bits are the same anywhere.
 *
 * @module
 */
import { Xoshiro128 } from "../../nn/random.ts";

/** An inclusive lower and an exclusive upper end. */
export type Range = readonly [number, number];

const UNIT = 1 / 4294967296;

/** Mixes integers into 32 well-spread bits. */
export function hash(...words: number[]): number {
  let state = 0x9e3779b9;
  for (const word of words) state = scramble(Math.imul(state, 31) ^ word);
  return state >>> 0;
}

function scramble(word: number): number {
  word = Math.imul(word ^ (word >>> 16), 0x7feb352d);
  word = Math.imul(word ^ (word >>> 15), 0x846ca68b);
  return word ^ (word >>> 16);
}

/** 32 bits that belong to the lattice cell (x, y) of the texture `seed`. */
export function cellHash(x: number, y: number, seed: number): number {
  return scramble(Math.imul(x, 0x27d4eb2f) ^ scramble(Math.imul(y, 0x165667b1) ^ seed)) >>> 0;
}

/** A number in [0, 1) that belongs to the lattice cell (x, y) of the texture `seed`. */
export function cellNoise(x: number, y: number, seed: number): number {
  return cellHash(x, y, seed) * UNIT;
}

/** Smooth noise in [0, 1): cell noise interpolated between the four corners of a cell. */
export function smoothNoise(x: number, y: number, seed: number): number {
  const left = Math.floor(x), top = Math.floor(y);
  let across = x - left, down = y - top;
  across *= across * (3 - 2 * across);
  down *= down * (3 - 2 * down);
  const above = cellNoise(left, top, seed), below = cellNoise(left, top + 1, seed);
  const upper = above + (cellNoise(left + 1, top, seed) - above) * across;
  const lower = below + (cellNoise(left + 1, top + 1, seed) - below) * across;
  return upper + (lower - upper) * down;
}

/** A stream of random numbers. */
export class StreetRandom {
  readonly #generator: Xoshiro128;

  /** Starts the stream that belongs to these integers. */
  constructor(...words: number[]) {
    const state = [1, 2, 3, 4].map((word) => hash(...words, word));
    this.#generator = new Xoshiro128(state[0], state[1], state[2], state[3] | 1);
  }

  /** 32 random bits. */
  bits(): number {
    return this.#generator.next();
  }

  /** A number in [low, high). */
  range([low, high]: Range): number {
    return low + (high - low) * this.bits() * UNIT;
  }

  /** An integer from low to high, both included. */
  integer([low, high]: Range): number {
    return low + Math.floor(this.bits() * UNIT * (high - low + 1));
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.bits() * UNIT < probability;
  }

  /** −1 or 1. */
  sign(): -1 | 1 {
    return this.chance(0.5) ? 1 : -1;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.bits() * UNIT * items.length)];
  }
}
