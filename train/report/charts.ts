// Charts as SVG text, drawn by Observable Plot into a document that is no browser's. They are as wide as a
// narrow screen, so that their texts are read on any, and take their colours from the page's style.

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import type { Colour } from "../images/rgb.ts";

/** Pixels. */
const WIDTH = 380;
const AXIS_TITLE = { fill: "var(--soft)" } as const;

/** Colours of series, as CSS has them; after six they come again. */
export function seriesColours(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `var(--series-${at % 6 + 1})`);
}

/** A point of a curve. */
export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  /** The curve it belongs to. */
  readonly series: string;
  /** The range that it stands for, where it is a mean. */
  readonly low?: number;
  readonly high?: number;
}

/** A stretch of the x axis with a name. */
export interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** What curves are drawn over. */
export interface CurveOptions {
  /** What the chart shows, for those who do not see it. */
  readonly name: string;
  /** Titles of the axes, units included. */
  readonly x: string;
  readonly y: string;
  /** Stretches of the x axis, told apart by their background. */
  readonly spans?: readonly Span[];
  /** Points that stand out, as rings. */
  readonly rings?: readonly CurvePoint[];
  /** Whether the y axis starts at 0; without, it is cut where the values are all far from 0. */
  readonly fromZero?: boolean;
}

/** Lines over a common axis, one per series, with their points where they are few. */
export function curves(points: readonly CurvePoint[], options: CurveOptions): string {
  const names = [...new Set(points.map(({ series }) => series))];
  const { spans = [], rings = [] } = options;
  const all = [...points, ...rings];
  const [left, right, top, bottom] = [44, 12, 28, 40];
  const last = Math.max(1, ...all.map(({ x }) => x), ...spans.map(({ to }) => to));
  const inner = WIDTH - left - right;
  const room = (span: Span) => (span.to - span.from) / last * inner;
  const common = { x: "x", y: "y", z: "series" };
  const isFew = points.length <= 15 * names.length;
  return draw(options.name, {
    height: 230,
    marginLeft: left,
    marginRight: right,
    marginTop: top,
    marginBottom: bottom,
    x: { domain: [0, last], label: null, ticks: 4, tickSize: 0, tickPadding: 8 },
    y: { domain: domainOf(all, options), label: null, ticks: 5, tickSize: 0, nice: true },
    color: { domain: names, range: seriesColours(names.length) },
    marks: [
      Plot.rect(spans.filter((_, at) => at % 2 === 0), {
        x1: "from",
        x2: "to",
        fill: "var(--faint)",
      }),
      Plot.text(spans.filter((span) => room(span) > 6.6 * span.name.length), {
        x: ({ from, to }: Span) => (from + to) / 2,
        text: "name",
        frameAnchor: "top",
        dy: -17,
        fontSize: 10.5,
        fill: "var(--soft)",
      }),
      Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
      Plot.text([options.y], { frameAnchor: "top-left", dx: -left, dy: -23, ...AXIS_TITLE }),
      Plot.text([options.x], { frameAnchor: "bottom-right", dy: bottom - 2, ...AXIS_TITLE }),
      Plot.areaY(points.filter(({ low }) => low !== undefined), {
        x: "x",
        y1: "low",
        y2: "high",
        z: "series",
        fill: "series",
        fillOpacity: 0.18,
      }),
      Plot.lineY(points, { ...common, stroke: "series", strokeWidth: 2 }),
      Plot.dot(isFew ? points : [], { ...common, fill: "series", r: 3, title: valueOf }),
      Plot.dot(rings, { ...common, stroke: "series", r: 6, strokeWidth: 1.6, title: valueOf }),
    ],
  });
}

function valueOf({ x, y }: CurvePoint): string {
  return `${y.toFixed(1)} at ${x}`;
}

