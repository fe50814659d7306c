/**
 * The pixels of a PNG: rows that are filtered, each by a method of its own, and maybe interlaced.
 *
 * @module
 */

/** The size of a PNG and what a pixel takes. */
export interface PixelLayout {
  /** Pixels per row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Bits per pixel, over all channels; 8 at least where the rows are interlaced. */
  readonly bits: number;
  /** Whether the rows are interlaced (Adam7). */
  readonly interlaced: boolean;
}

/** The seven pictures of Adam7: where they begin, and how far their pixels stand apart. */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;
const WHOLE = [[0, 0, 1, 1]] as const;

/** A picture within the filtered bytes; one that is not interlaced is its own only one. */
interface Pass {
  readonly x: number;
  readonly y: number;
  readonly stepX: number;
  readonly stepY: number;
  readonly rows: number;
  readonly columns: number;
  readonly rowBytes: number;
}

function passesOf({ width, height, bits, interlaced }: PixelLayout): Pass[] {
  return (interlaced ? ADAM7 : WHOLE).map(([x, y, stepX, stepY]) => {
    const columns = Math.max(0, Math.ceil((width - x) / stepX));
    const rows = columns === 0 ? 0 : Math.max(0, Math.ceil((height - y) / stepY));
    return { x, y, stepX, stepY, rows, columns, rowBytes: Math.ceil(columns * bits / 8) };
  });
}

/** Bytes of the filtered rows: in front of each row stands a byte that says how it was filtered. */
export function filteredBytes(layout: PixelLayout): number {
  return passesOf(layout).reduce((sum, { rows, rowBytes }) => sum + rows * (1 + rowBytes), 0);
}

/**
 * The rows as they were before they were filtered and interlaced.
 *
 * @param filtered {@link filteredBytes} of them.
 * @throws {RangeError} If a row is filtered by a method that does not exist; the message is a predicate.
 */
export function unfilter(filtered: Uint8Array, layout: PixelLayout): Uint8Array<ArrayBuffer> {
  const pixelBytes = Math.max(1, layout.bits >> 3);
  const passes = passesOf(layout);
  if (!layout.interlaced) return unfilterRows(filtered, passes[0], pixelBytes);
  const pixels = new Uint8Array(layout.width * layout.height * pixelBytes);
  let at = 0;
  for (const pass of passes) {
    const { x, y, stepX, stepY, rows, columns, rowBytes } = pass;
    const part = unfilterRows(filtered.subarray(at), pass, pixelBytes);
    at += rows * (1 + rowBytes);
    for (let row = 0, from = 0; row < rows; row++) {
      let to = ((y + row * stepY) * layout.width + x) * pixelBytes;
      for (let column = 0; column < columns; column++, to += (stepX - 1) * pixelBytes) {
        for (let byte = 0; byte < pixelBytes; byte++) pixels[to++] = part[from++];
      }
    }
  }
  return pixels;
}

function unfilterRows(
  filtered: Uint8Array,
  { rows, rowBytes }: Pass,
  pixelBytes: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(rows * rowBytes);
  let above = new Uint8Array(rowBytes);
  for (let y = 0; y < rows; y++) {
    const at = y * (1 + rowBytes);
    const row = bytes.subarray(y * rowBytes, (y + 1) * rowBytes);
    row.set(filtered.subarray(at + 1, at + 1 + rowBytes));
    const unfilterRow = FILTERS[filtered[at]];
    if (!unfilterRow) throw new RangeError(`has a row that is filtered by method ${filtered[at]}`);
    unfilterRow(row, above, pixelBytes);
    above = row;
  }
  return bytes;
}

/**
 * What takes a filter off a row, given the row above: adds to every byte what was subtracted, of the
 * pixel on its left, the one above, their mean, or the nearest of three.
 */
const FILTERS: readonly ((row: Uint8Array, above: Uint8Array, pixelBytes: number) => void)[] = [
  () => {},
  (row, _, pixelBytes) => {
    for (let i = pixelBytes; i < row.length; i++) row[i] += row[i - pixelBytes];
  },
  (row, above) => {
    for (let i = 0; i < row.length; i++) row[i] += above[i];
  },
  (row, above, pixelBytes) => {
    for (let i = 0; i < pixelBytes; i++) row[i] += above[i] >> 1;
    for (let i = pixelBytes; i < row.length; i++) row[i] += (row[i - pixelBytes] + above[i]) >> 1;
  },
  (row, above, pixelBytes) => {
    for (let i = 0; i < pixelBytes; i++) row[i] += above[i];
    for (let i = pixelBytes; i < row.length; i++) {
      row[i] += paeth(row[i - pixelBytes], above[i], above[i - pixelBytes]);
    }
  },
];

/** Of three neighbours the one nearest to the plane through them. */
function paeth(left: number, up: number, upLeft: number): number {
  const toLeft = Math.abs(up - upLeft);
  const toUp = Math.abs(left - upLeft);
  const toUpLeft = Math.abs(left + up - 2 * upLeft);
  if (toLeft <= toUp && toLeft <= toUpLeft) return left;
  return toUp <= toUpLeft ? up : upLeft;
}
