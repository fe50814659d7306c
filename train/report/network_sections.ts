// What the networks of a run make of its images: pictures, confusions, features, prototypes.

import type { Gpu } from "../../kernels/runtime/mod.ts";
import type { Dataset } from "../data/dataset.ts";
import { Checkpoint } from "../networks/checkpoint.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../networks/trained_network.ts";
import { openRunData, targetForPeople } from "../run/run_data.ts";
import { featureMap } from "./charts.ts";
import { confusionCard, confusionsOf, worstPairs } from "./confusions.ts";
import { embed } from "./embedding.ts";
import {
  type FeatureSample,
  meanFeatures,
  pairwiseDistances,
  sampleFeatures,
  scoreImages,
} from "./features.ts";
import { heatTable } from "./heat_table.ts";
import { card, cards, chart, classKey, type Section } from "./page.ts";
import { sampleSections, sheetSections, worstSection } from "./picture_sections.ts";
import type { RunRecord } from "./run_record.ts";
import { type SavedNetwork, savedNetworks } from "./saved_networks.ts";

/** Pixels of each class in a map of features, and pictures of images that went wrong. */
const [PIXELS_A_CLASS, WORST_IMAGES] = [120, 4];

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
  pictures.splice(1, 0, await worstSection(scores.worst, first, bounds, trained.classes));
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