function extent(values: readonly number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** Whether curves lie so far from 0 that their axis is cut. */
export function isCut(points: readonly CurvePoint[]): boolean {
  const [low, high] = extent(points.flatMap(({ y, low = y, high = y }) => [low, high]));
  return low > 0 && (high - low) < 0.5 * high;
}

function domainOf(points: readonly CurvePoint[], { fromZero = false }: CurveOptions) {
  const [low, high] = extent(points.flatMap(({ y, low = y, high = y }) => [low, high]));
  if (fromZero || !isCut(points)) return [Math.min(0, low), high];
  const spare = Math.max((high - low) * 0.1, high * 0.005);
  return [low - spare, high + spare];
}

/** A score before and after. */
export interface Change {
  readonly name: string;
  /** In percent; null where it is not known. */
  readonly before: number | null;
  readonly after: number | null;
}

/** A row for each name: a ring before, a dot after, a line between them, and the difference in figures. */
export function changes(rows: readonly Change[], name: string): string {
  const [left, right, top, bottom] = [112, 48, 8, 40];
  const both = rows.flatMap(({ name, before, after }) =>
    before === null || after === null ? [] : [{ name, before, after, gain: after - before }]
  );
  const colour = ({ gain }: { gain: number }) => gain < 0 ? "var(--bad)" : "var(--good)";
  return draw(name, {
    height: top + bottom + 26 * rows.length,
    marginLeft: left,
    marginRight: right,
    marginTop: top,
    marginBottom: bottom,
    x: { domain: [0, 100], label: null, ticks: 5, tickSize: 0, tickPadding: 8 },
    y: { domain: rows.map(({ name }) => name), label: null, tickSize: 0, tickPadding: 10 },
    marks: [
      Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: 5 }),
      Plot.text(["IoU, %"], { frameAnchor: "bottom-right", dy: bottom - 2, ...AXIS_TITLE }),
      Plot.link(both, {
        x1: "before",
        x2: "after",
        y: "name",
        stroke: colour,
        strokeWidth: 4,
        strokeOpacity: 0.45,
      }),
      Plot.dot(rows.filter(({ before }) => before !== null), {
        x: "before",
        y: "name",
        r: 4.5,
        stroke: "var(--soft)",
        fill: "var(--card)",
        strokeWidth: 1.6,
      }),
      Plot.dot(rows.filter(({ after }) => after !== null), {
        x: "after",
        y: "name",
        r: 5,
        fill: "var(--ink)",
      }),
      Plot.text(both, {
        y: "name",
        text: ({ gain }: { gain: number }) => signed(gain),
        frameAnchor: "right",
        textAnchor: "end",
        dx: right,
        fill: colour,
        fontWeight: 600,
      }),
    ],
  });
}

/** A difference in figures, with a sign. */
export function signed(value: number): string {
  const text = Math.abs(value).toFixed(1);
  return text === "0.0" ? "±0.0" : `${value < 0 ? "−" : "+"}${text}`;
}

/** A point of a map of features. */
export interface MapPoint {
  readonly x: number;
  readonly y: number;
  /** Index of its class. */
  readonly label: number;
  /** Whether it is a class's prototype. */
  readonly prototype: boolean;
}

/** A map of features: dots in class colours, prototypes as stars with their names on top. */
export function featureMap(
  points: readonly MapPoint[],
  names: readonly string[],
  palette: readonly Colour[],
  name: string,
): string {
  const colour = ({ label }: MapPoint) => `rgb(${palette[label].join(",")})`;
  const common = { x: "x", y: "y", z: null, fill: colour };
  const stars = points.filter(({ prototype }) => prototype);
  return draw(name, {
    height: 380,
    inset: 24,
    margin: 8,
    x: { axis: null },
    y: { axis: null },
    marks: [
      Plot.dot(points.filter(({ prototype }) => !prototype), { ...common, r: 2, fillOpacity: 0.7 }),
      Plot.dot(stars, { ...common, r: 8, symbol: "star", stroke: "black", strokeWidth: 1.2 }),
      Plot.text(stars, {
        x: "x",
        y: "y",
        text: ({ label }: MapPoint) => names[label],
        dy: -15,
        fontWeight: 600,
        fill: "var(--plot-ink)",
        stroke: "var(--plot)",
        strokeWidth: 3,
      }),
    ],
  });
}

/** The one thing that Plot needs of a document's type, which Deno does not know. */
type Document = NonNullable<Plot.PlotOptions["document"]>;

function draw(name: string, options: Plot.PlotOptions): string {
  const { document } = parseHTML("<html></html>") as unknown as { document: Document };
  const svg = Plot.plot({ width: WIDTH, ...options, document });
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", name);
  for (const inner of svg.querySelectorAll("[aria-label]")) inner.removeAttribute("aria-label");
  return svg.outerHTML;
}
