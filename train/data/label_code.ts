/**
 * What the pixels of label files mean: ids, colours, or ids of another numbering.
 *
 * @module
 */
import { DataError } from "../base/data_error.ts";
import { readPng } from "../images/image.ts";
import { decodePng } from "../images/png.ts";
import type { Colour } from "../images/rgb.ts";
import { CLASSES, IGNORE, VOID_COLOURS } from "./classes.ts";

/** How a data set writes label ids into its files. */
export interface LabelCode {
  /** Label id by id in the file, with holes where there is none; null where the file holds label ids. */
  readonly ids: readonly number[] | null;
  /** Label id by colour, for RGB files; none where such files are refused. */
  readonly colours: readonly (readonly [colour: Colour, labelId: number])[];
  /** Whether RGB files hold ids in their first channel. */
  readonly firstChannel: boolean;
}

/** Files that hold label ids. */
export const PLAIN_CODE: LabelCode = { ids: null, colours: [], firstChannel: false };

/** GTA5 and Cityscapes: label ids, or the colours that both share. */
export const CITYSCAPES_CODE: LabelCode = {
  ...PLAIN_CODE,
  colours: [
    ...CLASSES.map(({ colour, labelId }) => [colour, labelId] as const),
    ...VOID_COLOURS.map(([labelId, colour]) => [colour, labelId] as const),
  ],
};

/** A decoded label file, its pixels as they stand in it. */
export interface RawLabel {
  /** One id, or colour as 0xRRGGBB, a pixel, row by row. */
  values: Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** What the values are. */
  kind: "id" | "colour";
  /** Pixels a row. */
  width: number;
  /** Rows. */
  height: number;
}

/**
 * Reads a label file. Grey files hold ids; palette files hold ids too, unless their palette says that
 * they were numbered afresh: then the colours count.
 *
 * @throws {DataError} If the file is no PNG, is damaged, or holds colours where none are known.
 */
export function readRawLabel(path: string, code: LabelCode): RawLabel {
  const { width, height, channels, samples, palette } = decodePng(readPng(path), path);
  const packed = (r: number, g: number, b: number) => r << 16 | g << 8 | b;
  if (channels === 1) {
    if (palette && isRenumbered(samples, palette, code)) {
      const values = Uint32Array.from(samples, (index) => {
        const [r, g, b] = palette[index];
        return packed(r, g, b);
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
    values[i] = packed(samples[at], samples[at + 1], samples[at + 2]);
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

/**
 * Train ids of the values of label files; undefined for a value that the data set does not know.
 *
 * @param trainIds Train ids by label id.
 */
export function trainIdsByValue(
  kind: RawLabel["kind"],
  code: LabelCode,
  trainIds: readonly number[],
): (value: number) => number | undefined {
  if (kind === "id") {
    const { ids } = code;
    return (value) => trainIds[ids ? ids[value] : value];
  }
  const known = new Map(
    code.colours.toReversed().map(([[r, g, b], labelId]) =>
      [r << 16 | g << 8 | b, trainIds[labelId] ?? IGNORE] as const
    ),
  );
  return (value) => known.get(value);
}

/** A value of a label file for a sentence: `id 7` or `colour (128, 64, 128)`. */
export function describeValue(kind: RawLabel["kind"], value: number): string {
  if (kind === "id") return `id ${value}`;
  return `colour (${value >> 16}, ${value >> 8 & 255}, ${value & 255})`;
}

/** The values that a data set knows, for a sentence: `0 to 34`, or some of its colours. */
export function describeKnown(
  kind: RawLabel["kind"],
  code: LabelCode,
  trainIds: readonly number[],
): string {
  if (kind === "colour") {
    const shown = code.colours.slice(0, 3).map(([colour]) => `(${colour.join(", ")})`);
    return `one of ${code.colours.length} colours such as ${shown.join(", ")}`;
  }
  const known = Object.keys(code.ids ?? trainIds).map(Number); // holes have no key
  const runs: string[] = [];
  for (let first = 0; first < known.length;) {
    let last = first;
    while (known[last + 1] === known[last] + 1) last++;
    runs.push(last === first ? `${known[first]}` : `${known[first]} to ${known[last]}`);
    first = last + 1;
  }
  return runs.join(", ");
}
