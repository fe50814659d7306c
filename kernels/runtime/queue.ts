// The one open command encoder, the parameter slots and the bind-group cache.
//
// Dispatches are recorded into one encoder and submitted together. Each takes a 256-byte slot of
// one uniform buffer, reached by a dynamic offset; the slots are written once, just before the
// submit.
// Bind groups are cached: creating one costs more than a dispatch, and on Linux drivers every live
// one is a memory mapping, so that about 65,000 of them end the process.

import { collectGarbage } from "./garbage.ts";
import type { ParamValue } from "./kernel.ts";
import type { Profiler } from "./profile.ts";
import type { Span, Storage } from "./storage.ts";

/** A pipeline ready to run, with the layout of its arrays. */
export interface Pipeline {
  /** The compiled entry point. */
  readonly pipeline: GPUComputePipeline;
  /** Layout of group 0. */
  readonly arraysLayout: GPUBindGroupLayout;
  /** Equal for equal layouts; begins the keys of the bind-group cache. */
  readonly layoutKey: string;
  /** Binding numbers, in the order in which `dispatch` receives the arrays. */
  readonly bindings: readonly number[];
}

/** Bytes of one parameter slot: the offset alignment that every adapter accepts. */
const SLOT_BYTES = 256;
/**
 * More than a training step of a small network needs: a submit waits until the one before has run.
 */
const SLOTS = 4096;
/** Enough for the bind groups of the deepest network, far below the number that ends a process. */
const MAX_BIND_GROUPS = 8192;

/** Records dispatches and copies, and submits them in order. */
export class CommandQueue {
  readonly #device: GPUDevice;
  readonly #slots: GPUBuffer;
  readonly #slotBytes = new ArrayBuffer(SLOTS * SLOT_BYTES);
  readonly #slotData = new DataView(this.#slotBytes);
  readonly #paramsGroup: GPUBindGroup;
  /** Times every dispatch, where there is one; set between submits. */
  profiler: Profiler | undefined;
  /** Layout of group 1, shared by all kernels. */
  readonly paramsLayout: GPUBindGroupLayout;
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  /** Bind groups that are out of the cache and may still be alive until a garbage collection. */
  #forgotten = 0;
  readonly #keysOfStorage = new Map<number, Set<string>>();
  readonly #guardBytes: number;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #usedSlots = 0;
  /** Counts submissions: a storage whose `lastSerial` equals it is used by the open encoder. */
  serial = 0;
  /** Dispatches recorded since the device was opened. */
  dispatches = 0;

  /** `guardBytes` are bound behind every array, so that kernels could reach them. */
  constructor(device: GPUDevice, options: { profiler?: Profiler | undefined; guardBytes: number }) {
    this.#device = device;
    this.profiler = options.profiler;
    this.#guardBytes = options.guardBytes;
    this.#slots = device.createBuffer({
      label: "kernel parameters",
      size: SLOTS * SLOT_BYTES,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.paramsLayout = device.createBindGroupLayout({
      label: "kernel parameters",
      entries: [{
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "uniform", hasDynamicOffset: true },
      }],
    });
    this.#paramsGroup = device.createBindGroup({
      layout: this.paramsLayout,
      entries: [{ binding: 0, resource: { buffer: this.#slots, size: SLOT_BYTES } }],
    });
  }

  /** How many bind groups are cached. */
  get bindGroupCount(): number {
    return this.#bindGroups.size;
  }

