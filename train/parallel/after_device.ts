// Calls of a run among those that its device makes: all ranks must make the same calls in the same order.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { Collective, CollectiveTimes, Reducible, Reduction } from "./collective.ts";

/**
 * The same ranks for whoever records work for a device: each call waits until the device has done what it
 * was given before, in the middle of which it may ask its peers itself.
 */
export function afterDevice(ranks: Collective, gpu: Gpu): Collective {
  return ranks.size === 1 ? ranks : new AfterDevice(ranks, gpu);
}

class AfterDevice implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly engine: string;
  readonly times: Readonly<CollectiveTimes>;
  readonly #ranks: Collective;
  readonly #gpu: Gpu;

  constructor(ranks: Collective, gpu: Gpu) {
    this.rank = ranks.rank;
    this.size = ranks.size;
    this.localRank = ranks.localRank;
    this.engine = ranks.engine;
    this.times = ranks.times;
    this.#ranks = ranks;
    this.#gpu = gpu;
  }

  async allReduce(data: Reducible, reduction: Reduction): Promise<void> {
    await this.#gpu.finish();
    await this.#ranks.allReduce(data, reduction);
  }

  async sumInHalves(data: Float32Array): Promise<void> {
    await this.#gpu.finish();
    await this.#ranks.sumInHalves(data);
  }

  async broadcast(data: Uint8Array, root: number): Promise<void> {
    await this.#gpu.finish();
    await this.#ranks.broadcast(data, root);
  }

  async barrier(): Promise<void> {
    await this.#gpu.finish();
    await this.#ranks.barrier();
  }

  abort(exitCode: number): never {
    this.#ranks.abort(exitCode);
  }

  close(): void {
    this.#ranks.close();
  }
}
