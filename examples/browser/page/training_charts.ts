// The curves of a training: what is drawn of what the page has heard of it.

import type { Snapshot } from "../protocol.ts";
import type { Chart, Line } from "./chart.ts";

type Losses = Readonly<Record<string, number>>;

/** Names of stages for people, and what happens in them. */
export const STAGES: Readonly<Record<string, { title: string; doing: string }>> = {
  source: { title: "Source", doing: "learnt before, on the clean streets" },
  warmup: { title: "Warm-up", doing: "clean streets in the camera's colours, against a critic" },
  stage1: { title: "Stage 1", doing: "its own labels of the camera's streets, denoised" },
};
/** Losses by name, with the colour of their lines. */
const LOSSES: Readonly<
  Record<string, readonly [name: string, colour: number]>
> = {
  source: ["source", 1],
  adversarial: ["adversarial", 2],
  discriminator: ["critic", 3],
  symmetric: ["own labels", 4],
  structure: ["structure", 5],
  regulariser: ["regulariser", 6],
};

/** The training as the page has heard of it. */
export interface Heard {
  readonly stages: readonly { readonly name: string; readonly steps: number }[];
  readonly heldBack: number;
  readonly losses: { readonly step: number; readonly losses: Losses }[];
  readonly snapshots: Snapshot[];
}

/** The charts of a training, each with the element that shows it. */
export function chartsOf({ stages, losses, snapshots }: Heard): [id: string, chart: Chart][] {
  const steps = stages.reduce((sum, { steps }) => sum + steps, 0);
  const shared = {
    steps,
    stages: stages.map(({ name }, at) => ({
      name: STAGES[name]?.title ?? name,
      from: stages.slice(0, at).reduce((sum, { steps }) => sum + steps, 0),
    })),
  };
  const first = snapshots[0]?.mIoU;
  const score: Line[] = [
    { name: "now", colour: 1, points: snapshots.map(({ steps, mIoU }) => [steps, mIoU]) },
    {
      name: "source only",
      colour: 7,
      isReference: true,
      points: first === undefined ? [] : [[0, first], [steps, first]],
    },
  ];
  const labels = (kind: "pseudo" | "denoised"): Line["points"] =>
    snapshots.flatMap(({ steps, labels }) => labels ? [[steps, labels[kind]] as const] : []);
  const lossLines = Object.entries(LOSSES).map(([key, [name, colour]]): Line => ({
    name,
    colour,
    points: losses.flatMap(({ step, losses }) =>
      key in losses ? [[step, losses[key]] as const] : []
    ),
  }));
  return [
    ["chart-score", {
      ...shared,
      title: "mIoU of held-back target streets",
      lines: score,
      scale: "linear",
      unit: " %",
    }],
    ["chart-labels", {
      ...shared,
      title: "Right pixels among the labels that it learns of the target",
      lines: [
        { name: "denoised", colour: 4, points: labels("denoised") },
        { name: "before", colour: 7, isReference: true, points: labels("pseudo") },
      ],
      scale: "linear",
      unit: " %",
    }],
    ["chart-losses", {
      ...shared,
      title: "Losses",
      lines: lossLines,
      scale: "logarithmic",
      unit: "",
    }],
  ];
}
