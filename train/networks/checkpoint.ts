/**
 * Checkpoints: every array that the next step depends on, and the state around them as JSON, in one
 * `.safetensors` file that any reader of that format opens.
 *
 * A SHA-256 of the whole file stands in its metadata (computed with zeros in its own place), so that
 * a file that was damaged on its way is refused and never trained on.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type AnyArray, formatShape, sameShape } from "../../kernels/runtime/mod.ts";
import {
  Safetensors,
  safetensorsHeader,
  type SafetensorsType,
} from "../../nn/formats/safetensors.ts";
import { checkFinite, saveState } from "../../nn/formats/weights.ts";
import { WeightsFileError, WeightsValueError } from "../../nn/formats/weights_error.ts";
import { AtomicFile } from "../base/atomic_file.ts";
import { DataError } from "../base/data_error.ts";
import { describeFailure } from "../base/refusal.ts";
import { seal } from "../base/digest.ts";
import { indexOfDigest, NO_DIGEST } from "../base/digest_place.ts";
import { FileSource } from "../base/file_source.ts";
import {
  checkVersion,
  DamagedCheckpointError,
  otherVersion,
  sentence,
  unlikeDigest,
  VERSION,
} from "./checkpoint_metadata.ts";

export { DamagedCheckpointError };

/**
 * Writes a checkpoint. The path shows either the old or the whole new one at any time.
 *
 * @param arrays All arrays under unique names, such as `network.conv1.weight`.
 * @param state Counters, configuration and whatever else is no array; must survive JSON.
 * @throws {DataError} If the file cannot be written; nothing is left behind.
 */
export async function writeCheckpoint(
  path: string,
  arrays: ReadonlyMap<string, AnyArray>,
  state: unknown,
): Promise<void> {
  using file = new AtomicFile(path);
  const hash = createHash("sha256");
  let digestOffset = -1;
  const write = (bytes: Uint8Array) => {
    if (digestOffset < 0) digestOffset = indexOfDigest(bytes, NO_DIGEST); // the header comes first
    hash.update(bytes);
    file.write(bytes);
  };
  const metadata = { checkpoint: VERSION, sha256: NO_DIGEST, state: JSON.stringify(state) };
  await saveState(arrays, write, metadata);
  file.write(new TextEncoder().encode(hash.digest("hex")), digestOffset);
  file.commit();
}

/** An array of a checkpoint that is made in memory. */
export interface CheckpointArray {
  /** Its name, unique, such as `network.conv1.weight`. */
  readonly name: string;
  /** Length of each axis. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: SafetensorsType;
  /** The elements, little-endian. */
  readonly data: Uint8Array;
}

/** The bytes of a checkpoint, as {@link writeCheckpoint} would write them. */
export function checkpointBytes(
  arrays: readonly CheckpointArray[],
  state: unknown,
): Uint8Array<ArrayBuffer> {
  const metadata = { checkpoint: VERSION, sha256: NO_DIGEST, state: JSON.stringify(state) };
  const table = arrays.map(({ name, shape, dtype }) => [name, { shape, dtype }] as const);
  const parts = [safetensorsHeader(table, metadata), ...arrays.map(({ data }) => data)];
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  seal(bytes);
  return bytes;
}

/** An opened checkpoint whose digest was right. Arrays are read from the file when they are restored. */
export class Checkpoint implements Disposable {
  /** The file. */
  readonly path: string;
  /** What was given to {@link writeCheckpoint} as its state. */
  readonly state: unknown;
  readonly #arrays: Safetensors;
  readonly #file: FileSource;

  /**
   * Opens a checkpoint and verifies every byte of it.
   *
   * @throws {DamagedCheckpointError} If its format or its digest is broken.
   * @throws {DataError} If the file cannot be read, is no checkpoint or one of a later version.
   */
  constructor(path: string) {
    this.path = path;
    try {
      this.#file = new FileSource(path);
    } catch (error) {
      throw new DataError(sentence(path, describeFailure(error)), { cause: error });
    }
    try {
      this.#arrays = new Safetensors(this.#file);
      const { metadata } = this.#arrays;
      checkVersion(path, metadata);
      this.#verify(metadata.get("sha256") ?? "");
      if (metadata.get("checkpoint") !== VERSION) throw otherVersion(path, metadata);
      this.state = JSON.parse(metadata.get("state") ?? "null");
    } catch (error) {
      this.#file[Symbol.dispose]();
      if (error instanceof DataError) throw error;
      const reason = describeFailure(error);
      if (error instanceof WeightsFileError) {
        throw new DamagedCheckpointError(sentence(path, `it is damaged (${reason})`), {
          cause: error,
        });
      }
      throw new DataError(sentence(path, reason), { cause: error });
    }
  }

