/**
 * Reads label files, pixels as they stand in them.
 *
 * @module
 */
import { DataError } from "../base/data_error.ts";
import { readPng } from "../images/image.ts";
import { decodePng } from "../images/png.ts";
import { type LabelCode, type LabelKind, packColour } from "./label_code.ts";

/** A decoded label file, its pixels as they stand in it. */
export interface RawLabel {
  /** One per pixel, row by row. */
  values: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** What the values are. */
  kind: LabelKind;
  /** Pixels per row. */
  width: number;
  /** Rows. */
  height: number;
}

/**
 * Reads a label file. Grey files hold ids; palette files hold ids too, unless their palette says
 * that they were numbered afresh: then the colours count.
 *
 * @throws {DataError} If the file is no PNG, is damaged, or holds colours where none are known.
 */
export function readRawLabel(path: string, code: LabelCode): RawLabel {
  const { width, height, channels, samples, palette } = decodePng(readPng(path), path);
  if (channels === 1) {
    if (palette && isRenumbered(samples, palette, code)) {
      const values = Uint32Array.from(samples, (index) => {
        const [r, g, b] = palette[index];
        return packColour(r, g, b);
      });
      return { values, kind: "colour", width, height };
    }
    return { values: samples, kind: "id", width, height };
  }
  if (channels >= 3 && code.firstChannel) {
    const values = samples.slice(0, width * height);
    for (let i = 0; i < values.length; i++) values[i] = samples[i * channels];
    return { values, kind: "id", width, height };
  }
  if (channels < 3 || code.colours.length === 0 || samples instanceof Uint16Array) {
    throw new DataError(
      `Cannot use label ${path} as it has ${channels} channels of ` +
        `${
          8 * samples.BYTES_PER_ELEMENT
        } bits: expected a palette or grey PNG that holds class ids` +
        `${code.colours.length > 0 ? ", or an 8-bit RGB PNG of class colours" : ""}; convert it`,
    );
  }
  const values = new Uint32Array(width * height);
  for (let i = 0, at = 0; i < values.length; i++, at += channels) {
    values[i] = packColour(samples[at], samples[at + 1], samples[at + 2]);
  }
  return { values, kind: "colour", width, height };
}

/** Whether a palette's used colours are all known ones, but not those of their indices. */
function isRenumbered(
  samples: Uint8Array | Uint16Array,
  palette: readonly (readonly number[])[],
  { colours, ids }: LabelCode,
): boolean {
  if (colours.length === 0 || ids) return false;
  const meanings = [...new Set<number>(samples)].map((index) => {
    const [r, g, b] = palette[index] ?? [];
    const known = colours.filter(([own]) => own[0] === r && own[1] === g && own[2] === b);
    return { index, labelIds: known.map(([, labelId]) => labelId) };
  });
  return meanings.every(({ labelIds }) => labelIds.length > 0) &&
    meanings.some(({ index, labelIds }) => !labelIds.includes(index));
}
