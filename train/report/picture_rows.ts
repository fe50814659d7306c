// Pictures of the same image side by side: the image, its label, and what networks make of it.

import { type LabelMap, resizeImage } from "../images/pictures.ts";
import type { RgbImage } from "../images/rgb.ts";
import { escape, picture } from "./page.ts";

/** One picture of a row. */
export interface Panel {
  /** What it is, such as `image` or the network that predicts. */
  readonly name: string;
  readonly image: RgbImage;
  /** A score of it. */
  readonly note?: string;
  /** Whether it is the one to look at. */
  readonly isKept?: boolean;
}

/** All pictures of one image. */
export interface PictureRow {
  /** The image's name. */
  readonly name: string;
  readonly panels: readonly Panel[];
}

/** Wider pictures are shrunk by a whole factor: a page holds dozens. */
const MOST_WIDE = 512;

/** The rows, one an image; narrow screens break them. */
export function pictureRows(rows: readonly PictureRow[]): string {
  const strips = rows.map(({ name, panels }) => {
    const figures = panels.map((panel) => {
      const alt = `${panel.name}, of ${name}${panel.note ? `: ${panel.note}` : ""}`;
      const note = panel.note ? `<span>${escape(panel.note)}</span>` : "";
      return `<figure${panel.isKept ? ' class="last"' : ""}>${picture(shrunk(panel.image), alt)}` +
        `<figcaption><b>${escape(panel.name)}</b>${note}</figcaption></figure>`;
    });
    const isTall = panels[0].image.height > 1.2 * panels[0].image.width;
    return `<figure class="strip"><figcaption>${escape(name)}</figcaption>` +
      `<div class="panels${isTall ? " tall" : ""}" style="--n:${panels.length}">\n${
        figures.join("\n")
      }\n</div></figure>`;
  });
  return `<div class="strips">\n${strips.join("\n")}\n</div>`;
}

function shrunk(image: RgbImage): RgbImage {
  const factor = Math.ceil(image.width / MOST_WIDE);
  const [width, height] = [image.width, image.height].map((side) => Math.ceil(side / factor));
  return resizeImage(image, { width, height });
}

/** Whether some pixel of a label has no class. */
export function hasIgnored({ data }: LabelMap, classCount: number): boolean {
  for (let at = 0; at < data.length; at++) if (data[at] >= classCount) return true;
  return false;
}
