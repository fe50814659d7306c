// A page that opens offline: one HTML file with its pictures, charts and style inside.

import { Buffer } from "node:buffer";

/** A part of the page. */
export interface Section {
  readonly title: string;
  /** What to see in it, as plain text. */
  readonly lead?: string;
  /** HTML. */
  readonly body: string;
}

const STYLE = `
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; margin: 2rem auto; max-width: 1080px; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; border-top: 1px solid #ddd; padding-top: 1rem; }
h3 { font-size: .95rem; margin: .8rem 0 .2rem; font-weight: 600; } p { margin: .3rem 0 .8rem; max-width: 75ch; color: #444; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td:first-child, .text th, .text td { text-align: left; } th { font-weight: 600; }
.row { display: flex; flex-wrap: wrap; gap: 1.2rem; align-items: flex-start; } figure { margin: 0; } figcaption { font-size: .85rem; color: #555; }
img { max-width: 100%; image-rendering: pixelated; } .legend span { display: inline-block; margin-right: 1rem; font-size: .85rem; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border: 1px solid #0003; }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; font-size: .8rem; } svg { max-width: 100%; height: auto; }
`;

/** Makes the whole file. */
export function page(title: string, subtitle: string, sections: readonly Section[]): string {
  const parts = sections.map(({ title, lead, body }) =>
    `<section>\n<h2>${escape(title)}</h2>\n${
      lead ? `<p>${escape(lead)}</p>\n` : ""
    }${body}\n</section>`
  );
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escape(title)}</h1>
<p>${escape(subtitle)}</p>
${parts.join("\n")}
</body>
</html>
`;
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

/** A table; the first row is its head. What follows the first column are numbers, unless it is text. */
export function table(rows: readonly (readonly string[])[], isText = false): string {
  const line = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
  return `<table${isText ? ' class="text"' : ""}>\n${
    rows.map((row, at) => line(row, at === 0 ? "th" : "td")).join("\n")
  }\n</table>`;
}

/** A picture with its caption. @param content SVG text, or the bytes of a PNG file. */
export function figure(content: string | Uint8Array, caption: string): string {
  const picture = typeof content === "string"
    ? content
    : `<img alt="${escape(caption)}" src="data:image/png;base64,${
      Buffer.from(content).toString("base64")
    }">`;
  return `<figure>${picture}<figcaption>${escape(caption)}</figcaption></figure>`;
}

/** Figures beside each other, as far as there is room. */
export function row(figures: readonly string[]): string {
  return `<div class="row">\n${figures.join("\n")}\n</div>`;
}

/** What the colours mean. */
export function legend(
  names: readonly string[],
  palette: readonly (readonly number[])[],
): string {
  const entries = names.map((name, k) =>
    `<span><i style="background:rgb(${palette[k].join(",")})"></i>${escape(name)}</span>`
  );
  return `<div class="legend">${entries.join("")}</div>`;
}
