// A square matrix as a table whose cells are tinted by their values.

import { type Caption, escape, scrollable } from "./page.ts";

/** What to show. */
export interface HeatTable {
  readonly caption: Caption;
  /** Of rows and columns. */
  readonly names: readonly string[];
  /** Row by row. */
  readonly values: ArrayLike<number>;
  /** The number of a cell as text. */
  readonly format: (value: number) => string;
  /** What rows and columns are, in the corner. */
  readonly corner: string;
  /**
   * Of shares, the largest are tinted most, and what is off the diagonal is wrong and of another colour;
   * of distances, the least that are not of the diagonal.
   */
  readonly of: "shares" | "distances";
}

/** Tinted more than this, in percent, a cell has light text. */
const DEEP = 82;

/** Makes the table. */
export function heatTable(
  { caption, names, values, format, corner, of }: HeatTable,
): string {
  const largest = Math.max(...Array.from(values), 1e-12);
  const heads = names.map((name) => `<th scope="col"><span>${escape(name)}</span></th>`);
  const rows = names.map((name, i) => {
    const cells = names.map((_, j) => {
      const value = values[i * names.length + j];
      const text = format(value);
      const part = of === "shares" ? value / largest : i === j ? 0 : 1 - value / largest;
      const tint = Math.round(100 * part);
      const kinds = [
        of === "shares" && i !== j ? "miss" : "hit",
        ...(tint > DEEP ? ["deep"] : []),
        ...(Number(text) === 0 ? ["none"] : []),
      ];
      return `<td class="${kinds.join(" ")}" style="--v:${tint}">${escape(text)}</td>`;
    });
    return `<tr><th scope="row">${escape(name)}</th>${cells.join("")}</tr>`;
  });
  const head = `<tr><th scope="col">${escape(corner)}</th>${heads.join("")}</tr>`;
  return scrollable(caption, "heat", head, rows);
}
