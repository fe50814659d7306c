// Optimisers: they own what they remember of each parameter, and change parameters in place.

import { adamAdvance, type AdamMoments, adamStep } from "../kernels/adam.ts";
import { GpuArray } from "../kernels/runtime/mod.ts";
import { sumOverPeers } from "../kernels/peers.ts";
import { type SgdOptions, sgdStep } from "../kernels/sgd.ts";
import type { LossScale } from "./loss_scale.ts";
import { backward } from "./tape.ts";
import type { Tensor } from "./tensor.ts";

/** Parameters that share a learning rate. */
export interface ParameterGroup {
  /** Parameters under unique names. */
  readonly parameters: ReadonlyMap<string, Tensor>;
  /** Multiplies the learning rate of a step (default 1). */
  readonly learningRateFactor?: number;
}

/** What {@link Sgd} and {@link Adam} have in common: groups, steps and a state to save. */
export abstract class Optimiser<Memory> {
  readonly #groups: readonly ParameterGroup[];
  readonly #memories = new Map<string, Memory>();
  /** Where the gradients lie, those of a group side by side. */
  readonly #gradients: ReadonlyMap<Tensor, GpuArray>;

  /**
   * Remembers something of every parameter, and gives its gradient a place: what `grad` holds is
   * overwritten once it was cleared.
   *
   * @throws {TypeError} If a parameter or a name occurs twice: it would be stepped twice.
   */
  constructor(groups: readonly ParameterGroup[], remember: (tensor: Tensor) => Memory) {
    this.#groups = groups;
    const tensors = new Set<Tensor>();
    for (const { parameters } of groups) {
      for (const [name, tensor] of parameters) {
        if (tensors.has(tensor) || this.#memories.has(name)) {
          throw new TypeError(
            `Cannot make an optimiser as the parameter "${name}" occurs in it twice`,
          );
        }
        tensors.add(tensor);
        this.#memories.set(name, remember(tensor));
      }
    }
    this.#gradients = new Map(groups.flatMap(({ parameters }) => zerosLike(parameters)));
    for (const [tensor, place] of this.#gradients) tensor.gradPlace = place;
  }

  /** Updates one parameter from its gradient. */
  protected abstract update(
    weight: Tensor,
    grad: GpuArray,
    memory: Memory,
    learningRate: number,
  ): void;

  /**
   * Updates every parameter that has a gradient; with peers, by the sum of all their gradients, so that the
   * same parameters must have one everywhere.
   */
  step(learningRate: number): void {
    this.#gather();
    this.begin();
    for (const { parameters, learningRateFactor = 1 } of this.#groups) {
      this.updateGroup(parameters, learningRate * learningRateFactor);
    }
  }

  /** Adds up the gradients of all peers. */
  #gather(): void {
    const [first] = this.#gradients.keys();
    if (!first?.gpu.peers) return;
    for (const [tensor, place] of this.#gradients) {
      if (!tensor.grad || tensor.grad === place) continue;
      this.gradientOf(tensor);
      tensor.zeroGrad();
      tensor.grad = place.retain(); // where the sum will be
    }
    const gradients: GpuArray[] = [];
    for (const array of this.gradients()) gradients.push(array.retain());
    sumOverPeers(gradients, "gradients");
    for (const array of gradients) array.release();
  }

  /** What comes before the parameters of a step. */
  protected begin(): void {}

  /** Updates every parameter of a group that has a gradient. */
  protected updateGroup(parameters: ReadonlyMap<string, Tensor>, learningRate: number): void {
    for (const [name, tensor] of parameters) {
      const memory = this.#memories.get(name) as Memory;
      if (tensor.grad) this.update(tensor, tensor.grad, memory, learningRate);
    }
  }

  /** The gradient of a parameter in its place, or null where it has none. */
  protected gradientOf(tensor: Tensor): GpuArray | null {
    const place = this.#gradients.get(tensor) as GpuArray;
    if (!tensor.grad || tensor.grad === place) return tensor.grad;
    place.gpu.copy(tensor.grad, place); // one that was set from outside
    return place;
  }

