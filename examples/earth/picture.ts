/**
 * A picture of what adapting has changed: images of the target that no training has seen, their
 * labels, and the predictions of two networks of a run. docs/earth.png is made by
 *
 *     deno run --allow-read --allow-write examples/earth/picture.ts BEFORE AFTER docs/earth.png 04_01 …
 *
 * where BEFORE and AFTER are checkpoints, such as `runs/mine/checkpoints/source.safetensors`, and
 * the names behind them are the images to show: `split val` of the run's target.
 */
import { openGpu } from "../../mod.ts";
import { DataError } from "../../train/base/data_error.ts";
import { openDataset } from "../../train/data/dataset.ts";
import { layoutOf } from "../../train/data/layouts.ts";
import { Loader, type Sample } from "../../train/data/loader.ts";
import { readPrediction } from "../../train/evaluation/evaluate.ts";
import { uploadSamples } from "../../train/evaluation/image_batches.ts";
import { type LabelMap, writeSamples } from "../../train/images/pictures.ts";
import { loadTrainedNetwork, type TrainedNetwork } from "../../train/networks/trained_network.ts";

async function predict({ network, config }: TrainedNetwork, sample: Sample): Promise<LabelMap> {
  const { images, labels } = uploadSamples(network.gpu, [sample], config.data.longSide);
  labels?.release();
  const data = await readPrediction(network, images, sample);
  images.release();
  return { data, width: sample.image.width, height: sample.image.height };
}

const [before, after, out, ...names] = Deno.args;
const gpu = await openGpu();
using first = loadTrainedNetwork(gpu, before);
using last = loadTrainedNetwork(gpu, after);
const { classes, config: { data: { targetDirectory, targetLayout } } } = last;
if (targetDirectory === null) throw new DataError(`Cannot draw ${out} as ${after} is of streets`);
const { trainIds, palette } = classes;
const layout = layoutOf(targetLayout);
const { items } = openDataset({ root: targetDirectory, layout, split: "val", trainIds });
const dataset = { items: items.filter(({ name }) => names.includes(name)), trainIds };
using loader = new Loader({ dataset, order: "sequential" });
const rows = [];
for (const sample of await loader.next(names.length)) {
  const label = sample.label ? [sample.label] : [];
  const maps = [...label, await predict(first, sample), await predict(last, sample)];
  rows.push({ image: sample.image, maps });
}
writeSamples(out, rows, palette);
