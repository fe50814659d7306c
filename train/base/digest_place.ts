// Where the digest of a safetensors file stands in it.

/** What stands in the place of a digest while it is computed, as the digest is part of what it is of. */
export const NO_DIGEST = "0".repeat(64);

/** Where the digest stands in the header of a safetensors file, whose metadata has it as `sha256`; −1 if nowhere. */
export function indexOfDigest(bytes: Uint8Array, digest: string): number {
  const key = '"sha256":"';
  const sought = new TextEncoder().encode(key + digest);
  let at = bytes.indexOf(sought[0] as number);
  while (at >= 0 && !sought.every((byte, index) => bytes[at + index] === byte)) {
    at = bytes.indexOf(sought[0] as number, at + 1);
  }
  return at < 0 ? -1 : at + key.length;
}
