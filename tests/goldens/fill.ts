// The hash that goldens draw their weights, images and labels from; make.py has the same, bit for bit.

import type { Module } from "../../nn/module.ts";

/** Version of the golden files that the tests understand; make.py writes it. */
export const GOLDEN_VERSION = 1;

/** How to make the goldens again, for messages. */
export const REGENERATE =
  "python3 tests/goldens/make.py, or make_stages.py, make_distil.py and so on for the files of those names (with PyTorch, Debian's python3-torch)";

/** A tensor kept whole. */
export interface Whole {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** A tensor kept as its norm and every `stride`-th value. */
export interface Summary {
  readonly norm: number;
  readonly stride: number;
  readonly sample: readonly number[];
}

/** Hashes of (salt/name, index) as integers in [0, 2³²). */
export class Fill {
  readonly #salt: string;

  constructor(salt: string) {
    this.#salt = salt;
  }

  integers(name: string, count: number): Uint32Array {
    let seed = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(`${this.#salt}/${name}`)) {
      seed = Math.imul(seed ^ byte, 0x01000193);
    }
    const values = new Uint32Array(count);
    for (let index = 0; index < count; index++) {
      let h = (Math.imul(index, 0x9e3779b9) + seed) | 0;
      h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
      h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
      values[index] = h ^ (h >>> 16);
    }
    return values;
  }

  /** Floats in [-1, 1). */
  signed(name: string, count: number): Float32Array {
    const integers = this.integers(name, count);
    const values = new Float32Array(count); // filled by a loop, as `from` takes seconds for millions
    for (let index = 0; index < count; index++) {
      values[index] = ((integers[index] as number) >>> 8) * 2 ** -23 - 1;
    }
    return values;
  }

  /** A parameter: He-uniform where it has several axes, else near 1 (`weight`) or 0 (`bias`). */
  parameter(name: string, shape: readonly number[]): Float32Array {
    const values = this.signed(name, product(shape));
    const [, ...fan] = shape;
    if (fan.length > 0) {
      const bound = Math.fround(Math.sqrt(6 / product(fan)));
      return values.map((value) => value * bound);
    }
    const base = name.endsWith("weight") ? 1 : 0;
    return values.map((value) => base + 0.25 * value);
  }

  /** Sets every parameter of a module. */
  module(module: Module): void {
    for (const [name, { array }] of module.namedParameters()) {
      array.gpu.write(array, this.parameter(name, array.shape));
    }
  }

  /** Labels [images, height, width] in blocks of 8×8, about a tenth of them ignored. */
  labels(
    name: string,
    [images, height, width]: readonly [number, number, number],
    classes: number,
  ): Uint32Array {
    const [rows, columns] = [Math.ceil(height / 8), Math.ceil(width / 8)];
    const blocks = this.integers(name, images * rows * columns)
      .map((h) => ((h >>> 16) % 10 === 0 ? 255 : h % classes));
    const labels = new Uint32Array(images * height * width);
    for (let index = 0; index < labels.length; index++) {
      const x = index % width;
      const y = Math.floor(index / width) % height;
      const image = Math.floor(index / width / height);
      labels[index] = blocks[(image * rows + (y >> 3)) * columns + (x >> 3)] as number;
    }
    return labels;
  }

  /** Images [images, 3, height, width] for labels: the class's colour and a quarter of noise. */
  images(name: string, labels: Uint32Array, images: number): Float32Array {
    const plane = labels.length / images;
    const noise = this.signed(name, images * 3 * plane);
    const colours = this.signed("colours", 256 * 3);
    return noise.map((value, index) => {
      const channel = Math.floor(index / plane) % 3;
      const image = Math.floor(index / plane / 3);
      const label = labels[image * plane + index % plane] as number;
      const colour = Math.fround((colours[label * 3 + channel] as number) * 0.5 + 0.5);
      const grain = Math.fround(value * 0.5 + 0.5);
      return Math.fround(0.75 * colour) + Math.fround(0.25 * grain);
    });
  }
}

function product(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}
