/**
 * What several processes do together that train one network, each on an adapter of its own.
 *
 * @module
 */

/** Numbers that can be reduced; each process's array has the same length and type. */
export type Reducible = Float32Array | Float64Array | Int32Array;

/** How numbers of all processes become one. */
export type Reduction = "sum" | "max" | "min";

/**
 * Where the time of a rank that it spent with others has gone, in milliseconds since it joined them.
 *
 * What `gpu.onHost` has changed by a reduction counts here, what it has copied meanwhile does not count
 * again in `gpu.hostTimes.copy`: a step takes `reduce`, `wait`, that, and the rest, which is computing.
 */
export interface CollectiveTimes {
  /** Numbers and bytes on their way; of what is small also the wait for ranks that were later. */
  reduce: number;
  /** Waiting for ranks that were later: at barriers, and before what is large. */
  wait: number;
}

/** The processes of a training; each is a rank, and all call the same functions in the same order. */
export interface Collective {
  /** This process, from 0. */
  readonly rank: number;
  /** How many there are. */
  readonly size: number;
  /** This process among those of its machine, from 0: which adapter it takes. */
  readonly localRank: number;
  /** What connects them, for the log: `Open MPI v4.1.4`. */
  readonly engine: string;
  /** How much time this rank has spent with others. */
  readonly times: Readonly<CollectiveTimes>;
  /**
   * Reduces arrays element by element, in place: afterwards all ranks have the same bits.
   *
   * @throws {CollectiveError} If a rank does not answer, or the engine fails.
   */
  allReduce(data: Reducible, reduction: Reduction): Promise<void>;
  /**
   * Adds up arrays as {@link Collective.allReduce} does, but numbers travel as 16-bit floats: half the bytes,
   * eleven bits of each number. For gradients over slow networks.
   *
   * @throws {CollectiveError} As {@link Collective.allReduce}.
   */
  sumInHalves(data: Float32Array): Promise<void>;
  /**
   * Gives all ranks the bytes of one, in place.
   *
   * @throws {CollectiveError} As {@link Collective.allReduce}.
   */
  broadcast(data: Uint8Array, root: number): Promise<void>;
  /**
   * Waits for all ranks.
   *
   * @throws {CollectiveError} As {@link Collective.allReduce}.
   */
  barrier(): Promise<void>;
  /**
   * Ends all ranks at once, this one included, with an exit code.
   *
   * @throws {CollectiveError} If that fails.
   */
  abort(exitCode: number): never;
  /** Leaves the job in good order; no rank may be used afterwards. */
  close(): void;
}

/** A rank does not answer, or the engine that connects them fails. */
export class CollectiveError extends Error {
  /** The class name. */
  override readonly name = "CollectiveError";
}
