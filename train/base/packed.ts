// Values that are too long to stand in a file's header as they are.

import { Buffer } from "node:buffer";
import { deflateRawSync, inflateRawSync } from "node:zlib";

/** Most bytes that a packed value may take as JSON. */
const MOST_BYTES = 2 ** 28;

/** Any value that JSON holds as a short text without quotation marks. */
export function pack(value: unknown): string {
  return deflateRawSync(JSON.stringify(value), { level: 1 }).toString("base64");
}

/** The value that {@link pack} was given. */
export function unpack(text: string): unknown {
  const bytes = inflateRawSync(Buffer.from(text, "base64"), { maxOutputLength: MOST_BYTES });
  return JSON.parse(bytes.toString());
}
