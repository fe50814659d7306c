// The lines of `metrics.jsonl`, and what is kept of them where a run goes on.

/** One line: a step's losses, scores and whatever else it holds. */
export interface MetricLine extends Record<string, unknown> {
  /** The stage that it belongs to. */
  stage: string;
  /** The step, from 0. */
  step: number;
}

/** The record of a line; null where the line is damaged. */
export function parseMetricLine(line: string): MetricLine | null {
  try {
    const record = JSON.parse(line);
    const isRecord = typeof record?.stage === "string" && Number.isSafeInteger(record.step) &&
      record.step >= 0;
    return isRecord ? record : null;
  } catch {
    return null;
  }
}

/** What is left of the lines. */
export interface KeptLines {
  /** The records that are kept. */
  readonly records: readonly MetricLine[];
  /** The file of them. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * Numbers, from 1, of lines that are dropped though what stands after them is kept, and of damaged
   * ones: no run leaves such lines. A torn last line is none of them.
   */
  readonly damaged: readonly number[];
}

/** The records that are to be kept, wherever they stand. */
export function keepLines(
  bytes: Uint8Array,
  keep: (record: MetricLine) => boolean,
): KeptLines {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const lines = decoder.decode(bytes).split("\n");
  const found = lines.map((line) => {
    const record = parseMetricLine(line);
    return { line, record, isKept: record !== null && keep(record) };
  });
  const last = found.findLastIndex(({ isKept }) => isKept);
  const kept = found.filter(({ isKept }) => isKept);
  const isDamaged = ({ record, isKept }: typeof found[number], at: number) =>
    at < last ? !isKept : record === null && at < lines.length - 1;
  return {
    records: kept.map(({ record }) => record as MetricLine),
    bytes: new TextEncoder().encode(kept.map(({ line }) => `${line}\n`).join("")),
    damaged: [...found.entries()].flatMap(([at, line]) => isDamaged(line, at) ? [at + 1] : []),
  };
}
