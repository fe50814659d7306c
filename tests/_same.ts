// Equality of values with large arrays in them.

import assert from "node:assert/strict";

/**
 * `assert.deepEqual`, but that arrays are compared, and shown, by their hashes: where ten thousand numbers
 * differ, the difference that `assert` looks for takes gigabytes.
 */
export function assertSame(found: unknown, expected: unknown, message?: string): void {
  assert.deepEqual(hashed(found), hashed(expected), message);
}

/** A value with a hash in the place of every typed array. */
function hashed(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) {
    return `${value.constructor.name} of ${value.byteLength} bytes, ${hashOf(value)}`;
  }
  if (value instanceof Map) return new Map([...value].map(([key, of]) => [key, hashed(of)]));
  if (Array.isArray(value)) return value.map(hashed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, hashed(of)]));
}

/** 64 bits that no two arrays of a test have by chance: two FNV-1a hashes of other primes. */
function hashOf({ buffer, byteOffset, byteLength }: ArrayBufferView): string {
  let [first, second] = [0x811c9dc5, 0xcbf29ce4];
  for (const byte of new Uint8Array(buffer, byteOffset, byteLength)) {
    first = Math.imul(first ^ byte, 0x01000193);
    second = Math.imul(second ^ byte, 0x85ebca6b);
  }
  return [first, second].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}
