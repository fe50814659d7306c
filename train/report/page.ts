// A page that opens offline: one HTML file with its pictures, charts and style inside.

import { Buffer } from "node:buffer";
import { encodeImage } from "../images/image.ts";
import type { Colour, RgbImage } from "../images/rgb.ts";
import style from "./style.css" with { type: "text" };

/** A part of the page. */
export interface Section {
  readonly title: string;
  /** What to see in it, as plain text. */
  readonly lead?: string;
  /** HTML. */
  readonly body: string;
}

/** What stands above the sections. */
export interface Head {
  /** The title of the document, as a browser's tab shows it. */
  readonly title: string;
  /** HTML, with the page's only `h1`. */
  readonly body: string;
}

/** Makes the whole file: head, list of contents, sections. */
export function page({ title, body }: Head, sections: readonly Section[], foot: string): string {
  const entries = sections.map(({ title }) =>
    `<li><a href="#${anchor(title)}">${escape(title)}</a></li>`
  );
  const parts = sections.map(({ title, lead, body }) => {
    const text = lead ? `<p>${escape(lead)}</p>\n` : "";
    return `<section id="${anchor(title)}">\n<h2>${escape(title)}</h2>\n${text}${body}\n</section>`;
  });
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${style}</style>
</head>
<body>
<header>
${body}
</header>
<nav aria-labelledby="contents">
<h2 id="contents">Contents</h2>
<ol>
${entries.join("\n")}
</ol>
</nav>
<main>
${parts.join("\n")}
</main>
<footer>${escape(foot)}</footer>
</body>
</html>
`;
}

function anchor(title: string): string {
  return title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
}

/** Text as it may stand in HTML, attributes included. */
export function escape(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
  };
  return text.replace(/[&<>"]/g, (character) => entities[character]);
}

/** What a table or a chart is called, and a sentence on what it shows, as plain text. */
export interface Caption {
  readonly title: string;
  readonly text: string;
}

function captionOf({ title, text }: Caption): string {
  return `<span><b>${escape(title)}</b> ${escape(text)}</span>`;
}

/** What a table may be told. */
export interface TableOptions {
  /** Whether what follows the first column is text, and no numbers. */
  readonly isText?: boolean;
  /** The row to stress, from 0 for the one after the head. */
  readonly kept?: number;
  /** The colours of the rows, where they are classes'. */
  readonly palette?: readonly (Colour | undefined)[];
}

/** A table; the first row is its head, the first column names the others. */
export function table(
  caption: Caption,
  [head, ...rows]: readonly (readonly string[])[],
  { isText = false, kept, palette }: TableOptions = {},
): string {
  const heads = head.map((cell) => `<th scope="col">${escape(cell)}</th>`).join("");
  const lines = rows.map(([first, ...cells], at) => {
    const colour = palette?.[at];
    const numbers = cells.map((cell) => `<td>${escape(cell)}</td>`).join("");
    return `<tr${at === kept ? ' class="kept"' : ""}>` +
      `<th scope="row">${colour ? swatch(colour) : ""}${escape(first)}</th>${numbers}</tr>`;
  });
  const kind = isText ? "text" : "";
  return scrollable(caption, kind, `<tr>${heads}</tr>`, lines);
}

/** A table that scrolls by itself, with the keyboard too, where it is wider than the screen. */
export function scrollable(
  caption: Caption,
  kind: string,
  head: string,
  rows: readonly string[],
): string {
  return `<div class="scroll" role="group" tabindex="0" aria-label="${escape(caption.title)}">` +
    `<table${kind && ` class="${kind}"`}>
<caption>${captionOf(caption)}</caption>
<thead>${head}</thead>
<tbody>
${rows.join("\n")}
</tbody>
</table></div>`;
}

/** A chart with its caption above it. @param svg Its text, which has a name of its own. */
export function chart(caption: Caption, svg: string, kind: "plot" | "plot map" = "plot"): string {
  return `<figure class="card ${kind}"><figcaption>${captionOf(caption)}</figcaption>` +
    `<div class="drawing">${svg}</div></figure>`;
}

/** Something in a frame, beside others. */
export function card(body: string): string {
  return `<div class="card">${body}</div>`;
}

/** Cards beside each other, as far as there is room. @param kind `wide`, or `uneven` for two. */
export function cards(bodies: readonly string[], kind = ""): string {
  return `<div class="cards${kind && ` ${kind}`}">\n${bodies.join("\n")}\n</div>`;
}

/** A picture inside the page. @param alt What it shows, for those who do not see it. */
export function picture(image: RgbImage, alt: string): string {
  const data = Buffer.from(encodeImage(image)).toString("base64");
  return `<img width="${image.width}" height="${image.height}" alt="${escape(alt)}" ` +
    `src="data:image/png;base64,${data}">`;
}

/** What the colours of classes mean; black is what no class is known of. */
export function classKey(
  names: readonly string[],
  palette: readonly Colour[],
  hasIgnored = true,
): string {
  const entries = names.map((name, k) => [name, palette[k]] as const);
  const all = hasIgnored ? [...entries, ["ignored", [0, 0, 0]] as const] : entries;
  const items = all.map(([name, colour]) => `<li>${swatch(colour)}${escape(name)}</li>`);
  return `<ul class="key" aria-label="Colours of the classes">${items.join("")}</ul>`;
}

/** What the colours of lines mean. @param colours As CSS has them. */
export function lineKey(names: readonly string[], colours: readonly string[]): string {
  const items = names.map((name, at) =>
    `<li><i style="background:${colours[at]}"></i>${escape(name)}</li>`
  );
  return `<ul class="key lines" aria-label="Colours of the lines">${items.join("")}</ul>`;
}

function swatch(colour: readonly number[]): string {
  return `<i style="background:rgb(${colour.join(",")})"></i>`;
}
