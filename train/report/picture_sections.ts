// The same images through the networks of a run: samples, labels as they change, failures.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { ClassSet } from "../data/class_set.ts";
import type { Dataset } from "../data/dataset.ts";
import { Loader } from "../data/loader.ts";
import type { Sample } from "../data/samples.ts";
import { colourLabel } from "../images/pictures.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../networks/trained_network.ts";
import { labelsByStep, madeLabels, sampleRows } from "./contact_sheets.ts";
import { type ScoredImage, scoreImage } from "./features.ts";
import { classKey, type Section } from "./page.ts";
import { hasIgnored, type Panel, pictureRows } from "./picture_rows.ts";
import { classesOf, type RunRecord } from "./run_record.ts";
import type { SavedNetwork } from "./saved_networks.ts";

/** How many images are shown. */
const SAMPLES = 4;

/** A row for each of the first target images: image, label, what every network makes of it. */
export async function sampleSections(
  gpu: Gpu,
  run: RunRecord,
  saved: readonly SavedNetwork[],
  dataset: Dataset,
): Promise<Section[]> {
  using loader = new Loader({ dataset, order: "sequential", ahead: SAMPLES });
  const samples = await loader.next(SAMPLES);
  const panels: Panel[][] = samples.map(() => []);
  let key = "";
  for (const network of saved) {
    using trained = loadTrainedNetwork(gpu, network.path);
    const { classes } = trained;
    key ||= keyOf(classes, samples);
    const made = madeLabels(run.path, network.name, classes, dataset.trainIds !== null);
    for (const [at, sample] of samples.entries()) {
      if (panels[at].length === 0) panels[at].push(...given(sample, classes));
      if (made[at]) panels[at].push({ name: `labels of ${network.name}`, image: made[at] });
      panels[at].push(predicted(network, await scoreImage(trained, sample), classes));
    }
  }
  const rows = samples.map(({ name }, at) => ({ name, panels: panels[at] }));
  const scored = dataset.trainIds === null ? "" : " The percentage is the mIoU of this one image.";
  return [{
    title: "Samples",
    lead: `The first target images, and what each network makes of them.${scored}`,
    body: key + pictureRows(rows),
  }, ...byStepSections(run, key)];
}

/** The labels of every stage that was watched. */
function byStepSections(run: RunRecord, key: string): Section[] {
  const classes = classesOf(run);
  return run.config.pipeline.flatMap((name) => {
    const rows = labelsByStep(run.path, name, classes);
    return rows.length === 0 ? [] : [{
      title: `Labels of ${name} as they change`,
      lead: "The labels that the stage learns of the same images, at several of its steps (the " +
        "paper's Figure 2).",
      body: key + pictureRows(rows),
    }];
  });
}

function keyOf({ names, palette }: ClassSet, samples: readonly Sample[]): string {
  const ignored = samples.some(({ label }) => label && hasIgnored(label, names.length));
  return classKey(names, palette, ignored);
}

function given({ image, label }: Sample, { palette }: ClassSet): Panel[] {
  return [
    { name: "image", image },
    ...(label ? [{ name: "label", image: colourLabel(label, palette) }] : []),
  ];
}

function predicted(
  { name, isHandedOn }: SavedNetwork,
  { prediction, mIoU }: ScoredImage,
  { palette }: ClassSet,
): Panel {
  return {
    name,
    image: colourLabel(prediction, palette),
    ...(Number.isNaN(mIoU) ? {} : { note: `${mIoU.toFixed(1)} %` }),
    isKept: isHandedOn,
  };
}

/** The samples as the run has drawn them, where no network is left to draw them again. */
export function sheetSections(run: RunRecord): Section[] {
  const classes = classesOf(run);
  const key = classes ? classKey(classes.names, classes.palette) : "";
  const rows = sampleRows(run.path, run.result.stages.map(({ name }) => name), classes);
  const samples = {
    title: "Samples",
    lead: "Target images and what each network has made of them, as the run has drawn them.",
    body: key + pictureRows(rows),
  };
  return [...(rows.length > 0 ? [samples] : []), ...byStepSections(run, key)];
}

/** The images that were scored lowest, with what the first network makes of them. */
export async function worstSection(
  worst: readonly ScoredImage[],
  first: TrainedNetwork | null,
  { before, after }: { readonly before: SavedNetwork | null; readonly after: SavedNetwork },
  classes: ClassSet,
): Promise<Section> {
  const rows = worst.map(({ sample }) => ({
    name: sample.name,
    panels: given(sample, classes),
  }));
  if (first && before) {
    for (const [at, { sample }] of worst.entries()) {
      rows[at].panels.push(predicted(before, await scoreImage(first, sample), classes));
    }
  }
  for (const [at, scored] of worst.entries()) {
    rows[at].panels.push(predicted(after, scored, classes));
  }
  return {
    title: "Images that went worst",
    lead: `The val images on which ${after.name} has the lowest mIoU, the lowest first.`,
    body: keyOf(classes, worst.map(({ sample }) => sample)) + pictureRows(rows),
  };
}
