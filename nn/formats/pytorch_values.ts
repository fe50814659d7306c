// What the pickle of a PyTorch checkpoint may name, and what that becomes here: references to
// tensors and storages, ordered dictionaries, and the few plain objects that trainings leave beside
// their weights.

import {
  describeValue,
  type Globals,
  PickleCallable,
  PickleObject,
  type PickleValue,
} from "./pickle.ts";
import { SAFETENSORS_TYPES, type SafetensorsType } from "./safetensors_header.ts";
import { WeightsFileError } from "./weights_error.ts";

/** Bytes that the pickles of a file may take; those of real checkpoints take less than one MiB. */
export const MAX_PICKLE_BYTES = 64 * 2 ** 20;

/** A piece of memory that tensors look into. */
export class StorageReference extends PickleObject {
  /** Registers nothing; the numbers are read later. */
  constructor(
    /** Name of the memory in the file. */
    readonly key: string,
    /** Element type. */
    readonly dtype: SafetensorsType,
    /** First element, of the memory under that name. */
    readonly offset: number,
    /** Number of elements. */
    readonly length: number,
  ) {
    super();
  }
}

/** A strided view of a storage. */
export class TensorReference extends PickleObject {
  /** Checks that no element lies outside of the storage, and none is claimed that is not there. */
  constructor(
    /** The memory. */
    readonly storage: StorageReference,
    /** First element in the storage. */
    readonly offset: number,
    /** Length of each axis. */
    readonly shape: readonly number[],
    /** Elements from one index to the next, by axis. */
    readonly strides: readonly number[],
  ) {
    super();
    const size = shape.reduce((product, length) => product * length, 1);
    const last = size === 0
      ? offset - 1
      : shape.reduce((sum, length, axis) => sum + (length - 1) * (strides[axis] as number), offset);
    if (size > storage.length || last >= storage.length) {
      throw broken(
        `a tensor [${shape.join(", ")}] with strides [${
          strides.join(", ")
        }] from element ${offset} ` +
          `needs more than the ${storage.length} elements of its storage ` +
          describeValue(storage.key),
      );
    }
  }
}

/** A value that is of no use to a network: a data type, a device, an array of NumPy. */
class Opaque extends PickleObject {}

/** A data type of NumPy; `<f8` and its like matter, for scalars. */
class NumpyType extends PickleObject {
  constructor(readonly name: string) {
    super();
  }
}

/** Name and type of the storages; PyTorch's quantised and complex ones are no weights. */
const STORAGES: Readonly<Record<string, SafetensorsType>> = {
  DoubleStorage: "F64",
  FloatStorage: "F32",
  HalfStorage: "F16",
  BFloat16Storage: "BF16",
  LongStorage: "I64",
  IntStorage: "I32",
  ShortStorage: "I16",
  CharStorage: "I8",
  ByteStorage: "U8",
  BoolStorage: "BOOL",
};

/** A class of storages; only persistent references name it. */
class StorageType extends PickleObject {
  constructor(readonly dtype: SafetensorsType) {
    super();
  }
}

/** Axes that a tensor may have. */
const MAX_AXES = 16;
/** Bytes of a number of NumPy. */
const MAX_SCALAR_BYTES = 16;

/**
 * Resolves `("storage", type, key, location, length)`, and before the zip format a sixth item:
 * null, or what part of the memory is meant.
 */
export function storageOf(id: PickleValue): StorageReference {
  const [kind, type, key, , length, view] = Array.isArray(id) ? id : [];
  if (kind !== "storage" || !(type instanceof StorageType) || typeof key !== "string") {
    throw broken("it refers to something outside of it that is no storage");
  }
  const elements = naturalNumber(length, "the length of a storage");
  if (view === undefined || view === null) {
    return new StorageReference(key, type.dtype, 0, elements);
  }
  const [, start, part] = Array.isArray(view) ? view : [];
  const offset = naturalNumber(start, "the start of a storage");
  const partLength = naturalNumber(part, "the length of a storage");
  if (offset + partLength > elements) {
    throw broken(`a part of storage ${describeValue(key)} lies outside of it`);
  }
  return new StorageReference(key, type.dtype, offset, partLength);
}

