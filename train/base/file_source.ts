// A file as a source of bytes, read where it is asked for.

import { WeightsFileError } from "../../nn/formats/weights_error.ts";
import type { ByteSource } from "../../nn/formats/weights_file.ts";

/** An open file. */
export class FileSource implements ByteSource, Disposable {
  /** Length in bytes. */
  readonly size: number;
  readonly #file: Deno.FsFile;

  /** Opens the file; what the operating system throws is passed on. */
  constructor(path: string) {
    this.#file = Deno.openSync(path);
    this.size = this.#file.statSync().size;
  }

  /** Fills `into` with the bytes from `offset`. @throws {WeightsFileError} If the file ends before. */
  read(offset: number, into: Uint8Array): void {
    this.#file.seekSync(offset, Deno.SeekMode.Start);
    for (let at = 0; at < into.length;) {
      const count = this.#file.readSync(into.subarray(at));
      if (count === null) {
        throw new WeightsFileError("the file", `it ends at byte ${offset + at} by now`);
      }
      at += count;
    }
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}
