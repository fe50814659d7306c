// What the page of examples/browser computes, computed in Deno: the street that it opens with through two
// networks, and the first ten steps of its training. Prints JSON.

import { networkFromBytes, openGpu, readPrediction, streetItem, uploadSamples } from "../../mod.ts";
import { Adaptation } from "../../examples/browser/worker/adaptation.ts";
import { shortened, type TrainingSettings } from "../../examples/browser/worker/settings.ts";
import { PRESETS } from "../../train/config/presets.ts";

const [street = 35, seed = 3, steps = 10] = Deno.args.map(Number);
const preset: TrainingSettings = { ...PRESETS.quick, seed };
const gpu = await openGpu();

const { width, height } = preset.data.streets;
const item = streetItem({
  seed: preset.data.streets.seed,
  domain: "target",
  split: "val",
  index: street,
  width,
  height,
});
const looks: number[][] = [];
for (const name of ["source", "stage3"]) {
  using trained = await open(name);
  const sample = { ...item, name, index: 0, epoch: 0, position: 0 };
  const { images } = uploadSamples(gpu, [sample], trained.longSide);
  looks.push([...await readPrediction(trained.network, images, sample)]);
  images.release();
}

using start = await open("source");
using adaptation = new Adaptation(start.network, shortened(preset));
const losses: { stage: string; losses: Readonly<Record<string, number>> }[] = [];
for await (const progress of adaptation.run()) {
  if (progress.kind !== "step") continue;
  losses.push({ stage: progress.stage, losses: progress.losses });
  if (losses.length === steps) break;
}
console.log(
  JSON.stringify({ adapter: gpu.adapter.description, looks, losses }),
);

async function open(name: string) {
  const file = new URL(
    `../../networks/streets/${name}.safetensors`,
    import.meta.url,
  );
  return await networkFromBytes(gpu, await Deno.readFile(file), name);
}
