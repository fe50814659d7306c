// Deflated bytes of files that may lie about them.

import { builtinModule } from "../../kernels/runtime/builtin.ts";

/** Deflate makes of one byte 1032 at most; what claims more lies. */
export const MAX_EXPANSION = 1032;

/**
 * Inflates to a size that is known before, in memory of that size and no more.
 *
 * @param wrapper What is around the data: `zlib`, whose checksum is compared, or nothing.
 * @throws {RangeError} If the data is damaged, or comes to another size: the message is a predicate,
 * such as `inflates to 8 bytes and claims 16`.
 */
export function inflate(data: Uint8Array, size: number, wrapper: "zlib" | "none"): Uint8Array {
  if (size > MAX_EXPANSION * data.length) {
    throw new RangeError(`cannot inflate from ${data.length} bytes to ${size}`);
  }
  const zlib = builtinModule("node:zlib");
  if (!zlib) throw new RangeError("cannot be inflated here: browsers cannot while one waits");
  // One piece of memory from the start: pieces would be joined, in twice the memory.
  const options = { maxOutputLength: Math.max(1, size), chunkSize: Math.max(64, size) };
  let bytes: Uint8Array;
  try {
    bytes = wrapper === "zlib"
      ? zlib.inflateSync(data, options)
      : zlib.inflateRawSync(data, options);
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    throw new RangeError(
      code === "ERR_BUFFER_TOO_LARGE"
        ? `cannot be inflated, as it comes to more than ${size} bytes`
        : `cannot be inflated (${message})`,
      { cause: error },
    );
  }
  if (bytes.length !== size) {
    throw new RangeError(`inflates to ${bytes.length} bytes and claims ${size}`);
  }
  return bytes;
}
