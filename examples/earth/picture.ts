/**
 * A picture of what adapting has changed: images of the target's val split, which no training has
 * seen, their labels, and the predictions of two networks of a run. docs/earth.png is made by
 *
 *     deno run --allow-read --allow-write examples/earth/picture.ts RUN/checkpoints/source.safetensors RUN/checkpoints/stage3.safetensors docs/earth.png 04_03 09_04
 *
 * where RUN is the folder of a run, and the names behind the picture are the images to show.
 */
import { openGpu } from "../../mod.ts";
import { openDataset } from "../../train/data/dataset.ts";
import { layoutOf } from "../../train/data/layouts.ts";
import { Loader } from "../../train/data/loader.ts";
import type { Sample } from "../../train/data/samples.ts";
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
{
  using first = loadTrainedNetwork(gpu, before);
  using last = loadTrainedNetwork(gpu, after);
  const { classes: { trainIds, palette }, config: { data } } = last;
  if (data.targetDirectory === null) throw new Error(`${after} is of a run on streets`);
  const place = { root: data.targetDirectory, layout: layoutOf(data.targetLayout), split: "val" };
  const all = openDataset({ ...place, trainIds });
  const items = all.items.filter(({ name }) => names.includes(name));
  using loader = new Loader({ dataset: { ...all, items }, order: "sequential" });
  const rows = [];
  for (const sample of await loader.next(items.length)) {
    const label = sample.label ? [sample.label] : [];
    const maps = [...label, await predict(first, sample), await predict(last, sample)];
    rows.push({ image: sample.image, maps });
  }
  writeSamples(out, rows, palette);
}
gpu.close();
