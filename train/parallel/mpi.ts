/**
 * The ranks of an MPI job, for Deno: what `openGpu({ peers: peersOf(ranks) })` and a training of several
 * processes take. Needs `--allow-ffi` and `--allow-read` for the library's file.
 *
 * @module
 */

import {
  type Collective,
  CollectiveError,
  type CollectiveTimes,
  type Reducible,
  type Reduction,
} from "./collective.ts";
import { HalfSums } from "./halves.ts";
import { findLibrary } from "./library.ts";
import { loadMpi, type MpiLibrary, type Passed } from "./mpi_library.ts";

export type { Collective, CollectiveError, CollectiveTimes, Reducible, Reduction };

/** Bytes of one call: libraries take new memory for larger ones each time, which is ten times slower. */
const BUCKET_BYTES = 8 * 2 ** 20;
/** From here on ranks first wait for each other, so that it is known how long that took. */
const LARGE_BYTES = 2 ** 20;

/** Milliseconds that launchers are given to pass on what a rank has printed, before it ends the job. */
const PRINTED_WITHIN = 200;

/** How MPI is opened. */
export interface MpiOptions {
  /** Path of the library; the first that is found in the usual folders unless given. */
  readonly library?: string | undefined;
  /** Milliseconds after which a call that has not ended ends the job. */
  readonly timeout: number;
  /**
   * Called before the job ends because a call has not ended in time.
   *
   * @param reason A sentence.
   */
  readonly onTimeout?: ((reason: string) => void) | undefined;
}

