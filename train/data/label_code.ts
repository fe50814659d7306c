/**
 * What the pixels of label files mean: ids, colours, or ids of another numbering. `label_file.ts`
 * reads them.
 *
 * @module
 */
import type { Colour } from "../images/rgb.ts";
import { IGNORE } from "../../kernels/ignore_label.ts";

/** How a data set writes label ids into its files. */
export interface LabelCode {
  /**
   * Label id by id in the file, with holes where there is none; null where the file holds label
   * ids.
   */
  readonly ids: readonly number[] | null;
  /** Label id by colour, for RGB files; none where such files are refused. */
  readonly colours: readonly (readonly [colour: Colour, labelId: number])[];
  /** Whether RGB files hold ids in their first channel. */
  readonly firstChannel: boolean;
}

/** Files that hold label ids. */
export const PLAIN_CODE: LabelCode = { ids: null, colours: [], firstChannel: false };

/** What the values of a label file are: ids, or colours as 0xRRGGBB. */
export type LabelKind = "id" | "colour";

/** A colour as one number, 0xRRGGBB. */
export function packColour(red: number, green: number, blue: number): number {
  return red << 16 | green << 8 | blue;
}

/**
 * Train ids of the values of label files; undefined for a value that the data set does not know.
 *
 * @param trainIds Train ids by label id.
 */
export function trainIdsByValue(
  kind: LabelKind,
  code: LabelCode,
  trainIds: readonly number[],
): (value: number) => number | undefined {
  if (kind === "id") {
    const { ids } = code;
    return (value) => trainIds[ids ? ids[value] : value];
  }
  const known = new Map(
    code.colours.toReversed().map(([[r, g, b], labelId]) =>
      [packColour(r, g, b), trainIds[labelId] ?? IGNORE] as const
    ),
  );
  return (value) => known.get(value);
}

/** A value of a label file for a sentence: `id 7` or `colour (128, 64, 128)`. */
export function describeValue(kind: LabelKind, value: number): string {
  if (kind === "id") return `id ${value}`;
  return `colour (${value >> 16}, ${value >> 8 & 255}, ${value & 255})`;
}

/** The values that a data set knows, for a sentence: `0 to 34`, or some of its colours. */
export function describeKnown(
  kind: LabelKind,
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
    const ends = [...new Set([known[first], known[last]])];
    runs.push(ends.join(last - first > 1 ? " to " : ", "));
    first = last + 1;
  }
  return runs.join(", ");
}
