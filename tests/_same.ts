// Equality of values with large arrays in them.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";

/**
 * `assert.deepEqual`, but that arrays are compared, and shown, by their digests: where ten thousand numbers
 * differ, the difference that `assert` looks for takes gigabytes.
 */
export function assertSame(found: unknown, expected: unknown, message?: string): void {
  assert.deepEqual(digested(found), digested(expected), message);
}

/** A value with a digest in the place of every typed array. */
function digested(value: unknown): unknown {
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    const digest = createHash("sha256").update(bytes).digest("hex");
    return `${value.constructor.name} of ${value.byteLength} bytes, ${digest}`;
  }
  if (value instanceof Map) return new Map([...value].map(([key, of]) => [key, digested(of)]));
  if (Array.isArray(value)) return value.map(digested);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, digested(of)]));
}
