// The scores of every network of a run, and of every class before and after.

import type { ClassSet } from "../data/class_set.ts";
import { labelFreeScore } from "../evaluation/label_free.ts";
import { type Change, changes } from "./charts.ts";
import { card, cards, chart, type Section, table } from "./page.ts";
import type { RunRecord } from "./run_record.ts";
import { type Outcome, outcomeOf } from "./verdict.ts";

/**
 * The section of scores, where there are any.
 *
 * @param classes With their colours; null where nobody knows.
 */
export function scoreSections(
  run: RunRecord,
  classes: ClassSet | null,
): Section[] {
  const outcome = outcomeOf(run);
  if (!outcome) return [];
  const { networks, after } = outcome;
  const kept = networks.some(({ handedOn }) => handedOn) ? networks.indexOf(after) : -1;
  const rows = networks.map((stage) => [
    stage.handedOn ? `${stage.name}*` : stage.name,
    figure(stage.mIoU),
    figure(stage.pixelAccuracy),
    figure(stage.source?.mIoU ?? NaN),
    figure(labelFreeScore(stage) ?? NaN),
  ]);
  const heads = ["stage", "mIoU, %", "pixel accuracy, %", "source mIoU, %", "label-free score, %"];
  const star = kept < 0 ? "" : " The star marks the one handed on.";
  const stages = table(
    {
      title: "After each stage",
      text:
        "mIoU and pixel accuracy on the target, mIoU on held-out source images, and the score " +
        `without labels by which networks are handed on.${star}`,
    },
    [heads, ...rows],
    { kept },
  );
  const body = [card(stages), ...classFigures(outcome, classes)];
  return [{
    title: "Scores",
    lead:
      `In percent, on the target's ${run.config.data.evaluateOn} split unless it says otherwise.`,
    body: `${body[0]}\n${body.length > 1 ? cards(body.slice(1), "uneven") : ""}`,
  }];
}

function classFigures(
  { networks, before, compared }: Outcome,
  classes: ClassSet | null,
): string[] {
  const names = Object.keys(compared.classIoU);
  if (!Object.values(compared.classIoU).some((value) => value !== null)) return [];
  const isChange = before !== compared;
  const rows: Change[] = names.map((name) => ({
    name,
    before: isChange ? before.classIoU[name] ?? null : null,
    after: compared.classIoU[name],
  }));
  const rings = isChange ? `Rings: ${before.name}. Dots: ${compared.name}. ` : "";
  const gains = isChange ? "To the right, the difference in points." : "One dot a class.";
  const dumbbells = chart(
    {
      title: isChange ? "IoU of each class, before and after" : "IoU of each class",
      text: `${rings}${gains}`,
    },
    changes(
      rows,
      `IoU of each class in percent. ` +
        rows.map(({ name, before, after }) =>
          `${name}: ${before === null ? "" : `${before.toFixed(1)}, then `}${
            after?.toFixed(1) ?? "unknown"
          }`
        ).join("; "),
    ),
  );
  const iou = table(
    {
      title: "IoU of each class, after each stage",
      text: "In percent.",
    },
    [
      ["class", ...networks.map(({ name }) => name)],
      ...names.map((name) => [
        name,
        ...networks.map(({ classIoU }) => figure(classIoU[name] ?? NaN)),
      ]),
    ],
    { palette: names.map((name) => classes?.palette[classes.names.indexOf(name)]) },
  );
  return [dumbbells, card(iou)];
}

/** A score; a dash where the run had no labels to measure on. */
function figure(score: number): string {
  return Number.isNaN(score) ? "–" : score.toFixed(1);
}
