// WebGPU without the library: what is measured by this does not depend on what is to be verified.

import { withHalves } from "../../kernels/runtime/wgsl.ts";
import source from "./fma.wgsl" with { type: "text" };

const FMA = { file: "bench/verify/fma.wgsl", source } as const;

/** One array that a kernel binds. */
export interface Bound {
  readonly binding: number;
  readonly buffer: GPUBuffer;
  readonly access: "read" | "write";
}

/** A kernel and what it runs on. */
export interface BareKernel {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
}

/** How long a pass took, in milliseconds. */
export interface PassTime {
  /** From the submit until the host heard of its end. */
  readonly wall: number;
  /** By timestamps; NaN where there are none. */
  readonly gpu: number;
}

const STORAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** A device with timestamps where it has them. */
export class BareGpu {
  /** The device. */
  readonly device: GPUDevice;
  /** Why and when (`performance.now()`) it was lost, once it is. */
  lost: { readonly message: string; readonly at: number } | undefined;
  readonly #queries: GPUQuerySet | undefined;
  #error: string | undefined;

  private constructor(device: GPUDevice) {
    this.device = device;
    this.#queries = device.features.has("timestamp-query")
      ? device.createQuerySet({ type: "timestamp", count: 2 })
      : undefined;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.#error ??= (event as GPUUncapturedErrorEvent).error.message;
    });
    device.lost.then(({ reason, message }) => {
      this.lost = { message: `${reason}: ${message}`, at: performance.now() };
    });
  }

  /** Opens the fastest adapter, with half precision if that is wanted. */
  static async open({ half = false } = {}): Promise<BareGpu> {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new Error("Cannot open a GPU as there is no adapter");
    const requiredFeatures: GPUFeatureName[] = half ? ["shader-f16"] : [];
    if (adapter.features.has("timestamp-query")) requiredFeatures.push("timestamp-query");
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize };
    return new BareGpu(await adapter.requestDevice({ requiredFeatures, requiredLimits }));
  }

  /** A buffer of zeros. */
  buffer(size: number): GPUBuffer {
    return this.device.createBuffer({ size, usage: STORAGE });
  }

  /** Builds an entry point over arrays. */
  kernel(code: string, entryPoint: string, arrays: readonly Bound[]): BareKernel {
    const { device } = this;
    const layout = device.createBindGroupLayout({
      entries: arrays.map(({ binding, access }) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: access === "read" ? "read-only-storage" : "storage" },
      })),
    });
    const module = device.createShaderModule({ code });
    return {
      pipeline: device.createComputePipeline({
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, entryPoint },
      }),
      group: device.createBindGroup({
        layout,
        entries: arrays.map(({ binding, buffer }) => ({ binding, resource: { buffer } })),
      }),
    };
  }

  /** Runs a kernel some times in one pass and one submit. */
  async time(
    { pipeline, group }: BareKernel,
    groups: readonly [number, number],
    dispatches: number,
  ): Promise<PassTime> {
    const { device } = this;
    const encoder = device.createCommandEncoder();
    const timestampWrites = this.#queries && {
      querySet: this.#queries,
      beginningOfPassWriteIndex: 0,
      endOfPassWriteIndex: 1,
    };
    const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    for (let count = 0; count < dispatches; count++) pass.dispatchWorkgroups(...groups);
    pass.end();
    const ticks = this.#queries && device.createBuffer({
      size: 16,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    if (ticks && this.#queries) encoder.resolveQuerySet(this.#queries, 0, 2, ticks, 0);
    const commands = encoder.finish();
    const before = performance.now();
    device.queue.submit([commands]);
    await device.queue.onSubmittedWorkDone();
    const wall = performance.now() - before;
    this.check();
    if (!ticks) return { wall, gpu: NaN };
    const [start, end] = new BigUint64Array((await this.read(ticks, 16)).buffer);
    ticks.destroy();
    return { wall, gpu: Number(end! - start!) / 1e6 };
  }

  /** The first bytes of a buffer. */
  async read(buffer: GPUBuffer, bytes: number, offset = 0): Promise<Uint8Array<ArrayBuffer>> {
    const host = this.device.createBuffer({
      size: bytes,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, host, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    await host.mapAsync(GPUMapMode.READ);
    const found = new Uint8Array(host.getMappedRange().slice(0));
    host.destroy();
    this.check();
    return found;
  }

  /** Throws what WebGPU has reported. */
  check(): void {
    if (this.lost) throw new Error(`The device was lost (${this.lost.message})`);
    if (this.#error !== undefined) throw new Error(`WebGPU reported: ${this.#error}`);
  }
}

const GROUPS = 4096;
const INVOCATIONS = 128;
/** Floating-point operations of an invocation in one round: 16 vectors of four, two each. */
const FLOPS = 16 * 4 * 2;

/** A kernel that does nothing but multiply and add. */
export class MultiplyAdds {
  readonly #gpu: BareGpu;
  readonly #kernel: BareKernel;
  readonly #settings: GPUBuffer;
  readonly #sums: GPUBuffer;

  /** Builds it, in single or half precision. */
  constructor(gpu: BareGpu, { half = false } = {}) {
    this.#gpu = gpu;
    this.#settings = gpu.buffer(16);
    this.#sums = gpu.buffer(GROUPS * INVOCATIONS * 4);
    this.#kernel = gpu.kernel(half ? withHalves(FMA) : source, "multiply_add", [
      { binding: 0, buffer: this.#settings, access: "read" },
      { binding: 1, buffer: this.#sums, access: "write" },
    ]);
  }

  /** Runs it, and checks what it computes. */
  async run(
    rounds: number,
    dispatches = 1,
  ): Promise<PassTime & { readonly flops: number; readonly isRight: boolean }> {
    const { device } = this.#gpu;
    device.queue.writeBuffer(this.#settings, 0, new Float32Array([0.5, 1, rounds, 3]));
    const encoder = device.createCommandEncoder();
    encoder.clearBuffer(this.#sums);
    device.queue.submit([encoder.finish()]);
    const time = await this.#gpu.time(this.#kernel, [GROUPS, 1], dispatches);
    const last = (GROUPS - 1) * INVOCATIONS * 4;
    const sums = [
      ...new Float32Array((await this.#gpu.read(this.#sums, 512)).buffer),
      ...new Float32Array((await this.#gpu.read(this.#sums, 512, last)).buffer),
    ];
    const flops = GROUPS * INVOCATIONS * FLOPS * rounds * dispatches;
    return { ...time, flops, isRight: sums.every((sum) => Math.abs(sum - 32) < 0.05) };
  }
}
