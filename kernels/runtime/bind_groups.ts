// The bind groups that dispatches have used: creating one costs more than a dispatch, and on Linux
// drivers every live one is a memory mapping, so that about 65,000 of them end the process.
//
// The cache is a trie, as a key of text would cost more than the rest of a dispatch: a step from
// node to node for each array, by the number of its stretch of memory.

import { collectGarbage } from "./garbage.ts";
import type { Span, Storage } from "./storage.ts";

/** Enough for the bind groups of the deepest network, far below the number that ends a process. */
const MAX_BIND_GROUPS = 8192;

/** The layout of a kernel's arrays, which kernels share. */
export interface ArraysLayout {
  /** Layout of group 0. */
  readonly layout: GPUBindGroupLayout;
  /** Binding numbers, in the order in which `dispatch` receives the arrays. */
  readonly bindings: readonly number[];
}

/** What is reached by the arrays on the way from a layout; the last of them leads to a group. */
interface Node {
  readonly next: Map<number, Node>;
  group: GPUBindGroup | undefined;
}

/** Makes bind groups and keeps them for equal dispatches. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #guardBytes: number;
  readonly #roots = new Map<ArraysLayout, Node>();
  readonly #nodesOfStorage = new Map<number, Set<Node>>();
  #nextSpan = 0;
  #count = 0;
  /** Bind groups that are out of the cache and may still be alive until a garbage collection. */
  #forgotten = 0;

  /** `guardBytes` are bound behind every array, so that kernels could reach them. */
  constructor(device: GPUDevice, guardBytes: number) {
    this.#device = device;
    this.#guardBytes = guardBytes;
  }

  /** How many are kept. */
  get count(): number {
    return this.#count;
  }

  /** The bind group of arrays, in the order of the layout's bindings. */
  get(layout: ArraysLayout, arrays: readonly Span[]): GPUBindGroup {
    return this.#nodeOf(layout, arrays).group ?? this.#make(layout, arrays);
  }

  /** Forgets the bind groups of a buffer that is about to be destroyed. */
  forget(storage: Storage): void {
    for (const node of this.#nodesOfStorage.get(storage.id) ?? []) {
      if (!node.group) continue; // another buffer of it was destroyed before
      node.group = undefined;
      this.#count--;
      this.#forgotten++;
    }
    this.#nodesOfStorage.delete(storage.id);
  }

  #nodeOf(layout: ArraysLayout, arrays: readonly Span[]): Node {
    let node = nextNode(this.#roots, layout);
    for (const array of arrays) node = nextNode(node.next, this.#numberOf(array));
    return node;
  }

  /** A number for a stretch of a buffer, the same for equal ones. */
  #numberOf({ storage, byteOffset, byteLength }: Span): number {
    let lengths = storage.spans.get(byteOffset);
    if (!lengths) storage.spans.set(byteOffset, lengths = new Map());
    let span = lengths.get(byteLength);
    if (span === undefined) lengths.set(byteLength, span = this.#nextSpan++);
    return span;
  }

  #make(layout: ArraysLayout, arrays: readonly Span[]): GPUBindGroup {
    const group = this.#device.createBindGroup({
      layout: layout.layout,
      entries: arrays.map((array, index) => ({
        binding: layout.bindings[index] as number,
        resource: {
          buffer: array.storage.buffer,
          offset: array.byteOffset,
          size: Math.max(4, array.byteLength) + this.#guardBytes,
        },
      })),
    });
    if (this.#count + this.#forgotten >= MAX_BIND_GROUPS) {
      if (this.#count > this.#forgotten) this.#clear();
      collectGarbage();
      this.#forgotten = 0;
    }
    const node = this.#nodeOf(layout, arrays);
    node.group = group;
    this.#count++;
    for (const { storage: { id } } of arrays) {
      const nodes = this.#nodesOfStorage.get(id);
      if (nodes) nodes.add(node);
      else this.#nodesOfStorage.set(id, new Set([node]));
    }
    return group;
  }

  #clear(): void {
    this.#roots.clear();
    this.#nodesOfStorage.clear();
    this.#count = 0;
  }
}

function nextNode<K>(nodes: Map<K, Node>, key: K): Node {
  let node = nodes.get(key);
  if (!node) nodes.set(key, node = { next: new Map(), group: undefined });
  return node;
}
