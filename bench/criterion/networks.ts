// The networks of run folders, and the images that they are measured on.

import { basename, join } from "node:path";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { exists } from "../../train/base/folders.ts";
import type { RunConfig } from "../../train/config/settings.ts";
import { type Dataset, openDataset } from "../../train/data/dataset.ts";
import { layoutOf } from "../../train/data/layouts.ts";
import { hasLabels, splitsOf } from "../../train/data/place.ts";
import { loadTrainedNetwork } from "../../train/networks/trained_network.ts";
import { openRunData } from "../../train/run/run_data.ts";
import { readRunConfig } from "../../train/run/run_config.ts";
import { checkpointPathIn, readRunResult } from "../../train/run/run_folder.ts";
import { writeStreets } from "../../train/streets/mod.ts";
import { type NetworkOutput, outputsOf, readOutputs, some, writeOutputs } from "./outputs.ts";

/** A network whose outputs are known. */
export interface KnownNetwork {
  readonly group: string;
  readonly run: string;
  readonly stage: string;
  readonly output: NetworkOutput;
}

/** Most images of a set, spread over it: what two cores can look at for some dozens of networks. */
const IMAGES = 20;

/**
 * The networks of a run folder, or of the run folders in a folder, in the order of their names; those
 * without a score or a checkpoint are left out. Where a configuration names data by a relative path,
 * that is of the present folder.
 *
 * @param cache Folder that outputs are kept in.
 */
export async function networksIn(
  gpu: Gpu,
  group: string,
  folder: string,
  cache: string,
): Promise<KnownNetwork[]> {
  const paths = exists(join(folder, "config.json"))
    ? [folder]
    : [...Deno.readDirSync(folder)].map(({ name }) => join(folder, name)).sort();
  const found: KnownNetwork[] = [];
  for (const path of paths.filter((path) => exists(join(path, "config.json")))) {
    const { pipeline, data } = readRunConfig(path);
    for (const { name: stage, mIoU } of readRunResult(path)?.stages ?? []) {
      const checkpoint = checkpointPathIn(path, stage);
      const isOwn = pipeline.some((name) => name === stage);
      if (!isOwn || Number.isNaN(mIoU) || !exists(checkpoint)) continue;
      const run = basename(path);
      const file = join(cache, `${group}.${run}.${stage}.bin`);
      const output = readOutputs(file) ?? await makeOutputs(gpu, checkpoint, data, cache, file);
      console.error(`${group} ${run} ${stage}: mIoU ${mIoU.toFixed(1)} % on all val images`);
      found.push({ group, run, stage, output });
    }
  }
  return found;
}

async function makeOutputs(
  gpu: Gpu,
  checkpoint: string,
  data: RunConfig["data"],
  cache: string,
  file: string,
): Promise<NetworkOutput> {
  using trained = loadTrainedNetwork(gpu, checkpoint);
  const opened = await openRunData(data, () => {});
  const isStreets = data.sourceDirectory === null;
  const source = await heldOut(isStreets, opened.source, cache, data.streets);
  const [target, known] = [some(opened.validation, IMAGES), some(source, IMAGES)];
  const output = await outputsOf(trained.network, data.longSide, target, known);
  writeOutputs(file, output);
  return output;
}

/** Source images that no network has learnt from, where there can be some. */
async function heldOut(
  isStreets: boolean,
  source: Awaited<ReturnType<typeof openRunData>>["source"],
  cache: string,
  { width, height }: { width: number; height: number },
): Promise<Dataset> {
  if (isStreets) {
    const directory = join(cache, `streets-${width}x${height}`);
    const counts = { sourceTrain: 60, sourceVal: 0, targetTrain: 1, targetVal: 1, targetChoose: 0 };
    await writeStreets(directory, { seed: 1000, width, height, counts });
    const layout = layoutOf("gta5");
    const { trainIds } = source;
    return openDataset({ root: join(directory, "source"), layout, split: "train", trainIds });
  }
  const val = { ...source, split: "val" };
  const { splits } = source.layout;
  if (splits !== "none" && splitsOf(source.root, source.layout).includes("val") && hasLabels(val)) {
    return openDataset(val);
  }
  return { ...source, items: source.items.filter((_, index) => index % 20 === 0) };
}
