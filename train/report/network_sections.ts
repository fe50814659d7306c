// What the networks of a run make of its val images: confusions, features, prototypes, failures.

import { existsSync } from "node:fs";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { Dataset } from "../data/dataset.ts";
import { encodeImage } from "../images/image.ts";
import { colourLabel, contactSheet } from "../images/pictures.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../networks/trained_network.ts";
import { type ClassSet, openRunData } from "../run/run_data.ts";
import { checkpointPathIn, type StageResult } from "../run/run_folder.ts";
import { featureMap, heatMap } from "./charts.ts";
import { embed } from "./embedding.ts";
import {
  type DatasetScores,
  type FeatureSample,
  meanFeatures,
  pairwiseDistances,
  sampleFeatures,
  scoreImages,
} from "./features.ts";
import { figure, legend, row, type Section } from "./page.ts";
import type { RunRecord } from "./run_record.ts";

/** Pixels of each class in a map of features, and pictures of images that went wrong. */
const [PIXELS_A_CLASS, WORST_IMAGES] = [120, 4];

/**
 * Predicts the val images with the network of the first stage and the one handed on.
 *
 * @throws {DataError} If a checkpoint or the data cannot be used.
 */
export async function networkSections(
  gpu: Gpu,
  run: RunRecord,
  onMessage: (text: string) => void,
): Promise<Section[]> {
  const done = run.result.stages.map((stage) => ({
    name: stage.name,
    path: checkpointPath(run, stage),
    handedOn: stage.handedOn,
  })).filter(({ path }) => existsSync(path));
  const [before, after] = [done[0], done.find(({ handedOn }) => handedOn) ?? done.at(-1)];
  if (!before || !after) return [];
  using trained = loadTrainedNetwork(gpu, after.path);
  const { classes } = trained;
  const { validation } = await openRunData(run.config.data, onMessage);
  if (validation.trainIds === null) return []; // nothing to compare predictions with
  onMessage(`predicting ${validation.items.length} images with the network of ${after.name}`);
  const scores = await scoreImages(trained, validation, WORST_IMAGES);
  const sections = [confusionSection(scores, classes, after.name)];
  onMessage("laying out features");
  const maps = [await featureFigure(gpu, before, validation, classes, run.config.seed)];
  if (after !== before) {
    maps.push(await featureFigure(gpu, after, validation, classes, run.config.seed));
  }
  sections.push({
    title: "Features of the target",
    lead:
      "UMAP of the features of val pixels, as many of each class, in the colours of their labels; stars are prototypes (the paper's Figure 5).",
    body: legend(classes.names, classes.palette) + row(maps.map(({ map }) => map)),
  });
  const { prototypes, name } = maps[maps.length - 1] as FeatureFigure;
  const known = prototypes.flatMap((prototype, k) =>
    prototype ? [{ prototype, name: classes.names[k] }] : []
  );
  const distances = pairwiseDistances(known.map(({ prototype }) => prototype));
  sections.push({
    title: "Distances between prototypes",
    body: figure(
      heatMap(known.map(({ name }) => name), distances, (value) => value.toFixed(1)),
      `Euclidean distances after ${name}`,
    ),
  });
  sections.push(worstSection(scores, classes));
  return sections;
}

/** The checkpoint with the network that a stage was scored with. */
function checkpointPath(
  { path }: RunRecord,
  { name, steps, selected }: StageResult,
): string {
  const isEarlier = selected !== undefined && selected.step < steps;
  return checkpointPathIn(path, isEarlier ? `${name}.best` : name);
}

function confusionSection({ matrix }: DatasetScores, classes: ClassSet, stage: string): Section {
  const { classCount: size, counts } = matrix;
  const sums = classes.names.map((_, label) =>
    counts.subarray(label * size, (label + 1) * size).reduce((sum, count) => sum + count, 0)
  );
  const shares = Array.from(
    counts,
    (count, at) => 100 * count / Math.max(1, sums[Math.floor(at / size)]),
  );
  return {
    title: "Confusions",
    lead: `Of all val pixels of a class, the share that ${stage} predicts as each class, in %.`,
    body: figure(
      heatMap(classes.names, shares, (value) => value.toFixed(0), { x: "prediction", y: "label" }),
      "rows add up to 100",
    ),
  };
}

interface FeatureFigure {
  readonly map: string;
  readonly prototypes: readonly (Float32Array | null)[];
  readonly name: string;
}

async function featureFigure(
  gpu: Gpu,
  { name, path }: { name: string; path: string },
  dataset: Dataset,
  classes: ClassSet,
  seed: number,
): Promise<FeatureFigure> {
  using trained = loadTrainedNetwork(gpu, path);
  const sample = await sampleFeatures(trained, dataset, { perClass: PIXELS_A_CLASS, seed });
  const prototypes = prototypesOf(trained, path, sample);
  const map = featureMap(embed(sample, prototypes, seed), classes.palette);
  return { map: figure(map, `after ${name}`), prototypes, name };
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

function worstSection({ worst }: DatasetScores, { names, palette }: ClassSet): Section {
  const figures = worst.map(({ sample, prediction, mIoU }) => {
    const maps = [...(sample.label ? [sample.label] : []), prediction];
    const sheet = contactSheet([[sample.image, ...maps.map((map) => colourLabel(map, palette))]]);
    return figure(encodeImage(sheet), `${sample.name}: mIoU ${mIoU.toFixed(1)} %`);
  });
  return {
    title: "Images that went worst",
    lead: "Image, label, prediction.",
    body: legend(names, palette) + row(figures),
  };
}