  /** Records one dispatch; submits first where the parameter slots are used up. */
  dispatch(
    pipeline: Pipeline,
    arrays: readonly Span[],
    params: readonly ParamValue[],
    grid: readonly [number, number, number],
    profile: { label: string; flops: number },
  ): void {
    if (this.#usedSlots === SLOTS) this.flush();
    const group = this.#bindGroup(pipeline, arrays);
    const offset = this.#usedSlots++ * SLOT_BYTES;
    params.forEach(({ type, value }, index) => {
      const at = offset + index * 4;
      if (type === "f32") this.#slotData.setFloat32(at, value, true);
      else if (type === "i32") this.#slotData.setInt32(at, value, true);
      else this.#slotData.setUint32(at, value, true);
    });
    const encoder = this.#open();
    let pass: GPUComputePassEncoder;
    if (this.profiler) {
      const bytes = arrays.reduce((sum, array) => sum + array.byteLength, 0);
      const timestampWrites = this.profiler.begin({ ...profile, bytes });
      pass = encoder.beginComputePass({ timestampWrites });
    } else {
      pass = this.#pass ??= encoder.beginComputePass();
    }
    pass.setPipeline(pipeline.pipeline);
    pass.setBindGroup(0, group);
    pass.setBindGroup(1, this.#paramsGroup, [offset]);
    pass.dispatchWorkgroups(...grid);
    if (this.profiler) {
      pass.end();
      if (this.profiler.full) this.flush();
    }
    for (const array of arrays) array.storage.lastSerial = this.serial;
    this.dispatches++;
  }

  /** Records a copy between arrays of one size. */
  copy(from: Span, to: Span): void {
    this.copyBytes(
      from.storage,
      from.byteOffset,
      to.storage.buffer,
      to.byteOffset,
      from.byteLength,
    );
    to.storage.lastSerial = this.serial;
  }

  /** Records a copy to any buffer, for read-backs. Offsets and `bytes` are multiples of 4. */
  copyBytes(
    from: Storage,
    fromOffset: number,
    to: GPUBuffer,
    toOffset: number,
    bytes: number,
  ): void {
    if (bytes === 0) return;
    this.#endPass();
    this.#open().copyBufferToBuffer(from.buffer, fromOffset, to, toOffset, bytes);
    from.lastSerial = this.serial;
  }

  /** Records zeros over a range; offset and length are multiples of 4. */
  clear(storage: Storage, byteOffset: number, bytes: number): void {
    if (bytes === 0) return;
    this.#endPass();
    this.#open().clearBuffer(storage.buffer, byteOffset, bytes);
    storage.lastSerial = this.serial;
  }

  /**
   * Writes host data. Queue writes run before commands that are recorded but not yet submitted, so
   * the open encoder goes first where it uses the buffer.
   */
  write(storage: Storage, byteOffset: number, data: Uint8Array | Float32Array | Uint32Array): void {
    if (storage.lastSerial === this.serial) this.flush();
    if (data.byteLength === 0) return;
    this.#device.queue.writeBuffer(
      storage.buffer,
      byteOffset,
      data.buffer as ArrayBuffer,
      data.byteOffset,
      data.byteLength,
    );
  }

  /** Submits what is recorded. */
  flush(): void {
    this.#endPass();
    if (!this.#encoder) return;
    const resolved = this.profiler?.resolve(this.#encoder);
    const commands = this.#encoder.finish();
    this.#encoder = undefined;
    if (this.#usedSlots > 0) {
      this.#device.queue.writeBuffer(
        this.#slots,
        0,
        this.#slotBytes,
        0,
        this.#usedSlots * SLOT_BYTES,
      );
    }
    this.#device.queue.submit([commands]);
    resolved?.();
    this.#usedSlots = 0;
    this.serial++;
  }

  /** Forgets the bind groups of a buffer that is about to be destroyed. */
  forget(storage: Storage): void {
    for (const key of this.#keysOfStorage.get(storage.id) ?? []) {
      if (this.#bindGroups.delete(key)) this.#forgotten++;
    }
    this.#keysOfStorage.delete(storage.id);
  }

  #open(): GPUCommandEncoder {
    return this.#encoder ??= this.#device.createCommandEncoder();
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }

  #bindGroup(pipeline: Pipeline, arrays: readonly Span[]): GPUBindGroup {
    let key = pipeline.layoutKey;
    for (const array of arrays) {
      key += `|${array.storage.id}:${array.byteOffset}:${array.byteLength}`;
    }
    const cached = this.#bindGroups.get(key);
    if (cached) return cached;
    const group = this.#device.createBindGroup({
      layout: pipeline.arraysLayout,
      entries: arrays.map((array, index) => ({
        binding: pipeline.bindings[index] as number,
        resource: {
          buffer: array.storage.buffer,
          offset: array.byteOffset,
          size: Math.max(4, array.byteLength) + this.#guardBytes,
        },
      })),
    });
    if (this.#bindGroups.size + this.#forgotten >= MAX_BIND_GROUPS) {
      if (this.#bindGroups.size > this.#forgotten) {
        this.#bindGroups.clear();
        this.#keysOfStorage.clear();
      }
      collectGarbage();
      this.#forgotten = 0;
    }
    this.#bindGroups.set(key, group);
    for (const array of arrays) {
      const id = array.storage.id;
      const keys = this.#keysOfStorage.get(id);
      if (keys) keys.add(key);
      else this.#keysOfStorage.set(id, new Set([key]));
    }
    return group;
  }
}
