// Charts as SVG text, drawn by Observable Plot into a document that is no browser's.

import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import type { Colour } from "../images/rgb.ts";

/** A point of a curve. */
export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  /** The curve it belongs to, named in the legend. */
  readonly series: string;
}

/** Titles of axes, and the width of the whole chart in pixels. */
export interface ChartOptions {
  readonly x?: string;
  readonly y?: string;
  readonly width?: number;
  readonly height?: number;
}

const SIZE = { width: 720, height: 300 };

/** Lines over a common axis, one per series, each named at its end. */
export function curves(points: readonly CurvePoint[], options: ChartOptions = {}): string {
  const names = [...new Set(points.map(({ series }) => series))];
  const common = { x: "x", y: "y", z: "series" };
  return draw({
    ...SIZE,
    ...options,
    marginRight: names.length > 1 ? 90 : 20,
    grid: true,
    x: { label: options.x ?? "step" },
    y: { label: options.y ?? null, nice: true },
    color: { domain: names, scheme: "observable10" },
    marks: [
      Plot.lineY(points, { ...common, stroke: "series", strokeWidth: 1.6 }),
      Plot.dot(points.length <= 80 ? points : [], { ...common, fill: "series", r: 2.5 }),
      Plot.text(
        points,
        Plot.selectLast({ ...common, text: "series", fill: "series", textAnchor: "start", dx: 6 }),
      ),
    ],
  });
}

/** One bar of a group. */
export interface Bar {
  /** What the group stands for, such as a class. */
  readonly group: string;
  /** What the bar stands for, such as a stage. */
  readonly series: string;
  readonly value: number;
}

/** Groups of horizontal bars from 0 to 100 %, each with its number behind it. */
export function percentBars(bars: readonly Bar[]): string {
  const series = [...new Set(bars.map((bar) => bar.series))];
  const groups = new Set(bars.map(({ group }) => group)).size;
  return draw({
    width: SIZE.width,
    height: 40 + groups * (series.length * 13 + 10),
    marginLeft: 70,
    marginRight: 40,
    x: { domain: [0, 100], grid: true, label: "IoU in %" },
    y: { axis: null, domain: series },
    fy: { label: null, domain: [...new Set(bars.map(({ group }) => group))], padding: 0.15 },
    color: { legend: false, domain: series, scheme: "observable10" },
    facet: { marginLeft: 110 },
    marks: [
      Plot.barX(bars, { x: "value", y: "series", fy: "group", fill: "series" }),
      Plot.text(bars, {
        x: "value",
        y: "series",
        fy: "group",
        text: ({ series, value }: Bar) => `${value.toFixed(1)} ${series}`,
        textAnchor: "start",
        dx: 4,
        fontSize: 9,
      }),
    ],
  });
}

/**
 * A matrix as a heat map with a number in every cell.
 *
 * @param values Row by row, as many rows as columns as names.
 * @param format The number of a cell as text.
 */
export function heatMap(
  names: readonly string[],
  values: ArrayLike<number>,
  format: (value: number) => string,
  { x, y }: ChartOptions = {},
): string {
  const cells = names.flatMap((row, i) =>
    names.map((column, j) => ({ row, column, value: values[i * names.length + j] }))
  );
  const largest = Math.max(...cells.map(({ value }) => value), 1e-12);
  const cell = Math.max(34, Math.min(64, Math.floor(600 / names.length)));
  return draw({
    width: 120 + names.length * cell,
    height: 110 + names.length * Math.min(cell, 30),
    marginLeft: 100,
    marginBottom: 80,
    padding: 0.02,
    x: { domain: names, label: x ?? null, tickRotate: -40 },
    y: { domain: names, label: y ?? null },
    color: { domain: [0, largest], scheme: "blues" },
    marks: [
      Plot.cell(cells, { x: "column", y: "row", fill: "value" }),
      Plot.text(cells, {
        x: "column",
        y: "row",
        text: ({ value }: { value: number }) => format(value),
        fill: ({ value }: { value: number }) => value > 0.6 * largest ? "white" : "black",
        fontSize: 9,
      }),
    ],
  });
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

/** A map of features: dots in class colours, prototypes as stars on top. */
export function featureMap(points: readonly MapPoint[], palette: readonly Colour[]): string {
  const colour = ({ label }: MapPoint) => `rgb(${palette[label].join(",")})`;
  const common = { x: "x", y: "y", z: null, fill: colour };
  return draw({
    width: 480,
    height: 440,
    x: { axis: null },
    y: { axis: null },
    marks: [
      Plot.frame({ stroke: "#ccc" }),
      Plot.dot(points.filter(({ prototype }) => !prototype), {
        ...common,
        r: 1.8,
        fillOpacity: 0.65,
      }),
      Plot.dot(points.filter(({ prototype }) => prototype), {
        ...common,
        r: 9,
        symbol: "star",
        stroke: "black",
        strokeWidth: 1.2,
      }),
    ],
  });
}

/** The one thing that Plot needs of a document's type, which Deno does not know. */
type Document = NonNullable<Plot.PlotOptions["document"]>;

function draw(options: Plot.PlotOptions): string {
  const { document } = parseHTML("<html></html>") as unknown as { document: Document };
  return Plot.plot({ ...options, document }).outerHTML;
}
