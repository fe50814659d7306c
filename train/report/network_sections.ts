// What the networks of a run make of images: samples, failures, confusions, features, prototypes.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { ClassSet } from "../data/class_set.ts";
import type { Dataset } from "../data/dataset.ts";
import { Loader, type Sample } from "../data/loader.ts";
import { colourLabel } from "../images/pictures.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../networks/trained_network.ts";
import { openRunData, targetForPeople } from "../run/run_data.ts";
import { featureMap } from "./charts.ts";
import { confusionCard, confusionsOf, worstPairs } from "./confusions.ts";
import { labelsByStep, madeLabels, sampleRows } from "./contact_sheets.ts";
import { embed } from "./embedding.ts";
import {
  type DatasetScores,
  type FeatureSample,
  meanFeatures,
  pairwiseDistances,
  sampleFeatures,
  type ScoredImage,
  scoreImage,
  scoreImages,
} from "./features.ts";
import { heatTable } from "./heat_table.ts";
import { card, cards, chart, classKey, type Section } from "./page.ts";
import { hasIgnored, type Panel, pictureRows } from "./picture_rows.ts";
import { classesOf, type RunRecord } from "./run_record.ts";
import { type SavedNetwork, savedNetworks } from "./saved_networks.ts";

/** Pixels of each class in a map of features, pictures of images that went wrong, and of samples. */
const [PIXELS_A_CLASS, WORST_IMAGES, SAMPLES] = [120, 4, 4];

/** The sections, in two groups: what others stand between. */
export interface NetworkSections {
  /** Pictures. */
  readonly pictures: Section[];
  /** Confusions and features. */
  readonly classes: Section[];
}

/**
 * Predicts sample images with every network of a run, and the val images with the one handed on and the first.
 *
 * @throws {DataError} If a checkpoint or the data cannot be used.
 */
export async function networkSections(
  gpu: Gpu,
  run: RunRecord,
  onMessage: (text: string) => void,
): Promise<NetworkSections> {
  const saved = savedNetworks(run);
  const before = saved[0];
  const handedOn = saved.find(({ isHandedOn }) => isHandedOn);
  const after = handedOn && handedOn !== before ? handedOn : saved.at(-1);
  if (!before || !after) return { pictures: sheetSections(run), classes: [] };
  const data = await openRunData(run.config.data, onMessage);
  onMessage(`predicting sample images with ${saved.length} networks`);
  const pictures = await sampleSections(gpu, run, saved, targetForPeople(data));
  const { validation } = data;
  if (validation.trainIds === null) return { pictures, classes: [] }; // nothing to compare with
  using trained = loadTrainedNetwork(gpu, after.path);
  const { classes: { names, palette } } = trained;
  const score = async (network: TrainedNetwork, name: string) => {
    onMessage(`predicting ${validation.items.length} images with the network of ${name}`);
    return await scoreImages(network, validation, WORST_IMAGES);
  };
  const scores = await score(trained, after.name);
  const confusions = [confusionsOf(after.name, scores.matrix)];
  const bounds = { before: before === after ? null : before, after };
  using first = bounds.before && loadTrainedNetwork(gpu, before.path);
  if (first) {
    const { matrix } = await score(first, before.name);
    confusions.unshift(confusionsOf(before.name, matrix));
  }
  pictures.splice(1, 0, await worstSection(scores, first, bounds, trained.classes));
  onMessage("laying out features");
  const { seed } = run.config;
  const last = await featureFigure(trained, after, validation, seed);
  const maps = [last];
  if (first) maps.unshift(await featureFigure(first, before, validation, seed));
  const figures = [
    ...maps.map(({ map }) => map),
    ...distanceFigures(last.prototypes, names, after.name),
  ];
  return {
    pictures,
    classes: [{
      title: "Confusions",
      lead: "Blue is right, orange is wrong; each row adds up to 100.",
      body: cards(
        [...confusions.map((one) => confusionCard(one, names)), worstPairs(confusions, names)],
        widthFor(names.length),
      ),
    }, {
      title: "Features of the target",
      lead: "Features of val pixels, as many of each class, laid out in the plane by UMAP, where " +
        "neighbours stay neighbours; the axes have no unit (the paper's Figure 5).",
      body: classKey(names, palette, false) + cards(figures, widthFor(names.length)),
    }],
  };
}

/** A row for each of the first target images: image, label, what every network makes of it. */
async function sampleSections(
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
  const learns = dataset.trainIds === null ? "" : " The percentage is the mIoU of this one image.";
  return [{
    title: "Samples",
    lead: `The first target images, and what each network makes of them.${learns}`,
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
function sheetSections(run: RunRecord): Section[] {
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

async function worstSection(
  { worst }: DatasetScores,
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

/** Matrices of more than ten classes find no room in a narrow card. */
function widthFor(classCount: number): string {
  return classCount > 10 ? "wide" : "";
}

function distanceFigures(
  prototypes: readonly (Float32Array | null)[],
  names: readonly string[],
  stage: string,
): string[] {
  const known = prototypes.flatMap((prototype, k) =>
    prototype ? [{ prototype, name: names[k] }] : []
  );
  if (known.length < 2) return [];
  const table = heatTable({
    caption: {
      title: `How far apart the prototypes of ${stage} lie`,
      text:
        "Euclidean distance between features, without a unit. Those that lie close are easily " +
        "taken for one another.",
    },
    names: known.map(({ name }) => name),
    values: pairwiseDistances(known.map(({ prototype }) => prototype)),
    format: (value) => value.toFixed(1),
    corner: "from\u00a0↓ to\u00a0→",
    of: "distances",
  });
  return [card(table)];
}

interface FeatureFigure {
  readonly map: string;
  readonly prototypes: readonly (Float32Array | null)[];
}

async function featureFigure(
  trained: TrainedNetwork,
  { name, path }: SavedNetwork,
  dataset: Dataset,
  seed: number,
): Promise<FeatureFigure> {
  const { names, palette } = trained.classes;
  const sample = await sampleFeatures(trained, dataset, { perClass: PIXELS_A_CLASS, seed });
  const prototypes = prototypesOf(trained, path, sample);
  const svg = featureMap(
    embed(sample, prototypes, seed),
    names,
    palette,
    `Features after ${name}: ${sample.rows.length} dots in the colours of ${names.length} classes, ` +
      "and a star for each class",
  );
  const text = "Dots are pixels in the colours of their labels, stars are prototypes.";
  return { map: chart({ title: `After ${name}`, text }, svg, "plot map"), prototypes };
}

/** The stage's own prototypes where the checkpoint has some, else means of what was sampled (eq. 4). */
function prototypesOf(
  { classes }: TrainedNetwork,
  path: string,
  sample: FeatureSample,
): (Float32Array | null)[] {
  using checkpoint = new Checkpoint(path);
  const name = "prototypes.centroids";
  if (!checkpoint.has(name)) return meanFeatures(sample, classes.names.length);
  const values = checkpoint.floats(name);
  const channels = values.length / classes.names.length;
  return classes.names.map((_, k) => {
    const own = values.slice(k * channels, (k + 1) * channels);
    return own.some((value) => value !== 0) ? own : null; // a class that was never predicted
  });
}
