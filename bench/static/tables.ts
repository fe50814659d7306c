// Tables of figures: in files of tab-separated values to be compared, in Markdown to be read.

/** Figures by the name of a row and of a column. */
export interface Table {
  /** What the rows are. */
  readonly title: string;
  /** Names of the columns. */
  readonly columns: readonly string[];
  /** Figures of each row, as many as columns. */
  readonly rows: ReadonlyMap<string, readonly number[]>;
}

/** A table from objects of figures. */
export function tableOf<T extends Readonly<Record<string, number>>>(
  title: string,
  rows: ReadonlyMap<string, T>,
): Table {
  const [first = {}] = rows.values();
  const columns = Object.keys(first);
  return {
    title,
    columns,
    rows: new Map([...rows].map(([name, row]) => [name, columns.map((column) => row[column])])),
  };
}

/** Lines of a file. */
export function toTsv({ title, columns, rows }: Table): string {
  return [[title, ...columns], ...[...rows].map(([name, row]) => [name, ...row])]
    .map((cells) => `${cells.join("\t")}\n`).join("");
}

/** Reads what {@link toTsv} wrote. */
export function fromTsv(text: string): Table {
  const [head = [], ...lines] = text.trimEnd().split("\n").map((line) => line.split("\t"));
  const [title = "", ...columns] = head;
  return {
    title,
    columns,
    rows: new Map(lines.map(([name = "", ...row]) => [name, row.map(Number)])),
  };
}

/** A table as Markdown. */
export function toMarkdown({ title, columns, rows }: Table): string {
  const lines = [
    [title, ...columns],
    ...[...rows].map(([name, row]) => [name, ...row.map(String)]),
  ];
  const widths = [title, ...columns].map((_, at) =>
    Math.max(...lines.map((line) => (line[at] as string).length))
  );
  const row = (cells: readonly string[]) =>
    `| ${
      cells.map((cell, at) =>
        at === 0 ? cell.padEnd(widths[at] as number) : cell.padStart(widths[at] as number)
      ).join(" | ")
    } |`;
  const rule = widths.map((width, at) =>
    at === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`
  );
  const [head = [], ...body] = lines;
  return [row(head), row(rule), ...body.map(row)].join("\n");
}

/** Which way a figure may go: what is only shown is in neither list. */
export interface Bounds {
  /** Columns that should not grow. */
  readonly low: readonly string[];
  /** Columns that should not shrink. */
  readonly high: readonly string[];
}

/** A figure may be worse than it was by this share before it counts as worse. */
const TOLERANCE = 0.1;

/**
 * What is worse than it was by more than a tenth, and rows that only one of the tables has: a
 * sentence each.
 */
export function regressions(before: Table, now: Table, { low, high }: Bounds): string[] {
  const found: string[] = [];
  for (const name of before.rows.keys()) {
    if (!now.rows.has(name)) found.push(`${name} is in the table and no longer exists`);
  }
  for (const [name, row] of now.rows) {
    const old = before.rows.get(name);
    if (!old) {
      found.push(`${name} is not in the table`);
      continue;
    }
    now.columns.forEach((column, at) => {
      const [was, is] = [old[before.columns.indexOf(column)], row[at]] as [number, number];
      const isWorse = (low.includes(column) && is > was * (1 + TOLERANCE)) ||
        (high.includes(column) && is < was * (1 - TOLERANCE));
      if (isWorse) found.push(`${name}: ${column} ${was} → ${is}`);
    });
  }
  return found;
}
