// A view of an image that shows what the image was drawn for.

import type { Rectangle, ViewTransform } from "../views/views.ts";
import type { DecodedLabel, Wanted } from "./samples.ts";

/** Crops that are tried. */
const TRIALS = 10;

/**
 * Chooses a view that shows what is wanted: the first of ten draws that does, or else the one that
 * shows most of it.
 *
 * @param label Of the whole image.
 * @param draw Draws a view of the image; the number tells the draws apart.
 */
export function viewThatShows(
  { trainId, pixels }: Wanted,
  label: DecodedLabel,
  draw: (trial: number) => ViewTransform,
): ViewTransform {
  let [best, most] = [draw(0), -1];
  for (let trial = 0; trial < TRIALS; trial++) {
    const view = trial === 0 ? best : draw(trial);
    const shown = count(label, trainId, seenBy(view));
    if (shown > most) [best, most] = [view, shown];
    if (most >= pixels) break;
  }
  return best;
}

/** The pixels of the image that an upright view shows. */
function seenBy({ matrix, inputSize, outputSize }: ViewTransform): Rectangle {
  const [a, , c, , e, f] = matrix;
  const side = (from: number, to: number, length: number) => {
    const first = Math.max(0, Math.round(Math.min(from, to)));
    return [first, Math.min(length - 1, Math.round(Math.max(from, to))) - first + 1];
  };
  const [left, width] = side(c, c + a * (outputSize.width - 1), inputSize.width);
  const [top, height] = side(f, f + e * (outputSize.height - 1), inputSize.height);
  return { left, top, width, height };
}

function count(label: DecodedLabel, trainId: number, area: Rectangle): number {
  let found = 0;
  for (let row = area.top; row < area.top + area.height; row++) {
    const start = row * label.width + area.left;
    for (let i = start; i < start + area.width; i++) if (label.data[i] === trainId) found++;
  }
  return found;
}
