// Numbers as files hold them: the bytes of an element type to 32-bit floats.

import type { SafetensorsType } from "./safetensors_header.ts";
import { WeightsMismatchError } from "./weights_error.ts";

/** Whether this machine stores numbers the other way round than files do. */
export const BIG_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 0;

/**
 * The numbers of an array of floats of 16, 32 or 64 bits, exact but for the rounding of 64 bits.
 *
 * @param read Gives the bytes, little-endian; they may be overwritten and shared.
 * @throws {WeightsMismatchError} If the type is none of floats; nothing was read then.
 */
export function toFloats(
  name: string,
  dtype: SafetensorsType,
  read: () => Uint8Array,
): Float32Array {
  const convert = FLOATS[dtype];
  if (!convert) {
    throw new WeightsMismatchError(`Cannot read "${name}" as floats: it holds ${dtype}`);
  }
  return convert(read());
}

const FLOATS: Partial<Record<SafetensorsType, (bytes: Uint8Array) => Float32Array>> = {
  F32: (bytes) => {
    swapOnBigEndian(bytes, 4);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  },
  F64: (bytes) => {
    const view = viewOf(bytes);
    return Float32Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
  },
  F16: (bytes) => {
    const view = viewOf(bytes);
    const values = new Float32Array(bytes.length / 2);
    for (let i = 0; i < values.length; i++) values[i] = fromHalf(view.getUint16(2 * i, true));
    return values;
  },
  BF16: (bytes) => {
    const view = viewOf(bytes);
    const bits = new Uint32Array(bytes.length / 2);
    for (let i = 0; i < bits.length; i++) bits[i] = view.getUint16(2 * i, true) << 16;
    return new Float32Array(bits.buffer);
  },
};

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction bits. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The nearest numbers of 16 bits, little-endian; null where one is too large for them. */
export function halfBytes(values: Float32Array): Uint8Array | null {
  const bytes = new Uint8Array(2 * values.length);
  const view = viewOf(bytes);
  for (let i = 0; i < values.length; i++) {
    view.setFloat16(2 * i, values[i], true);
    if (Math.abs(view.getFloat16(2 * i, true)) === Infinity) return null;
  }
  return bytes;
}

/** Turns elements of `size` bytes round, in place, where the machine needs it. */
export function swapOnBigEndian(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
): Uint8Array<ArrayBuffer>;
/** The same for memory of any kind. */
export function swapOnBigEndian(bytes: Uint8Array, size: number): Uint8Array;
export function swapOnBigEndian(bytes: Uint8Array, size: number): Uint8Array {
  if (BIG_ENDIAN) {
    for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
  }
  return bytes;
}
