// Module: a tree of named parameters, buffers and children, with state dicts under official names.

import { formatShape, GpuArray, sameShape, type Shape } from "../kernels/runtime/mod.ts";
import { WeightsMismatchError } from "./formats/weights_error.ts";
import type { Tensor } from "./tensor.ts";

/** Values on the host, read when they are wanted. */
export interface HostState {
  /** Length of each axis. */
  readonly shape: Shape;
  /** The values; the array may be overwritten by the next call on another entry. */
  floats(): Float32Array;
}

/** Named values to load: arrays on the GPU, or values on the host. */
export type StateSource = ReadonlyMap<string, GpuArray | HostState>;

/** What fits and what does not between a module and a {@link StateSource}. */
export interface LoadReport {
  /** Names in both, of the same shape. */
  readonly loaded: readonly string[];
  /** Names that only the module has. */
  readonly missing: readonly string[];
  /** Names that only the source has. */
  readonly unexpected: readonly string[];
  /** Names in both whose shapes differ. */
  readonly misshaped: readonly {
    readonly name: string;
    readonly found: Shape;
    readonly expected: Shape;
  }[];
}

/** How to load a state dict. */
export interface LoadOptions {
  /** Whether anything missing, unexpected or of another shape is an error (default true). */
  readonly strict?: boolean | undefined;
  /** What the values are, for the error: `the checkpoint "a.safetensors"`. */
  readonly from?: string | undefined;
}

// PyTorch's batch norm counts its updates; the counter has no effect where momentum is a constant.
const IGNORED_STATE = /(^|\.)num_batches_tracked$/;

/** Compares the names and shapes of a network's own state with those of another. */
export function compareStates(
  own: ReadonlyMap<string, { readonly shape: Shape }>,
  source: ReadonlyMap<string, { readonly shape: Shape }>,
): LoadReport {
  const loaded: string[] = [];
  const missing: string[] = [];
  const misshaped: { name: string; found: Shape; expected: Shape }[] = [];
  for (const [name, { shape: expected }] of own) {
    const found = source.get(name)?.shape;
    if (!found) missing.push(name);
    else if (sameShape(found, expected)) loaded.push(name);
    else misshaped.push({ name, found, expected });
  }
  const unexpected = [...source.keys()]
    .filter((name) => !own.has(name) && !IGNORED_STATE.test(name));
  return { loaded, missing, unexpected, misshaped };
}

/**
 * A part of a network: it owns parameters and buffers under their names and passes names on to its
 * children, so that the whole tree reads like a PyTorch state dict, `layer1.0.conv1.weight`.
 *
 * Subclasses register what they own in their constructor with {@link Module.parameter},
 * {@link Module.buffer} and {@link Module.child}.
 */
export abstract class Module {
  /** Whether the module trains: batch statistics and dropout. Set it with {@link Module.train}. */
  training = true;
  readonly #parameters = new Map<string, Tensor>();
  readonly #buffers = new Map<string, GpuArray>();
  readonly #children = new Map<string, Module>();

  /** Registers a trainable tensor, which the module owns from now on. */
  protected parameter(name: string, tensor: Tensor): Tensor {
    this.#checkFree(name);
    this.#parameters.set(name, tensor);
    return tensor;
  }

  /** Registers an array that is saved with the module but not trained. */
  protected buffer(name: string, array: GpuArray): GpuArray {
    this.#checkFree(name);
    this.#buffers.set(name, array);
    return array;
  }

  /** Registers a part. An empty name puts the part's names directly under this module. */
  protected child<M extends Module>(name: string, module: M): M {
    this.#checkFree(name);
    this.#children.set(name, module);
    return module;
  }

  /**
   * Moves all parameters of the tree into one buffer, in order of registration, so that optimisers
   * pass over them in one dispatch; they stay where they are where one buffer cannot hold them.
   */
  protected joinParameters(): void {
    const tensors = [...this.namedParameters().values()];
    const arrays = tensors.map(({ array }) => array);
    const bytes = arrays.reduce(
      (sum, { byteLength, gpu }) => sum + byteLength + gpu.offsetAlignment,
      0,
    );
    const [first] = arrays;
    if (!first || bytes > first.gpu.device.limits.maxBufferSize) return;
    const places = GpuArray.together(arrays);
    tensors.forEach((tensor, index) => tensor.moveTo(places[index] as GpuArray));
  }

