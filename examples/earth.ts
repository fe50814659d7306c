/**
 * The Earth by day, where land and water are labelled, to the Earth by night, where nobody has
 * labelled anything. One command fetches three pictures, cuts them into tiles, and trains; further
 * flags are those of `train`:
 *
 *     ./run earth
 *
 * It is a configuration like any other: what it leaves out comes from the preset. For images of your own
 * copy it, and name your folders; `./run train --config FILE` trains.
 */
import { DataError } from "../train/base/data_error.ts";
import { exists } from "../train/base/folders.ts";

if (!exists("data/earth")) {
  throw new DataError(
    "Cannot train on the Earth as folder data/earth does not exist: expected its tiles; " +
      "./run earth fetches them, then trains",
  );
}

export default {
  data: {
    sourceDirectory: "data/earth/source",
    sourceLayout: "folder",
    targetDirectory: "data/earth/target",
    targetLayout: "folder",
    longSide: 512, // as the tiles are: by night land is told from water by its grain
    cropWidth: 128,
    cropHeight: 128,
    middle: "image", // the night is far from middle grey
    rareClassSampling: 0, // neither class is rare
  },
  evalEvery: 75,
  // Each schedule is as long as its stage. Rates of what follows the warm-up are lower than on streets, as two
  // classes are soon learnt.
  stages: {
    source: { steps: 200, scheduleSteps: 200 },
    warmup: { steps: 100, scheduleSteps: 100, learningRate: 0.05 },
    stage1: { steps: 150, scheduleSteps: 150, learningRate: 0.01 },
    stage2: { steps: 40, scheduleSteps: 40, learningRate: 0.01 },
    stage3: { steps: 40, scheduleSteps: 40, learningRate: 0.01 },
  },
};
