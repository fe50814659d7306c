// The table of an ablation: mean and deviation over seeds beside the published number.

/** One row. All scores are percentages. */
export interface TableRow {
  readonly title: string;
  /** Target mIoU in the paper; null where it gives no such number. */
  readonly published: number | null;
  /** Of a row that learns the target's labels, which the others could reach: what it is called by them. */
  readonly reference?: string;
  /** Target mIoU of every seed; null where there is none yet. */
  readonly mIoU: readonly (number | null)[];
  /** What the stage took for every seed. */
  readonly seconds: readonly (number | null)[];
}

/** A table as `table.json` holds it. */
export interface AblationTable {
  /** The grid's name. */
  readonly grid: string;
  /** What it compares. */
  readonly title: string;
  /** What the paper finds in it. */
  readonly finding: string;
  readonly seeds: readonly number[];
  readonly rows: readonly TableRow[];
}

/** Mean and sample deviation of the numbers that are there; the deviation needs two of them. */
export function statistics(
  values: readonly (number | null)[],
): { mean: number; deviation: number | null } | null {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  if (known.length === 1) return { mean, deviation: null };
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (known.length - 1)) };
}

/**
 * The table as Markdown: each row with the paper's number, mean ± deviation, and what it gains over the
 * first row, where that is known on both sides; behind that, for each row that learns the target's labels,
 * which share of the gap between the first row and that one is recovered, on the mean of the seeds.
 */
export function formatTable({ title, finding, seeds, rows }: AblationTable): string {
  const [first] = rows;
  const start = first && statistics(first.mIoU);
  const references = rows.filter(({ reference }) => reference !== undefined);
  const gaps = references.map(({ mIoU }) => {
    const found = statistics(mIoU);
    return found && start ? found.mean - start.mean : null;
  });
  const lines = [
    [
      ...["target mIoU in %", "paper", "gain", "here", "gain"],
      ...references.map(({ reference }) => `of the gap, ${reference}`),
      ...seeds.map((seed) => `seed ${seed}`),
    ],
    ["---", ...Array(4 + references.length + seeds.length).fill("--:")],
    ...rows.map(({ title, published, reference, mIoU }) => {
      const found = statistics(mIoU);
      const gain = (value: number | null | undefined, over: number | null | undefined) =>
        value == null || over == null ? "" : signed(value - over);
      return [
        title,
        number(published),
        gain(published, first?.published),
        found ? withDeviation(found) : "–",
        gain(found?.mean, start?.mean),
        ...gaps.map((gap) =>
          reference !== undefined || !found || !start || !gap
            ? ""
            : percent((found.mean - start.mean) / gap)
        ),
        ...mIoU.map(number),
      ];
    }),
  ];
  const table = lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  const shares = references.length === 0
    ? ""
    : "; the share of the gap from it to an oracle is that of the means";
  const count = `Mean ± sample deviation over seeds ${
    seeds.join(", ")
  }; gains are over the first row`;
  return `# ${title}\n\n${table}\n\n${count}${shares}. ${finding}\n`;
}

function withDeviation({ mean, deviation }: { mean: number; deviation: number | null }): string {
  return deviation === null ? mean.toFixed(1) : `${mean.toFixed(1)} ± ${deviation.toFixed(1)}`;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`.replace("-", "−");
}

function number(value: number | null): string {
  return value === null ? "–" : value.toFixed(1);
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}