  /** Whether it holds an array of this name. */
  has(name: string): boolean {
    return this.#arrays.entries.has(name);
  }

  /** The numbers of an array of floats. */
  floats(name: string): Float32Array {
    return this.#arrays.floats(name);
  }

  /**
   * Overwrites arrays with those of the checkpoint, all or none; 16-bit floats become 32-bit ones.
   *
   * @param arrays Where to write; names and shapes must be exactly those of the checkpoint.
   * @param prefix Takes only the checkpoint's names that begin with it, without it: `network.`.
   * @param options.partial Whether the checkpoint may hold more names than `arrays` (default false).
   * @param options.finite Whether NaN and infinities are refused (default false); `arrays` are then of no use.
   * @throws {DataError} If a name is missing or left over, or a shape or type differs.
   */
  restore(
    arrays: ReadonlyMap<string, AnyArray>,
    prefix = "",
    { partial = false, finite = false }: { readonly partial?: boolean; readonly finite?: boolean } =
      {},
  ): void {
    const file = this.#arrays;
    const own = [...file.entries].filter(([name]) => name.startsWith(prefix));
    const found = new Map(own.map(([name, entry]) => [name.slice(prefix.length), entry]));
    const problems: string[] = [];
    for (const [name, { shape, dtype }] of arrays) {
      const entry = found.get(name);
      if (!entry) {
        problems.push(`${name} is missing in it`);
      } else if (!sameShape(entry.shape, shape) || !becomes(entry.dtype, dtype)) {
        const [has, needs] = [
          `${entry.dtype.toLowerCase()} ${formatShape(entry.shape)}`,
          `${dtype} ${formatShape(shape)}`,
        ];
        problems.push(`${name} is ${has} in it and ${needs} here`);
      }
    }
    for (const name of found.keys()) {
      if (!partial && !arrays.has(name)) problems.push(`${name} is in it only`);
    }
    if (problems.length > 0) {
      const more = problems.length > 3 ? ` and ${problems.length - 3} more differences` : "";
      throw new DataError(
        `Cannot restore checkpoint ${this.path} as it was made for another network or stage: ` +
          `${problems.slice(0, 3).join(", ")}${more}; use the configuration that it was made with`,
      );
    }
    for (const [name, array] of arrays) {
      const values = array.dtype === "f32"
        ? this.#floats(prefix + name, finite)
        : file.integers(prefix + name);
      array.gpu.write(array, values);
    }
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
  }

  #floats(name: string, finite: boolean): Float32Array {
    const values = this.#arrays.floats(name, { reuse: true });
    try {
      return finite ? checkFinite(name, values) : values;
    } catch (error) {
      if (!(error instanceof WeightsValueError)) throw error;
      throw new DataError(
        `Cannot use checkpoint ${this.path} as ${error.reason}: expected finite numbers, as the training ` +
          `that wrote it had before it diverged; give an earlier checkpoint, or move this one out of the ` +
          `run folder to go on from the one before`,
        { cause: error },
      );
    }
  }

  #verify(digest: string): void {
    const hash = createHash("sha256");
    const scratch = new Uint8Array(8 * 2 ** 20);
    for (let offset = 0; offset < this.#file.size; offset += scratch.length) {
      const part = scratch.subarray(0, Math.min(scratch.length, this.#file.size - offset));
      this.#file.read(offset, part);
      if (offset === 0) { // the metadata is the first entry of the header
        const at = indexOfDigest(part, digest);
        if (at >= 0) part.fill(NO_DIGEST.charCodeAt(0), at, at + digest.length);
      }
      hash.update(part);
    }
    const found = hash.digest("hex");
    if (found !== digest) throw unlikeDigest(this.path, found);
  }
}

/** Whether an element type of a file can be read as one of an array. */
function becomes(found: SafetensorsType, dtype: AnyArray["dtype"]): boolean {
  return found === dtype.toUpperCase() || found === "F16" && dtype === "f32";
}
