// PyTorch checkpoints, read without PyTorch: the zip format here, the one before it in
// pytorch_legacy.ts. Nothing in a file is ever executed; what it may name is in pytorch_values.ts.

import { builtinModule } from "../../kernels/runtime/builtin.ts";
import { toFloats } from "./element_types.ts";
import { inflate } from "./inflate.ts";
import { describeValue, type PickleValue, unpickle } from "./pickle.ts";
import { openLegacy } from "./pytorch_legacy.ts";
import {
  broken,
  GLOBALS,
  MAX_PICKLE_BYTES,
  storageBytes,
  storageOf,
  TensorReference,
} from "./pytorch_values.ts";
import { MAX_ENTRIES, MAX_NAME_LENGTH, SAFETENSORS_TYPES } from "./safetensors_header.ts";
import type { ByteSource, WeightsEntry, WeightsFile } from "./weights_file.ts";
import { readZip, type ZipEntry } from "./zip.ts";

/** Values that a file may hold, counted as often as they are referred to. */
const MAX_VALUES = 1_000_000;
const MAX_DEPTH = 64;
/** Characters of all names: a short file can put a long name before many tensors. */
const MAX_NAMES_LENGTH = 2 ** 24;
/** Tensors may share memory, but only a liar shares it this often. */
const MAX_SHARING = 16;

/** Where a storage's bytes lie. */
type Place = { readonly offset: number } | ZipEntry;

/** The tensors of a PyTorch checkpoint, under their paths: `ResNet101.model_state.conv1.weight`. */
export class PyTorchFile implements WeightsFile {
  /** Tensors by name, in order of the file. */
  readonly entries: ReadonlyMap<string, WeightsEntry>;
  readonly #tensors: ReadonlyMap<string, TensorReference>;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #source: ByteSource;
  readonly #scratch = { raw: new Uint8Array(), gathered: new Uint8Array() };
  /** The deflated storage that was read last: others of its tensors mostly follow. */
  #inflated: { readonly key: string | null; readonly bytes: Uint8Array } = {
    key: null,
    bytes: new Uint8Array(),
  };

  /**
   * Reads the pickles and checks every claim of theirs against the file; reads no tensor yet.
   *
   * @throws {WeightsFileError} If the file is not sound, is no such file, or names something that
   * is no data: what is wrong and where.
   */
  constructor(source: ByteSource) {
    this.#source = source;
    const { value, places } = isZip(source) ? openZip(source) : openLegacy(source);
    this.#places = places;
    this.#tensors = namedTensors(value);
    checkSharing(this.#tensors.values(), places);
    this.entries = new Map(
      [...this.#tensors].map(([name, { storage, shape }]) => [
        name,
        { dtype: storage.dtype, shape },
      ]),
    );
  }

  /**
   * The numbers of a tensor of floats, in the order of its axes.
   *
   * @param reuse Whether the result may live in memory that the next call reuses.
   * @throws {WeightsFileError} If its bytes are damaged.
   * @throws {WeightsMismatchError} If the tensor holds no floats.
   * @throws {RangeError} If there is no such tensor.
   */
  floats(name: string, options: { readonly reuse?: boolean } = {}): Float32Array {
    return toFloats(name, this.#tensor(name).storage.dtype, () => this.bytes(name, options));
  }

  /**
   * The bytes of a tensor of any type, little-endian, in the order of its axes; else as `floats`.
   */
  bytes(name: string, { reuse = false }: { readonly reuse?: boolean } = {}): Uint8Array {
    const { storage, offset, shape, strides } = this.#tensor(name);
    const width = SAFETENSORS_TYPES[storage.dtype];
    const size = shape.reduce((product, length) => product * length, 1);
    const bytes = reuse ? this.#reserve("gathered", size * width) : new Uint8Array(size * width);
    const first = storage.offset + offset;
    if (isContiguous(shape, strides)) {
      this.#read(storage.key, first * width, bytes);
    } else if (size > 0) {
      const span = shape.reduce((sum, length, axis) => sum + (length - 1) * strides[axis], 1);
      const raw = this.#reserve("raw", span * width);
      this.#read(storage.key, first * width, raw);
      gather(raw, bytes, width, shape, strides);
    }
    return bytes;
  }

  #tensor(name: string): TensorReference {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw new RangeError(`Cannot read "${name}" as the file holds no such tensor`);
    return tensor;
  }

  #reserve(which: "raw" | "gathered", bytes: number): Uint8Array {
    if (this.#scratch[which].length < bytes) this.#scratch[which] = new Uint8Array(bytes);
    return this.#scratch[which].subarray(0, bytes);
  }

  /** Fills `into` with the bytes from `start` of a storage. */
  #read(key: string, start: number, into: Uint8Array): void {
    const place = this.#places.get(key) as Place;
    if (!("deflated" in place)) return this.#source.read(place.offset + start, into);
    if (place.deflated) {
      if (this.#inflated.key !== key) {
        this.#inflated = { key, bytes: inflated(this.#source, place) };
      }
      into.set(this.#inflated.bytes.subarray(start, start + into.length));
      return;
    }
    this.#source.read(place.offset + start, into);
    if (into.length === place.byteLength) checkCrc(into, place);
  }
}

function isZip(source: ByteSource): boolean {
  const start = new Uint8Array(Math.min(4, source.size));
  source.read(0, start);
  return start.join() === "80,75,3,4";
}

interface Opened {
  readonly value: PickleValue;
  readonly places: ReadonlyMap<string, Place>;
}

