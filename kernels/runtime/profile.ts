// Per-kernel times by timestamp queries: they need a compute pass for every dispatch, so only when
// asked for.

import { GpuError } from "./errors.ts";

/** What one kernel has cost so far. */
export interface KernelProfile {
  /** Name of the kernel. */
  readonly label: string;
  /** Dispatches. */
  readonly calls: number;
  /** Time on the GPU, of all calls together. */
  readonly milliseconds: number;
  /** Share of the time of all kernels, 0 to 1. */
  readonly share: number;
  /**
   * Floating-point operations of all calls, as the kernels do them; 0 where the launcher states
   * none.
   */
  readonly flops: number;
  /** Bytes of all bound arrays, of all calls. */
  readonly bytes: number;
  /** 10^9 floating-point operations per second; 0 where the launcher states no count. */
  readonly gigaflops: number;
  /** 10^9 bytes per second, over all bound arrays. */
  readonly gigabytes: number;
}

/** What a dispatch counts as. */
interface Cost {
  readonly label: string;
  readonly flops: number;
  readonly bytes: number;
}

const CAPACITY = 512;

/** Collects timestamps of dispatches and sums them by kernel. */
export class Profiler {
  readonly #device: GPUDevice;
  readonly #check: () => void;
  readonly #queries: GPUQuerySet;
  readonly #ticks: GPUBuffer;
  #open: Cost[] = [];
  readonly #pending = new Set<Promise<void>>();
  #failure: GpuError | undefined;
  /**
   * What dispatches are counted as, in place of their kernels.
   *
   * @internal
   */
  lap: string | undefined;
  readonly #totals = new Map<string, { calls: number; ns: number; flops: number; bytes: number }>();

  /**
   * Open the device with `profile`.
   *
   * @internal
   */
  constructor(device: GPUDevice, check: () => void) {
    this.#device = device;
    this.#check = check;
    this.#queries = device.createQuerySet({ type: "timestamp", count: CAPACITY * 2 });
    this.#ticks = device.createBuffer({
      label: "timestamps",
      size: CAPACITY * 16,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
  }

  /**
   * Whether timestamps must be resolved before the next dispatch.
   *
   * @internal
   */
  get full(): boolean {
    return this.#open.length === CAPACITY;
  }

  /**
   * Timestamps for the pass of one dispatch.
   *
   * @internal
   */
  begin(cost: Cost): GPUComputePassTimestampWrites {
    const index = this.#open.push({ ...cost, label: this.lap ?? cost.label }) - 1;
    return {
      querySet: this.#queries,
      beginningOfPassWriteIndex: index * 2,
      endOfPassWriteIndex: index * 2 + 1,
    };
  }

  /**
   * Records the copy of the timestamps; call what it returns after the submit.
   *
   * @internal
   */
  resolve(encoder: GPUCommandEncoder): (() => void) | undefined {
    const costs = this.#open;
    if (costs.length === 0) return undefined;
    this.#open = [];
    const bytes = costs.length * 16;
    const host = this.#device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    encoder.resolveQuerySet(this.#queries, 0, costs.length * 2, this.#ticks, 0);
    encoder.copyBufferToBuffer(this.#ticks, 0, host, 0, bytes);
    return () => {
      const done = this.#collect(host, costs)
        .catch((cause: Error) => {
          this.#failure ??= new GpuError(
            `Cannot profile as the GPU did not give its timestamps to the host (${cause.message}): ` +
              "open it without `profile`",
            { cause, options: ["profile"] },
          );
        })
        .finally(() => this.#pending.delete(done));
      this.#pending.add(done);
    };
  }

  async #collect(host: GPUBuffer, costs: readonly Cost[]): Promise<void> {
    await host.mapAsync(GPUMapMode.READ);
    const ticks = new BigUint64Array(host.getMappedRange().slice(0));
    host.destroy();
    costs.forEach(({ label, flops, bytes }, index) => {
      const ns = Number((ticks[index * 2 + 1] as bigint) - (ticks[index * 2] as bigint));
      const total = this.#totals.get(label) ?? { calls: 0, ns: 0, flops: 0, bytes: 0 };
      total.calls++;
      total.ns += ns;
      total.flops += flops;
      total.bytes += bytes;
      this.#totals.set(label, total);
    });
  }

  /**
   * Every kernel seen since the last report, the most expensive first; starts afresh.
   *
   * @throws {GpuError} If the device is closed or lost, or has failed.
   */
  async report(): Promise<KernelProfile[]> {
    this.#check();
    await Promise.all(this.#pending);
    this.#check();
    if (this.#failure) throw this.#failure;
    const all = [...this.#totals];
    this.#totals.clear();
    const sum = all.reduce((ns, [, total]) => ns + total.ns, 0);
    return all
      .sort(([, a], [, b]) => b.ns - a.ns)
      .map(([label, { calls, ns, flops, bytes }]) => ({
        label,
        calls,
        milliseconds: ns / 1e6,
        share: ns / Math.max(1, sum),
        flops,
        bytes,
        gigaflops: flops / Math.max(1, ns),
        gigabytes: bytes / Math.max(1, ns),
      }));
  }
}
