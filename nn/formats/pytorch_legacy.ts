// PyTorch's format before the zip files: pickles of a magic number, a version, the machine, the values
// and the storages' names, then the bare memory.

import { describeValue, type PickleValue, TruncatedPickleError, unpickle } from "./pickle.ts";
import { broken, GLOBALS, MAX_PICKLE_BYTES, storageOf } from "./pytorch_values.ts";
import { SAFETENSORS_TYPES } from "./safetensors_header.ts";
import { WeightsFileError } from "./weights_error.ts";
import type { ByteSource } from "./weights_file.ts";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;

/** What a file holds, and where its storages' bytes lie. */
interface Opened {
  readonly value: PickleValue;
  readonly places: ReadonlyMap<string, { readonly offset: number }>;
}

/** What the values say of a storage: its elements, and the bytes of each. */
interface Claim {
  readonly length: number;
  readonly width: number;
}

/**
 * Reads the pickles and finds the storages.
 *
 * @throws {WeightsFileError} If the file is not sound, or no such file.
 */
export function openLegacy(source: ByteSource): Opened {
  for (let bytes = 2 ** 20;; bytes *= 4) {
    const start = new Uint8Array(Math.min(bytes, source.size, MAX_PICKLE_BYTES));
    source.read(0, start);
    try {
      return readLegacy(source, start);
    } catch (error) {
      // The pickles may be longer than what was read of them; only trying tells.
      const whole = start.length === source.size || start.length === MAX_PICKLE_BYTES;
      if (whole || !(error instanceof TruncatedPickleError)) throw error;
    }
  }
}

function readLegacy(source: ByteSource, start: Uint8Array): Opened {
  const storages = new Map<string, Claim>();
  const options = {
    globals: GLOBALS,
    persistent: (id: PickleValue) => {
      const storage = storageOf(id);
      const width = SAFETENSORS_TYPES[storage.dtype];
      const length = Number((id as PickleValue[])[4]);
      const known = storages.get(storage.key);
      if (known && (known.length !== length || known.width !== width)) {
        throw broken(`its storage ${describeValue(storage.key)} claims two sizes`);
      }
      storages.set(storage.key, { length, width });
      return storage;
    },
  };
  let end = 0;
  const next = (): PickleValue => {
    const read = unpickle(start, { ...options, offset: end });
    end = read.end;
    return read.value;
  };
  let magic: PickleValue;
  try {
    magic = next();
  } catch (error) {
    if (!(error instanceof WeightsFileError)) throw error;
    magic = null;
  }
  if (magic !== MAGIC) {
    throw broken("it begins like no PyTorch file");
  }
  if (next() !== PROTOCOL) throw broken("it is of an unknown version");
  const machine = next();
  if (machine instanceof Map && machine.get("little_endian") === false) {
    throw broken("its numbers are big-endian: save it again on a little-endian machine");
  }
  const value = next();
  const keys = next();
  if (!Array.isArray(keys)) throw broken("it does not list its storages");
  return { value, places: findStorages(source, keys, storages, end) };
}

/**
 * Finds the memory, which follows from byte `start` in the order of the keys: each storage's number of
 * elements in eight bytes, then the elements. Nothing may be missing or left over.
 */
function findStorages(
  source: ByteSource,
  keys: readonly PickleValue[],
  storages: ReadonlyMap<string, Claim>,
  start: number,
): Map<string, { offset: number }> {
  const places = new Map<string, { offset: number }>();
  let end = start;
  for (const key of keys) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    const called = describeValue(key);
    if (typeof key !== "string" || !storage || places.has(key)) {
      throw broken(`it lists a strange storage ${called}`);
    }
    const bytes = storage.length * storage.width;
    if (end + 8 + bytes > source.size) throw broken(`its storage ${called} is truncated`);
    const length = new Uint8Array(8);
    source.read(end, length);
    const found = new DataView(length.buffer).getBigUint64(0, true);
    if (found !== BigInt(storage.length)) {
      throw broken(`its storage ${called} has ${found} elements and claims ${storage.length}`);
    }
    places.set(key, { offset: end + 8 });
    end += 8 + bytes;
  }
  const missing = [...storages.keys()].find((key) => !places.has(key));
  if (missing !== undefined) throw broken(`its storage ${describeValue(missing)} is missing`);
  if (end !== source.size) throw broken(`it ends at byte ${end} and the file has ${source.size}`);
  return places;
}
