// Philox4x32-10 (Salmon et al., 2011) in big integers, as in the paper.

const MASK = 0xffffffffn;

/** The block of four 32-bit words at a counter of four words, under a key of two. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  let [a, b, c, d] = counter.map(BigInt);
  let [k0, k1] = key.map(BigInt);
  for (let round = 0; round < 10; round++) {
    const first = 0xd2511f53n * a;
    const second = 0xcd9e8d57n * c;
    [a, b, c, d] = [
      (second >> 32n) ^ b ^ k0,
      second & MASK,
      (first >> 32n) ^ d ^ k1,
      first & MASK,
    ];
    k0 = (k0 + 0x9e3779b9n) & MASK;
    k1 = (k1 + 0xbb67ae85n) & MASK;
  }
  return [a, b, c, d].map(Number);
}
