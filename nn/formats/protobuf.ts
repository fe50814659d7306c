// Protocol buffers: a field is its number and wire type, then an integer in 7 bits of each byte,
// four or eight bytes, or a length and that many bytes.

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  // Negative integers are written as the 64-bit two's complement.
  for (let rest = BigInt.asUintN(64, BigInt(value));; rest >>= 7n) {
    const low = Number(rest & 0x7fn);
    if (rest < 0x80n) return Uint8Array.from([...bytes, low]);
    bytes.push(low | 0x80);
  }
}

/** An integer under a number. */
export function integerField(field: number, value: number): Uint8Array {
  return message(varint(field << 3), varint(value));
}

/** A float of 32 bits under a number. */
export function floatField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, value, true);
  return message(varint(field << 3 | 5), bytes);
}

/** A float of 64 bits under a number. */
export function doubleField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  return message(varint(field << 3 | 1), bytes);
}

/** What stands before the bytes of a field: its number and their count. */
export function lengthField(field: number, length: number): Uint8Array {
  return message(varint(field << 3 | 2), varint(length));
}

/** Bytes under a number: a text, an array or another message. */
export function bytesField(field: number, bytes: Uint8Array): Uint8Array {
  return message(lengthField(field, bytes.length), bytes);
}

/** Fields one after the other. */
export function message(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The bytes of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