/** One folder with `data.pkl` and a file for each storage. */
function openZip(source: ByteSource): Opened {
  const entries = readZip(source);
  const pickle = [...entries.values()].find(({ name }) => /^[^/]*\/data\.pkl$/.test(name));
  if (!pickle) {
    throw broken("it has no data.pkl: expected what torch.save writes");
  }
  const folder = pickle.name.slice(0, -"data.pkl".length);
  if (entries.has(`${folder}constants.pkl`)) {
    throw broken("it holds a TorchScript program: expected what torch.save makes of a state dict");
  }
  const order = entries.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(content(source, order)) !== "little") {
    throw broken("its numbers are big-endian: save it again on a little-endian machine");
  }
  const places = new Map<string, Place>();
  const { value } = unpickle(content(source, pickle), {
    globals: GLOBALS,
    persistent: (id) => {
      const storage = storageOf(id);
      const entry = entries.get(`${folder}data/${storage.key}`);
      const called = describeValue(storage.key);
      if (!entry) throw broken(`its storage ${called} is missing`);
      if (entry.byteLength !== storageBytes(storage) || storage.offset > 0) {
        throw broken(
          `its storage ${called} has ${entry.byteLength} bytes and claims ${storageBytes(storage)}`,
        );
      }
      places.set(storage.key, entry);
      return storage;
    },
  });
  return { value, places };
}

/** The tensors in nested dictionaries and lists, named by the keys that lead to them. */
function namedTensors(root: PickleValue): Map<string, TensorReference> {
  const tensors = new Map<string, TensorReference>();
  let [visited, namesLength] = [0, 0];
  const visit = (value: PickleValue, path: string, depth: number) => {
    if (++visited > MAX_VALUES) throw broken(`it holds more than ${MAX_VALUES} values`);
    if (depth > MAX_DEPTH) throw broken(`its values nest more than ${MAX_DEPTH} deep`);
    if (value instanceof TensorReference) {
      namesLength += path.length;
      if (path.length > MAX_NAME_LENGTH || namesLength > MAX_NAMES_LENGTH) {
        throw broken(
          `its tensors have longer names than weights: expected at most ${MAX_NAME_LENGTH} ` +
            `characters each and ${MAX_NAMES_LENGTH} together`,
        );
      }
      if (tensors.size === MAX_ENTRIES) throw broken(`it has more than ${MAX_ENTRIES} tensors`);
      if (tensors.has(path)) throw broken(`two of its tensors are called ${describeValue(path)}`);
      tensors.set(path, value);
    } else if (value instanceof Map || Array.isArray(value)) {
      for (const [key, item] of value.entries()) {
        if (typeof key !== "string" && typeof key !== "number") visited++;
        else visit(item, path === "" ? `${key}` : `${path}.${key}`, depth + 1);
      }
    }
  };
  visit(root, "", 0);
  return tensors;
}

/**
 * A file of a few bytes must not stand for terabytes of tensors, nor for a deflated storage that is
 * inflated again for thousands of them.
 */
function checkSharing(
  tensors: Iterable<TensorReference>,
  places: ReadonlyMap<string, Place>,
): void {
  const storages = new Map<string, number>();
  let claimed = 0;
  let last: string | undefined;
  for (const { storage, shape } of tensors) {
    const { key } = storage;
    const place = places.get(key) as Place;
    storages.set(key, storageBytes(storage));
    claimed += shape.reduce((bytes, length) => bytes * length, SAFETENSORS_TYPES[storage.dtype]);
    if (key !== last && "deflated" in place && place.deflated) claimed += place.byteLength;
    last = key;
  }
  const held = storages.values().reduce((sum, bytes) => sum + bytes, 0);
  if (claimed > MAX_SHARING * held) {
    throw broken(`its tensors claim ${claimed} bytes of storages of ${held}`);
  }
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return shape.includes(0);
    expected *= shape[axis] as number;
  }
  return true;
}

/** Copies elements of `width` bytes from a strided layout to a dense one. */
function gather(
  from: Uint8Array,
  to: Uint8Array,
  width: number,
  shape: readonly number[],
  strides: readonly number[],
): void {
  let written = 0;
  const walk = (axis: number, at: number) => {
    if (axis === shape.length) {
      for (let byte = 0; byte < width; byte++) to[written++] = from[at * width + byte] as number;
      return;
    }
    const [length, stride] = [shape[axis] as number, strides[axis] as number];
    for (let index = 0; index < length; index++) walk(axis + 1, at + index * stride);
  };
  walk(0, 0);
}

/** The whole content of an entry that is read at once. */
function content(source: ByteSource, entry: ZipEntry): Uint8Array {
  if (entry.byteLength > MAX_PICKLE_BYTES) {
    throw broken(`its ${entry.name} takes ${entry.byteLength} bytes`);
  }
  if (entry.deflated) return inflated(source, entry);
  const bytes = new Uint8Array(entry.byteLength);
  source.read(entry.offset, bytes);
  checkCrc(bytes, entry);
  return bytes;
}

function inflated(source: ByteSource, entry: ZipEntry): Uint8Array {
  const { name, offset, storedBytes, byteLength } = entry;
  const deflated = new Uint8Array(storedBytes);
  source.read(offset, deflated);
  let bytes: Uint8Array;
  try {
    bytes = inflate(deflated, byteLength, "none");
  } catch (error) {
    throw error instanceof RangeError ? broken(`its ${name} ${error.message}`) : error;
  }
  checkCrc(bytes, entry);
  return bytes;
}

/** Compares a checksum, but in browsers, which have none. */
function checkCrc(bytes: Uint8Array, { name, crc }: ZipEntry): void {
  const zlib = builtinModule("node:zlib");
  if (zlib && zlib.crc32(bytes) !== crc) {
    throw broken(`its ${name} does not match its checksum: it was damaged`);
  }
}
