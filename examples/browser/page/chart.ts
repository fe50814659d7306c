// Line charts as SVG: numbers over the steps of a training, with a line where a stage ends.

/** A line of a chart. */
export interface Line {
  readonly name: string;
  /** Which of the colours of the style sheet, from 1. */
  readonly colour: number;
  readonly points: readonly (readonly [step: number, value: number])[];
  /** Whether it is only there to compare with. */
  readonly isReference?: boolean;
}

/** What a chart shows. */
export interface Chart {
  /** What it says to those who do not see it. */
  readonly title: string;
  readonly lines: readonly Line[];
  /** The last step of the axis. */
  readonly steps: number;
  /** Where stages end, and what the next is called. */
  readonly stages: readonly { readonly name: string; readonly from: number }[];
  /** Least and largest value; found unless given. */
  readonly range?: readonly [least: number, most: number];
  readonly scale: "linear" | "logarithmic";
  readonly unit: string;
}

const MARGIN = { left: 52, right: 92, top: 38, bottom: 30 } as const;
/** What the name of a stage takes. */
const NAME_WIDTH = 64;

/** Draws a chart into an element, as wide as that is. */
export function drawChart(element: Element, chart: Chart, width: number, height: number): void {
  const plot = {
    width: Math.max(40, width - MARGIN.left - MARGIN.right),
    height: height - MARGIN.top - MARGIN.bottom,
  };
  const [least, most] = chart.range ?? rangeOf(chart);
  const place = chart.scale === "linear" ? (value: number) => value : (value: number) => {
    return Math.log10(Math.max(value, 1e-9));
  };
  const [low, high] = [place(least), place(most)];
  const x = (step: number) => MARGIN.left + plot.width * step / Math.max(1, chart.steps);
  const y = (value: number) =>
    MARGIN.top +
    plot.height * (1 - (place(value) - low) / Math.max(1e-9, high - low));
  const parts = [
    ...ticksOf(chart, least, most).map((value) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${MARGIN.left + plot.width}" y1="${y(value)}" ` +
      `y2="${y(value)}"/>` +
      text(MARGIN.left - 8, y(value) + 4, format(value), "end")
    ),
    ...chart.stages.map(({ name, from }, at) => {
      // Above the one before, where that is too near.
      const before = chart.stages[at - 1]?.from ?? -Infinity;
      const top = MARGIN.top - (x(from) - x(before) < NAME_WIDTH ? 24 : 10);
      return `<line class="stage" x1="${x(from)}" x2="${x(from)}" y1="${top + 4}" ` +
        `y2="${MARGIN.top + plot.height}"/>` + text(x(from) + 5, top, name, "start");
    }),
    ...steps(chart.steps, plot.width).map((step) =>
      text(x(step), MARGIN.top + plot.height + 18, String(step), "middle")
    ),
    text(MARGIN.left + plot.width + 14, MARGIN.top + plot.height + 18, "steps", "start"),
    ...chart.lines.map((line) => path(line, x, y)),
    ...names(chart.lines, y, MARGIN.left + plot.width + 8, plot.height),
  ];
  element.innerHTML = `<svg role="img" aria-label="${escaped(summary(chart))}" width="${width}" ` +
    `height="${height}" viewBox="0 0 ${width} ${height}">${parts.join("")}</svg>`;
}

function path(
  { points, colour, isReference }: Line,
  x: (step: number) => number,
  y: (value: number) => number,
): string {
  if (points.length === 0) return "";
  const places = points.map(([step, value]) => `${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
  const style = `line line-${colour}${isReference ? " reference" : ""}`;
  const last = points[points.length - 1];
  const dot = isReference
    ? ""
    : `<circle class="dot line-${colour}" r="3.5" cx="${x(last[0])}" cy="${y(last[1])}"/>`;
  return `<path class="${style}" d="M${places.join("L")}"/>${dot}`;
}

/** Names of lines at their ends, moved apart where they would overlap. */
function names(
  lines: readonly Line[],
  y: (value: number) => number,
  left: number,
  height: number,
): string[] {
  const gap = 15;
  const labels = lines.filter(({ points }) => points.length > 0)
    .map(({ name, colour, points }) => ({ name, colour, at: y(points[points.length - 1][1]) + 4 }))
    .sort((a, b) => a.at - b.at);
  for (let i = 1; i < labels.length; i++) {
    labels[i].at = Math.max(labels[i].at, labels[i - 1].at + gap);
  }
  const beyond = (labels.at(-1)?.at ?? 0) - (MARGIN.top + height + 4);
  if (beyond > 0) {
    let limit = Infinity;
    for (const label of labels.toReversed()) {
      label.at = Math.min(label.at, limit, MARGIN.top + height + 4);
      limit = label.at - gap;
    }
  }
  return labels.map(({ name, colour, at }) =>
    `<text class="name line-${colour}" x="${left}" y="${at.toFixed(1)}">${escaped(name)}</text>`
  );
}

function rangeOf({ lines, scale }: Chart): [number, number] {
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value))
    .filter((value) => Number.isFinite(value) && (scale === "linear" || value > 0));
  if (values.length === 0) return scale === "linear" ? [0, 1] : [0.01, 10];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (scale === "logarithmic") {
    return [10 ** Math.floor(Math.log10(least)), 10 ** Math.ceil(Math.log10(most) + 1e-9)];
  }
  const room = Math.max(1, (most - least) * 0.15);
  return [Math.max(0, least - room), most + room];
}

function ticksOf({ scale }: Chart, least: number, most: number): number[] {
  if (scale === "logarithmic") {
    const [first, last] = [Math.round(Math.log10(least)), Math.round(Math.log10(most))];
    const every = Math.ceil((last - first + 1) / 6);
    return range(first, last, every).map((power) => 10 ** power);
  }
  const raw = (most - least) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw) ??
    raw;
  return range(Math.ceil(least / step), Math.floor(most / step), 1).map((count) => count * step);
}

function steps(count: number, width: number): number[] {
  const wanted = Math.max(2, Math.floor(width / 90));
  const every = [1, 2, 5, 10, 20, 25, 50, 100].find((size) => count / size <= wanted) ??
    count;
  return range(0, Math.floor(count / every), 1).map((index) => index * every);
}

function range(first: number, last: number, every: number): number[] {
  const numbers: number[] = [];
  for (let value = first; value <= last; value += every) numbers.push(value);
  return numbers;
}

function format(value: number): string {
  return value >= 1 || value === 0 ? String(Math.round(value * 10) / 10) : String(value);
}

function summary({ title, lines, unit }: Chart): string {
  const last = lines.flatMap(({ name, points }) =>
    points.length > 0 ? `${name} ${points[points.length - 1][1].toPrecision(3)}${unit}` : []
  );
  return `${title}: now ${last.join(", ") || "nothing yet"}`;
}

function text(x: number, y: number, content: string, anchor: "start" | "middle" | "end"): string {
  const place = `x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"`;
  return `<text class="tick" ${place}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(
    '"',
    "&quot;",
  );
}
