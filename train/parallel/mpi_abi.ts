// The three binary interfaces of MPI: what its headers define as constants, and C compilers put into programs.

/** How a library says what. */
export interface MpiAbi {
  /** Its name for messages. */
  readonly name: string;
  /**
   * What a handle is in a call: the address of an exported symbol, an address, or a number. Deno makes
   * pointers of numbers only for programs that may load any library, but takes numbers in their place.
   */
  readonly handle: "pointer" | "usize" | "i32";
  readonly world: Handle;
  readonly nullInfo: Handle;
  readonly errorsReturn: Handle;
  readonly types: {
    readonly f32: Handle;
    readonly f64: Handle;
    readonly i32: Handle;
    readonly byte: Handle;
  };
  readonly operations: { readonly sum: Handle; readonly max: Handle; readonly min: Handle };
  /** MPI_IN_PLACE. */
  readonly inPlace: bigint;
  /** MPI_COMM_TYPE_SHARED. */
  readonly shared: number;
  /** MPI_THREAD_SERIALIZED. */
  readonly serialised: number;
}

/** A handle that is a number, or the name of the symbol whose address it is. */
export type Handle = number | string;

/** Open MPI 4 and 5: handles are addresses of the library's own objects. */
export const OPEN_MPI: MpiAbi = {
  name: "Open MPI",
  handle: "pointer",
  world: "ompi_mpi_comm_world",
  nullInfo: "ompi_mpi_info_null",
  errorsReturn: "ompi_mpi_errors_return",
  types: {
    f32: "ompi_mpi_float",
    f64: "ompi_mpi_double",
    i32: "ompi_mpi_int",
    byte: "ompi_mpi_byte",
  },
  operations: { sum: "ompi_mpi_op_sum", max: "ompi_mpi_op_max", min: "ompi_mpi_op_min" },
  inPlace: 1n,
  shared: 0,
  serialised: 2,
};

/** MPICH, and what shares its interface: Intel MPI, Cray MPICH, MVAPICH. */
export const MPICH: MpiAbi = {
  name: "MPICH",
  handle: "i32",
  world: 0x44000000,
  nullInfo: 0x1c000000,
  errorsReturn: 0x54000001,
  types: { f32: 0x4c00040a, f64: 0x4c00080b, i32: 0x4c000405, byte: 0x4c00010d },
  operations: { sum: 0x58000003, max: 0x58000001, min: 0x58000002 },
  inPlace: 0xffffffffffffffffn,
  shared: 1,
  serialised: 2,
};

/**
 * The interface of the MPI-5 standard (chapter 20), the same for all libraries that have it. Compared with
 * the headers of the MPI Forum and of MPICH; no library with it could be had to try it.
 */
export const STANDARD: MpiAbi = {
  name: "the standard interface",
  handle: "usize",
  world: 0x101,
  nullInfo: 0x130,
  errorsReturn: 0x142,
  types: { f32: 0x210, f64: 0x214, i32: 0x209, byte: 0x247 },
  operations: { sum: 0x21, max: 0x23, min: 0x22 },
  inPlace: 1n,
  shared: 221,
  serialised: 2048,
};
