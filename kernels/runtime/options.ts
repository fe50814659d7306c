// What a device is opened with, and on which adapter.

/**
 * How convolutions and matrix products are computed: `direct`, by large tiles in registers, as
 * software adapters run fastest; `shared`, by tiles in workgroup memory, for GPUs.
 */
export type KernelClass = "direct" | "shared";

/**
 * The numbers that products are made of: 32-bit floats; or 16-bit ones, `f16`, a few of which are
 * added up before they go into a 32-bit sum.
 */
export type Precision = "f32" | "f16";

/**
 * The processes that work on one batch together, each on a device of its own: what needs all of the batch,
 * such as the statistics of a batch norm, asks the others on the way.
 */
export interface Peers {
  /** This process, from 0: its images come after those of the ranks before. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** Adds up arrays of all processes element by element, in place; all of them get the same bits. */
  sum(data: Float32Array): Promise<void>;
  /**
   * The same for gradients, by which optimisers step, and for nothing else, as it may be less exact; as
   * {@link Peers.sum} unless given.
   */
  sumGradients?(data: Float32Array): Promise<void>;
}

/** How to open a device. */
export interface GpuOptions {
  /** The class of kernels; unless said, the one made for the adapter. */
  readonly kernels?: KernelClass | "auto" | undefined;
  /** The most bytes that arrays may take together; unlimited unless said. */
  readonly memoryBudget?: number | undefined;
  /** Whether to time every kernel by timestamp queries; slower. */
  readonly profile?: boolean | undefined;
  /**
   * Whether `tune` may time the ways of computing what is run, and choose; without it, results keep
   * their bits from run to run. With `auto` it may where that pays and can be: on an adapter that is
   * no software and has timestamp queries.
   */
  readonly autotune?: boolean | "auto" | undefined;
  /**
   * The most seconds of work that the GPU is given at once, as far as they can be foreseen: systems
   * reset one that is busy for seconds, and a shorter time leaves more room for a desktop. 0.3 on
   * GPUs, unlimited on software adapters, unless said. No result depends on it.
   */
  readonly maxSubmitSeconds?: number | undefined;
  /** Those who work on the same batches; nobody unless given. */
  readonly peers?: Peers | undefined;
  /** Pretend that the adapter binds no more bytes than this; for tests of splitting. */
  readonly maxBindingBytes?: number | undefined;
  /** Bytes of sentinel behind every array, checked when it is read; for tests of bounds. */
  readonly guardBytes?: number | undefined;
}

/** The adapter, as WebGPU names it. */
export interface AdapterDescription {
  /** Driver or device name, `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  /** Vendor, for Vulkan the PCI id as a decimal string. */
  readonly vendor: string;
  /** Family of the adapter, where it is told. */
  readonly architecture?: string;
  /** Model of the adapter, for Vulkan the PCI id as a decimal string. */
  readonly device?: string;
  /** Whether the adapter is a CPU behind a graphics interface. */
  readonly isFallback: boolean;
  /** Features that the adapter offers. */
  readonly features: readonly string[];
}
