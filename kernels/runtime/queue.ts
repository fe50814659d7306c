// The one open command encoder and the parameter slots.
//
// Dispatches are recorded into one encoder and submitted together. Each takes a 256-byte slot of
// one uniform buffer, reached by a dynamic offset; the slots are written once, just before the
// submit. What follows is done a thousand times a step: nothing is allocated, and what a pass has
// set stays set.
//
// Where the host has something to do in between (`onHost`), what is recorded after that waits for it, in
// order: the thread that records goes on, and submissions follow when the host is done.

import { BindGroups } from "./bind_groups.ts";
import type { Pipeline } from "./pipelines.ts";
import type { Profiler } from "./profile.ts";
import type { Span, Storage } from "./storage.ts";
import { slowSeconds, WorkMeter } from "./work.ts";

/** Bytes of one parameter slot: the offset alignment that every adapter accepts. */
const SLOT_BYTES = 256;
/**
 * More than a training step of a small network needs: on software adapters a submit waits until the
 * one before has run.
 */
const SLOTS = 4096;

/** What is submitted together. */
interface Submission {
  readonly serial: number;
  readonly commands: GPUCommandBuffer;
  /** Parameters of its dispatches. */
  readonly slots: Uint32Array<ArrayBuffer>;
  /** How much work it is, for the meter. */
  readonly work: number;
  readonly resolved: (() => void) | undefined;
}

/** Records dispatches and copies, and submits them in order. */
export class CommandQueue {
  readonly #device: GPUDevice;
  /** Says when enough is recorded. */
  readonly work: WorkMeter;
  readonly #slots: GPUBuffer;
  readonly #slotWords = new Uint32Array(SLOTS * SLOT_BYTES / 4);
  readonly #slotFloats = new Float32Array(this.#slotWords.buffer);
  readonly #offset = new Uint32Array(1);
  readonly #paramsGroup: GPUBindGroup;
  /** Times every dispatch, where there is one; set between submits. */
  profiler: Profiler | undefined;
  /** Layout of group 1, shared by all kernels. */
  readonly paramsLayout: GPUBindGroupLayout;
  /** The bind groups of all dispatches. */
  readonly bindGroups: BindGroups;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  /** What the open pass has set. */
  #setPipeline: GPUComputePipeline | undefined;
  #setGroup: GPUBindGroup | undefined;
  #usedSlots = 0;
  #waits: { readonly serial: number; readonly begin: () => void }[] = [];
  /** Counts submissions: a storage whose `lastSerial` equals it is used by the open encoder. */
  serial = 0;
  /** The submissions that the GPU has: all below this one. */
  #submitted = 0;
  /** The last of what waits for the host, where anything does; see {@link CommandQueue.onHost}. */
  #waiting: Promise<void> | undefined;
  /** Whether anything on the host has failed. */
  #hasFailed = false;
  readonly #onFailure: (error: Error) => void;
  /** Dispatches recorded since the device was opened. */
  dispatches = 0;
  /** Copies and clears recorded since then. */
  copies = 0;

