// The soft labels of a run, in its folder: one file per image, so that a data set of any size fits and
// a resumed run reads the same bits.

import { join } from "node:path";
import type { GpuArray } from "../../../kernels/runtime/mod.ts";
import { writeFileAtomic } from "../../base/atomic_file.ts";
import { exists } from "../../base/folders.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Sample } from "../../data/samples.ts";
import { quarterOf } from "../common/batch.ts";
import { encodeSoftLabel, readSoftLabel, readSoftLabelHeader } from "./soft_label_file.ts";
import { type Probabilities, readProbabilities, type SoftLabelStore } from "./soft_label_store.ts";

/** Bytes of soft labels that are read before a stage goes on, in a tenth of a second. */
const READ_AT_ONCE = 128 * 2 ** 20;

/** What is known of soft labels before they are read. */
export interface SoftLabelsOptions {
  /** The classes that they are of; any number unless given. */
  readonly classes?: number;
  /** Digests of the files by their names, as the stage's checkpoint has them. */
  readonly digests?: Readonly<Record<string, string>> | null;
}

/** The soft labels of a data set, in a folder. */
export class SoftLabels implements SoftLabelStore {
  readonly #folder: string;
  readonly #classes: number | undefined;
  readonly #digests: Map<string, string>;
  /** How a file looked when its content was last checked, by its name. */
  readonly #known = new Map<string, string>();

  /** A folder that is there, and holds the soft labels or is to. */
  constructor(folder: string, { classes, digests }: SoftLabelsOptions = {}) {
    this.#folder = folder;
    this.#classes = classes;
    this.#digests = new Map(Object.entries(digests ?? {}));
  }

  /** The digests of the files by their names; those of an earlier version have none. */
  get digests(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#digests);
  }

  /**
   * Writes the probabilities of samples, [N, K, height, width], one file per sample.
   *
   * @throws {DataError} If they are none, or a file cannot be written.
   */
  async write(samples: readonly Sample[], probabilities: GpuArray): Promise<void> {
    const read = await readProbabilities(samples, probabilities);
    samples.forEach(({ index, name }, at) => {
      const { bytes, digest } = encodeSoftLabel(name, read[at]);
      const file = fileName(index);
      writeFileAtomic(join(this.#folder, file), [bytes]);
      this.#digests.set(file, digest);
    });
  }

  /**
   * The paths of the files that are missing. Where none is, checks all of them, though of a large set only
   * what the files say of themselves: what they hold is checked when they are read.
   *
   * @throws {DataError} If one is damaged, of another image, or another than the stage has learnt from so far.
   */
  missing(items: Dataset["items"]): string[] {
    const files = items.map(({ name }, index) => {
      const file = fileName(index);
      return { name, index, file, path: join(this.#folder, file) };
    });
    const missing = files.map(({ path }) => path).filter((path) => !exists(path));
    if (missing.length > 0) return missing;
    const bytes = files.reduce((sum, { path }) => sum + Deno.statSync(path).size, 0);
    for (const { name, index, file, path } of files) {
      const { digest } = readSoftLabelHeader(path, { name, digest: this.#digests.get(file) });
      if (digest !== undefined) this.#digests.set(file, digest);
      if (bytes <= READ_AT_ONCE) this.read(index);
    }
    return [];
  }

  /**
   * The probabilities of item `index`, [1, K, height, width].
   *
   * @param sample The item; unless given, labels of any image and size will do.
   * @throws {DataError} If the file is damaged, of another image, or holds no probabilities.
   */
  read(index: number, sample?: Pick<Sample, "name" | "image">): Probabilities {
    const file = fileName(index);
    const path = join(this.#folder, file);
    const look = lookOf(path);
    const quarter = sample && quarterOf(sample.image);
    const shape = quarter && this.#classes !== undefined
      ? [1, this.#classes, quarter.height, quarter.width]
      : undefined;
    const expected = { name: sample?.name, shape, digest: this.#digests.get(file) };
    const labels = readSoftLabel(path, expected, look !== null && this.#known.get(file) === look);
    if (look !== null) this.#known.set(file, look);
    return labels;
  }
}

function fileName(index: number): string {
  return `${String(index).padStart(6, "0")}.safetensors`;
}

/**
 * What tells whether a file was written since; null where it is missing, or so new that another write might
 * leave the same times.
 */
function lookOf(path: string): string | null {
  try {
    const { size, mtime, ctime } = Deno.statSync(path);
    const isNew = !mtime || Date.now() - mtime.getTime() < 2000;
    return isNew ? null : `${size} ${mtime.getTime()} ${ctime?.getTime()}`;
  } catch {
    return null;
  }
}
