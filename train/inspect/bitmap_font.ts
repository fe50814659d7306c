/**
 * Letters of 5×7 pixels, for captions in pictures: Latin capitals, digits and a few signs.
 *
 * @module
 */

/**
 * Seven rows from the top; each digit in base 32 is a row of five pixels, the left one the highest
 * bit.
 */
const GLYPHS: Readonly<Record<string, string>> = {
  A: "ehhvhhh",
  B: "uhhuhhu",
  C: "ehggghe",
  D: "uhhhhhu",
  E: "vggsggv",
  F: "vggsggg",
  G: "ehgnhhf",
  H: "hhhvhhh",
  I: "e44444e",
  J: "72222ic",
  K: "hikokih",
  L: "ggggggv",
  M: "hrllhhh",
  N: "hhpljhh",
  O: "ehhhhhe",
  P: "uhhuggg",
  Q: "ehhhlid",
  R: "uhhukih",
  S: "fgge11u",
  T: "v444444",
  U: "hhhhhhe",
  V: "hhhhha4",
  W: "hhhllla",
  X: "hha4ahh",
  Y: "hha4444",
  Z: "v1248gv",
  0: "ehjlphe",
  1: "4c4444e",
  2: "eh1248v",
  3: "v2421he",
  4: "26aiv22",
  5: "vgu11he",
  6: "68guhhe",
  7: "v124888",
  8: "ehhehhe",
  9: "ehhf12c",
  "-": "000v000",
  "_": "000000v",
  ".": "00000cc",
  ",": "0000c48",
  ":": "0cc0cc0",
  "/": "01248g0",
  "%": "op248j3",
  "(": "2488842",
  ")": "8422248",
  "+": "044v440",
  " ": "0000000",
};
/** What is drawn for other letters: a box. */
const UNKNOWN = "vhhhhhv";

/** Width of a letter and the gap after it. */
export const LETTER_WIDTH = 6;
/** Height of a letter. */
export const LETTER_HEIGHT = 7;

/**
 * Calls `set` for every pixel of a text, its top left corner at 0, 0. Letters are shown as
 * capitals.
 */
export function drawText(text: string, set: (x: number, y: number) => void): void {
  [...text.toUpperCase()].forEach((letter, at) => {
    const rows = GLYPHS[letter] ?? UNKNOWN;
    for (let y = 0; y < LETTER_HEIGHT; y++) {
      const bits = parseInt(rows[y], 32);
      for (let x = 0; x < 5; x++) {
        if (bits >> (4 - x) & 1) set(at * LETTER_WIDTH + x, y);
      }
    }
  });
}