  /**
   * `guardBytes` are bound behind every array, so that kernels could reach them; a submission takes
   * `maxSubmitSeconds`, as far as that can be foreseen.
   */
  constructor(
    device: GPUDevice,
    options: {
      profiler?: Profiler | undefined;
      guardBytes: number;
      maxSubmitSeconds: number;
      /** Keeps an error of what the host has to do in between. */
      onFailure: (error: Error) => void;
    },
  ) {
    this.#onFailure = options.onFailure;
    this.#device = device;
    this.work = new WorkMeter(options.maxSubmitSeconds);
    this.profiler = options.profiler;
    this.bindGroups = new BindGroups(device, options.guardBytes);
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

  /** Records one dispatch; submits first where enough is recorded, or the parameter slots are used up. */
  dispatch(
    { kernel, pipeline, arraysLayout }: Pipeline,
    arrays: readonly Span[],
    params: readonly number[],
    grid: readonly [number, number, number],
    flops: number,
  ): void {
    let bytes = 0;
    for (const array of arrays) bytes += array.byteLength;
    const seconds = slowSeconds(flops, bytes);
    if (this.#usedSlots === SLOTS || !this.work.fits(seconds)) this.flush();
    this.work.add(seconds);
    const group = this.bindGroups.get(arraysLayout, arrays);
    this.#offset[0] = this.#usedSlots++ * SLOT_BYTES;
    const place = this.#offset[0] / 4;
    for (let i = 0; i < params.length; i++) {
      const slot = kernel.params[i]?.[1] === "f32" ? this.#slotFloats : this.#slotWords;
      slot[place + i] = params[i] as number;
    }
    const pass = this.profiler
      ? this.#timedPass(this.profiler.begin({ label: kernel.name, flops, bytes }))
      : this.#pass ??= this.#open().beginComputePass();
    if (this.#setPipeline !== pipeline) pass.setPipeline(this.#setPipeline = pipeline);
    if (this.#setGroup !== group) pass.setBindGroup(0, this.#setGroup = group);
    pass.setBindGroup(1, this.#paramsGroup, this.#offset, 0, 1);
    pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
    for (const array of arrays) array.storage.lastSerial = this.serial;
    this.dispatches++;
    if (this.profiler) {
      this.#endPass();
      if (this.profiler.full) this.flush();
    }
  }

  /** A pass of its own, as timestamps are taken around passes. */
  #timedPass(timestampWrites: GPUComputePassTimestampWrites): GPUComputePassEncoder {
    this.#endPass();
    return this.#pass = this.#open().beginComputePass({ timestampWrites });
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
    this.work.add(slowSeconds(0, 2 * bytes));
    this.copies++;
    this.#open().copyBufferToBuffer(from.buffer, fromOffset, to, toOffset, bytes);
    from.lastSerial = this.serial;
  }

  /** Records zeros over a range; offset and length are multiples of 4. */
  clear(storage: Storage, byteOffset: number, bytes: number): void {
    if (bytes === 0) return;
    this.#endPass();
    this.work.add(slowSeconds(0, bytes));
    this.copies++;
    this.#open().clearBuffer(storage.buffer, byteOffset, bytes);
    storage.lastSerial = this.serial;
  }

  /**
   * Writes host data. Queue writes run before commands that are recorded but not yet submitted, so
   * these go first where they use the buffer.
   */
  write(storage: Storage, byteOffset: number, data: Uint8Array | Float32Array | Uint32Array): void {
    if (storage.lastSerial >= this.#submitted) {
      this.flush();
      if (this.#waiting) {
        const copy = data.slice();
        storage.lastSerial = this.serial;
        this.#wait(() => this.writeNow(storage, byteOffset, copy));
        return;
      }
    }
    this.writeNow(storage, byteOffset, data);
  }

  /** Writes host data before all commands that are not submitted yet. */
  writeNow(
    storage: Storage,
    byteOffset: number,
    data: Uint8Array | Float32Array | Uint32Array,
  ): void {
    if (data.byteLength === 0) return;
    this.#device.queue.writeBuffer(
      storage.buffer,
      byteOffset,
      data.buffer as ArrayBuffer,
      data.byteOffset,
      data.byteLength,
    );
  }

  /**
   * Calls `begin` when what is recorded now has been submitted, and what follows it is ready to be:
   * just before that goes to the GPU.
   */
  beforeNextSubmission(begin: () => void): void {
    this.#waits.push({ serial: this.serial, begin });
  }

  /** Submits what is recorded; later, where what was recorded before waits for the host. */
  flush(): void {
    this.#endPass();
    if (!this.#encoder) return;
    const { serial } = this;
    const resolved = this.profiler?.resolve(this.#encoder);
    const commands = this.#encoder.finish();
    this.#encoder = undefined;
    const slots = this.#slotWords.subarray(0, this.#usedSlots * SLOT_BYTES / 4);
    const work = this.work.take();
    this.#usedSlots = 0;
    this.serial++;
    if (this.#waiting) {
      const submission = { serial, commands, slots: slots.slice(), work, resolved };
      this.#wait(() => this.#submit(submission));
    } else this.#submit({ serial, commands, slots, work, resolved });
  }

  #submit({ serial, commands, slots, work, resolved }: Submission): void {
    if (slots.length > 0) this.#device.queue.writeBuffer(this.#slots, 0, slots);
    this.#waits = this.#waits.filter((wait) => {
      if (wait.serial < serial) wait.begin();
      return wait.serial >= serial;
    });
    this.#device.queue.submit([commands]);
    this.work.submit(work);
    resolved?.();
    this.#submitted = serial + 1;
  }

  /**
   * Does something on the host once the GPU has all that is recorded so far, before it gets what is
   * recorded from now on.
   *
   * @param storages What is changed by it.
   */
  onHost(storages: readonly Storage[], step: () => Promise<void>): void {
    this.flush();
    this.#wait(step);
    for (const storage of storages) storage.lastSerial = this.serial;
  }

  /** Does something when the GPU has all that was flushed so far: at once, where it has. */
  whenSubmitted(action: () => void): void {
    if (this.#waiting) this.#wait(action);
    else action();
  }

  /** Waits until the GPU has all that was flushed so far. */
  async submitted(): Promise<void> {
    while (this.#waiting) await this.#waiting;
  }

  /** After a failure nothing more is done: it would be of numbers that nobody has made. */
  #wait(step: () => void | Promise<void>): void {
    const mine = (this.#waiting ?? Promise.resolve())
      .then(() => this.#hasFailed ? undefined : step())
      .catch((error: Error) => {
        this.#hasFailed = true;
        this.#onFailure(error);
      })
      .then(() => {
        if (this.#waiting === mine) this.#waiting = undefined;
      });
    this.#waiting = mine;
  }

  #open(): GPUCommandEncoder {
    return this.#encoder ??= this.#device.createCommandEncoder();
  }

  #endPass(): void {
    if (!this.#pass) return;
    this.#pass.end();
    this.#pass = undefined;
    this.#setPipeline = undefined;
    this.#setGroup = undefined;
  }
}
