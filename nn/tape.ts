// The tape: what was computed from what, and how gradients flow back.
//
// Every differentiable operation records a node that holds its inputs, the arrays its backward
// needs and the backward itself. `backward` walks the nodes from the newest to the oldest and lets
// each go as soon as it has run, so that activations are freed on the way. Accumulation and the
// checks of shapes live here, once.

import type { Accumulator } from "../kernels/accumulator.ts";
import { addInPlace } from "../kernels/elementwise.ts";
import { type AnyArray, formatShape, type GpuArray, sameShape } from "../kernels/runtime/mod.ts";
import type { Activation } from "./activation.ts";
import { refusePromise, type Synchronous } from "./synchronous.ts";
import { type TapeNode, Tensor } from "./tensor.ts";

/**
 * The gradient of an operation: from the gradient of its output to one new array per input.
 * `needs[i]` says whether input `i` wants one; return null where it does not.
 *
 * `into[i]` says the same, and where it is an accumulator the gradient may be written or added there
 * instead of to a new array: return `into[i].array.retain()` then. It is the place of a parameter,
 * or the sum of the gradients that have arrived so far. The tape moves or adds what is in a new
 * array.
 */
export type Backward = (
  gradOutput: GpuArray,
  needs: readonly boolean[],
  into: readonly (boolean | Accumulator)[],
) => readonly (GpuArray | null)[];

/** What a node keeps for its backward: arrays, or activations that may be packed meanwhile. */
export type Saved = readonly (AnyArray | Activation)[];

/** One recorded operation; {@link record} makes it. */
class Node implements TapeNode {
  readonly id: number;
  /** Name for errors. */
  readonly name: string;
  readonly inputs: readonly (Tensor | null)[];
  #saved: Saved;
  #backward: Backward | undefined;
  gradient: GpuArray | null = null;

  /** Retains `saved` until {@link Node.free}. */
  constructor(
    id: number,
    name: string,
    inputs: readonly (Tensor | null)[],
    saved: Saved,
    backward: Backward,
  ) {
    this.id = id;
    this.name = name;
    this.inputs = inputs;
    this.#saved = saved.map((array) => array.retain());
    this.#backward = backward;
  }

  run(gradOutput: GpuArray): readonly (GpuArray | null)[] {
    if (!this.#backward) {
      throw new Error(
        `Cannot run backward through ${this.name} as its saved arrays were freed: call backward once, inside the scope that computed the loss`,
      );
    }
    const into = this.inputs.map((input, index) => this.#targetOf(input, index));
    const gradients = this.#backward(gradOutput, this.inputs.map(needsGradient), into);
    const problem = this.#problemOf(gradients);
    if (problem) {
      for (const gradient of gradients) gradient?.release();
      throw new Error(`Cannot run backward through ${this.name} as ${problem}`);
    }
    return gradients.map((gradient, index) => {
      const to = into[index];
      if (typeof to !== "object" || !to.accumulate || gradient !== to.array) return gradient;
      gradient.release(); // it is in the sum already
      return null;
    });
  }

  /** Nowhere, a new array, the place of a parameter, or the sum of earlier gradients. */
  #targetOf(input: Tensor | null, index: number): boolean | Accumulator {
    if (!input || !needsGradient(input)) return false;
    // An input that the operation takes twice gets the second gradient added to the first.
    if (this.inputs.indexOf(input) !== index) return true;
    const place = placeOf(input);
    if (place) return { array: place, accumulate: input.grad !== null };
    const sum = input.node ? input.node.gradient : input.grad;
    return sum && !isShared(sum) ? { array: sum, accumulate: true } : true;
  }

  #problemOf(gradients: readonly (GpuArray | null)[]): string | undefined {
    if (gradients.length !== this.inputs.length) {
      return `it returned ${gradients.length} gradients for ${this.inputs.length} inputs`;
    }
    for (const [index, input] of this.inputs.entries()) {
      const gradient = gradients[index];
      if (input && gradient && !sameShape(gradient.shape, input.shape)) {
        return `its gradient of input ${index} has shape ${
          formatShape(gradient.shape)
        }, and the input ${formatShape(input.shape)}`;
      }
    }
    return undefined;
  }

  free(): void {
    this.#backward = undefined;
    for (const array of this.#saved) array.release();
    this.#saved = [];
    this.gradient?.release();
    this.gradient = null;
  }
}

