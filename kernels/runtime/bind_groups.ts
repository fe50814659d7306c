// The bind groups that dispatches have used: creating one costs more than a dispatch, and on Linux
// drivers every live one is a memory mapping, so that about 65,000 of them end the process.
//
// Steps of a training are alike: dispatches mostly follow in the order in which they did before. So
// what is next in that order is compared first, and a key of text is made only where it is not.

import { collectGarbage } from "./garbage.ts";
import type { Span, Storage } from "./storage.ts";

/** Enough for the bind groups of the deepest network, far below the number that ends a process. */
const MAX_BIND_GROUPS = 8192;
/** Dispatches of which the order is known: more than a step of that network has. */
const HISTORY = 16384;

/** The layout of a kernel's arrays, which kernels share. */
export interface ArraysLayout {
  /** Equal for equal layouts. */
  readonly key: string;
  /** Layout of group 0. */
  readonly layout: GPUBindGroupLayout;
  /** Binding numbers, in the order in which `dispatch` receives the arrays. */
  readonly bindings: readonly number[];
}

/** A bind group and what it binds. */
interface Bound {
  readonly group: GPUBindGroup;
  readonly layout: ArraysLayout;
  readonly spans: readonly Span[];
  /** Its last place in the history. */
  place: number;
}

/** Makes bind groups and keeps them for equal dispatches. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #guardBytes: number;
  readonly #bound = new Map<string, Bound>();
  readonly #keysOfStorage = new Map<number, Set<string>>();
  /** Bind groups that are out of the cache and may still be alive until a garbage collection. */
  #forgotten = 0;
  /** The bind groups of the last dispatches, over and over in the same places. */
  #history: Bound[] = [];
  #place = 0;
  /** The place of the one that is expected: what followed the last when it was used before. */
  #expected = 0;

  /** `guardBytes` are bound behind every array, so that kernels could reach them. */
  constructor(device: GPUDevice, guardBytes: number) {
    this.#device = device;
    this.#guardBytes = guardBytes;
  }

  /** How many are kept. */
  get count(): number {
    return this.#bound.size;
  }

  /** The bind group of arrays, in the order of the layout's bindings. */
  get(layout: ArraysLayout, arrays: readonly Span[]): GPUBindGroup {
    let bound = this.#history[this.#expected];
    if (!bound || !binds(bound, layout, arrays)) {
      bound = this.#find(layout, arrays);
      this.#expected = bound.place;
    }
    this.#expected = (this.#expected + 1) % HISTORY;
    bound.place = this.#place;
    this.#history[this.#place] = bound;
    this.#place = (this.#place + 1) % HISTORY;
    return bound.group;
  }

  /** Forgets the bind groups of a buffer that is about to be destroyed. */
  forget(storage: Storage): void {
    for (const key of this.#keysOfStorage.get(storage.id) ?? []) {
      if (this.#bound.delete(key)) this.#forgotten++;
    }
    this.#keysOfStorage.delete(storage.id);
  }

  #find(layout: ArraysLayout, arrays: readonly Span[]): Bound {
    let key = layout.key;
    for (const { storage, byteOffset, byteLength } of arrays) {
      key += `|${storage.id}:${byteOffset}:${byteLength}`;
    }
    return this.#bound.get(key) ?? this.#make(key, layout, arrays);
  }

  #make(key: string, layout: ArraysLayout, arrays: readonly Span[]): Bound {
    const spans = arrays.map(({ storage, byteOffset, byteLength }) => ({
      storage,
      byteOffset,
      byteLength,
    }));
    const group = this.#device.createBindGroup({
      layout: layout.layout,
      entries: spans.map(({ storage, byteOffset, byteLength }, index) => ({
        binding: layout.bindings[index] as number,
        resource: {
          buffer: storage.buffer,
          offset: byteOffset,
          size: Math.max(4, byteLength) + this.#guardBytes,
        },
      })),
    });
    if (this.#bound.size + this.#forgotten >= MAX_BIND_GROUPS) {
      if (this.#bound.size > this.#forgotten) {
        this.#bound.clear();
        this.#keysOfStorage.clear();
      }
      this.#history = [];
      this.#place = 0;
      collectGarbage();
      this.#forgotten = 0;
    }
    const bound: Bound = { group, layout, spans, place: this.#place };
    this.#bound.set(key, bound);
    for (const { storage: { id } } of spans) {
      const keys = this.#keysOfStorage.get(id);
      if (keys) keys.add(key);
      else this.#keysOfStorage.set(id, new Set([key]));
    }
    return bound;
  }
}

function binds({ layout, spans }: Bound, to: ArraysLayout, arrays: readonly Span[]): boolean {
  if (layout !== to) return false;
  for (let i = 0; i < arrays.length; i++) {
    const [a, b] = [spans[i] as Span, arrays[i] as Span];
    if (a.storage !== b.storage) return false;
    if (a.byteOffset !== b.byteOffset || a.byteLength !== b.byteLength) return false;
  }
  return true;
}
