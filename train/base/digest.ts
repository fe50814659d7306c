// Digests: whether bytes are those that were written.

import { createHash } from "node:crypto";
import { indexOfDigest, NO_DIGEST } from "./digest_place.ts";
import { FileSource } from "./file_source.ts";

/** The SHA-256 of bytes in hexadecimal digits. */
export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * The SHA-256 of a file in hexadecimal digits, a part of it in memory at a time. What the operating system
 * throws is passed on.
 */
export function digestOfFile(path: string): string {
  const hash = createHash("sha256");
  using source = new FileSource(path);
  const scratch = new Uint8Array(Math.min(2 ** 20, source.size));
  for (let at = 0; at < source.size; at += scratch.length) {
    const part = scratch.subarray(0, source.size - at);
    source.read(at, part);
    hash.update(part);
  }
  return hash.digest("hex");
}

/**
 * Puts the digest of a whole safetensors file into its metadata, in the place of {@link NO_DIGEST}.
 *
 * @param bytes The file, which is changed.
 * @returns The digest.
 */
export function seal(bytes: Uint8Array): string {
  const digest = digestOf(bytes);
  bytes.set(new TextEncoder().encode(digest), indexOfDigest(bytes, NO_DIGEST));
  return digest;
}

/** Whether a safetensors file has the digest that its metadata claims. @param bytes Stay as they are. */
export function isSealed(bytes: Uint8Array, digest: string): boolean {
  const at = indexOfDigest(bytes, digest);
  if (at < 0 || digest.length !== NO_DIGEST.length) return false;
  const end = at + digest.length;
  const hash = createHash("sha256").update(bytes.subarray(0, at)).update(NO_DIGEST);
  return hash.update(bytes.subarray(end)).digest("hex") === digest;
}