  /** The gradients of all parameters that have one, as few arrays as they lie in. */
  protected *gradients(): Iterable<GpuArray> {
    for (const { parameters } of this.#groups) {
      for (const run of runsOfGradients(parameters)) {
        const places = [...run.values()].map((tensor) => this.gradientOf(tensor) as GpuArray);
        using whole = GpuArray.spanning(places);
        yield* whole ? [whole] : places;
      }
    }
  }

  /** Drops the gradient of every parameter. */
  zeroGrad(): void {
    for (const { parameters } of this.#groups) {
      for (const tensor of parameters.values()) tensor.zeroGrad();
    }
  }

  /** What is remembered of each parameter, under its name. */
  protected get memories(): ReadonlyMap<string, Memory> {
    return this.#memories;
  }

  /**
   * Every array that the next step depends on besides the parameters. They are the optimiser's own,
   * not copies: read them to save it, overwrite them to resume.
   */
  abstract state(): Map<string, GpuArray>;

  /** Frees the state; parameters and gradients are left alone. */
  dispose(): void {
    for (const array of this.state().values()) array.release();
    for (const [tensor, place] of this.#gradients) {
      if (tensor.gradPlace === place) tensor.gradPlace = null;
      place.release();
    }
  }

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * SGD with momentum and L2 weight decay, in PyTorch's form:
 * `velocity = momentum * velocity + grad + weightDecay * weight; weight -= learningRate * velocity`.
 */
export class Sgd extends Optimiser<GpuArray> {
  readonly #momentum: number;
  readonly #weightDecay: number;
  readonly #lossScale: LossScale | undefined;
  /** What {@link LossScale.judge} said of this step's gradients; null where nothing is scaled. */
  #scaling: GpuArray | null = null;

  /**
   * Starts every velocity at 0.
   *
   * @param options `lossScale`: the scale of all gradients, which then come from {@link Sgd.backward}
   *   alone; it passes to the optimiser.
   * @throws {TypeError} If a parameter occurs twice.
   */
  constructor(
    groups: readonly ParameterGroup[],
    { momentum = 0, weightDecay = 0, lossScale }: {
      readonly momentum?: number;
      readonly weightDecay?: number;
      readonly lossScale?: LossScale | undefined;
    } = {},
  ) {
    const velocities = new Map(groups.flatMap(({ parameters }) => zerosLike(parameters)));
    super(groups, (tensor) => velocities.get(tensor) as GpuArray);
    this.#momentum = momentum;
    this.#weightDecay = weightDecay;
    this.#lossScale = lossScale;
  }