/** A scope's own tensors, and the nodes recorded while it was the outermost. */
interface Frame {
  readonly tensors: Set<Tensor>;
  readonly nodes: Set<TapeNode>;
}

const frames: Frame[] = [];
let nextId = 0;
let recording = true;
/** Operations so far that lead to a gradient, recorded or not. */
let differentiable = 0;

function needsGradient(tensor: Tensor | null): boolean {
  return tensor !== null && (tensor.requiresGrad || tensor.node !== undefined);
}

/**
 * Wraps the output of an operation as a tensor and records how its gradient flows back.
 *
 * @param name Name for errors, `conv2d`.
 * @param output The result; the tensor takes over the caller's reference.
 * @param inputs Tensors that may want a gradient, null for absent ones.
 * @param saved Arrays that `backward` reads; kept alive until it has run.
 * @param backward See {@link Backward}; called at most once.
 */
export function record(
  name: string,
  output: GpuArray,
  inputs: readonly (Tensor | null)[],
  saved: Saved,
  backward: Backward,
): Tensor {
  const leads = inputs.some(needsGradient);
  if (leads) differentiable++;
  return leads && recording
    ? recordNode(name, output, inputs, saved, backward)
    : inScope(new Tensor(output));
}

/**
 * {@link record} where a gradient leads on that the inputs do not show.
 *
 * @internal
 */
export function recordNode(
  name: string,
  output: GpuArray,
  inputs: readonly (Tensor | null)[],
  saved: Saved,
  backward: Backward,
): Tensor {
  const result = new Tensor(output);
  // Keep only what leads to a gradient: other inputs need not outlive the forward.
  const kept = inputs.map((input) => (needsGradient(input) ? input : null));
  result.node = new Node(nextId++, name, kept, saved, backward);
  frames[0]?.nodes.add(result.node);
  return inScope(result);
}

function inScope(tensor: Tensor): Tensor {
  frames.at(-1)?.tensors.add(tensor);
  return tensor;
}

/**
 * Runs `fn` and disposes every tensor made inside it, except those that it returns (alone, in an
 * array or as values of an object), which pass to the enclosing scope. What backward still needs
 * stays alive until backward has run, or until the outermost scope ends.
 *
 * @throws {TypeError} If `fn` returns a promise: its tensors would be freed while it still runs.
 */
export function scope<T>(fn: () => Synchronous<T>): Synchronous<T> {
  const frame: Frame = { tensors: new Set(), nodes: new Set() };
  frames.push(frame);
  let kept = new Set<Tensor>();
  try {
    const result = refusePromise("scope", "its tensors would be freed while it still runs", fn());
    kept = tensorsIn(result);
    return result;
  } finally {
    frames.pop();
    const parent = frames.at(-1);
    for (const tensor of frame.tensors) {
      if (kept.has(tensor)) parent?.tensors.add(tensor);
      else if (!tensor.disposed) tensor.dispose();
    }
    for (const node of frame.nodes) node.free();
  }
}

function tensorsIn(value: unknown): Set<Tensor> {
  if (value instanceof Tensor) return new Set([value]);
  if (Array.isArray(value)) return new Set(value.flatMap((item) => [...tensorsIn(item)]));
  if (
    value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype
  ) {
    return new Set(Object.values(value).flatMap((item) => [...tensorsIn(item)]));
  }
  return new Set();
}

/** A constant tensor of an array that stays the caller's; it belongs to the current scope. */
export function input(array: GpuArray): Tensor {
  return inScope(new Tensor(array.retain()));
}

/** A tensor of the same numbers that no gradient passes; it belongs to the current scope. */
export function detach(tensor: Tensor): Tensor {
  return input(tensor.array);
}

/**
 * Runs `fn` without recording: nothing inside keeps activations for a backward.
 *
 * @throws {TypeError} If `fn` returns a promise: what follows its first await would be recorded.
 */
