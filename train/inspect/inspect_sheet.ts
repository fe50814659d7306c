/**
 * The contact sheet of an inspection: images under their labels' colours, and what the colours
 * mean.
 *
 * @module
 */
import { drawText, LETTER_HEIGHT, LETTER_WIDTH } from "./bitmap_font.ts";
import { DataError } from "../base/data_error.ts";
import { type DatasetItem, decodeItem } from "../data/dataset.ts";
import { encodeImage } from "../images/image.ts";
import { isJpegPath, loadJpegCodec } from "../images/jpeg.ts";
import { spread } from "../base/spread.ts";
import type { InspectionReport, SplitReport } from "./inspect.ts";
import { overlay, paste, resizeImage, whiteImage } from "../images/pictures.ts";
import type { Colour, RgbImage } from "../images/rgb.ts";

/** Pictures of the sheet, and how many stand side by side. */
const [PICTURES, COLUMNS] = [12, 3];
/** Width of a picture. */
const WIDTH = 400;
const GAP = 8;
/** Opacity of the labels' colours. */
const OPACITY = 0.55;
const LINE = 2 * LETTER_HEIGHT;
const INK: Colour = [20, 20, 20];

/**
 * Draws the sheet as a PNG: on top every class with its colour and its share of labelled pixels,
 * below it images spread over all splits. Images that cannot be read are left out.
 *
 * @returns null if there is no image to show.
 */
export async function inspectionSheet(
  { classes, splits }: InspectionReport,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const all = splits.flatMap((split) => split.items.map((item) => ({ split, item })));
  const pictures = [];
  for (const { split, item } of spread(all, PICTURES)) {
    const trainIds = item.label === null ? null : classes?.trainIds ?? null;
    const picture = await attempt(item, trainIds, split, classes?.palette ?? []);
    const caption = split.split === "" ? item.name : `${split.split} ${item.name}`;
    if (picture) pictures.push({ picture, caption });
  }
  if (pictures.length === 0) return null;
  const { width, height } = pictures[0].picture;
  const cell = { width: WIDTH, height: Math.max(1, Math.round(WIDTH * height / width)) };
  const legend = legendOf(classes, splits);
  const legendRows = Math.ceil(legend.length / COLUMNS);
  const top = GAP + legendRows * LINE + GAP;
  const step = { x: cell.width + GAP, y: cell.height + LINE + GAP };
  const sheet = new Sheet(
    GAP + COLUMNS * step.x,
    top + Math.ceil(pictures.length / COLUMNS) * step.y,
  );
  legend.forEach(({ text, colour }, at) => {
    const x = GAP + Math.floor(at / legendRows) * step.x;
    const y = GAP + at % legendRows * LINE;
    sheet.fill(x, y, 2 * LETTER_HEIGHT, LETTER_HEIGHT + 3, colour);
    sheet.text(x + 3 * LETTER_HEIGHT, y + 2, text, cell.width - 3 * LETTER_HEIGHT);
  });
  pictures.forEach(({ picture, caption }, at) => {
    const x = GAP + at % COLUMNS * step.x;
    const y = top + Math.floor(at / COLUMNS) * step.y;
    paste(sheet.image, fitted(picture, cell), x, y);
    sheet.text(x, y + cell.height + 3, caption, cell.width);
  });
  return encodeImage(sheet.image);
}

async function attempt(
  item: DatasetItem,
  trainIds: readonly number[] | null,
  { code }: SplitReport,
  palette: readonly Colour[],
): Promise<RgbImage | null> {
  try {
    if (isJpegPath(item.image)) await loadJpegCodec();
    const { image, label } = decodeItem(item, trainIds, code);
    return label ? overlay(image, label, OPACITY, palette) : image;
  } catch (error) {
    if (error instanceof DataError) return null; // the report says why
    throw error;
  }
}

/** `road 32.1 %` for every class that there is, then what is ignored; without labels every class. */
function legendOf(
  classes: InspectionReport["classes"],
  splits: readonly SplitReport[],
): { readonly text: string; readonly colour: Colour }[] {
  const { names, palette } = classes ?? { names: [], palette: [] };
  const ignored = splits.reduce((sum, split) => sum + split.ignoredPixels, 0);
  const pixels = names.map((_, index) =>
    splits.reduce((sum, { classPixels }) => sum + classPixels[index], 0)
  );
  const total = pixels.reduce((sum, own) => sum + own, ignored);
  if (total === 0) return names.map((text, index) => ({ text, colour: palette[index] }));
  const share = (name: string, own: number) => `${name} ${(100 * own / total).toFixed(1)} %`;
  const found = names.map((name, index) => ({
    text: share(name, pixels[index]),
    colour: palette[index],
  })).filter((_, index) => pixels[index] > 0);
  const rest = { text: share("ignored (image alone)", ignored), colour: [0, 0, 0] as const };
  return ignored > 0 ? [...found, rest] : found;
}

/** An image in a box, its shape kept, on grey. */
function fitted(image: RgbImage, box: { width: number; height: number }): RgbImage {
  const factor = Math.min(box.width / image.width, box.height / image.height);
  const inner = resizeImage(image, {
    width: Math.max(1, Math.round(image.width * factor)),
    height: Math.max(1, Math.round(image.height * factor)),
  });
  const sheet = new Sheet(box.width, box.height);
  sheet.fill(0, 0, box.width, box.height, [200, 200, 200]);
  const [x, y] = [box.width - inner.width, box.height - inner.height].map((n) => n >> 1);
  paste(sheet.image, inner, x, y);
  return sheet.image;
}

/** A white picture to draw on. */
class Sheet {
  readonly image: RgbImage;

  constructor(width: number, height: number) {
    this.image = whiteImage(width, height);
  }

  fill(x: number, y: number, width: number, height: number, colour: Colour): void {
    for (let row = y; row < y + height; row++) {
      for (let column = x; column < x + width; column++) this.#set(column, row, colour);
    }
  }

  /** Cuts what is wider than `width`. */
  text(x: number, y: number, text: string, width: number): void {
    const shown = text.slice(0, Math.floor(width / LETTER_WIDTH));
    drawText(shown, (column, row) => this.#set(x + column, y + row, INK));
  }

  #set(x: number, y: number, colour: Colour): void {
    this.image.data.set(colour, (y * this.image.width + x) * 3);
  }
}
