// The networks of run folders, and the images that they are measured on.

import { basename, isAbsolute, join } from "node:path";
import type { Gpu } from "../../kernels/runtime/mod.ts";
import { exists } from "../../train/base/folders.ts";
import { type Dataset, openDataset } from "../../train/data/dataset.ts";
import { layoutOf } from "../../train/data/layouts.ts";
import { hasLabels } from "../../train/data/place.ts";
import { loadTrainedNetwork } from "../../train/networks/trained_network.ts";
import { openRunData } from "../../train/run/run_data.ts";
import { readRunConfig } from "../../train/run/run_config.ts";
import { checkpointPathIn, readRunResult } from "../../train/run/run_folder.ts";
import { writeStreets } from "../../train/streets/mod.ts";
import { type NetworkOutput, outputsOf, some } from "./outputs.ts";

/** A network whose outputs are known, and how good it is. */
export interface KnownNetwork {
  readonly group: string;
  readonly run: string;
  readonly stage: string;
  /** mIoU on the target's val split, in percent. */
  readonly mIoU: number;
  readonly output: NetworkOutput;
}

/** Most images of a set. */
const IMAGES = 20;

/** The networks of the run folders below a folder, in the order of their names. */
export async function networksBelow(
  gpu: Gpu,
  group: string,
  folder: string,
  cache: string,
  dataRoot: string,
): Promise<KnownNetwork[]> {
  const found: KnownNetwork[] = [];
  const runs = exists(join(folder, "config.json"))
    ? [""]
    : [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  for (const run of runs) {
    const path = join(folder, run);
    if (!exists(join(path, "config.json"))) continue;
    const config = readRunConfig(path);
    for (const stage of readRunResult(path)?.stages ?? []) {
      if (!config.pipeline.includes(stage.name as never) || Number.isNaN(stage.mIoU)) continue;
      const checkpoint = checkpointPathIn(path, stage.name);
      if (!exists(checkpoint)) continue;
      const file = join(
        cache,
        `${group}.${run || basename(path)}.${stage.name}.bin`.replaceAll("/", "-"),
      );
      const { data } = config;
      const streets = {
        ...data.streets,
        directory: isAbsolute(data.streets.directory)
          ? data.streets.directory
          : join(dataRoot, data.streets.directory),
      };
      using trained = loadTrainedNetwork(gpu, checkpoint);
      const opened = await openRunData({ ...data, streets }, () => {});
      const source = await heldOut(
        data.sourceDirectory === null,
        opened.source,
        cache,
        data.streets,
      );
      const output = await outputsOf(
        trained.network,
        data.longSide,
        some(opened.validation, IMAGES),
        some(source, IMAGES),
        file,
      );
      console.error(`${group} ${run} ${stage.name} ${stage.mIoU.toFixed(1)}`);
      found.push({ group, run, stage: stage.name, mIoU: stage.mIoU, output });
    }
  }
  return found;
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
  try {
    if (source.layout.splits !== "none" && hasLabels(val)) return openDataset(val);
  } catch { /* no such split */ }
  return { ...source, items: source.items.filter((_, index) => index % 20 === 0) };
}