  /** `backward` of a loss whose gradients this optimiser takes, scaled where it has a scale. */
  backward(loss: Tensor): void {
    if (this.#lossScale) this.#lossScale.backward(loss);
    else backward(loss);
  }

  /** With a loss scale, a step counts only if all gradients are finite. */
  protected override begin(): void {
    this.#scaling = this.#lossScale?.judge(this.gradients()) ?? null;
  }

  /** Parameters with gradients that lie one after the other are updated in one dispatch. */
  protected override updateGroup(
    parameters: ReadonlyMap<string, Tensor>,
    learningRate: number,
  ): void {
    for (const run of runsOfGradients(parameters)) {
      const tensors = [...run.values()];
      using weight = GpuArray.spanning(tensors.map(({ array }) => array));
      if (tensors.length === 1 || !weight) {
        super.updateGroup(run, learningRate);
        continue;
      }
      const velocities = [...run.keys()].map((name) => this.memories.get(name) as GpuArray);
      using velocity = GpuArray.spanning(velocities) as GpuArray;
      const gradients = tensors.map((tensor) => this.gradientOf(tensor) as GpuArray);
      using gradient = GpuArray.spanning(gradients) as GpuArray;
      sgdStep(weight, velocity, gradient, this.#numbers(learningRate), this.#scaling);
    }
  }

  #numbers(learningRate: number): SgdOptions {
    return { learningRate, momentum: this.#momentum, weightDecay: this.#weightDecay };
  }

  /** Updates one parameter from its gradient. */
  protected override update(
    { array }: Tensor,
    grad: GpuArray,
    velocity: GpuArray,
    learningRate: number,
  ): void {
    sgdStep(array, velocity, grad, this.#numbers(learningRate), this.#scaling);
  }

  /** The velocities, as `velocity.<parameter>`, and the `lossScale` if there is one. */
  override state(): Map<string, GpuArray> {
    const state = new Map([...this.memories].map(([name, array]) => [`velocity.${name}`, array]));
    if (this.#lossScale) state.set("lossScale", this.#lossScale.state);
    return state;
  }
}

/** Zeros for every parameter of a group, one after the other. */
function zerosLike(parameters: ReadonlyMap<string, Tensor>): [Tensor, GpuArray][] {
  const tensors = [...parameters.values()];
  if (tensors.length === 0) return [];
  const zeros = GpuArray.together(tensors.map(({ array }) => array));
  return tensors.map((tensor, index) => [tensor, zeros[index] as GpuArray]);
}

/** The parameters between those that have no gradient. */
function runsOfGradients(parameters: ReadonlyMap<string, Tensor>): Map<string, Tensor>[] {
  const runs: Map<string, Tensor>[] = [new Map()];
  for (const [name, tensor] of parameters) {
    if (tensor.grad) runs.at(-1)?.set(name, tensor);
    else runs.push(new Map());
  }
  return runs.filter(({ size }) => size > 0);
}

/**
 * Adam (Kingma and Ba, 2015) in PyTorch's form, with bias correction, eps outside the root and L2
 * weight decay.
 */
export class Adam extends Optimiser<AdamMoments> {
  readonly #betas: readonly [number, number];
  readonly #eps: number;
  readonly #weightDecay: number;
  // 1 - betas^t. On the GPU with the rest of the state, so that saving and loading are copies.
  readonly #corrections: GpuArray;

  /**
   * Starts every moment at 0.
   *
   * @throws {TypeError} If a parameter occurs twice, or there is none.
   */
  constructor(
    groups: readonly ParameterGroup[],
    { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0 }: {
      readonly betas?: readonly [number, number];
      readonly eps?: number;
      readonly weightDecay?: number;
    } = {},
  ) {
    const [first] = groups.flatMap(({ parameters }) => [...parameters.values()]);
    if (!first) throw new TypeError("Cannot make an Adam optimiser as it has no parameters");
    super(groups, ({ gpu, shape }) => ({
      first: gpu.zeros(shape, "first moment"),
      second: gpu.zeros(shape, "second moment"),
    }));
    this.#corrections = first.gpu.zeros([2], "bias corrections");
    this.#betas = betas;
    this.#eps = eps;
    this.#weightDecay = weightDecay;
  }

  /** Counts the step. */
  protected override begin(): void {
    adamAdvance(this.#corrections, this.#betas);
  }

  /** Updates one parameter from its gradient. */
  protected override update(
    { array }: Tensor,
    grad: GpuArray,
    moments: AdamMoments,
    learningRate: number,
  ): void {
    const options = {
      learningRate,
      betas: this.#betas,
      eps: this.#eps,
      weightDecay: this.#weightDecay,
    };
    adamStep(array, moments, grad, this.#corrections, options);
  }

  /** The moments, as `first.<parameter>` and `second.<parameter>`, and the `corrections`. */
  override state(): Map<string, GpuArray> {
    const state = new Map([["corrections", this.#corrections]]);
    for (const [name, { first, second }] of this.memories) {
      state.set(`first.${name}`, first);
      state.set(`second.${name}`, second);
    }
    return state;
  }
}