/** The ranks of an MPI job. */
export class Mpi implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly engine: string;
  readonly times: CollectiveTimes = { reduce: 0, wait: 0 };
  readonly #library: MpiLibrary;
  readonly #world: Passed;
  readonly #timeout: number;
  readonly #onTimeout: ((reason: string) => void) | undefined;
  readonly #halfSums: HalfSums;
  /** Calls go one at a time, as the library is opened for. */
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Joins the job that a launcher has started, or one of this process alone.
   *
   * @throws {CollectiveError} If no library is found, or it cannot be used.
   */
  constructor({ library: given, timeout, onTimeout }: MpiOptions) {
    if (typeof Deno === "undefined") {
      throw new CollectiveError(
        "Cannot join a job over MPI as this is not Deno: expected a runtime that calls libraries by itself; " +
          "start the program by deno run",
      );
    }
    const library = given ?? findLibrary();
    this.#timeout = timeout;
    this.#onTimeout = onTimeout;
    this.#library = loadMpi(library);
    const { symbols, abi } = this.#library;
    const provided = new Int32Array(1);
    this.#check("start", symbols.MPI_Init_thread(null, null, abi.serialised, bytesOf(provided)));
    if (provided[0] < abi.serialised) {
      throw new CollectiveError(
        `Cannot use ${library} as it does not let threads take turns: expected MPI_THREAD_SERIALIZED; ` +
          "give a library that was built with threads",
      );
    }
    this.#world = this.#library.handle(abi.world);
    const errorsReturn = this.#library.handle(abi.errorsReturn);
    this.#check("start", symbols.MPI_Comm_set_errhandler(this.#world, errorsReturn));
    const number = (name: string, ask: (out: Uint8Array<ArrayBuffer>) => number): number => {
      const out = new Int32Array(1);
      this.#check(name, ask(bytesOf(out)));
      return out[0];
    };
    this.rank = number("count ranks", (out) => symbols.MPI_Comm_rank(this.#world, out));
    this.size = number("count ranks", (out) => symbols.MPI_Comm_size(this.#world, out));
    const nullInfo = this.#library.handle(abi.nullInfo);
    const node = new BigUint64Array(1);
    this.#check(
      "find the ranks of this machine",
      symbols.MPI_Comm_split_type(this.#world, abi.shared, this.rank, nullInfo, bytesOf(node)),
    );
    const local = abi.handle === "i32" ? new Int32Array(node.buffer)[0] : node[0];
    this.localRank = number(
      "count the ranks of this machine",
      (out) => symbols.rankOfMade(local as Passed, out),
    );
    this.engine = this.#versionOfLibrary();
    this.#halfSums = new HalfSums(this.#halfExchange());
  }

  allReduce(data: Reducible, reduction: Reduction): Promise<void> {
    return this.#inTurn(async () => {
      if (data.byteLength >= LARGE_BYTES) await this.#meet("reduce numbers");
      for (const bucket of bucketsOf(data)) await this.#reduce(bucket, reduction, "reduce");
    });
  }

  sumInHalves(data: Float32Array): Promise<void> {
    return this.#inTurn(async () => {
      for (const bucket of bucketsOf(data)) await this.#halfSums.sum(bucket);
    });
  }

  broadcast(data: Uint8Array, root: number): Promise<void> {
    return this.#inTurn(async () => {
      for (const bucket of bucketsOf(data)) {
        await this.#call("hand on bytes", "reduce", ({ symbols, abi, handle }) =>
          symbols.MPI_Bcast(
            bytesOf(bucket),
            bucket.length,
            handle(abi.types.byte),
            root,
            this.#world,
          ));
      }
    });
  }

  barrier(): Promise<void> {
    return this.#inTurn(() => this.#meet("wait for each other"));
  }

  abort(exitCode: number): never {
    // MPICH's launcher may lose what was printed just before.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PRINTED_WITHIN);
    this.#library.symbols.MPI_Abort(this.#world, exitCode);
    throw new CollectiveError(`The job could not be ended with ${exitCode}`);
  }

  close(): void {
    this.#check("end", this.#library.symbols.MPI_Finalize());
  }

  /** Does all of something once what was asked for before has been done. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => {});
    return mine;
  }

  #reduce(data: Reducible, reduction: Reduction, spent: keyof CollectiveTimes): Promise<void> {
    const type = data instanceof Float32Array
      ? "f32"
      : data instanceof Float64Array
      ? "f64"
      : "i32";
    return this.#call("reduce numbers", spent, ({ symbols, abi, handle }) =>
      symbols.MPI_Allreduce(
        abi.inPlace,
        bytesOf(data),
        data.length,
        handle(abi.types[type]),
        handle(abi.operations[reduction]),
        this.#world,
      ));
  }

  #meet(what: string): Promise<void> {
    return this.#call(what, "wait", ({ symbols }) => symbols.MPI_Barrier(this.#world));
  }

  /** How numbers of 16 bits, which MPI has no type for, go from rank to rank. */
  #halfExchange(): ConstructorParameters<typeof HalfSums>[0] {
    return {
      size: this.size,
      greatest: async (value) => {
        const all = Float32Array.of(value);
        await this.#reduce(all, "max", "wait"); // what comes first waits for all ranks
        return all[0];
      },
      exchange: (sent, received) =>
        this.#call("reduce numbers", "reduce", ({ symbols, abi, handle }) => {
          const [byte, length] = [handle(abi.types.byte), sent.byteLength / this.size];
          const [from, to] = [bytesOf(sent), bytesOf(received)];
          return symbols.MPI_Alltoall(from, length, byte, to, length, byte, this.#world);
        }),
      gather: (part, all) =>
        this.#call("reduce numbers", "reduce", ({ symbols, abi, handle }) => {
          const byte = handle(abi.types.byte);
          const [from, to, length] = [bytesOf(part), bytesOf(all), part.byteLength];
          return symbols.MPI_Allgather(from, length, byte, to, length, byte, this.#world);
        }),
    };
  }

  /** Makes a call, and ends the job if it takes too long. */
  async #call(
    what: string,
    spent: keyof CollectiveTimes,
    call: (library: MpiLibrary) => Promise<number>,
  ): Promise<void> {
    const timer = setTimeout(() => {
      this.#onTimeout?.(
        `rank ${this.rank} of ${this.size} could not ${what} within ${this.#timeout / 1000} s: ` +
          "another rank or the network between them does not answer",
      );
      this.abort(EXIT_TIMEOUT);
    }, this.#timeout);
    const began = performance.now();
    try {
      this.#check(what, await call(this.#library));
    } finally {
      this.times[spent] += performance.now() - began;
      clearTimeout(timer);
    }
  }

  #check(what: string, code: number): void {
    if (code === 0) return;
    const [text, length] = [new Uint8Array(8192), new Int32Array(1)];
    this.#library.symbols.MPI_Error_string(code, text, bytesOf(length));
    throw new CollectiveError(
      `Ranks could not ${what}: ${new TextDecoder().decode(text.subarray(0, length[0]))}`,
    );
  }

  #versionOfLibrary(): string {
    const [text, length] = [new Uint8Array(8192), new Int32Array(1)];
    this.#library.symbols.MPI_Get_library_version(text, bytesOf(length));
    const version = new TextDecoder().decode(text.subarray(0, length[0])).replace(/\0+$/, "");
    return version.split(/[,\n]/)[0].replace(/\s+/g, " ").trim();
  }
}

/** The exit code of a job that ends because a rank does not answer; that of a temporary failure. */
export const EXIT_TIMEOUT = 75;

/** An array in parts of at most {@link BUCKET_BYTES}. */
function* bucketsOf<T extends Reducible | Uint8Array>(data: T): Iterable<T> {
  const length = BUCKET_BYTES / data.BYTES_PER_ELEMENT;
  for (let at = 0; at < data.length; at += length) yield data.subarray(at, at + length) as T;
}

/** The memory of an array, as calls take it. */
function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
