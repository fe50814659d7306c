// MPI by Deno's foreign function interface: no shim, no compiler. Which library is loaded, and which binary
// interface it has, its exported symbols tell.

import { type Collective, CollectiveError, type Reducible, type Reduction } from "./collective.ts";
import { type Handle, type MpiAbi, MPICH, OPEN_MPI, STANDARD } from "./mpi_abi.ts";

/** Bytes of one call: libraries take new memory for larger ones each time, which is ten times slower. */
const BUCKET_BYTES = 8 * 2 ** 20;

/** Names under which libraries are installed, the most portable first. */
const USUAL_LIBRARIES = ["libmpi_abi.so.0", "libmpi.so.40", "libmpi.so.12", "libmpich.so.12"];
/** Folders that are looked in, as a permission must name the path of a file. */
const USUAL_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
];

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

/** The functions that are called; handles are of the interface's own type. */
function functionsOf(handle: MpiAbi["handle"]) {
  // One that a call has made, unlike the library's own.
  const made = handle === "pointer" ? "usize" : handle;
  return {
    MPI_Init_thread: { parameters: ["pointer", "pointer", "i32", "buffer"], result: "i32" },
    MPI_Comm_rank: { parameters: [handle, "buffer"], result: "i32" },
    rankOfMade: { name: "MPI_Comm_rank", parameters: [made, "buffer"], result: "i32" },
    MPI_Comm_size: { parameters: [handle, "buffer"], result: "i32" },
    MPI_Comm_split_type: {
      parameters: [handle, "i32", "i32", handle, "buffer"],
      result: "i32",
    },
    MPI_Comm_set_errhandler: { parameters: [handle, handle], result: "i32" },
    MPI_Error_string: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
    MPI_Get_library_version: { parameters: ["buffer", "buffer"], result: "i32" },
    MPI_Abort: { parameters: [handle, "i32"], result: "i32" },
    MPI_Finalize: { parameters: [], result: "i32" },
    MPI_Allreduce: {
      parameters: ["usize", "buffer", "i32", handle, handle, handle],
      result: "i32",
      nonblocking: true,
    },
    MPI_Bcast: {
      parameters: ["buffer", "i32", handle, "i32", handle],
      result: "i32",
      nonblocking: true,
    },
    MPI_Barrier: { parameters: [handle], result: "i32", nonblocking: true },
  } as const satisfies Deno.ForeignLibraryInterface;
}

type Functions = ReturnType<typeof functionsOf>;
/** A handle as calls take it. */
type Passed = never;