/** Every name that the pickle of a checkpoint may use. */
export const GLOBALS: Globals = new Map<string, PickleValue>([
  ...table([
    ["collections.OrderedDict", ([items]) => dictionary(items)],
    ["collections.defaultdict", () => new Map()],
    ["argparse.Namespace", () => new Opaque()],
    ["torch._utils._rebuild_tensor", (args) => tensor(args)],
    ["torch._utils._rebuild_tensor_v2", (args) => tensor(args)],
    ["torch._utils._rebuild_parameter", ([data]) => data ?? null],
    ["torch.Size", ([lengths]) => lengths ?? []],
    ["torch.device", () => new Opaque()],
    ["_codecs.encode", ([text]) => latin1(text)],
  ]),
  ...["builtins", "__builtin__"].flatMap((module) =>
    table([
      [`${module}.set`, ([items]) => items ?? []],
      [`${module}.list`, ([items]) => items ?? []],
      [`${module}.dict`, () => new Map()],
    ])
  ),
  ...["numpy.core", "numpy._core"].flatMap((module) =>
    table([
      [`${module}.multiarray.scalar`, numpyScalar],
      [`${module}.multiarray._reconstruct`, () => new Opaque()],
    ])
  ),
  ...table([
    ["numpy.dtype", ([name]) => typeof name === "string" ? new NumpyType(name) : new Opaque()],
    ["numpy.ndarray", () => new Opaque()],
  ]),
  ...Object.entries(STORAGES).map(([name, dtype]) =>
    [`torch.${name}`, new StorageType(dtype)] as const
  ),
  ...[
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
  ]
    .map((name) => [`torch.${name}`, new Opaque()] as const),
]);

function table(
  rows: readonly (readonly [string, (args: readonly PickleValue[]) => PickleValue])[],
): [string, PickleValue][] {
  return rows.map(([name, call]) => [name, new PickleCallable(name, call)]);
}

function dictionary(items: PickleValue | undefined): Map<PickleValue, PickleValue> {
  const map = new Map<PickleValue, PickleValue>();
  for (const pair of Array.isArray(items) ? items : []) {
    if (Array.isArray(pair)) map.set(pair[0] ?? null, pair[1] ?? null);
  }
  return map;
}

function tensor([storage, offset, shape, strides]: readonly PickleValue[]): TensorReference {
  if (!(storage instanceof StorageReference)) throw broken("it makes a tensor of no storage");
  const lengths = naturalNumbers(shape, "the shape of a tensor");
  const steps = naturalNumbers(strides, "the strides of a tensor");
  if (lengths.length !== steps.length) {
    throw broken(`it makes a tensor of ${lengths.length} axes with ${steps.length} strides`);
  }
  return new TensorReference(storage, naturalNumber(offset, "an offset"), lengths, steps);
}

/**
 * Python's way to write bytes in old pickles: as the text of the same code points. Only those of
 * scalars matter.
 */
function latin1(text: PickleValue | undefined): PickleValue {
  if (typeof text !== "string" || text.length > MAX_SCALAR_BYTES) return new Opaque();
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function numpyScalar([type, bytes]: readonly PickleValue[]): PickleValue {
  if (!(type instanceof NumpyType) || !(bytes instanceof Uint8Array)) return new Opaque();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (type.name === "f8" && bytes.length === 8) return view.getFloat64(0, true);
  if (type.name === "f4" && bytes.length === 4) return view.getFloat32(0, true);
  if (type.name === "i8" && bytes.length === 8) return view.getBigInt64(0, true);
  if (type.name === "i4" && bytes.length === 4) return view.getInt32(0, true);
  return new Opaque();
}

function naturalNumbers(values: PickleValue | undefined, what: string): number[] {
  if (!Array.isArray(values)) throw broken(`${what} is no list`);
  if (values.length > MAX_AXES) throw broken(`${what} has ${values.length} axes`);
  return values.map((value) => naturalNumber(value, what));
}

function naturalNumber(value: PickleValue | undefined, what: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw broken(`${what} holds ${describeValue(value)}: expected whole numbers from 0`);
  }
  return value as number;
}

/** The error of a file that is not sound; `reason` stands after "as". */
export function broken(reason: string): WeightsFileError {
  return new WeightsFileError("the PyTorch file", reason);
}

/** Bytes that a storage claims. */
export function storageBytes({ dtype, length }: StorageReference): number {
  return SAFETENSORS_TYPES[dtype] * length;
}
