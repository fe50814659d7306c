/**
 * A trained network applied to a folder of images. The network is one that the program trains first,
 * for a few seconds on the built-in benchmark; with a checkpoint of a run of yours, leave that out.
 *
 *     deno run --allow-read --allow-write examples/predict_folder.ts
 *
 * Reading files takes npm packages, which "@proda/webgpu" does not bring. So in a folder of your own
 * "../" becomes the path of a clone, and `--config` that of its deno.json. `./run predict` does the
 * same from the command line.
 */
import { join } from "node:path";
import { openGpu } from "../mod.ts";
import { mergeConfig, presetConfig } from "../train/config/config.ts";
import { predictFolder } from "../train/networks/predict.ts";
import { loadTrainedNetwork } from "../train/networks/trained_network.ts";
import { runTraining } from "../train/run/run.ts";

const folder = Deno.makeTempDirSync({ prefix: "predict_folder_" });
const gpu = await openGpu();

// A tiny network, tiny images, and the source-only stage alone.
const streets = {
  width: 64,
  height: 32,
  sourceTrain: 8,
  targetTrain: 1,
  targetVal: 3,
  sourceVal: 1,
  targetChoose: 1,
};
const values = {
  out: join(folder, "run"),
  pipeline: ["source"],
  network: { width: 4, headChannels: 8, groups: 4, dilations: [1, 2] },
  data: {
    heldOut: { share: 0 }, // all of the few images are trained on
    batch: 2,
    cropHeight: 32,
    cropWidth: 48,
    longSide: 64,
    streets: { ...streets, directory: join(folder, "streets") },
  },
  stages: { source: { steps: 60, scheduleSteps: 60 } },
};
const config = mergeConfig(presetConfig("quick"), { values, from: "the example" });
const observer = {
  stageStart: () => {},
  step: () => {},
  evaluation: () => {},
  stageEnd: () => {},
  message: (text: string) => console.log(text),
};
const result = await runTraining(config, gpu, observer, new AbortController().signal);
console.log(`trained: mIoU ${result.stages[0].mIoU.toFixed(1)} %`);

// From here on it is what a program with a checkpoint needs.
const checkpoint = join(folder, "run/checkpoints/source.safetensors");
const input = join(folder, "streets/target/leftImg8bit/val");
const output = join(folder, "predicted");
{
  using trained = loadTrainedNetwork(gpu, checkpoint);
  console.log(`network of stage ${trained.stage}, step ${trained.step}`);
  const onImage = (done: number, total: number, name: string) =>
    console.log(`${done}/${total} ${name}`);
  const count = await predictFolder(trained, { input, output, onImage });
  console.log(`${count} images; label/, colour/ and overlay/ are in ${output}`);
}
gpu.close();