/** The ranks of an MPI job. */
export class Mpi implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  readonly engine: string;
  readonly #abi: MpiAbi;
  readonly #library: Deno.DynamicLibrary<Functions>;
  readonly #timeout: number;
  readonly #onTimeout: ((reason: string) => void) | undefined;
  readonly #handles = new Map<Handle, Passed>();
  /** Calls go one at a time, as the library is opened for. */
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Joins the job that a launcher has started, or one of this process alone.
   *
   * @throws {CollectiveError} If no library is found, or it cannot be used.
   */
  constructor({ library = findLibrary(), timeout, onTimeout }: MpiOptions) {
    this.#abi = abiOf(library);
    this.#timeout = timeout;
    this.#onTimeout = onTimeout;
    const { handle, world, serialised, errorsReturn, shared, nullInfo } = this.#abi;
    this.#library = Deno.dlopen(library, functionsOf(handle));
    this.#resolveHandles(library);
    const { symbols } = this.#library;
    const provided = new Int32Array(1);
    this.#check("start", symbols.MPI_Init_thread(null, null, serialised, bytesOf(provided)));
    if (provided[0] < serialised) {
      throw new CollectiveError(
        `Cannot use ${library} as it does not let threads take turns: expected MPI_THREAD_SERIALIZED; ` +
          "give a library that was built with threads",
      );
    }
    const all = this.#handle(world);
    this.#check("start", symbols.MPI_Comm_set_errhandler(all, this.#handle(errorsReturn)));
    const number = (name: string, ask: (out: Uint8Array<ArrayBuffer>) => number): number => {
      const out = new Int32Array(1);
      this.#check(name, ask(bytesOf(out)));
      return out[0];
    };
    this.rank = number("count ranks", (out) => symbols.MPI_Comm_rank(all, out));
    this.size = number("count ranks", (out) => symbols.MPI_Comm_size(all, out));
    const node = new BigUint64Array(1);
    this.#check(
      "find the ranks of this machine",
      symbols.MPI_Comm_split_type(all, shared, this.rank, this.#handle(nullInfo), bytesOf(node)),
    );
    const local = handle === "i32" ? new Int32Array(node.buffer)[0] : node[0];
    this.localRank = number(
      "count the ranks of this machine",
      (out) => symbols.rankOfMade(local as Passed, out),
    );
    this.engine = this.#versionOfLibrary();
  }

  async allReduce(data: Reducible, reduction: Reduction): Promise<void> {
    const { types, operations, inPlace, world } = this.#abi;
    const type = data instanceof Float32Array
      ? "f32"
      : data instanceof Float64Array
      ? "f64"
      : "i32";
    const length = BUCKET_BYTES / data.BYTES_PER_ELEMENT;
    for (let at = 0; at < data.length; at += length) {
      const bucket = data.subarray(at, at + length);
      await this.#call("reduce numbers", () =>
        this.#library.symbols.MPI_Allreduce(
          inPlace,
          bytesOf(bucket),
          bucket.length,
          this.#handle(types[type]),
          this.#handle(operations[reduction]),
          this.#handle(world),
        ));
    }
  }

  async broadcast(data: Uint8Array, root: number): Promise<void> {
    const { types, world } = this.#abi;
    for (let at = 0; at < data.length; at += BUCKET_BYTES) {
      const bucket = data.subarray(at, at + BUCKET_BYTES);
      await this.#call("hand on bytes", () =>
        this.#library.symbols.MPI_Bcast(
          bytesOf(bucket),
          bucket.length,
          this.#handle(types.byte),
          root,
          this.#handle(world),
        ));
    }
  }

  async barrier(): Promise<void> {
    await this.#call(
      "wait for each other",
      () => this.#library.symbols.MPI_Barrier(this.#handle(this.#abi.world)),
    );
  }

  abort(exitCode: number): never {
    this.#library.symbols.MPI_Abort(this.#handle(this.#abi.world), exitCode);
    throw new CollectiveError(`The job could not be ended with ${exitCode}`);
  }

  close(): void {
    this.#check("end", this.#library.symbols.MPI_Finalize());
  }

  /** Makes a call when those before have ended, and ends the job if it takes too long. */
  #call(what: string, call: () => Promise<number>): Promise<void> {
    const mine = this.#last.then(async () => {
      const timer = setTimeout(() => {
        this.#onTimeout?.(
          `rank ${this.rank} of ${this.size} could not ${what} within ${this.#timeout / 1000} s: ` +
            "another rank or the network between them does not answer",
        );
        this.abort(EXIT_TIMEOUT);
      }, this.#timeout);
      try {
        this.#check(what, await call());
      } finally {
        clearTimeout(timer);
      }
    });
    this.#last = mine.catch(() => {});
    return mine;
  }

  #check(what: string, code: number): void {
    if (code === 0) return;
    const [text, length] = [new Uint8Array(8192), new Int32Array(1)];
    this.#library.symbols.MPI_Error_string(code, text, bytesOf(length));
    throw new CollectiveError(
      `Ranks could not ${what}: ${new TextDecoder().decode(text.subarray(0, length[0]))}`,
    );
  }

  #handle(handle: Handle): Passed {
    return this.#handles.get(handle) as Passed;
  }

  #resolveHandles(library: string): void {
    const { world, nullInfo, errorsReturn, types, operations } = this.#abi;
    const all = [
      world,
      nullInfo,
      errorsReturn,
      ...Object.values(types),
      ...Object.values(operations),
    ];
    const names = all.filter((name) => typeof name === "string");
    const statics = Object.fromEntries(names.map((name) => [name, { type: "pointer" } as const]));
    const { symbols } = Deno.dlopen(library, statics);
    for (const name of all) {
      this.#handles.set(name, (typeof name === "string" ? symbols[name] : name) as Passed);
    }
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

/**
 * The path of a library in the usual folders.
 *
 * @throws {CollectiveError} If there is none.
 */
export function findLibrary(): string {
  for (const name of USUAL_LIBRARIES) {
    for (const folder of USUAL_FOLDERS) {
      const path = `${folder}/${name}`;
      try {
        Deno.statSync(path);
        return path;
      } catch {
        // the next one
      }
    }
  }
  throw new CollectiveError(
    `Cannot find MPI as none of ${USUAL_LIBRARIES.join(", ")} is in ${USUAL_FOLDERS.join(", ")}: ` +
      "install Open MPI or MPICH (on Debian openmpi-bin or mpich), or name the library",
  );
}

/** Which interface a library has, by what it exports. */
function abiOf(library: string): MpiAbi {
  const symbols = open(library);
  if (symbols.ompi_mpi_comm_world) return OPEN_MPI;
  if (symbols.MPI_Abi_get_version) return STANDARD;
  if (symbols.MPI_Init_thread) return MPICH;
  throw new CollectiveError(
    `Cannot use ${library} as it exports no MPI_Init_thread: expected a library of MPI; name another one`,
  );
}

function open(library: string) {
  try {
    return Deno.dlopen(library, {
      ompi_mpi_comm_world: { type: "pointer", optional: true },
      MPI_Abi_get_version: { type: "pointer", optional: true },
      MPI_Init_thread: { type: "pointer", optional: true },
    }).symbols;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CollectiveError(
      `Cannot load ${library} (${reason}): expected a library of MPI; install one or name its path`,
      { cause: error },
    );
  }
}

/** The memory of an array, as calls take it. */
function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