  #checkFree(name: string): void {
    if (this.#parameters.has(name) || this.#buffers.has(name) || this.#children.has(name)) {
      throw new RangeError(`Cannot register "${name}" as the module already has one`);
    }
  }

  /** This module and everything below it, each under its full name; this one is `prefix`. */
  *namedModules(prefix = ""): Generator<[name: string, module: Module]> {
    yield [prefix, this];
    for (const [name, child] of this.#children) yield* child.namedModules(join(prefix, name));
  }

  /** Every parameter of the tree under its full name, in order of registration. */
  namedParameters(prefix = ""): Map<string, Tensor> {
    return this.#collect(prefix, (module) => module.#parameters, new Map());
  }

  /** Every buffer of the tree under its full name, in order of registration. */
  namedBuffers(prefix = ""): Map<string, GpuArray> {
    return this.#collect(prefix, (module) => module.#buffers, new Map());
  }

  #collect<T>(
    prefix: string,
    own: (module: Module) => Map<string, T>,
    all: Map<string, T>,
  ): Map<string, T> {
    for (const [name, value] of own(this)) all.set(join(prefix, name), value);
    for (const [name, child] of this.#children) child.#collect(join(prefix, name), own, all);
    return all;
  }

  /** Number of trainable values. */
  get parameterCount(): number {
    return this.namedParameters().values().reduce((sum, { array }) => sum + array.size, 0);
  }

  /** Puts the whole tree into training mode, or out of it. */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.training = mode;
    return this;
  }

  /** Puts the whole tree into evaluation mode: running statistics, no dropout. */
  eval(): this {
    return this.train(false);
  }

  /** Drops the gradient of every parameter. */
  zeroGrad(): void {
    for (const parameter of this.namedParameters().values()) parameter.zeroGrad();
  }

  /**
   * Parameters and buffers under their full names. The arrays are the module's own, not copies:
   * they change as it trains and die with it.
   */
  stateDict(): Map<string, GpuArray> {
    const state = new Map<string, GpuArray>();
    for (const [path, module] of this.namedModules()) {
      for (const [name, { array }] of module.#parameters) state.set(join(path, name), array);
      for (const [name, array] of module.#buffers) state.set(join(path, name), array);
    }
    return state;
  }

  /**
   * Copies values into the parameters and buffers of the same name. `num_batches_tracked`, which
   * PyTorch writes, is passed over.
   *
   * @returns What was loaded and, unless strict, what was not.
   * @throws {WeightsMismatchError} If strict and anything does not fit; nothing has been loaded
   *   then.
   */
  loadStateDict(source: StateSource, options: LoadOptions = {}): LoadReport {
    const own = this.stateDict();
    const report = compareStates(own, source);
    if (options.strict ?? true) checkReport(report, options.from ?? "the state dict");
    for (const name of report.loaded) {
      const target = own.get(name) as GpuArray;
      const values = source.get(name) as GpuArray | HostState;
      if (values === target) continue;
      if (values instanceof GpuArray) target.gpu.copy(values, target);
      else target.gpu.write(target, values.floats());
    }
    return report;
  }

  /** Gives all memory back, of the whole tree. */
  dispose(): void {
    for (const parameter of this.namedParameters().values()) parameter.dispose();
    for (const array of this.namedBuffers().values()) array.release();
  }

  /** Same as {@link Module.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A module that maps one tensor to one tensor. */
export abstract class Layer extends Module {
  /** Applies the layer. */
  abstract forward(x: Tensor): Tensor;
}

function join(prefix: string, name: string): string {
  return prefix && name ? `${prefix}.${name}` : prefix || name;
}

function checkReport(report: LoadReport, from: string): void {
  const { missing, unexpected, misshaped } = report;
  const parts: string[] = [];
  if (misshaped.length > 0) {
    parts.push(
      `${count(misshaped, "array")} of another shape: ${
        list(misshaped, ({ name, found, expected }) =>
          `${name} is ${formatShape(found)}, the network's ${formatShape(expected)}`)
      }`,
    );
  }
  if (missing.length > 0) {
    parts.push(`${count(missing, "array")} missing: ${list(missing, (name) => name)}`);
  }
  if (unexpected.length > 0) {
    parts.push(`${count(unexpected, "array")} unexpected: ${list(unexpected, (name) => name)}`);
  }
  if (parts.length > 0) {
    throw new WeightsMismatchError(
      `Cannot load ${from} into the network as it has ${parts.join("; ")}`,
    );
  }
}

function count(items: readonly unknown[], noun: string): string {
  return `${items.length} ${noun}${items.length === 1 ? "" : "s"}`;
}

function list<T>(items: readonly T[], show: (item: T) => string): string {
  const shown = items.slice(0, 3).map(show).join(", ");
  return items.length > 3 ? `${shown} and ${items.length - 3} more` : shown;
}