export function noGrad<T>(fn: () => Synchronous<T>): Synchronous<T> {
  return withRecording(false, fn);
}

/**
 * Runs `fn` with or without recording.
 *
 * @throws {TypeError} If `fn` returns a promise.
 * @internal
 */
export function withRecording<T>(on: boolean, fn: () => Synchronous<T>): Synchronous<T> {
  const before = recording;
  recording = on;
  try {
    const name = on ? "withRecording" : "noGrad";
    const otherwise = `what follows its first await would ${on ? "not " : ""}be recorded`;
    return refusePromise(name, otherwise, fn());
  } finally {
    recording = before;
  }
}

/**
 * Whether operations are recorded, and how many so far lead to a gradient.
 *
 * @internal
 */
export function recordingState(): { readonly recording: boolean; readonly differentiable: number } {
  return { recording, differentiable };
}

/**
 * Computes the gradient of a scalar with respect to every tensor that requires one, and adds it to
 * their `grad`. Frees what the operations saved on the way.
 *
 * @param output A tensor of shape `[]`, or of any shape where `gradient` is given.
 * @param gradient The gradient to start from, of the output's shape; backward takes it over.
 * @throws {TypeError} If the shape is wrong or nothing that led here requires a gradient.
 */
export function backward(output: Tensor, gradient?: GpuArray): void {
  if (!sameShape(output.shape, gradient?.shape ?? [])) {
    throw new TypeError(
      gradient
        ? `Cannot run backward as the output has shape ${
          formatShape(output.shape)
        } and the gradient ${formatShape(gradient.shape)}`
        : `Cannot run backward from a tensor of shape ${
          formatShape(output.shape)
        }: it must be a scalar, or come with a gradient`,
    );
  }
  if (!output.node) {
    throw new TypeError(
      "Cannot run backward as the output depends on no tensor that requires a gradient",
    );
  }
  output.node.gradient = gradient ??
    output.gpu.upload(new Float32Array([1]), [], "gradient of the loss");
  const nodes = newestFirst(output.node);
  try {
    for (const node of nodes) propagate(node);
  } catch (error) {
    for (const node of nodes) node.free();
    throw error;
  }
}

function newestFirst(root: TapeNode): TapeNode[] {
  const found = new Set([root]);
  for (const node of found) { // a Set visits what is added while it is walked
    for (const input of node.inputs) if (input?.node) found.add(input.node);
  }
  return [...found].sort((a, b) => b.id - a.id);
}

function propagate(node: TapeNode): void {
  if (!node.gradient) return node.free();
  const gradients = node.run(node.gradient);
  node.inputs.forEach((input, index) => {
    const gradient = gradients[index];
    if (!input || !gradient) return gradient?.release();
    if (input.node) input.node.gradient = accumulate(input.node.gradient, gradient);
    else addToLeaf(input, gradient);
  });
  node.free();
}

/** Where the gradient of a leaf lies or will lie; null where it has no place, or lies elsewhere. */
function placeOf({ node, grad, gradPlace }: Tensor): GpuArray | null {
  return node || (grad && grad !== gradPlace) ? null : gradPlace;
}

/** Adds to the gradient of a leaf; takes the reference over. */
function addToLeaf(leaf: Tensor, gradient: GpuArray): void {
  const place = placeOf(leaf);
  if (!place) {
    leaf.grad = accumulate(leaf.grad, gradient);
    return;
  }
  if (gradient !== place) {
    if (leaf.grad) addInPlace(place, gradient);
    else place.gpu.copy(gradient, place);
  }
  gradient.release();
  leaf.grad ??= place.retain();
}

/** Whether another gradient lies in the same memory: add() hands one array to both inputs. */
function isShared(gradient: GpuArray): boolean {
  return gradient.storage.references > 1;
}

/** Sums gradients; takes over both references. */
function accumulate(sum: GpuArray | null, gradient: GpuArray): GpuArray {
  if (!sum) return gradient;
  if (isShared(sum)) { // sum into a copy
    const own = sum.gpu.empty(sum.shape, sum.label);
    sum.gpu.copy(sum, own);
    sum.release();
    sum = own;
  }
  addInPlace(sum, gradient);
  gradient.release();
  return sum;
}
